"""Files: written whole or not at all, read within bounds."""

import contextlib
import errno
import json
import os
import pathlib
import shutil
import stat
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from etils import epy

with epy.lazy_imports():
  import tensorflow as tf

# What the name of a file that is not complete begins with.
PARTIAL = ".partial-"
_MAX_TEXT_BYTES = 1 << 28
# TensorFlow takes the name of a checkpoint for a pattern; one with * or ? is
# met by itself.
_OF_PATTERNS = frozenset("[\\")
# Some file systems cannot: what they hold is as safe as they make it.
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP)


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a temporary path that becomes `path` if the body succeeds.

  Args:
    path: of the file; its folder is made if need be. What was there before
      stays until the new file is complete and on disk.

  Raises:
    OSError: if it cannot be written; it names `path`.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  with _naming(path):
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=PARTIAL)
  os.close(handle)
  temporary = pathlib.Path(name)
  try:
    with _naming(path, temporary):
      yield temporary
      _sync(temporary)
      temporary.chmod(0o666 & ~umask())
      os.replace(temporary, path)
      _sync(path.parent)
  finally:
    temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(
  path: pathlib.Path, replace: bool = False
) -> Iterator[pathlib.Path]:
  """Yields a temporary folder that becomes `path` if the body succeeds.

  Args:
    path: of the folder, which is not there yet, or is empty; the folder that it
      is in is made if need be.
    replace: what is there goes, but not before the new folder is complete and
      on disk.

  Raises:
    OSError: if there is something at `path` already, which stays as it was; or
      if it cannot be written. It names `path`, or what in it.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  with _naming(path):
    name = tempfile.mkdtemp(dir=path.parent, prefix=PARTIAL)
  temporary = pathlib.Path(name)
  try:
    with _naming(path, temporary):
      yield temporary
      for written in (*temporary.rglob("*"), temporary):
        _sync(written)
      temporary.chmod(0o777 & ~umask())
      if replace and os.path.lexists(path):
        remove_folder(path)
      os.rename(temporary, path)
      _sync(path.parent)
  finally:
    shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _naming(
  path: pathlib.Path, temporary: pathlib.Path | None = None
) -> Iterator[None]:
  """Has errors name what was to be written.

  A write that fails names no file, and everything else the temporary one.

  Args:
    path: to be written.
    temporary: where it is until it is complete; None: nowhere yet.
  """
  try:
    yield
  except OSError as error:
    name = path
    # The name may also be a file's number.
    if temporary is not None and isinstance(error.filename, str | bytes):
      name = pathlib.Path(os.fsdecode(error.filename))
      if name.is_relative_to(temporary):
        name = path / name.relative_to(temporary)
    raise OSError(
      error.errno or errno.EIO, error.strerror or str(error), str(name)
    ) from error


@contextlib.contextmanager
def tensorflow_errors(path: pathlib.Path) -> Iterator[None]:
  """Has errors of TensorFlow's files be OSErrors.

  Args:
    path: that it writes to, which they name.
  """
  try:
    yield
  except tf.errors.OpError as error:
    if isinstance(error, tf.errors.ResourceExhaustedError):
      number, message = errno.ENOSPC, os.strerror(errno.ENOSPC)
    else:
      number, message = errno.EIO, " ".join(error.message.split())
    raise OSError(number, message, str(path)) from error


def is_pattern(path: pathlib.Path) -> bool:
  """Returns whether TensorFlow cannot restore what it saved at a path."""
  return not _OF_PATTERNS.isdisjoint(str(path))


@contextlib.contextmanager
def restorable(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a name of a folder under which TensorFlow can restore what it holds.

  It looks for a checkpoint by a pattern, though it saves it by name.

  Args:
    folder: with TensorFlow's files.
  """
  if not is_pattern(folder):
    yield folder
    return
  with tempfile.TemporaryDirectory() as plain:
    link = pathlib.Path(plain, "link")
    link.symlink_to(folder.absolute())
    yield link


def _sync(path: pathlib.Path) -> None:
  """Brings a file's contents, or the names in a folder, to disk."""
  handle = os.open(path, os.O_RDONLY)
  try:
    os.fsync(handle)
  except OSError as error:
    if error.errno not in _CANNOT_SYNC:
      raise
  finally:
    os.close(handle)


def remove_partial(folder: pathlib.Path) -> None:
  """Removes what a killed process left of incomplete files, at any depth.

  Args:
    folder: that no other process writes to.
  """
  for path in folder.rglob(f"{PARTIAL}*"):
    _remove(path)


def remove_folder(path: pathlib.Path) -> None:
  """Removes a folder, whose name goes before anything in it does.

  If the process is killed meanwhile, what is left is an incomplete folder by
  name, see `remove_partial`.

  Args:
    path: of the folder; of a link only the link goes.
  """
  doomed = path.with_name(f"{PARTIAL}{path.name}")
  _remove(doomed)
  os.rename(path, doomed)
  _remove(doomed)


def _remove(path: pathlib.Path) -> None:
  if path.is_dir() and not path.is_symlink():
    shutil.rmtree(path)
  else:
    path.unlink(missing_ok=True)


def umask() -> int:
  """Returns what this process takes from the mode of new files."""
  mask = os.umask(0)
  os.umask(mask)
  return mask


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a text file."""
  with replacing(path) as temporary:
    temporary.write_text(text, encoding="utf-8")


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes a JSON file, indented."""
  write_text(path, json.dumps(value, indent=2) + "\n")


def open_regular(path: pathlib.Path) -> BinaryIO:
  """Opens a file for reading; of a pipe nobody writes to, that would wait.

  Args:
    path: of the file.

  Raises:
    OSError: if it cannot be opened, or is a folder, a pipe or a device.
  """
  handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
  mode = os.fstat(handle).st_mode
  if not stat.S_ISREG(mode):
    os.close(handle)
    number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    raise OSError(number, "it is no regular file", str(path))
  return open(handle, "rb")


def read_text(path: pathlib.Path, errors: str = "strict") -> str:
  """Returns the text of a regular file of bounded size.

  Args:
    path: of the file.
    errors: what becomes of bytes that are not UTF-8, see `bytes.decode`.

  Raises:
    OSError: if it cannot be read.
    ValueError: if it is too large, or not UTF-8.
  """
  with open_regular(path) as file:
    content = file.read(_MAX_TEXT_BYTES + 1)
  if len(content) > _MAX_TEXT_BYTES:
    raise ValueError(f"it is larger than {_MAX_TEXT_BYTES >> 20} MiB")
  return content.decode("utf-8", errors)


def parse_json(text: str) -> dict[str, Any]:
  """Returns the object that JSON says.

  Args:
    text: of JSON.

  Raises:
    ValueError: if it is no JSON, nested too deeply, or no object.
  """
  try:
    value = json.loads(text)
  except RecursionError as error:
    raise ValueError("it is nested too deeply") from error
  if not isinstance(value, dict):
    raise ValueError(f"it is {type(value).__name__}, expected an object")
  return value


def read_json(path: pathlib.Path) -> dict[str, Any]:
  """Returns the object in a file of JSON.

  Args:
    path: of the file.

  Raises:
    OSError: if it cannot be read.
    ValueError: if it is damaged, see `read_text` and `parse_json`.
  """
  return parse_json(read_text(path))
