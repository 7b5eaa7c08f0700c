"""Opening a run's folder to train in it: a new one, or one to go on with."""

import contextlib
import dataclasses
import fcntl
import itertools
import os
import pathlib
import secrets
from collections.abc import Iterator
from typing import TextIO

from absl import flags
from etils import epy

from air.errors import DivergedError, RunError
from air.storage import files, run_folder
from data.dataset import Dataset
from experiments.common import launcher, machine, runs
from experiments.common.launcher import UsageError

with epy.lazy_imports():
  from air.storage import checkpoints
  from air.training import Trainer

# What is said of a folder whose lock is taken.
BUSY = "in which another process is training"
_LOCK = ".lock"


class Opened:
  """A run's folder, which one process has to itself.

  Attributes:
    run: in the folder, with its identity.
  """

  def __init__(self, run: runs.Run, lock: TextIO):
    """Writes what describes the run.

    Args:
      run: with its identity.
      lock: the locked file in its folder.
    """
    self.run = run
    self._lock = lock
    self._describe()

  def _describe(self) -> None:
    run = self.run
    run_folder.write_config(
      run.folder,
      run.air,
      data=dataclasses.asdict(run.data),
      jit_compile=run.jit_compile,
      digit_source=run.digit_source,
      data_digest=run.data_digest,
      id=run.id,
      saved=run.saved,
      machine=machine.describe(),
    )

  def check(self) -> None:
    """Checks that the folder is still there; call it before you write.

    Raises:
      RunError: if it was removed or moved, perhaps with another in its place.
    """
    _check_locked(self.run.folder, self._lock)

  def save(
    self, trainer: Trainer, keep: int = 3, seconds: float = 0.0
  ) -> pathlib.Path:
    """Saves a checkpoint of the run, see `checkpoints.save`.

    Raises:
      RunError: see `check`.
    """
    self.check()
    path = checkpoints.save(
      self.run.checkpoints, trainer, keep, seconds, self.run.id
    )
    if not self.run.saved:
      self.run = dataclasses.replace(self.run, saved=True)
      self._describe()
    return path


@contextlib.contextmanager
def opened(run: runs.Run, flag_values: flags.FlagValues) -> Iterator[Opened]:
  """Has the run's folder to itself, new or to be gone on with.

  Args:
    run: see `runs.describe`.
    flag_values: that it was made of.

  Yields:
    The folder, which then holds what describes the run.

  Raises:
    UsageError: if the folder holds a run with other settings or without its
      checkpoints, or something that is not a run, or if another process is
      training in it.
    RunError: if the folder is removed or moved just now.
  """
  folder = run.folder
  check_usable(folder)
  folder.mkdir(parents=True, exist_ok=True)
  with _locked(folder) as lock:
    run_id = ""
    if runs.exists(folder):
      before = runs.load(folder)
      check_same(before, run)
      run_id = before.id
    run = dataclasses.replace(
      run,
      id=run_id or secrets.token_hex(8),
      saved=bool(checkpoints.find(run.checkpoints)),
    )
    files.remove_partial(folder)
    run.diverged.unlink(missing_ok=True)
    mine = Opened(run, lock)
    files.write_text(folder / "flags.txt", runs.flags_text(flag_values))
    try:
      yield mine
    except DivergedError as error:
      mine.check()
      files.write_text(run.diverged, f"{error}\n")
      raise


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[TextIO]:
  """Yields the locked file of a folder in which nobody else may train."""
  path = folder / _LOCK
  with open(path, "a", encoding="utf-8") as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise UsageError(f"run_dir is {folder}, {BUSY}") from None
    except OSError as error:  # of a file system without locks, for example
      raise OSError(
        error.errno, f"cannot be locked: {error.strerror}", str(path)
      ) from error
    _check_locked(folder, lock)
    yield lock


def _check_locked(folder: pathlib.Path, lock: TextIO) -> None:
  """Raises a RunError if the lock is not that of the folder of this name."""
  try:
    there = os.stat(folder / _LOCK)
  except (FileNotFoundError, NotADirectoryError):
    there = None
  if there is None or not os.path.samestat(there, os.fstat(lock.fileno())):
    raise RunError(
      f"run_dir is {folder}, which was removed, moved or replaced while this"
      " process trained in it; it writes nothing more"
    )


