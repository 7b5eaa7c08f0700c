r"""Measures how fast training is, and how fast it could be on this machine.

  python -m experiments.benchmarks.speed
  python -m experiments.benchmarks.speed --full --repetitions=7 \
    --iterations_per_repetition=50 --starts=3 --json=results/benchmark.json
  python -m experiments.benchmarks.speed --threads=1,2 --batch_sizes=16,64,256 \
    --steps=1,3,5 --image_sizes=50,100 --repetitions=3 \
    --iterations_per_repetition=50 --json=results/scaling.json \
    --figure=results/figures/scaling.png

Measures these, in one process for each number of threads, in turn:

- a training iteration with --estimator and with reinforce, or with all
  estimators (--full). It is measured as experiments.train runs it (compiled,
  many iterations per call) and in plain graph mode (one iteration per call).
- a lower bound of that time: the matrix products of --estimator's step, by XLA
  or by NumPy, whichever is faster, and one pass over the optimizer's state.
  Efficiency is this bound divided by the time of the compiled iteration.
- evaluation of the validation images, as in training.

It also measures the start of training, in new processes (see `startup`).
Without --full all of it takes at most two minutes on two slow cores.

With several --batch_sizes, --steps or --image_sizes, it measures only the
compiled iteration and its lower bound for each value, and draws both.
"""

from __future__ import annotations

import json
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from etils import epy

from air.storage import files
from data import command_line
from experiments.benchmarks import timing
from experiments.common import configuration, launcher, machine, wording
from experiments.common.launcher import UsageError

with epy.lazy_imports():
  from air.viz import charts, figures

# Flags that a process for one number of threads does not get.
_OF_ALL_THREADS = {"threads", "json", "figure", "flagfile", "undefok"}


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  options = {"flag_values": flag_values, "module_name": "run"}
  for name, default, lower_bound, help_text in (
    ("repetitions", 5, 1, "of each measurement"),
    ("iterations_per_repetition", 20, 1, "of training"),
    ("starts", 1, 0, "of training, besides the very first; 0: no start"),
  ):
    flags.DEFINE_integer(
      name, default, help_text, lower_bound=lower_bound, **options
    )
  flags.DEFINE_bool(
    "full", False, "measure all estimators, which takes minutes", **options
  )
  for name, help_text in (
    ("threads", "numbers of threads; by default one for each processor"),
    *(
      (name, f"{what}: how time scales") for name, what in timing.SCALES.items()
    ),
  ):
    command_line.define_tuple_flag(
      int, name=name, default=(), help=help_text, **options
    )
  flags.DEFINE_string("json", "", "also write the numbers to a file", **options)
  flags.DEFINE_string("figure", "", "the PNG of the scaling", **options)
  configuration.define_data_cache_flag(flag_values)
  configuration.define_flags(flag_values)


def _is_scaling(flag_values: flags.FlagValues) -> bool:
  """Returns whether sizes are asked for, and not the one table."""
  return any(timing.values(flag_values, name) for name in timing.SCALES)


def _of_threads(flag_values: flags.FlagValues) -> dict[int, Any]:
  """Returns what is measured with each number of threads."""
  scaling = _is_scaling(flag_values)
  all_threads = timing.values(flag_values, "threads")
  if not all_threads:
    here = timing.measure_scaling if scaling else timing.measure
    return {machine.threads(): here(flag_values)}
  # TensorFlow's threads cannot be changed once it has begun.
  settings = [
    flag_values[name].serialize()
    for name in flag_values
    if name not in _OF_ALL_THREADS and not flag_values[name].using_default_value
  ]
  results = {}
  with tempfile.TemporaryDirectory() as folder:
    flagfile, path = (pathlib.Path(folder, n) for n in ("flags", "json"))
    flagfile.write_text("\n".join(settings), encoding="utf-8")
    for threads in all_threads:
      names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
      timing.run_module(
        "experiments.benchmarks.speed",
        f"--flagfile={flagfile}",
        "--starts=0",
        f"--json={path}",
        **dict.fromkeys((*names, "OMP_NUM_THREADS"), str(threads)),
      )
      [results[threads]] = json.loads(path.read_text())["threads"].values()
  return results


def _spread(values: Sequence[float]) -> str:
  return f"{min(values):9.1f}{statistics.median(values):9.1f}{max(values):9.1f}"


