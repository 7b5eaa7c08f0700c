"""Opening a run's folder to train in it: a new one, or one to go on with."""

import contextlib
import dataclasses
import fcntl
import pathlib
from collections.abc import Iterator

from absl import flags

from air.errors import DivergedError
from air.storage import files, run_folder
from data.dataset import Dataset
from experiments.common import launcher, machine, runs
from experiments.common.launcher import UsageError

# What is said of a folder whose lock is taken.
BUSY = "in which another process is training"
_LOCK = ".lock"


@contextlib.contextmanager
def opened(run: runs.Run, flag_values: flags.FlagValues) -> Iterator[None]:
  """Has the run's folder to itself, new or to be gone on with.

  Args:
    run: see `runs.describe`.
    flag_values: that it was made of.

  Yields:
    Nothing; the folder then holds what describes the run.

  Raises:
    UsageError: if the folder holds a run with other settings, or something
      that is not a run, or if another process is training in it.
  """
  folder = run.folder
  check_usable(folder)
  folder.mkdir(parents=True, exist_ok=True)
  with open(folder / _LOCK, "a", encoding="utf-8") as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise UsageError(f"run_dir is {folder}, {BUSY}") from None
    if runs.exists(folder):
      check_same(runs.load(folder), run)
    files.remove_partial(folder)
    run.diverged.unlink(missing_ok=True)
    run_folder.write_config(
      folder,
      run.air,
      data=dataclasses.asdict(run.data),
      jit_compile=run.jit_compile,
      digit_source=run.digit_source,
      data_digest=run.data_digest,
      machine=machine.describe(),
    )
    files.write_text(folder / "flags.txt", runs.flags_text(flag_values))
    try:
      yield
    except DivergedError as error:
      files.write_text(run.diverged, f"{error}\n")
      raise


def check_usable(folder: pathlib.Path) -> None:
  """Checks that a run can be in a folder; touches nothing.

  Args:
    folder: of a run, or one that is empty or not there yet.

  Raises:
    UsageError: if something else is there.
    RunError: if it is a run that this version cannot read; or ConfigError.
  """
  launcher.output_folder("run_dir", str(folder))
  if runs.exists(folder):
    runs.load(folder)
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
      f" {run.digit_source}, now {digit_source}); expected the same --mnist or"
      " --data, or another --run_dir"
    )
