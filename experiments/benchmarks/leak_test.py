"""Trains with thousands of evaluations and figures, and watches the process.

  python -m experiments.benchmarks.leak_test --out=runs/leak_test

A tiny model on tiny images is evaluated and drawn after every iteration. Once a
second the process's memory, threads and open files are read from /proc. After
the first quarter, in which all is set up, threads and files must not become
more, and memory by no more than --most_growth per evaluation. If they do, the
exit status is 1. Some growth is due: a run keeps its evaluations.

The flags of experiments.train apply, except --iterations.
"""

import contextlib
import pathlib
import shlex
import subprocess
import sys
import time

import numpy as np
from absl import flags
from etils import epy

from air.storage import files
from experiments.common import configuration, launcher, machine
from experiments.common.launcher import UsageError
from experiments.common.progress import Task

with epy.lazy_imports():
  from air.viz import charts, figures

# The smallest model and images: what leaks, leaks per evaluation.
_TINY = {
  "num_images": 64, "validation_size": 16, "test_size": 16,
  "canvas_size": (20, 20), "digit_size": (10,), "counts": (0, 1),
  "num_steps": 1, "glimpse_size": (8, 8), "what_size": 4, "hidden_sizes": (8,),
  "presence_hidden_sizes": (8,), "baseline_hidden_sizes": (8,), "lstm_size": 8,
  "batch_size": 8, "jit_compile": False,
  "eval_every": 1, "figure_every": 1, "checkpoint_every": 10,
}  # fmt: skip
_SECONDS_BETWEEN_LOOKS = 1.0
_KEPT = 100  # looks, or a few more, of which there are numbers and a curve
_TITLES = {
  "memory": "resident memory, MiB",
  "threads": "threads",
  "files": "open files",
}


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  options = {"flag_values": flag_values, "module_name": "run"}
  flags.DEFINE_string(
    "out", None, "folder of the run, not there yet", required=True, **options
  )
  flags.DEFINE_integer(
    "evaluations", 2_000, "and as many figures", lower_bound=8, **options
  )
  flags.DEFINE_float(
    "most_growth", 32.0, "of memory, KiB per evaluation", **options
  )
  flags.DEFINE_string("json", "", "also write the numbers to a file", **options)
  flags.DEFINE_string("figure", "", "also draw the curves to a file", **options)
  configuration.define_training_flags(flag_values)
  del flag_values.iterations
  for name, value in _TINY.items():
    flag_values.set_default(name, value)


def _look(pid: int) -> dict[str, float]:
  """Returns what a process takes.

  Args:
    pid: its number.

  Raises:
    OSError: if it has ended.
  """
  process = pathlib.Path("/proc", str(pid))
  lines = (process / "status").read_text().splitlines()
  status = dict(line.split(":", 1) for line in lines)
  return {
    "memory": int(status["VmRSS"].split()[0]) / 1024,
    "threads": int(status["Threads"]),
    "files": sum(1 for _ in (process / "fd").iterdir()),
  }


def watch(
  command: list[str], folder: pathlib.Path
) -> dict[int, dict[str, float]]:
  """Returns what a run takes, by the evaluations that it has behind it.

  Args:
    command: that trains.
    folder: of the run.

  Raises:
    UsageError: if it fails.
  """
  metrics = folder / "metrics.jsonl"
  looks: dict[int, dict[str, float]] = {}
  with (
    open(folder.with_suffix(".log"), "w", encoding="utf-8") as log,
    Task("training") as task,
  ):
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
      while process.poll() is None:
        if metrics.exists():
          evaluations = metrics.read_bytes().count(b"\n")
          task.doing = f"training, {evaluations} evaluations"
          if evaluations not in looks:  # later it may be about to end
            with contextlib.suppress(OSError, KeyError):  # or have ended
              looks[evaluations] = _look(process.pid)
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    finally:
      process.kill()
      process.wait()
  if process.returncode:
    raise UsageError(
      f"the run ended with status {process.returncode}, see {log.name}"
    )
  return looks


def growth(looks: dict[int, dict[str, float]]) -> dict[str, float]:
  """Returns by how much each quantity grows per evaluation.

  Args:
    looks: see `watch`; the first quarter of the evaluations is left out.
  """
  late = [n for n in looks if n >= max(looks) / 4]
  return {
    name: float(np.polyfit(late, [looks[n][name] for n in late], 1)[0])
    for name in _TITLES
  }


def main(flag_values: flags.FlagValues) -> int:
  """Trains, watches, and says what grows."""
  out = launcher.output_folder("out", flag_values.out)
  if out.exists():
    raise UsageError(f"out is {out}, which exists; expected a new folder")
  outputs = {
    name: launcher.output_file(name, flag_values[name].value)
    for name in ("json", "figure")
    if flag_values[name].value
  }
  configuration.check_without_images(flag_values)
  configuration.check_steps(flag_values)
  known = flags.FlagValues()
  configuration.define_training_flags(known)
  settings = [
    flag_values[name].serialize()
    for name in known
    if name in flag_values
    and flag_values[name].value not in (None, "", known[name].default)
  ]
  settings.append(f"--iterations={flag_values.evaluations - 1}")
  out.parent.mkdir(parents=True, exist_ok=True)
  python = [sys.executable, "-m", "experiments.train", f"--run_dir={out}"]
  looks = watch([*python, *settings], out)
  grown = growth(looks)
  first, last = (looks[n] for n in (min(looks), max(looks)))
  for name, title in _TITLES.items():
    print(
      f"{title:<24s}{first[name]:8.0f} at first {last[name]:8.0f} at last,"
      f" {1000 * grown[name]:+.3f} per 1,000 evaluations"
    )
  kib = 1024 * grown["memory"]
  leaks = [
    name
    for name in ("threads", "files")
    if last[name] > max(looks[n][name] for n in looks if n <= max(looks) / 2)
  ]
  if kib > flag_values.most_growth:
    leaks.append(f"memory, by {kib:.1f} KiB per evaluation")
  print(f"leaks: {', '.join(leaks) or 'none'}")
  kept = list(looks)[:: max(1, len(looks) // _KEPT)]
  if "json" in outputs:
    files.write_json(
      outputs["json"],
      {
        "command": shlex.join(
          ["python", "-m", "experiments.train", "--run_dir=...", *settings]
        ),
        "machine": machine.describe(),
        "growth_per_evaluation": grown,
        "evaluations": kept,
        **{name: [round(looks[n][name], 1) for n in kept] for name in _TITLES},
      },
    )
  if "figure" in outputs:
    panels = {
      title: {"run": {n: looks[n][name] for n in kept}}
      for name, title in _TITLES.items()
    }
    labels = dict.fromkeys(panels, "evaluations")
    figures.save(charts.curves(panels, labels), outputs["figure"])
  return int(bool(leaks))


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
