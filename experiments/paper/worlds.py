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

Prints the medians on the test images. Writes, to OUT by default:

analysis/worlds.json  counting accuracies and ELBOs
figures/worlds.png    images, and what the first seed's models make of them
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags
from etils import epy

from air.storage import files
from data import command_line
from experiments.common import launcher, opening, runs, trained
from experiments.common.outputs import Outputs
from experiments.sweeps import plan, runner

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
# Counting accuracies that Stelzner et al. report of SuPAIR and of AIR.
PUBLISHED = {
  "observations": (0.983, 0.944),
  "sprites": (0.990, 0.918),
  "noise": (0.934, 0.002),
  "grid": (0.965, 0.002),
}
_NAMES = sorted({name for settings in WORLDS.values() for name in settings})
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
  settings = ",".join(f"{k}={v}" for k, v in WORLDS[world].items())
  return f"{config}:{settings}"


def result_of(world: str, run: runs.Run) -> dict[str, Any]:
  """Returns what goes into the file of a run that has ended.

  Args:
    world: that it was trained on.
    run: with its evaluation on the test images.
  """
  evaluation = run.read_evaluation()
  kept = ("count_accuracy", "count_accuracy_mode", "elbo", "num_images")
  return {
    "data": world,
    "seed": run.air.training.seed,
    "iterations": evaluation["iteration"],
    **{name: evaluation[name] for name in kept},
  }


def table(results: Sequence[Mapping[str, Any]]) -> str:
  """Returns the medians over the seeds, and their ranges, as lines of text."""
  rows = [
    f"{'data':14}{'seeds':>5}  {'most probable n, %':24}{'sampled n, %':24}"
    f"{'ELBO':>8}{'SuPAIR':>8}{'AIR there':>11}"
  ]
  for world, (supair, air_there) in PUBLISHED.items():
    own = [result for result in results if result["data"] == world]
    if not own:
      continue
    cells = []
    for name in ("count_accuracy_mode", "count_accuracy"):
      shares = [100 * result[name] for result in own]
      cells.append(
        f"{np.median(shares):.2f} ({min(shares):.2f}-{max(shares):.2f})"
      )
    elbo = np.median([result["elbo"] for result in own])
    rows.append(
      f"{world:14}{len(own):5}  {cells[0]:24}{cells[1]:24}{elbo:8.1f}"
      f"{100 * supair:8.1f}{100 * air_there:11.1f}"
    )
  return "\n".join(rows)


def main(flag_values: flags.FlagValues) -> int:
  """Trains what is not trained yet, then draws; returns the exit status."""
  out = launcher.output_folder("out", flag_values.out)
  figure, numbers = _OUTPUTS.files(flag_values, [out])
  worlds = list(dict.fromkeys(flag_values.worlds))
  configs = {world: config_of(flag_values.config, world) for world in worlds}
  status = runner.run(list(configs.values()), flag_values)
  if status > 1:  # stopped by a signal
    return status
  results: list[dict[str, Any]] = []
  drawn: dict[str, outputs.AIROutput] = {}
  for world, config in configs.items():
    for seed in flag_values.seeds:
      folder = plan.folder_of(config, seed, out.resolve())
      if not _has_ended(folder):
        continue
      run = runs.load(folder)
      results.append(result_of(world, run))
      if world not in drawn:
        drawn[world] = _infer(run, flag_values)
  files.write_json(numbers, results)
  print(table(results))
  print(f"numbers: {numbers}")
  if drawn:
    figures.save(figures.reconstructions(drawn, _DRAWN_IMAGES), figure)
    print(f"figure:  {figure}")
  return status


def _has_ended(folder: pathlib.Path) -> bool:
  return runs.exists(folder) and bool(runs.load(folder).read_evaluation())


def _infer(run: runs.Run, flag_values: flags.FlagValues) -> outputs.AIROutput:
  """Returns what a run's model makes of the first test images."""
  dataset = runs.load_dataset(
    run.data, flag_values.data_cache, run.digit_source
  )
  opening.check_images(run, dataset)
  return trained.inferred(run, dataset.test.images[:_DRAWN_IMAGES])


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