def move_aside(folder: pathlib.Path) -> pathlib.Path:
  """Moves a run's folder to a name that is free, `FOLDER.old-N`, at once.

  Args:
    folder: of a run, in which no other process trains.

  Returns:
    Where it is now.

  Raises:
    UsageError: if another process trains in it, or this one works in it.
  """
  folder = folder.absolute()
  if pathlib.Path.cwd().is_relative_to(folder.resolve()):
    raise UsageError(
      f"run_dir is {folder}, the current folder, which cannot be moved aside"
    )
  with _locked(folder):
    for number in itertools.count(1):
      aside = folder.with_name(f"{folder.name}.old-{number}")
      if not os.path.lexists(aside):
        os.rename(folder, aside)
        return aside
  raise AssertionError("there is always another number")


def check_usable(folder: pathlib.Path) -> None:
  """Checks that a run can be in a folder; touches nothing.

  Args:
    folder: of a run, or one that is empty or not there yet.

  Raises:
    UsageError: if something else is there, or a run without its checkpoints.
    RunError: if it is a run that this version cannot read; or ConfigError.
  """
  launcher.output_folder("run_dir", str(folder))
  if runs.exists(folder):
    _check_not_lost(runs.load(folder))
    return
  if not folder.exists():
    return
  # What is there before a run's first file.
  if not all(
    path.name in (_LOCK, runs.LOG) or path.name.startswith(files.PARTIAL)
    for path in folder.iterdir()
  ):
    raise UsageError(
      f"run_dir is {folder}, which exists and holds no run; expected a run's"
      " folder, an empty one or a new one"
    )


def _check_not_lost(run: runs.Run) -> None:
  """Checks that a run still has the checkpoints that it had.

  They are lost if there is none although config.json notes that one was saved:
  a disk is not mounted, or somebody has removed them. To begin anew would then
  remove the run's results. A run that was killed before its first checkpoint
  has no such note and does begin anew. Of a run that is older than the note, an
  evaluation after iteration 0 is taken for one.

  Args:
    run: as it is in its folder.

  Raises:
    UsageError: if they are lost.
  """
  path = run.checkpoints
  if checkpoints.find(path):
    return
  saved = run.saved
  if saved is None:
    evaluations = [*run.read_metrics(), run.read_evaluation()]
    saved = any(e.get("iteration", 0) > 0 for e in evaluations)
  if saved or (os.path.lexists(path) and not path.is_dir()):
    raise UsageError(
      f"run_dir is {run.folder}, whose run has lost its checkpoints: there is"
      f" none in {path}; bring them back, or begin anew with --restart, which"
      " moves the old run aside"
    )


def check_same(before: runs.Run, now: runs.Run) -> None:
  """Checks that nothing that changes a run's numbers has changed.

  Args:
    before: the run in the folder.
    now: the run that is to go on there.

  Raises:
    UsageError: if something has; it names the flags.
  """
  settings_before, settings_now = before.settings(), now.settings()
  changed = [
    f"--{name}={settings_now[name]} (was {settings_before[name]})"
    for name in settings_now
    if settings_now[name] != settings_before[name]
  ]
  if changed:
    raise UsageError(
      f"run_dir is {now.folder}, whose run was started with other flags: "
      + ", ".join(changed)
      + "; expected the same flags or another folder"
    )
  _check_digest(before, now.digit_source, now.data_digest)


def check_images(run: runs.Run, dataset: Dataset) -> None:
  """Checks that these are the images that the run was trained on.

  Args:
    run: a run.
    dataset: as its configuration gives it now.

  Raises:
    UsageError: if they are others, for example because MNIST is not at hand.
  """
  _check_digest(run, dataset.digit_source, runs.digest(dataset))


def _check_digest(run: runs.Run, digit_source: str, data_digest: str) -> None:
  if run.data_digest != data_digest:
    raise UsageError(
      f"run_dir is {run.folder}, whose run was started on other images (from"
      f" {run.digit_source}, now {digit_source}); expected the same --mnist,"
      " --omniglot or --data, or another --run_dir"
    )
