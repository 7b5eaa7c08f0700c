r"""Counts objects in numbers that were never seen in training (AIR and DAIR).

  python -m experiments.paper.generalization --seeds=0-4 --jobs=2 \
    --checkpoint_every=3000 --keep_checkpoints=10 --out=runs/generalization

Trains AIR and DAIR on images of 0, 1 or 2 digits, and on images of 0, 1 or 3.
Both have the settings of experiments/configs/dair.flags, but for what makes
DAIR of AIR. Tests each checkpoint that is kept on new images of held-out
digits: with counts as in training, and with other counts, 3 and 4, or 2 and 4.
Runs start, stop and resume as in experiments.sweep. Flags of experiments.train
apply to all runs.

Prints the medians over the seeds. Writes, to OUT by default:

analysis/generalization.json  the counting accuracies; a checkpoint that is in
                              it is not tested again
figures/generalization.png    their medians and ranges over the seeds
figures/generalization-reconstructions.png
                              images of three digits and what the first seeds'
                              models, trained on 0, 1 or 2 digits, make of them
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags
from etils import epy

from air import metrics
from data.dataset import Split
from experiments.common import kept, launcher, runs, trained, wording
from experiments.common.outputs import Outputs
from experiments.common.progress import Task
from experiments.sweeps import plan, runner

with epy.lazy_imports():
  from air import evaluation, outputs
  from air.viz import charts, figures

_CONFIG = "dair"
# What makes AIR of it.
_AIR = {
  "step_input": "image",
  "glimpse_input": "image",
  "memory": "true",
  "latent_feedback": "true",
}
_MODELS: dict[str, dict[str, str]] = {"AIR": _AIR, "DAIR": {}}
# Counts trained on to those tested on besides.
_COUNTS = (0, 1, 2)  # of the flagfile
_UNSEEN = {_COUNTS: (3, 4), (0, 1, 3): (2, 4)}
# Images that the checkpoints before the last are tested on.
_CURVE_IMAGES = 2000
_DRAWN_IMAGES, _DRAWN_TRAINED_ON, _DRAWN_COUNTS = 8, _COUNTS, (3,)
_OUTPUTS = Outputs("generalization")


class _Key(NamedTuple):
  """What names a result."""

  model: str
  trained_on: tuple[int, ...]
  tested_on: tuple[int, ...]
  seed: int
  iterations: int


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  runner.define_sweep_flags(flag_values)
  # What differs between the runs.
  for name in ("counts", "count_probs", "data", *_AIR):
    delattr(flag_values, name)
  _OUTPUTS.define_flags(flag_values, runner.GROUP)


def config_of(model: str, trained_on: Sequence[int]) -> str:
  """Returns the configuration of a model in the sweep.

  Args:
    model: "AIR" or "DAIR".
    trained_on: numbers of objects in its training images.
  """
  settings = dict(_MODELS[model])
  if trained_on != _COUNTS:
    settings["counts"] = ",".join(map(str, trained_on))
  return plan.with_settings(_CONFIG, settings)


class _Tests:
  """Images to test on, made once for each set of counts."""

  def __init__(self, flag_values: flags.FlagValues):
    self._flag_values = flag_values
    self._splits: dict[tuple[int, ...], Split] = {}

  def of(self, run: runs.Run, counts: tuple[int, ...]) -> Split:
    """Returns test images, with digits that no run was trained on.

    Args:
      run: of which the images are, but for the counts.
      counts: of objects.
    """
    if counts not in self._splits:
      data = dataclasses.replace(
        run.data, counts=counts, count_probs=(), num_images=1, validation_size=1
      )
      self._splits[counts] = runs.load_dataset(
        data, self._flag_values.data_cache, run.digit_source
      ).test
    return self._splits[counts]


def test(
  model: str,
  trained_on: tuple[int, ...],
  run: runs.Run,
  tests: _Tests,
  known: Mapping[kept.Key, kept.Result],
) -> dict[kept.Key, kept.Result]:
  """Returns the accuracies of a run at its checkpoints.

  Those of the last are on all test images, those before on as many as an early
  evaluation of training has.

  Args:
    model: its name.
    trained_on: the numbers of objects in its training images.
    run: to be tested.
    tests: the images.
    known: results before; those of this run are not computed again.
  """
  paths = trained.checkpoints_at(run, ())
  last = max(paths)
  results: dict[kept.Key, kept.Result] = {}
  for iteration, path in paths.items():
    sets = [trained_on, *((count,) for count in _UNSEEN[trained_on])]
    keys = [
      _Key(model, trained_on, counts, run.air.training.seed, iteration)
      for counts in sets
    ]
    if path is None:
      continue
    before = {k: known[k] for k in keys if k in known}
    if len(before) == len(keys) and all(
      result.get("run") == run.id for result in before.values()
    ):
      results |= before
      continue
    evaluator = evaluation.Evaluator(trained.model_at(run, path))
    for key in keys:
      split = tests.of(run, key.tested_on)
      if iteration < last:
        split = split.first(_CURVE_IMAGES)
      found = evaluator.evaluate(split.images, iteration, run.air.training.seed)
      results[key] = {
        **key._asdict(),
        "run": run.id,
        "num_images": len(split.images),
        "count_accuracy": metrics.count_accuracy(split.counts, found.num_steps),
        "count_accuracy_mode": metrics.count_accuracy(
          split.counts, found.num_steps_mode
        ),
      }
  return results


def table(results: Sequence[Mapping[str, Any]]) -> str:
  """Returns the medians over the seeds, and their ranges, as lines of text.

  Args:
    results: of any iterations; of each run, those of the last count.
  """
  rows = [
    f"{'model':6}{'trained on':12}{'tested on':11}{'seeds':>5}"
    f"  {'most probable n, %':24}{'sampled n, %':24}"
  ]
  for (model, trained_on, tested_on), seeds in _by_seed(results).items():
    ends = [
      at_iterations[max(at_iterations)] for at_iterations in seeds.values()
    ]
    cells = [
      wording.median_and_range([end[name] for end in ends])
      for name in ("count_accuracy_mode", "count_accuracy")
    ]
    rows.append(
      f"{model:6}{_text(trained_on):12}{_text(tested_on):11}{len(ends):5}"
      f"  {cells[0]:24}{cells[1]:24}".rstrip()
    )
  return "\n".join(rows)


def _by_seed(
  results: Sequence[Mapping[str, Any]],
) -> dict[tuple, dict[int, dict[int, Mapping[str, Any]]]]:
  """Returns (model, trained on, tested on) to seed to iteration to result."""
  ordered: dict[tuple, dict[int, dict[int, Mapping[str, Any]]]] = {}
  for key, result in kept.by_key(results, _Key._fields).items():
    *name, seed, iterations = key
    seeds = ordered.setdefault(tuple(name), {})
    seeds.setdefault(seed, {})[iterations] = result
  return ordered


def _text(counts: Sequence[int]) -> str:
  return ", ".join(map(str, counts))


def curves(results: Sequence[Mapping[str, Any]]) -> figures.Figure:
  """Returns the most probable counts' accuracy over training.

  Args:
    results: at least one.
  """
  panels: dict[str, dict[str, dict[int, list[float]]]] = {}
  for (model, trained_on, tested_on), seeds in _by_seed(results).items():
    name = f"{_text(tested_on)} digits"
    if trained_on == tested_on:
      name = "as many as in training"
    panel = panels.setdefault(f"{model}, trained on {_text(trained_on)}", {})
    series = panel.setdefault(name, {})
    for curve in seeds.values():
      for iteration in sorted(curve):
        accuracies = series.setdefault(iteration, [])
        accuracies.append(curve[iteration]["count_accuracy_mode"])
  return charts.curves(
    panels,
    y_label="counting accuracy, most probable n",
    limits=dict.fromkeys(panels, (0.0, 1.02)),
    columns=len(_MODELS),
  )


def main(flag_values: flags.FlagValues) -> int:
  """Trains and tests what is not yet, then draws; returns the exit status."""
  out = launcher.output_folder("out", flag_values.out)
  figure, numbers = _OUTPUTS.files(flag_values, [out])
  results = kept.read(numbers, _Key._fields)
  variants = {
    config_of(model, trained_on): (model, trained_on)
    for trained_on, model in itertools.product(_UNSEEN, _MODELS)
  }
  status = runner.run(list(variants), flag_values)
  if status > 1:  # stopped by a signal
    return status
  tests = _Tests(flag_values)
  shown: dict[kept.Key, kept.Result] = {}
  drawn: dict[str, outputs.AIROutput] = {}
  for record in runner.ended_runs(list(variants), flag_values):
    config, seed = record["config"], record["seed"]
    model, trained_on = variants[config]
    run = runs.load(plan.folder_of(config, seed, out.resolve()))
    with Task(f"testing {run.folder}"):
      found = test(model, trained_on, run, tests, results)
    shown |= found
    kept.write(numbers, results := {**results, **found})
    if trained_on == _DRAWN_TRAINED_ON and model not in drawn:
      drawn[model] = _infer(run, tests)
  if not shown:
    return status
  print(table(list(shown.values())))
  figures.save(curves(list(shown.values())), figure)
  print(f"figure:  {figure}")
  if drawn:
    figure = figure.with_stem(f"{figure.stem}-reconstructions")
    figures.save(figures.stages(drawn, _DRAWN_IMAGES), figure)
    print(f"figure:  {figure}")
  print(f"numbers: {numbers}")
  return status


def _infer(run: runs.Run, tests: _Tests) -> outputs.AIROutput:
  """Returns what a run's newest checkpoint makes of the drawn images."""
  images = tests.of(run, _DRAWN_COUNTS).first(_DRAWN_IMAGES).images
  return trained.inferred(run, images)


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
