r"""Trains on the images of other papers, and counts: digits, sprites, noise...

  python -m experiments.paper.worlds --seeds=0-4 --jobs=2 --out=runs/worlds

Trains one model for each of SuPAIR's data sets (Stelzner et al. 2019) and seed,
all with one flagfile, by default experiments/configs/worlds.flags:

observations  0 to 2 digits as in Pyro, SuPAIR and others; they may touch
sprites       0 to 2 circles, squares and diamonds
noise, grid   the digits of observations, before noise or a grid

A background is modelled where there is one, and before noise the standard
deviation of p(x|canvas) is trained. --config=default shows how far the
default carries. Runs start, stop and resume as in experiments.sweep. Flags of
experiments.train apply to all runs.

Prints medians and means on the test images. Writes, to OUT by default:

analysis/worlds.json  counting accuracies and ELBOs
figures/worlds.png    images of two, and what the first seeds' models make of
                      them
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags
from etils import epy

from data import command_line
from experiments.common import (
  kept,
  launcher,
  opening,
  runs,
  trained,
  wording,
)
from experiments.common.outputs import Outputs
from experiments.sweeps import plan, records, runner

with epy.lazy_imports():
  from air import outputs
  from air.viz import figures

_OBSERVATIONS = {"placement": "observations"}
_BACKGROUND = {"background_model": "network"}
WORLDS: dict[str, dict[str, str]] = {
  "observations": _OBSERVATIONS,
  "sprites": {"dataset": "sprites"},
  "noise": {
    **_OBSERVATIONS,
    **_BACKGROUND,
    "background": "noise",
    # No background model can predict noise. On a grid, the standard deviation
    # falls so far that the model takes what it paints badly for objects.
    "train_output_std": "true",
  },
  "grid": {**_OBSERVATIONS, **_BACKGROUND, "background": "grid"},
}
# Counting accuracies of SuPAIR and of AIR, means of five runs, read off the
# curves of Stelzner et al. AIR's on the first two still rise where they end.
PUBLISHED = {
  "observations": (0.983, 0.944),
  "sprites": (0.990, 0.918),
  "noise": (0.934, 0.002),
  "grid": (0.965, 0.002),
}
_NAMES = sorted({name for settings in WORLDS.values() for name in settings})
_KEYS = ("config", "data", "seed")
_DRAWN_IMAGES = 8
_OUTPUTS = Outputs("worlds")


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  runner.define_sweep_flags(flag_values)
  for name in (*_NAMES, "data"):  # what differs between the runs
    delattr(flag_values, name)
  flags.DEFINE_string(
    "config", "worlds", "the flagfile of all runs, by name or path",
    flag_values=flag_values, module_name=runner.GROUP,
  )  # fmt: skip
  command_line.define_choices_flag(
    "worlds", WORLDS, "which of them",
    flag_values=flag_values, module_name=runner.GROUP,
  )  # fmt: skip
  _OUTPUTS.define_flags(flag_values, runner.GROUP)


def config_of(config: str, world: str) -> str:
  """Returns the configuration of a world in the sweep.

  Args:
    config: the flagfile.
    world: see `WORLDS`.
  """
  return plan.with_settings(config, WORLDS[world])


def result_of(
  config: str, world: str, record: Mapping[str, Any]
) -> kept.Result:
  """Returns what goes into the file of a run that has ended.

  Args:
    config: see `config_of`.
    world: that it was trained on.
    record: of the run, see `records`.
  """
  end = records.end(record)
  assert end is not None
  names = ("count_accuracy", "count_accuracy_mode", "elbo", "num_images")
  return {
    "data": world,
    "config": config,
    "seed": record["seed"],
    "iterations": end["iteration"],
    **{name: end[name] for name in names},
  }


def table(results: Sequence[Mapping[str, Any]]) -> str:
  """Returns the medians over the seeds, and their ranges, as lines of text."""
  rows = [
    f"{'data':14}{'seeds':>5}  {'most probable n, %':24}{'mean':>6}"
    f"  {'sampled n, %':24}{'ELBO':>8}{'SuPAIR':>8}{'AIR there':>11}"
  ]
  for world, (supair, air_there) in PUBLISHED.items():
    own = [result for result in results if result["data"] == world]
    if not own:
      continue
    mode, sampled, elbo = (
      [result[name] for result in own]
      for name in ("count_accuracy_mode", "count_accuracy", "elbo")
    )
    rows.append(
      f"{world:14}{len(own):5}  {wording.median_and_range(mode):24}"
      f"{100 * np.mean(mode):6.2f}  {wording.median_and_range(sampled):24}"
      f"{np.median(elbo):8.1f}{100 * supair:8.1f}{100 * air_there:11.1f}"
    )
  return "\n".join(rows)


def main(flag_values: flags.FlagValues) -> int:
  """Trains what is not trained yet, then draws; returns the exit status."""
  out = launcher.output_folder("out", flag_values.out)
  figure, numbers = _OUTPUTS.files(flag_values, [out])
  results = kept.read(numbers, _KEYS)
  worlds = {
    config_of(flag_values.config, world): world for world in flag_values.worlds
  }
  status = runner.run(list(worlds), flag_values)
  if status > 1:  # stopped by a signal
    return status
  shown: list[kept.Result] = []
  drawn: dict[str, outputs.AIROutput] = {}
  for record in runner.ended_runs(list(worlds), flag_values):
    config, seed = record["config"], record["seed"]
    world = worlds[config]
    shown.append(result_of(flag_values.config, world, record))
    if world not in drawn:
      run = runs.load(plan.folder_of(config, seed, out.resolve()))
      drawn[world] = _infer(run, flag_values)
  kept.write(numbers, results | kept.by_key(shown, _KEYS))
  print(table(shown))
  print(f"numbers: {numbers}")
  if drawn:
    figures.save(figures.reconstructions(drawn, _DRAWN_IMAGES), figure)
    print(f"figure:  {figure}")
  return status


def _infer(run: runs.Run, flag_values: flags.FlagValues) -> outputs.AIROutput:
  """Returns what a run's model makes of test images with most objects."""
  dataset = runs.load_dataset(
    run.data, flag_values.data_cache, run.digit_source
  )
  opening.check_images(run, dataset)
  counts = dataset.test.counts
  assert counts is not None
  most = np.argsort(-counts, kind="stable")[:_DRAWN_IMAGES]
  return trained.inferred(run, dataset.test.images[most])


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
