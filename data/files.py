"""Files that are whole or not there, and output that is written or not."""

import contextlib
import glob
import os
import pathlib
import secrets
import sys
import time
from collections.abc import Iterator
from typing import BinaryIO

_STALE_SECONDS = 24 * 3600


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[BinaryIO]:
  """Opens a file that takes the place of `path` once the block succeeds.

  Makes the folder if need be. If the block fails, `path` stays as it was and
  nothing is left behind; what a killed process left of the same file is removed
  a day later.

  Args:
    path: the file to write.

  Yields:
    A file for reading and writing, under a name of this call's own.

  Raises:
    OSError: if the file cannot be written.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  _remove_stale(path)
  own = f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
  temporary = path.with_name(own)
  try:
    with open(temporary, "x+b") as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(OSError):
      temporary.unlink(missing_ok=True)
    raise


def flush_output() -> None:
  """Writes what `print` has held back.

  Raises:
    OSError: if it cannot be written. Python does not try again at exit, where
      it would complain of it in its own words and with its own status.
  """
  if sys.stdout is None:  # the process was started without
    return
  try:
    sys.stdout.flush()
  except OSError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise


def _remove_stale(path: pathlib.Path) -> None:
  for stale in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
    with contextlib.suppress(OSError):
      if time.time() - stale.stat().st_mtime > _STALE_SECONDS:
        stale.unlink()
