"""Files that are whole or not there, output, and folders of one's own."""

import contextlib
import errno
import glob
import os
import pathlib
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from typing import BinaryIO

_STALE_SECONDS = 24 * 3600
# What expands further than any images do is not expanded; but for so many
# bytes, which do no harm.
_MOST_EXPANSION = 250
_HARMLESS = 1 << 28


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


def open_output() -> None:
  """Opens stdin, stdout and stderr that the process was started without.

  Else the next files would be opened in their place, and written to by all that
  complains on stderr.
  """
  while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
    os.set_inheritable(handle, True)
  os.close(handle)
  if sys.stderr is None:
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
  if sys.stdout is None:
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115


def note(message: str) -> None:
  """Writes a line to stderr; its terminal may be closed, or its disk full."""
  with contextlib.suppress(OSError):
    print(message, file=sys.stderr, flush=True)


def flush_output() -> None:
  """Writes what `print` has held back.

  Raises:
    OSError: if it cannot be written. Python does not try again at exit, where
      it would complain of it in its own words and with its own status.
  """
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


def most_expanded(size: int) -> int:
  """Returns how many bytes so many compressed ones may expand to."""
  return max(_HARMLESS, _MOST_EXPANSION * size)


def is_ours(status: os.stat_result) -> bool:
  """Returns whether only this user, and root, can write to a file or folder."""
  return status.st_uid in (0, os.geteuid()) and not (
    status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
  )


def own_folder(path: pathlib.Path) -> pathlib.Path:
  """Returns a folder to which only this user, and root, can write.

  What lies there is what this user has put there: none of the folders that it
  is in belongs to, or can be written to by, anybody else, but for those like
  /tmp, in which one cannot replace what others own.

  Args:
    path: of the folder, which is made if need be, for this user alone.

  Returns:
    Its absolute path, without links.

  Raises:
    OSError: if it cannot be made, or if others can write there.
  """
  path = path.resolve()
  for folder in reversed([path, *path.parents]):
    if not folder.exists():
      folder.mkdir(mode=stat.S_IRWXU, exist_ok=True)
    status = folder.stat()
    is_shared = folder != path and status.st_mode & stat.S_ISVTX
    if not is_ours(status) and not (
      is_shared and status.st_uid in (0, os.geteuid())
    ):
      raise PermissionError(
        errno.EPERM,
        f"other users can write there (mode {stat.S_IMODE(status.st_mode):o},"
        f" owner {status.st_uid}); expected one that is yours alone",
        str(folder),
      )
  return path
