"""What is kept of a run: one line of JSON, made from the run's folder.

config, seed     what names the run
flags            of experiments.train, all of them
evaluations      on the validation images while it trained, and at its end on
                 the test images, these with the confusion matrix
iterations_to    {"90": ..., "95": ..., "98": ...}: of the first evaluation at
                 which the most probable count was right for so many percent of
                 the validation images; null: of none
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
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from air import files
from experiments import runs
from experiments.launcher import UsageError

# The sampled counting accuracy from which on a run is a success.
SUCCESS = 0.98
_PERCENTAGES = (90, 95, 98)
_KEYS = {
  *("config", "seed", "evaluations", "failure"),
  *("iterations_to", "seconds_to"),
}
_KEYS_OF_EVALUATION = {"iteration", "split"}
# Of the evaluation on test images, where their counts are known.
_KEYS_OF_END = {
  *("elbo", "count_accuracy", "count_accuracy_mode"),
  *("count_accuracy_per_count", "count_confusion"),
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
  """
  flags: list[str] = []
  curve: list[dict[str, Any]] = []
  final: list[dict[str, Any]] = []
  machine = failure = None
  if (folder / "config.json").exists():
    run = runs.load(folder)
    # Where images are cached is nobody else's business.
    flags = [
      flag
      for flag in (folder / "flags.txt").read_text("utf-8").splitlines()
      if not flag.startswith("--data_cache=")
    ]
    curve = [e for e in run.read_metrics() if math.isfinite(e["elbo"])]
    if error is None:
      final = [json.loads(run.evaluation.read_text("utf-8"))]
      failure = failure_mode(final[0])
    config_json = json.loads((folder / "config.json").read_text("utf-8"))
    machine = config_json.get("machine")
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


def end(record: Mapping[str, Any]) -> dict[str, Any] | None:
  """Returns a run's evaluation on the test images; None: it has none."""
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


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the records in a file.

  Args:
    path: of the file.

  Raises:
    UsageError: if a line is not a record.
  """
  records = []
  lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
  for number, line in enumerate(lines, start=1):
    try:
      record = json.loads(line)
    except ValueError:
      record = None
    if not _is_record(record):
      raise UsageError(
        f"{path}, line {number} is not a record of a run; expected what"
        " experiments.sweep writes"
      )
    records.append(record)
  return records


def _is_record(record: Any) -> bool:
  """Returns whether what stands in a line is a record, as far as it is used."""
  if not isinstance(record, dict) or not record.keys() >= _KEYS:
    return False
  reached = [record["iterations_to"], record["seconds_to"]]
  if not all(isinstance(r, dict) and r.keys() >= {"98"} for r in reached):
    return False
  evaluations = record["evaluations"]
  if not isinstance(evaluations, list) or not all(
    isinstance(e, dict) and e.keys() >= _KEYS_OF_EVALUATION for e in evaluations
  ):
    return False
  found = end(record)
  return found is None or found.keys() >= _KEYS_OF_END


def update(path: pathlib.Path, records: Iterable[Mapping[str, Any]]) -> None:
  """Adds records to a file, in place of those of the same runs.

  Args:
    path: of the file, which is made if need be.
    records: to be added.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  # Sweeps that run at the same time may share the file.
  with open(path.with_name(f".{path.name}.lock"), "w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    before = read(path) if path.exists() else []
    by_run = {(r["config"], r["seed"]): r for r in (*before, *records)}
    lines = [json.dumps(by_run[key]) + "\n" for key in sorted(by_run)]
    files.write_text(path, "".join(lines))
