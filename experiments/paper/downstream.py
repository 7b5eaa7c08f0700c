r"""Trains classifiers on the codes of trained models, and on what rivals them.

  python -m experiments.paper.downstream --run_dirs=runs/default,runs/dair

Two tasks, on images of exactly two digits: their sum (19 answers), and whether
they ascend from left to right (equal ones do not). The images are as those that
the runs were trained on, but for their counts. Training, validation and test
images have digits of their own.

A run whose steps observe the difference is called DAIR, any other AIR. Of
several runs of a model, seed s uses the run s modulo their number. The methods
read:

AIR, DAIR        z_what and z_where of two steps, with the most probable n; the
                 weights of the model stay. In training they are samples of the
                 posterior, in tests its means
AIR-sampled, ... the same, with a sampled n
AIR-tuned, ...   the same, with the most probable n; the weights of the model
                 are trained on
pixels           the image: a convolutional network
autoencoder      a convolutional auto-encoder's code, as large as that of both
                 steps, trained on the same images without labels; it stays
true-boxes       the pixels within the true boxes, and the boxes

What is seen of two objects is ordered from left to right. The settings of each
method are in methods.py; --search finds them, see docs/reproduce.md.

Prints the accuracies, the median over the seeds, and the share of the most
frequent answer. Writes downstream.json and
downstream.png, for one run to its folders analysis and figures, for several to
their common parent folder. What is in downstream.json is not computed again.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags
from etils import epy

from air.storage import files, run_folder
from data import command_line
from data.dataset import Dataset
from experiments.common import kept, launcher, runs, trained
from experiments.common.launcher import UsageError
from experiments.common.outputs import Outputs
from experiments.common.progress import Task
from experiments.paper import tasks
from experiments.sweeps import plan

with epy.lazy_imports():
  from air.viz import charts, figures
  from experiments.paper import methods

_LABELS = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)
_TITLES = {
  "sum": "sum of the digits",
  "ascending": "ascending from left to right",
}
_MOST_FREQUENT = "most frequent answer"
_OUTPUTS = Outputs("downstream")


class _Key(NamedTuple):
  """What names a result."""

  method: str
  task: str
  labels: int
  seed: int
  trial: int


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  options = {"flag_values": flag_values, "module_name": "run"}
  runs.define_run_dirs_flag(flag_values)
  _OUTPUTS.define_flags(flag_values)
  flags.DEFINE_enum(
    "split", "test", ["test", "validation"], "images to test on", **options
  )
  flags.DEFINE_integer(
    "num_images", 50_000, "images with labels", lower_bound=1, **options
  )
  command_line.define_tuple_flag(
    int,
    name="labels",
    default=(),
    help="how many labels a classifier is given; empty: 50, 100, 200, 500, and"
    " so on, to 50,000",
    **options,
  )
  flags.DEFINE(
    plan.SeedsParser(),
    "seeds",
    "0-4",
    "of classifiers, and of the choice of labels: 0-4, or 0,3,7-9",
    **options,
  )
  flags.DEFINE_list(
    "methods", [], "names of methods, see above; empty: all", **options
  )
  flags.DEFINE_list(
    "tasks", list(tasks.NUM_ANSWERS), "sum, ascending, or both", **options
  )
  flags.DEFINE_bool(
    "search",
    False,
    "try all settings, for each method the same ones, and draw nothing; needs"
    " --split=validation",
    **options,
  )
  trained.define_dataset_flags(flag_values)
  delattr(flag_values, "data")


def load_models(
  folders: Sequence[pathlib.Path],
) -> dict[str, list[methods.Model]]:
  """Returns the runs by the name of their model.

  Args:
    folders: of the runs.

  Raises:
    UsageError: if one cannot be used, or if they are of different images.
  """
  models: dict[str, list[methods.Model]] = {}
  for folder in folders:
    run = runs.load(folder)
    runs.require_digits(run)
    if run.air.model.num_steps < 2:
      raise UsageError(
        f"run_dirs holds {folder}, whose model takes one step; expected at"
        " least two"
      )
    name = "AIR" if run.air.model.step_input == "image" else "DAIR"
    _, iteration = run_folder.restore_model(folder, run.air, run.id)
    models.setdefault(name, []).append(methods.Model(run, iteration))
  return dict(sorted(models.items()))


def load_images(
  models: Mapping[str, Sequence[methods.Model]], flag_values: flags.FlagValues
) -> Dataset:
  """Returns images of two digits, otherwise as those of all runs.

  Args:
    models: see `load_models`.
    flag_values: parsed.

  Raises:
    UsageError: if the runs differ in what their images look like, or if their
      digits are not at hand.
  """
  all_runs = [model.run for group in models.values() for model in group]
  changed: dict[str, Any] = {
    "counts": (tasks.NUM_OBJECTS,),
    "count_probs": (),
    "num_images": flag_values.num_images,
  }
  if flag_values.mnist is not None:
    changed["mnist"] = flag_values.mnist
  first, *others = (dataclasses.replace(r.data, **changed) for r in all_runs)
  for other, run in zip(others, all_runs[1:], strict=True):
    if other != first:
      raise UsageError(
        f"run_dirs holds {all_runs[0].folder} and {run.folder}, whose images"
        " differ in more than counts; expected runs on the same kind of images"
      )
  source = all_runs[0].digit_source
  dataset = runs.load_dataset(first, flag_values.data_cache, source)
  if any(run.digit_source != dataset.digit_source for run in all_runs):
    raise UsageError(
      f"run_dirs holds {all_runs[0].folder}, whose digits are from {source},"
      f" now {dataset.digit_source}; expected the same --mnist"
    )
  return dataset


def _read(path: pathlib.Path, of: Mapping[str, Any]) -> dict[_Key, kept.Result]:
  """Returns the results of a file.

  Args:
    path: of the file.
    of: what they must be results of.

  Raises:
    UsageError: if they are of something else.
  """
  if not path.exists():
    return {}
  try:
    found = json.loads(path.read_text("utf-8"))
    by_key = kept.by_key(found.pop("results"), _Key._fields)
    results = {_Key(*key): result for key, result in by_key.items()}
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise UsageError(
      f"json is {path}, which is not of this binary; expected another file"
    ) from error
  different = [name for name in of if found.get(name) != of[name]]
  if different:
    raise UsageError(
      f"json is {path}, whose results have other {' and '.join(different)};"
      " expected another file"
    )
  return results


def table(results: Sequence[Mapping[str, Any]]) -> str:
  """Returns the accuracies as lines of text, in per cent.

  Args:
    results: at least one.
  """
  labels = sorted({result["labels"] for result in results})
  names = {_name_of(result): None for result in results}
  width = max(map(len, [*names, _MOST_FREQUENT]))
  lines = []
  for task in dict.fromkeys(result["task"] for result in results):
    heads = "".join(f"{number:>8,}" for number in labels)
    lines.append(f"{f'{task}, labels':<{width}}{heads}")
    for name in names:
      cells = []
      for number in labels:
        accuracies = [
          result["accuracy"]
          for result in results
          if (_name_of(result), result["task"], result["labels"])
          == (name, task, number)
        ]
        cells.append(
          f"{100 * statistics.median(accuracies):8.1f}" if accuracies else "-"
        )
      lines.append(f"{name:<{width}}" + "".join(f"{c:>8}" for c in cells))
    share = _most_frequent(results, task)
    lines.append(f"{_MOST_FREQUENT:<{width}}{100 * share:8.1f}")
  return "\n".join(lines)


def _most_frequent(results: Sequence[Mapping[str, Any]], task: str) -> float:
  """Returns the share of a task's most frequent answer."""
  return next(r["most_frequent"] for r in results if r["task"] == task)