def format_table(result: Mapping[str, Any]) -> str:
  """Returns what `timing.measure` measured, as text."""
  lines = [f"{'milliseconds per iteration':<36s}      min   median      max"]
  times = result["milliseconds_per_iteration"]
  lines += [f"  {name:<34s}{_spread(values)}" for name, values in times.items()]
  gflop = result["gflop_of_products"]
  lines += [
    f"{name}: {gflop:.2f} GFLOP,"
    f" {1e3 * gflop / statistics.median(times[name]):.0f} GFLOP/s"
    for name in timing.PRODUCTS
  ]
  lines += [
    f"{estimator}: compiled {ratio:.2f} times as fast as plain,"
    f" {1e3 / statistics.median(times[f'{estimator}, compiled']):.1f}"
    " iterations/s"
    for estimator, ratio in result["speedup"].items()
  ]
  lines.append(f"efficiency: {result['efficiency']:.2f}")
  seconds = statistics.median(result["evaluation_seconds"])
  number = result["evaluation_images"]
  images = wording.number_of(number, "image")
  lines.append(
    f"evaluation: {images} in {seconds:.2f} s, {number / seconds:.0f} images/s"
  )
  return "\n".join(lines)


def format_scaling(points: Sequence[Mapping[str, Any]]) -> str:
  """Returns what `timing.measure_scaling` measured, as text."""
  lines = [f"{'milliseconds per iteration':<36s}      min   median      max"]
  for point in points:
    lines.append(
      f"  {point['value']} {point['varied']}, efficiency"
      f" {point['efficiency']:.2f}"
    )
    lines += [
      f"    {name:<32s}{_spread(values)}"
      for name, values in point["milliseconds_per_iteration"].items()
    ]
  return "\n".join(lines)


def format_starts(starts: Sequence[Mapping[str, Any]]) -> str:
  """Returns what `timing.measure_starts` measured, as text."""
  lines = [
    "seconds since the start of the process, MiB at most by then",
    f"  {'end of':<18s}{'first start':>20s}{'later, medians':>20s}",
  ]
  first, *later = starts
  for phase in first:
    cells = [first[phase]]
    if later:
      cells.append(
        {
          key: statistics.median(start[phase][key] for start in later)
          for key in first[phase]
        }
      )
    lines.append(
      f"  {phase:<18s}"
      + "".join(
        f"{c['seconds']:12.1f} s{c['peak_memory_mib']:6.0f}" for c in cells
      )
    )
  return "\n".join(lines)


def _draw(
  of_threads: Mapping[int, Sequence[Mapping[str, Any]]],
) -> figures.Figure:
  """Draws the medians over what was varied."""
  panels: dict[str, dict[str, dict[int, float]]] = {}
  x_labels = {}
  for threads, points in of_threads.items():
    for point in points:
      times = point["milliseconds_per_iteration"]
      title = f"An iteration by {point['varied']}"
      x_labels[title] = point["varied"]
      panel = panels.setdefault(title, {})
      for name, values in (
        ("step", times["step"]),
        ("bound", timing.bounds(times)),
      ):
        series = panel.setdefault(f"{name}, threads: {threads}", {})
        series[point["value"]] = statistics.median(values)
  figure = charts.curves(panels, x_labels, y_label="milliseconds")
  for axis, series in zip(figure.axes, panels.values(), strict=False):
    axis.set_xticks(sorted(set().union(*series.values())))
    axis.set_ylim(bottom=0.0)
  return figure


def main(flag_values: flags.FlagValues) -> None:
  """Measures, prints and writes."""
  outputs = {
    name: launcher.output_file(name, value)
    for name in ("json", "figure")
    if (value := flag_values[name].value)
  }
  scaling = _is_scaling(flag_values)
  if "figure" in outputs and not scaling:
    scales = ", ".join(f"--{name}" for name in timing.SCALES)
    raise UsageError(
      f"figure is {flag_values.figure}, expected one of {scales} with it"
    )
  of_threads = _of_threads(flag_values)
  result: dict[str, Any] = {
    "machine": machine.describe(),
    "threads": of_threads,
  }
  for threads, measurements in of_threads.items():
    print(wording.number_of(int(threads), "thread"))
    print((format_scaling if scaling else format_table)(measurements))
  if flag_values.starts and not scaling:
    result["starts"] = timing.measure_starts(flag_values)
    print(format_starts(result["starts"]))
  if "json" in outputs:
    files.write_json(outputs["json"], result)
  if "figure" in outputs:
    figures.save(_draw(of_threads), outputs["figure"])


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
