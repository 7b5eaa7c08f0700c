r"""How training depends on the initialisation, on a grid.

  python -m experiments.init_sensitivity --out=runs/init --seeds=0-2 --jobs=2 \
    --iterations=5000 --steps_prior_anneal=3000 --checkpoint_every=5000 \
    --eval_every=1000 --figure_every=5000

Trains --config from every combination of the scale of the decoder's first
output, the bias of the scale of q(z_where) and the bias of the presence
probability, with each of --estimators, by experiments.sweep: see there for how
runs are started, shown, stopped and gone on with by the same command. Flags of
experiments.train hold for all runs.

Writes OUT/init_sensitivity.png and .json, means over the seeds on the test
images: the counting accuracy of sampled n, and two ways to collapse, the share
of the images with objects that get no step, and the share of those with fewer
objects than steps that get all steps.
"""

import itertools
import pathlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from absl import flags

from air import charts, figures, files
from experiments import configuration, launcher, records, sweep
from experiments.launcher import UsageError

# Flags of experiments.train and the values by default.
_GRID = {
  "decoder_init_scale": (0.1, 1.0, 10.0),
  "where_scale_bias": (-2.0, 0.5, 3.0),
  "presence_bias": (-2.0, 0.75, 3.0),
}
_MEASURES = {
  "count_accuracy": "right counts",
  "zero_steps": "zero steps",
  "all_steps": "all steps",
}


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  options = {"flag_values": flag_values, "module_name": sweep.GROUP}
  sweep.define_sweep_flags(flag_values)
  # What differs between the runs.
  for name in (*_GRID, "estimator", "where_init"):
    delattr(flag_values, name)
  flags.DEFINE_string(
    "config",
    "blog",
    "name of a flagfile in experiments/configs, or path of a .flags file; with"
    " --where_init=code, without which there is no where_scale_bias",
    **options,
  )
  flags.DEFINE_list(
    "estimators", ["reinforce", "marginal"], "separated by commas", **options
  )
  for name, values in _GRID.items():
    flags.DEFINE(
      configuration.TupleParser(float),
      f"{name}_grid",
      values,
      f"values of --{name} (see experiments.train)",
      serializer=configuration.TupleSerializer(),
      **options,
    )


def variants(flag_values: flags.FlagValues) -> list[dict[str, Any]]:
  """Returns the settings of every combination, by flag of the training."""
  axes = {"estimator": flag_values.estimators}
  for name in _GRID:
    axes[name] = flag_values[f"{name}_grid"].value
    if not axes[name]:
      raise UsageError(f"{name}_grid is empty, expected numbers")
  return [
    dict(zip(axes, values, strict=True))
    for values in itertools.product(*axes.values())
  ]


def _config(base: str, variant: Mapping[str, Any]) -> str:
  """Returns the name under which the sweep has a variant."""
  settings = {"where_init": "code", **variant}
  return f"{base}:" + ",".join(f"{k}={v}" for k, v in settings.items())


def measure(record: Mapping[str, Any]) -> dict[str, float | None]:
  """Returns the measures of a run; None: it has none.

  Args:
    record: see `experiments.records`.
  """
  end = records.end(record)
  if end is None:
    return dict.fromkeys(_MEASURES)
  return {
    "count_accuracy": end["count_accuracy"],
    "zero_steps": records.zero_steps(end),
    "all_steps": records.all_steps(end),
  }


def draw(
  measured: Iterable[Mapping[str, Any]],
  flag_values: flags.FlagValues,
  path: pathlib.Path,
) -> None:
  """Draws the heat maps.

  Args:
    measured: the settings and measures of each run.
    flag_values: parsed.
    path: of the PNG file.
  """
  cells: dict[tuple, list[Mapping[str, Any]]] = {}
  for run in measured:
    if run["count_accuracy"] is not None:
      key = tuple(run[name] for name in ("estimator", *_GRID))
      cells.setdefault(key, []).append(run)
  scales, where_biases, presence_biases = (
    flag_values[f"{name}_grid"].value for name in _GRID
  )
  columns = list(itertools.product(flag_values.estimators, presence_biases))
  shape = (len(_MEASURES), len(columns), len(where_biases), len(scales))
  shares = np.full(shape, np.nan)
  for m, c, y, x in np.ndindex(shape):
    estimator, presence_bias = columns[c]
    key = (estimator, scales[x], where_biases[y], presence_bias)
    if key in cells:
      shares[m, c, y, x] = np.mean(
        [run[list(_MEASURES)[m]] for run in cells[key]]
      )
  maps = charts.heat_maps(
    shares,
    list(_MEASURES.values()),
    [f"{estimator}\npresence_bias {bias:g}" for estimator, bias in columns],
    ("decoder_init_scale", scales),
    ("where_scale_bias", where_biases),
  )
  figures.save(maps, path)


def main(flag_values: flags.FlagValues) -> int:
  """Trains what is not trained yet, then draws; returns the exit status."""
  by_config = {
    _config(flag_values.config, variant): variant
    for variant in variants(flag_values)
  }
  status = sweep.run(list(by_config), flag_values)
  if status > 1:  # stopped by a signal
    return status
  measured = [
    {
      **by_config[record["config"]],
      "seed": record["seed"],
      **measure(record),
      "failure": record["failure"],
    }
    for record in records.read(sweep.results_file(flag_values))
    if record["config"] in by_config and record["seed"] in flag_values.seeds
  ]
  out = pathlib.Path(flag_values.out).expanduser()
  figure, numbers = (
    out / f"init_sensitivity.{kind}" for kind in ("png", "json")
  )
  draw(measured, flag_values, figure)
  files.write_json(numbers, {"config": flag_values.config, "runs": measured})
  print(f"figure:  {figure}\nnumbers: {numbers}")
  return status


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
