"""Checkpoints: saved whole or not at all, verified before they are used.

A checkpoint is a folder `iteration-NNNNNNNNN` with TensorFlow's files,
`clock.json`, how long training took up to there, and `manifest.json`, the
SHA-256 of each. The folder gets its name by a rename once everything in it is
on disk.
"""

import hashlib
import json
import pathlib
import re
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from air.errors import CheckpointError, DivergedError
from air.model import AIRModel
from air.storage import files
from air.training import Trainer

_NAME = re.compile(r"iteration-(\d{9})")
_PREFIX = "state"
_CLOCK = "clock.json"
_MANIFEST = "manifest.json"
# Another OSError may pass, and the checkpoint be good.
_NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


def save(
  folder: pathlib.Path, trainer: Trainer, keep: int = 3, seconds: float = 0.0
) -> pathlib.Path:
  """Saves the state of training.

  Args:
    folder: of the checkpoints.
    trainer: to be saved.
    keep: how many checkpoints to keep; older ones are removed.
    seconds: that training took up to here.

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
  """Returns the checkpoints in the folder, the newest first."""
  if not folder.is_dir():
    return []
  found = [p for p in folder.iterdir() if _NAME.fullmatch(p.name)]
  return sorted(found, key=lambda p: p.name, reverse=True)


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
  if not path.exists():
    return 0.0
  return json.loads(path.read_text(encoding="utf-8"))["seconds"]


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
    sums = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
    present = {p.name for p in path.iterdir()} - {_MANIFEST}
    damaged = sorted(present ^ set(sums))
    damaged += [
      name
      for name in sorted(present & set(sums))
      if _sha256(path / name) != sums[name]
    ]
  except (*_NOT_THERE, ValueError, TypeError) as error:
    raise CheckpointError(f"checkpoint {path} is incomplete") from error
  if damaged or not sums:
    raise CheckpointError(
      f"checkpoint {path} is damaged: {', '.join(damaged) or 'no files'}"
    )


def restore(path: pathlib.Path, target: Trainer | AIRModel) -> None:
  """Restores the whole state of training, or of the model alone.

  Args:
    path: of a checkpoint.
    target: its variables are overwritten.

  Raises:
    CheckpointError: if the checkpoint is damaged or of another model.
    OSError: if it cannot be read.
  """
  verify(path)
  prefix = str(path / _PREFIX)
  with files.tensorflow_errors(path):
    try:
      if isinstance(target, Trainer):
        checkpoint = tf.train.Checkpoint(trainer=target)
        checkpoint.read(prefix).assert_consumed()
      else:
        part = tf.train.Checkpoint(trainer=tf.train.Checkpoint(model=target))
        status = part.read(prefix).assert_existing_objects_matched()
        status.expect_partial()
    except (
      AssertionError,
      ValueError,
      tf.errors.InvalidArgumentError,
      tf.errors.NotFoundError,
    ) as error:
      raise CheckpointError(f"checkpoint {path} is of another model") from error


def restore_newest(
  folder: pathlib.Path,
  target: Trainer | AIRModel,
  warn: Callable[[str], None],
) -> int | None:
  """Restores the newest checkpoint that is whole.

  Args:
    folder: of the checkpoints.
    target: its variables are overwritten.
    warn: called with a message about each damaged checkpoint passed over.

  Returns:
    Its iteration; None if there is no checkpoint at all.

  Raises:
    CheckpointError: if there are checkpoints but none of them is good.
    OSError: if one cannot be read; an older one is not taken then.
  """
  found = find(folder)
  for path in found:
    try:
      restore(path, target)
    except CheckpointError as error:
      warn(f"{error}; trying the one before it")
    else:
      return iteration_of(path)
  if found:
    raise CheckpointError(f"none of the checkpoints in {folder} is good")
  return None


def _sha256(path: pathlib.Path) -> str:
  digest = hashlib.sha256()
  with open(path, "rb") as file:
    while block := file.read(1 << 20):
      digest.update(block)
  return digest.hexdigest()
