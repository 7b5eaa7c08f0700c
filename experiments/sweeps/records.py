"""What is kept of a run: one line of JSON, made from the run's folder.

config, seed     what names the run
flags            of experiments.train, all of them
evaluations      on the validation images while it trained, and at its end on
                 the test images, these with the confusion matrix
iterations_to    {"90": ..., "95": ..., "98": ...}: of the first evaluation at
                 which the most probable count was right for so many percent of
                 the validation images, or of the first of them where it was
                 an early one; null: of none
seconds_to       the same in seconds of training, start of the process included
iterations_to_sampled, seconds_to_sampled
                 the same of the count sampled from q(n|x)
failure          see `failure_mode`; "diverged": a number was not finite;
                 "crashed": the run ended for another reason; null: none
error            why the run did not come to its end; null: it did
machine          that it was trained on
"""

import fcntl
import json
import math
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from air.storage import files
from experiments.common import runs
from experiments.common.launcher import UsageError
from experiments.sweeps import plan

# The sampled counting accuracy from which on a run is a success.
SUCCESS = 0.98
_PERCENTAGES = (90, 95, 98)
_KEYS = {
  *("config", "seed", "evaluations", "failure"),
  *("iterations_to", "seconds_to"),
}
_KEYS_OF_EVALUATION = {"iteration", "split"}
_NUMBER = int | float
# Of the evaluation on test images, where their counts are known.
_NUMBERS_OF_END = ("elbo", "count_accuracy", "count_accuracy_mode")
_KEYS_OF_END = {
  *_NUMBERS_OF_END,
  *("count_accuracy_per_count", "count_confusion"),
}
# Flags that may differ between runs that are compared with each other.
_SAME_NUMBERS = {
  *("iterations", "eval_every", "figure_every", "checkpoint_every"),
  *("keep_checkpoints", "data_cache", "mnist", "jit_compile", "nojit_compile"),
  *("seed", "hparams"),
}


def make(
  folder: pathlib.Path, config: str, seed: int, error: str | None = None
) -> dict[str, Any]:
  """Returns the record of a run.

  Args:
    folder: of the run; empty if it crashed at its very start.
    config: the name of its configuration.
    seed: of the run.
    error: why it did not come to its end; None: it did.

  Raises:
    UsageError: if its evaluation is damaged.
  """
  flags: list[str] = []
  curve: list[dict[str, Any]] = []
  final: list[dict[str, Any]] = []
  machine = failure = None
  if runs.exists(folder):
    run = runs.load(folder)
    # Where images are cached is nobody else's business.
    flags = [
      flag
      for flag in (folder / "flags.txt").read_text("utf-8").splitlines()
      if not flag.startswith("--data_cache=")
    ]
    curve = [e for e in run.read_metrics() if math.isfinite(e["elbo"])]
    if error is None:
      final = [run.read_evaluation()]
      if not _is_evaluation(final[0]):
        raise UsageError(f"{run.evaluation} is damaged")
      failure = failure_mode(final[0])
    machine = run.machine
    failure = "diverged" if run.diverged.exists() else failure
  return {
    "config": config,
    "seed": seed,
    "flags": flags,
    "evaluations": [*map(_without_confusion, curve), *final],
    "iterations_to": _first(curve, "iteration", "count_accuracy_mode"),
    "seconds_to": _first(curve, "seconds", "count_accuracy_mode"),
    "iterations_to_sampled": _first(curve, "iteration", "count_accuracy"),
    "seconds_to_sampled": _first(curve, "seconds", "count_accuracy"),
    "failure": failure or ("crashed" if error else None),
    "error": error,
    "machine": machine,
  }


def _without_confusion(evaluation: Mapping[str, Any]) -> dict[str, Any]:
  return {k: v for k, v in evaluation.items() if "confusion" not in k}


def _first(
  curve: Sequence[Mapping[str, Any]], name: str, accuracy: str
) -> dict[str, float | None]:
  """Returns what an evaluation says where an accuracy is first reached."""
  return {
    str(percentage): next(
      (e.get(name) for e in curve if e.get(accuracy, 0.0) >= percentage / 100),
      None,
    )
    for percentage in _PERCENTAGES
  }


def failure_mode(evaluation: Mapping[str, Any]) -> str | None:
  """Returns what goes wrong in an evaluation, by the sampled counts.

  The first of these that holds:

  None: at least 98 % of the counts are right, or the true ones are not known.
  "zero steps": more than half of the images with objects get no step.
  "over-counting": at least 90 % of the images with objects, but fewer than
    there are steps, get all steps.
  "merged digits": of the wrong counts, most are too small.
  "split digits": otherwise.

  Args:
    evaluation: see `air.evaluation.summarize`.
  """
  if evaluation.get("count_accuracy", 1.0) >= SUCCESS:
    return None
  if zero_steps(evaluation) > 0.5:
    return "zero steps"
  if all_steps(evaluation) >= 0.9:
    return "over-counting"
  confusion = np.array(evaluation["count_confusion"])
  true, inferred = np.indices(confusion.shape)
  too_small = confusion[inferred < true].sum()
  too_large = confusion[inferred > true].sum()
  return "merged digits" if too_small > too_large else "split digits"


def zero_steps(evaluation: Mapping[str, Any]) -> float:
  """Returns the share, of the images with objects, that get no step."""
  some = np.array(evaluation["count_confusion"])[1:]
  return float(some[:, 0].sum() / max(some.sum(), 1))


def all_steps(evaluation: Mapping[str, Any]) -> float:
  """Returns the share that get all steps.

  Args:
    evaluation: see `air.evaluation.summarize`; of its images with objects, but
      fewer than there are steps.
  """
  confusion = np.array(evaluation["count_confusion"])
  fewer = confusion[1 : confusion.shape[1] - 1]
  return float(fewer[:, -1].sum() / max(fewer.sum(), 1))


