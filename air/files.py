"""Files that appear whole or not at all: write, then rename."""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

# What the name of a file that is not complete begins with.
PARTIAL = ".partial-"


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a temporary path that becomes `path` if the body succeeds.

  Args:
    path: of the file; its folder is made if need be. What was there before
      stays until the new file is complete and on disk.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  handle, name = tempfile.mkstemp(dir=path.parent, prefix=PARTIAL)
  os.close(handle)
  temporary = pathlib.Path(name)
  try:
    yield temporary
    with open(temporary, "rb") as file:
      os.fsync(file.fileno())
    temporary.chmod(0o666 & ~_umask())
    os.replace(temporary, path)
    sync_folder(path.parent)
  finally:
    temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields a temporary folder that becomes `path` if the body succeeds.

  Args:
    path: of the folder, which is not there yet, or is empty; the folder that it
      is in is made if need be.

  Raises:
    OSError: if there is something at `path` already; that stays as it was.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = pathlib.Path(tempfile.mkdtemp(dir=path.parent, prefix=PARTIAL))
  try:
    yield temporary
    for file in temporary.rglob("*"):
      if file.is_file():
        with open(file, "rb") as handle:
          os.fsync(handle.fileno())
    temporary.chmod(0o777 & ~_umask())
    os.rename(temporary, path)
    sync_folder(path.parent)
  finally:
    shutil.rmtree(temporary, ignore_errors=True)


def sync_folder(folder: pathlib.Path) -> None:
  """Brings the names in a folder to disk, after a rename."""
  handle = os.open(folder, os.O_RDONLY)
  try:
    os.fsync(handle)
  finally:
    os.close(handle)


def remove_partial(folder: pathlib.Path) -> None:
  """Removes what a killed process left of incomplete files, at any depth.

  Args:
    folder: that no other process writes to.
  """
  for path in folder.rglob(f"{PARTIAL}*"):
    if path.is_dir():
      shutil.rmtree(path)
    else:
      path.unlink()


def _umask() -> int:
  umask = os.umask(0)
  os.umask(umask)
  return umask


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a text file."""
  with replacing(path) as temporary:
    temporary.write_text(text, encoding="utf-8")


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes a JSON file, indented."""
  write_text(path, json.dumps(value, indent=2) + "\n")
