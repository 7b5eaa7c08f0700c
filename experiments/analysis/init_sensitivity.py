r"""Measures how training depends on the initialisation, on a grid.

  python -m experiments.analysis.init_sensitivity --out=runs/init \
    --seeds=0-2 --jobs=2 --iterations=5000 --steps_prior_anneal=3000 \
    --checkpoint_every=5000 --eval_every=1000 --figure_every=5000

Trains --config with each of --estimators, from every combination of values in
--decoder_init_scale_grid, --where_scale_bias_grid and --presence_bias_grid.
Runs start, stop and resume as in experiments.sweep. Flags of experiments.train
apply to all runs.

Writes OUT/init_sensitivity.png and .json. They show these means over the
seeds, on the test images:

- the counting accuracy of sampled n
- the share of images with objects that get no step
- the share of images with objects, but fewer than steps, that get all steps
- the share of runs that did not finish because they diverged, if any; the other
  means leave these runs out
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags
from etils import epy

from air.storage import files
from data import command_line
from experiments.common import launcher
from experiments.common.launcher import UsageError
from experiments.sweeps import plan, records, runner

with epy.lazy_imports():
  from air.viz import charts, figures

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
  "no_end": "no end",
}


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  options = {"flag_values": flag_values, "module_name": runner.GROUP}
  runner.define_sweep_flags(flag_values)
  # What differs between the runs.
  for name in (*_GRID, "estimator", "where_init"):
    delattr(flag_values, name)
  flags.DEFINE_string(
    "config",
    "blog",
    "name of a flagfile in experiments/configs, or path of a .flags file,"
    " perhaps with settings (see experiments.sweep); with --where_init=code,"
    " without which there is no where_scale_bias",
    **options,
  )
  flags.DEFINE_list(
    "estimators", ["reinforce", "marginal"], "separated by commas", **options
  )
  for name, values in _GRID.items():
    command_line.define_tuple_flag(
      float,
      name=f"{name}_grid",
      default=values,
      help=f"values of --{name} (see experiments.train)",
      **options,
    )


def axes(flag_values: flags.FlagValues) -> dict[str, Sequence[Any]]:
  """Returns the values of each setting that differs between the runs."""
  values = {"estimator": flag_values.estimators}
  if not values["estimator"]:
    raise UsageError("estimators is empty, expected names of estimators")
  for name in _GRID:
    values[name] = flag_values[f"{name}_grid"].value
    if not values[name]:
      raise UsageError(f"{name}_grid is empty, expected numbers")
  return values


def _config(base: str, variant: Mapping[str, Any]) -> str:
  """Returns the name under which the sweep has a variant."""
  return plan.with_settings(base, {"where_init": "code", **variant})


def measure(record: Mapping[str, Any]) -> dict[str, float | None]:
  """Returns the measures of a run; None: it has none.

  Args:
    record: see `experiments.sweeps.records`.
  """
  end = records.end(record)
  if end is None:
    no_end = 0.0 if records.ended(record) else 1.0
    return {**dict.fromkeys(_MEASURES), "no_end": no_end}
  return {
    "count_accuracy": end["count_accuracy"],
    "zero_steps": records.zero_steps(end),
    "all_steps": records.all_steps(end),
    "no_end": 0.0,
  }


def average(
  variants: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]
) -> np.ndarray:
  """Returns the means of the measures over the seeds.

  Args:
    variants: V settings.
    runs: settings and measures of each run.

  Returns:
    `[V, M]`; NaN where no run has the measure.
  """
  means = np.full([len(variants), len(_MEASURES)], np.nan)
  for mean, variant in zip(means, variants, strict=True):
    of_seeds = [run for run in runs if variant.items() <= run.items()]
    for m, name in enumerate(_MEASURES):
      known = [run[name] for run in of_seeds if run[name] is not None]
      if known:
        mean[m] = np.mean(known)
  return means


def draw(
  means: np.ndarray, values: Mapping[str, Sequence[Any]]
) -> figures.Figure:
  """Returns the heat maps.

  Args:
    means: `[V, M]`, see `average`.
    values: of the settings, see `axes`, of which V is the product.
  """
  estimators, scales, where_biases, presence_biases = values.values()
  means = means.reshape([*map(len, values.values()), len(_MEASURES)])
  # [E, S, W, P, M] -> [M, E P, W, S]
  shares = means.transpose(4, 0, 3, 2, 1).reshape(
    [len(_MEASURES), -1, len(where_biases), len(scales)]
  )
  names = list(_MEASURES.values())
  if not shares[-1].any():  # all runs came to their end
    shares, names = shares[:-1], names[:-1]
  return charts.heat_maps(
    shares,
    names,
    [
      f"{estimator}\npresence_bias {bias:g}"
      for estimator, bias in itertools.product(estimators, presence_biases)
    ],
    ("decoder_init_scale", scales),
    ("where_scale_bias", where_biases),
    bad=names[1:],
  )


def main(flag_values: flags.FlagValues) -> int:
  """Trains what is not trained yet, then draws; returns the exit status."""
  values = axes(flag_values)
  plan.flags_of(flag_values.config, [], "config")  # says so if there is none
  variants = [
    dict(zip(values, combination, strict=True))
    for combination in itertools.product(*values.values())
  ]
  by_config = {_config(flag_values.config, v): v for v in variants}
  status = runner.run(list(by_config), flag_values)
  if status > 1:  # stopped by a signal
    return status
  measured = [
    {
      **by_config[record["config"]],
      "seed": record["seed"],
      **measure(record),
      "failure": record["failure"],
    }
    for record in records.read(runner.results_file(flag_values))
    if record["config"] in by_config and record["seed"] in flag_values.seeds
  ]
  out = launcher.output_folder("out", flag_values.out)
  figure, numbers = (
    out / f"init_sensitivity.{kind}" for kind in ("png", "json")
  )
  figures.save(draw(average(variants, measured), values), figure)
  files.write_json(numbers, {"config": flag_values.config, "runs": measured})
  print(f"figure:  {figure}\nnumbers: {numbers}")
  return status


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
