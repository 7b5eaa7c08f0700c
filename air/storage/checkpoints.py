"""Checkpoints: saved whole or not at all, verified before they are used.

A checkpoint is a folder `iteration-NNNNNNNNN` with TensorFlow's files,
`clock.json`, how long training took up to there, `run.json`, the identity of
the run and its configuration, and `manifest.json`, the SHA-256 of each. The
folder gets its name by a rename once everything in it is on disk.
"""

import dataclasses
import hashlib
import logging
import os
import pathlib
import re
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from air.config import AIRConfig
from air.errors import CheckpointError, DivergedError
from air.model import AIRModel
from air.storage import files
from air.training import Trainer

_NAME = re.compile(r"iteration-(\d{9})")
_PREFIX = "state"
_CLOCK = "clock.json"
_RUN = "run.json"
_MANIFEST = "manifest.json"
# What of a configuration the model alone depends on.
_OF_MODEL = ("model", "prior")
# Another OSError may pass, and the checkpoint be good.
_NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class _DamagedError(CheckpointError):
  """Not all of it is there as it was saved; the one before it may be good."""


def save(
  folder: pathlib.Path,
  trainer: Trainer,
  keep: int = 3,
  seconds: float = 0.0,
  run_id: str = "",
) -> pathlib.Path:
  """Saves the state of training.

  Args:
    folder: of the checkpoints.
    trainer: to be saved.
    keep: how many checkpoints to keep; older ones are removed.
    seconds: that training took up to here.
    run_id: of the run; empty: of none.

  Returns:
    The checkpoint's folder.

  Raises:
    DivergedError: if a variable is not finite; nothing is written.
    OSError: if it cannot be written; what was there before is kept.
  """
  path = folder / _name(int(trainer.iteration.numpy()))
  broken = [
    v.name
    for v in trainer.variables
    if v.dtype.is_floating and not np.all(np.isfinite(v.numpy()))
  ]
  if broken:
    raise DivergedError(f"not saved, for {broken[0]} is not finite")
  folder.mkdir(parents=True, exist_ok=True)
  files.remove_partial(folder)
  # One of the same iteration may be there, perhaps damaged.
  with files.new_folder(path, replace=True) as temporary:
    with files.tensorflow_errors(path):
      tf.train.Checkpoint(trainer=trainer).write(str(temporary / _PREFIX))
    files.write_json(temporary / _CLOCK, {"seconds": seconds})
    identity = {"id": run_id, "air": dataclasses.asdict(trainer.config)}
    files.write_json(temporary / _RUN, identity)
    sums = {file.name: _sha256(file) for file in sorted(temporary.iterdir())}
    files.write_json(temporary / _MANIFEST, sums)
  # Newer ones were passed over as damaged when the run went on from an older.
  others = [p for p in find(folder) if p != path]
  newer = [p for p in others if p.name > path.name]
  older = [p for p in others if p.name < path.name]
  for obsolete in [*newer, *older[keep - 1 :]]:
    files.remove_folder(obsolete)
  return path


def find(folder: pathlib.Path) -> list[pathlib.Path]:
  """Returns the checkpoints in the folder, the newest first.

  Links to folders are some too; files of such a name are none.
  """
  if not folder.is_dir():
    return []
  with os.scandir(folder) as entries:  # which need not be asked what they are
    names = [e.name for e in entries if _NAME.fullmatch(e.name) and e.is_dir()]
  return [folder / name for name in sorted(names, reverse=True)]


def iteration_of(path: pathlib.Path) -> int:
  """Returns the iteration that a checkpoint's name says."""
  match = _NAME.fullmatch(path.name)
  if match is None:
    raise ValueError(f"{path} is not the name of a checkpoint")
  return int(match[1])


def seconds_at(folder: pathlib.Path, iteration: int) -> float:
  """Returns how long training took up to a checkpoint.

  Args:
    folder: of the checkpoints.
    iteration: of a checkpoint there, which has been verified.

  Returns:
    Seconds; 0 if it was saved by a version that did not note them.
  """
  path = folder / _name(iteration) / _CLOCK
  return files.read_json(path)["seconds"] if path.exists() else 0.0


def _name(iteration: int) -> str:
  return f"iteration-{iteration:09d}"