def best_trials(results: Sequence[Mapping[str, Any]]) -> str:
  """Returns each method's best trial, as lines of text.

  Args:
    results: of the same tasks, labels and seeds for all trials.
  """
  trials: dict[str, dict[str, list[float]]] = {}
  for result in results:
    of_method = trials.setdefault(result["method"], {})
    of_method.setdefault(_name_of(result), []).append(result["accuracy"])
  lines = []
  for of_method in trials.values():
    means = {
      name: statistics.mean(values) for name, values in of_method.items()
    }
    best = max(means, key=means.__getitem__)
    lines.append(f"best: {best}, mean accuracy {100 * means[best]:.2f} %")
  return "\n".join(lines)


def _name_of(result: Mapping[str, Any]) -> str:
  """Returns what a result's row is called: its method, or a trial of it."""
  if not result["trial"]:
    return result["method"]
  settings = ", ".join(f"{value:g}" for value in result["settings"].values())
  return f"{result['method']} ({settings})"


def draw(results: Sequence[Mapping[str, Any]]) -> figures.Figure:
  """Returns the accuracies over the number of labels.

  Args:
    results: at least one.
  """
  panels: dict[str, dict[str, dict[int, list[float]]]] = {}
  for result in sorted(results, key=lambda result: result["labels"]):
    curve = panels.setdefault(_TITLES[result["task"]], {})
    series = curve.setdefault(result["method"], {})
    series.setdefault(result["labels"], []).append(result["accuracy"])
  for task, title in _TITLES.items():
    if title in panels:
      labels = {n: None for series in panels[title].values() for n in series}
      share = _most_frequent(results, task)
      panels[title][_MOST_FREQUENT] = {number: [share] for number in labels}
  return charts.curves(
    panels,
    x_labels=dict.fromkeys(panels, "labels"),
    y_label="accuracy",
    references=[_MOST_FREQUENT],
    columns=len(panels),
    log_x=True,
  )