def ended(record: Mapping[str, Any]) -> bool:
  """Returns whether the run came to its end."""
  return any(e["split"] == "test" for e in record["evaluations"])


def end(record: Mapping[str, Any]) -> dict[str, Any] | None:
  """Returns a run's evaluation on the test images, with their counts.

  None: it did not come to its end, or their counts are not known.
  """
  for evaluation in record["evaluations"]:
    if evaluation["split"] == "test" and "count_accuracy" in evaluation:
      return evaluation
  return None


def series(record: Mapping[str, Any], key: str) -> dict[int, float]:
  """Returns a value over the iterations, on the validation images.

  Args:
    record: of a run.
    key: of an evaluation; those without it are left out.
  """
  return {
    e["iteration"]: e[key]
    for e in record["evaluations"]
    if e["split"] == "validation" and key in e
  }


def read_json(path: pathlib.Path) -> dict[str, Any]:
  """Returns the object that a file beside the records holds; {}: no file.

  Args:
    path: of the file.

  Raises:
    UsageError: if it is no object in JSON.
  """
  if not path.is_file():
    return {}
  try:
    return files.read_json(path)
  except ValueError as error:
    raise UsageError(f"results holds {path}, no JSON: {error}") from error


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the records in a file.

  Args:
    path: of the file.

  Raises:
    UsageError: if a line is not a record.
  """
  expected = "a record of a run; expected what experiments.sweep writes"
  return read_lines(path, _is_record, expected)


def read_lines(
  path: pathlib.Path, is_record: Callable[[Any], bool], expected: str
) -> list[Any]:
  """Returns what stands in the lines of a file, each of them JSON.

  Args:
    path: of the file.
    is_record: whether a line's content is what it should be.
    expected: what that is.

  Raises:
    UsageError: if a line's content is something else.
  """
  records = []
  lines = files.read_text(path, errors="replace").splitlines()
  for number, line in enumerate(lines, start=1):
    try:
      record = files.parse_json(line)
    except ValueError:
      record = {}
    if not is_record(record):
      raise UsageError(f"{path}, line {number} is not {expected}")
    records.append(record)
  return records


def _is_record(record: Any) -> bool:
  """Returns whether what stands in a line is a record, as far as it is used."""
  if not isinstance(record, dict) or not record.keys() >= _KEYS:
    return False
  if (type(record["config"]), type(record["seed"])) != (str, int):
    return False
  reached = [record["iterations_to"], record["seconds_to"]]
  if not all(
    isinstance(r, dict) and isinstance(r.get("98", ""), _NUMBER | None)
    for r in reached
  ):
    return False
  evaluations = record["evaluations"]
  return isinstance(evaluations, list) and all(map(_is_evaluation, evaluations))


def _is_evaluation(value: Any) -> bool:
  """Returns whether an evaluation has what it is used for."""
  if not isinstance(value, dict) or not value.keys() >= _KEYS_OF_EVALUATION:
    return False
  return (
    value["split"] != "test"
    or "count_accuracy" not in value
    or (
      value.keys() >= _KEYS_OF_END
      and all(isinstance(value[name], _NUMBER) for name in _NUMBERS_OF_END)
    )
  )


def changed(before: Iterable[str], now: Iterable[str]) -> list[str]:
  """Returns flags of a run that change its numbers and have another value.

  Flags that only one of the two knows are left out: they are newer.

  Args:
    before: flags, `--name=value`, `--name` or `--noname`.
    now: others; those that are returned.
  """
  old = {line.partition("=")[0]: line for line in before}
  found = []
  for line in now:
    flag = line.partition("=")[0]
    name = flag.removeprefix("--")
    opposite = f"--{name[2:]}" if name.startswith("no") else None
    was = old.get(flag) or old.get(f"--no{name}") or old.get(opposite or "")
    if was not in (None, line) and name not in _SAME_NUMBERS:
      found.append(line)
  return found


def check_same(path: pathlib.Path, sweep: Iterable[plan.SweepRun]) -> None:
  """Checks that no record is of a run of the same name with other flags.

  Args:
    path: of the records.
    sweep: the runs whose records are to be there.

  Raises:
    UsageError: if one is, or if a line is not a record.
  """
  before = {(r["config"], r["seed"]): r.get("flags", []) for r in read(path)}
  for run in sweep:
    flags = changed(before.get((run.config, run.seed), []), run.settings)
    if runs.exists(run.folder):
      # Where the images lie may change: they have been compared themselves.
      flags = [flag for flag in flags if not flag.startswith("--data=")]
    if flags:
      raise UsageError(
        f"results is {path}, whose record of {run.config}, seed {run.seed} has"
        f" other flags than {', '.join(flags)}; expected the same or another"
        " file"
      )


def update(path: pathlib.Path, records: Iterable[Mapping[str, Any]]) -> None:
  """Adds records to a file, in place of those of the same runs.

  That a run crashed does not replace that it has come to an end before.

  Args:
    path: of the file, which is made if need be.
    records: to be added.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  # Sweeps that run at the same time may share the file.
  with open(path.with_name(f".{path.name}.lock"), "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    before = read(path) if path.exists() else []
    by_run = {(r["config"], r["seed"]): r for r in before}
    for record in records:
      key = record["config"], record["seed"]
      crashed = record["failure"] == "crashed"
      if not (crashed and key in by_run and ended(by_run[key])):
        by_run[key] = record
    lines = [json.dumps(by_run[key]) + "\n" for key in sorted(by_run)]
    files.write_text(path, "".join(lines))