def verify(path: pathlib.Path) -> None:
  """Checks every file against the manifest.

  Args:
    path: of a checkpoint.

  Raises:
    CheckpointError: if a file is missing, truncated or altered.
    OSError: if it cannot be read, which says nothing of the checkpoint.
  """
  try:
    sums = files.read_json(path / _MANIFEST)
    present = {p.name for p in path.iterdir()} - {_MANIFEST}
    damaged = sorted(present ^ set(sums))
    damaged += [
      name
      for name in sorted(present & set(sums))
      if _sha256(path / name) != sums[name]
    ]
  except (*_NOT_THERE, ValueError) as error:
    raise _DamagedError(f"checkpoint {path} is incomplete") from error
  if damaged or not sums:
    raise _DamagedError(
      f"checkpoint {path} is damaged: {', '.join(damaged) or 'no files'}"
    )


def restore(
  path: pathlib.Path, target: Trainer | AIRModel, run_id: str = ""
) -> None:
  """Restores the whole state of training, or of the model alone.

  Args:
    path: of a checkpoint.
    target: its variables are overwritten.
    run_id: of the run that it must be of; empty: of any.

  Raises:
    CheckpointError: if the checkpoint is damaged, of another run or model, or
      of other settings.
    OSError: if it cannot be read.
  """
  verify(path)
  _check_identity(path, target, run_id)
  status = None
  with files.tensorflow_errors(path), files.restorable(path) as folder:
    prefix = str(folder / _PREFIX)
    try:
      if isinstance(target, Trainer):
        status = tf.train.Checkpoint(trainer=target).read(prefix)
        status.assert_consumed()
      else:
        part = tf.train.Checkpoint(trainer=tf.train.Checkpoint(model=target))
        status = part.read(prefix)
        status.assert_existing_objects_matched()
    except (
      AssertionError,
      ValueError,
      tf.errors.InvalidArgumentError,
      tf.errors.NotFoundError,
    ) as error:
      tf.get_logger().addFilter(_is_worth_a_line)
      raise CheckpointError(f"checkpoint {path} is of another model") from error
    finally:
      if status is not None:  # else TensorFlow logs each value left over
        status.expect_partial()


def _is_worth_a_line(record: logging.LogRecord) -> bool:
  """Returns whether TensorFlow logs more than a value that it did not restore.

  Once a restoration has failed, it logs each when it drops the checkpoint.
  """
  return record.funcName != "__del__"


def _check_identity(
  path: pathlib.Path, target: Trainer | AIRModel, run_id: str
) -> None:
  """Checks whose checkpoint it is, if a version saved it that noted that."""
  try:
    found = files.read_json(path / _RUN)
    saved_id, saved = found["id"], AIRConfig.from_dict(found["air"])
  except FileNotFoundError:
    return
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise CheckpointError(
      f"checkpoint {path} is of another version: {error}"
    ) from error
  if run_id and saved_id != run_id:
    raise CheckpointError(
      f"checkpoint {path} is of another run; expected those of this one alone"
    )
  parts = [field.name for field in dataclasses.fields(AIRConfig)]
  for part in parts if isinstance(target, Trainer) else _OF_MODEL:
    before, now = getattr(saved, part), getattr(target.config, part)
    changed = [
      f"{field.name}={getattr(now, field.name)}"
      f" (was {getattr(before, field.name)})"
      for field in dataclasses.fields(before)
      if getattr(before, field.name) != getattr(now, field.name)
    ]
    if changed:
      raise CheckpointError(
        f"checkpoint {path} is of another model, with other settings than"
        f" {', '.join(changed)}"
      )


def restore_newest(
  folder: pathlib.Path,
  target: Trainer | AIRModel,
  warn: Callable[[str], None],
  run_id: str = "",
) -> int | None:
  """Restores the newest checkpoint that is whole.

  Another process may be training: what it removes meanwhile it has replaced.

  Args:
    folder: of the checkpoints.
    target: its variables are overwritten.
    warn: called with a message about each damaged checkpoint passed over.
    run_id: see `restore`.

  Returns:
    Its iteration; None if there is no checkpoint at all.

  Raises:
    CheckpointError: if there are checkpoints but none of them is good, or if
      one is of another run or model: it is not passed over, for training would
      in the end remove it.
    OSError: if one cannot be read; an older one is not taken then.
  """
  # While names change, a list of them may have neither the old nor the new.
  while found := find(folder) or find(folder):
    for path in found:
      try:
        restore(path, target, run_id)
      except (CheckpointError, OSError) as error:
        if not path.exists():
          continue
        if not isinstance(error, _DamagedError):
          raise
        warn(f"{error}; trying the one before it")
      else:
        return iteration_of(path)
    if find(folder) == found:
      raise CheckpointError(f"none of the checkpoints in {folder} is good")
  return None


def _sha256(path: pathlib.Path) -> str:
  digest = hashlib.sha256()
  with files.open_regular(path) as file:
    while block := file.read(1 << 20):
      digest.update(block)
  return digest.hexdigest()