def _train(
  keys: Sequence[_Key],
  trainer: methods.Methods,
  keep: Callable[[_Key, dict[str, Any]], None],
) -> None:
  """Trains and tests classifiers.

  Args:
    keys: of their results.
    trainer: trains them.
    keep: takes the results.
  """
  known = methods.of_models(list(trainer.models))
  with Task("training classifiers", len(keys)) as progress:
    for key in keys:
      progress.doing = (
        f"training {key.method}, {key.task}, {key.labels:,} labels,"
        f" seed {key.seed}"
      )
      started = time.process_time()
      method = known[key.method]
      settings = methods.settings_of(method.kind, key.trial)
      accuracy = trainer.accuracy(
        method, key.task, key.labels, key.seed, settings
      )
      model = trainer.model_of(method, key.seed)
      keep(
        key,
        {
          **key._asdict(),
          "run": None if model is None else str(model.run.folder),
          "settings": settings._asdict(),
          "accuracy": accuracy,
          "most_frequent": trainer.most_frequent(key.task),
          "cpu_seconds": round(time.process_time() - started, 1),
        },
      )
      progress.advance()


def _check(flag_values: flags.FlagValues) -> None:
  """Checks the flags as far as that needs no runs.

  Args:
    flag_values: parsed.

  Raises:
    UsageError: if one cannot be.
  """
  labels = flag_values.labels or _LABELS
  most = flag_values.num_images
  if min(labels) < 1 or max(labels) > most:
    raise UsageError(
      f"labels is '{','.join(map(str, labels))}', expected numbers of 1 to"
      f" --num_images={most}"
    )
  if not flag_values.tasks or not set(flag_values.tasks) <= set(_TITLES):
    raise UsageError(
      f"tasks is '{','.join(flag_values.tasks)}', expected some of"
      f" {', '.join(_TITLES)}"
    )
  if flag_values.search and flag_values.split != "validation":
    raise UsageError(
      "search is true, expected --split=validation with it: nothing is chosen"
      " on test images"
    )


def main(flag_values: flags.FlagValues) -> None:
  """Trains the classifiers that are missing; prints, draws and writes."""
  _check(flag_values)
  folders = [launcher.expanded("run_dirs", f) for f in flag_values.run_dirs]
  runs.names("run_dirs", folders)  # says so if one is there twice
  figure, numbers = _OUTPUTS.files(flag_values, folders)
  models = load_models(folders)
  known = methods.of_models(list(models))
  names = flag_values.methods or list(known)
  if not known.keys() >= set(names):
    raise UsageError(
      f"methods is '{','.join(names)}', expected some of {', '.join(known)}"
    )
  of = {
    "split": flag_values.split,
    "num_images": flag_values.num_images,
    "runs": {
      name: [
        {
          "run": str(model.run.folder),
          "id": model.run.id,
          "iteration": model.iteration,
        }
        for model in group
      ]
      for name, group in models.items()
    },
  }
  results = _read(numbers, of)
  trials = range(1, methods.NUM_TRIALS + 1) if flag_values.search else (0,)
  asked = [
    _Key(name, task, labels, seed, trial)
    for seed in flag_values.seeds
    for name in names
    for trial in trials
    for task in flag_values.tasks
    for labels in flag_values.labels or _LABELS
  ]

  def keep(key: _Key, result: dict[str, Any]) -> None:
    results[key] = result
    files.write_json(numbers, {**of, "results": list(results.values())})

  def is_known(key: _Key) -> bool:
    kind = known[key.method].kind
    settings = methods.settings_of(kind, key.trial)._asdict()
    return key in results and results[key]["settings"] == settings

  missing = [key for key in asked if not is_known(key)]
  if missing:
    dataset = load_images(models, flag_values)
    held_out = getattr(dataset, flag_values.split)
    _train(missing, methods.Methods(models, dataset.train, held_out), keep)
  shown = [result for key, result in results.items() if key.trial in trials]
  print(table(shown))
  if flag_values.search:
    print(best_trials(shown))
  else:
    figures.save(draw(shown), figure)
    print(f"figure:  {figure}")
  print(f"numbers: {numbers}")


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
