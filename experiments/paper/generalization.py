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
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import flags
from etils import epy

from air import metrics
from air.storage import files
from data.dataset import Split
from experiments.common import launcher, runs, trained
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
_UNSEEN = {(0, 1, 2): (3, 4), (0, 1, 3): (2, 4)}
_KEYS = ("model", "trained_on", "tested_on", "seed", "iterations")
# Images that the checkpoints before the last are tested on.
_CURVE_IMAGES = 2000
_DRAWN_IMAGES, _DRAWN_TRAINED_ON, _DRAWN_COUNTS = 8, (0, 1, 2), (3,)
_OUTPUTS = Outputs("generalization")


class _Key(NamedTuple):
  """What names a result, see `_KEYS`."""

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
  settings = {**_MODELS[model], "counts": ",".join(map(str, trained_on))}
  return f"{_CONFIG}:" + ",".join(f"{k}={v}" for k, v in settings.items())


def _read(path: pathlib.Path) -> dict[_Key, dict[str, Any]]:
  """Returns the results of a file, by what names them."""
  if not path.exists():
    return {}
  try:
    results = json.loads(path.read_text("utf-8"))
    return {_key_of(result): result for result in results}
  except (ValueError, KeyError, TypeError) as error:
    raise launcher.UsageError(
      f"out holds {path}, which is not of this binary; expected another --out,"
      " or to move it away"
    ) from error


def _key_of(result: Mapping[str, Any]) -> _Key:
  values = [result[name] for name in _KEYS]
  return _Key(*(tuple(v) if isinstance(v, list) else v for v in values))


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
  known: Mapping[_Key, Any],
) -> dict[_Key, dict[str, Any]]:
  """Returns the accuracies of a run at its checkpoints that are not known yet.

  Those of the last are on all test images, those before on as many as an early
  evaluation of training has.

  Args:
    model: its name.
    trained_on: the numbers of objects in its training images.
    run: to be tested.
    tests: the images.
    known: results before.
  """
  paths = trained.checkpoints_at(run, ())
  last = max(paths)
  results = {}
  for iteration, path in paths.items():
    sets = [trained_on, *((count,) for count in _UNSEEN[trained_on])]
    keys = [
      _Key(model, trained_on, counts, run.air.training.seed, iteration)
      for counts in sets
    ]
    if path is None or known.keys() >= set(keys):
      continue
    evaluator = evaluation.Evaluator(trained.model_at(run, path))
    for key in keys:
      split = tests.of(run, key.tested_on)
      if iteration < last:
        split = split.first(_CURVE_IMAGES)
      found = evaluator.evaluate(split.images, iteration, run.air.training.seed)
      results[key] = {
        **key._asdict(),
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
    results: of any iterations; of each run, the last counts.
  """
  rows = [
    f"{'model':6}{'trained on':12}{'tested on':11}{'seeds':>5}"
    f"  {'most probable n, %':24}{'sampled n, %':24}"
  ]
  for (model, trained_on, tested_on), seeds in _by_seed(results).items():
    ends = [
      at_iterations[max(at_iterations)] for at_iterations in seeds.values()
    ]
    cells = []
    for name in ("count_accuracy_mode", "count_accuracy"):
      values = [100 * end[name] for end in ends]
      cells.append(
        f"{np.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"
      )
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
  for result in results:
    key = _key_of(result)
    seeds = ordered.setdefault(key[:3], {})
    seeds.setdefault(key.seed, {})[key.iterations] = result
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
  results = _read(numbers)
  variants = list(itertools.product(_UNSEEN, _MODELS))
  status = runner.run(
    [config_of(model, trained_on) for trained_on, model in variants],
    flag_values,
  )
  if status > 1:  # stopped by a signal
    return status
  tests = _Tests(flag_values)
  drawn: dict[str, outputs.AIROutput] = {}
  for trained_on, model in variants:
    config = config_of(model, trained_on)
    for seed in flag_values.seeds:
      folder = plan.folder_of(config, seed, out.resolve())
      if not runs.exists(folder):  # it crashed at its very start
        continue
      run = runs.load(folder)
      with Task(f"testing {folder}"):
        results |= test(model, trained_on, run, tests, results)
      files.write_json(numbers, [results[key] for key in sorted(results)])
      if trained_on == _DRAWN_TRAINED_ON and model not in drawn:
        drawn[model] = _infer(run, tests)
  print(table(list(results.values())))
  figures.save(curves(list(results.values())), figure)
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
