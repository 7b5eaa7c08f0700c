"""Keeps what XLA compiles for the next start, which it makes much shorter.

TensorFlow can do so (`--tf_xla_persistent_cache_directory` in `TF_XLA_FLAGS`),
but loads whatever lies there: a damaged program ends the process, and one for
another processor may do worse. So there is a folder for each kind of machine,
in which nobody else can put anything, and a program is only left there for
TensorFlow if it is ours and its checksum says that it is whole. What is
computed is the same, bit for bit.
"""

import hashlib
import importlib.metadata
import logging
import os
import pathlib
import platform
import re
import shutil
import stat
import time

from data.dataset import default_cache_dir
from data.files import is_ours, own_folder
from experiments.common import machine

_FLAGS = "TF_XLA_FLAGS"
_LAST_OF_OURS = "--tf_xla_persistent_cache_prefix=air"
_PROGRAMS = "*.pb"
_CHECKSUM = ".sha256"
_KEPT = 64  # programs, of up to 5 MB
_LEAST_FREE = 500 << 20  # bytes
_WRITTEN_WITHIN = 3600  # seconds
_WHERE = "on two idle cores"


def folder() -> pathlib.Path:
  """Returns the folder for this machine's programs; it need not exist."""
  description = [
    importlib.metadata.version("tensorflow"),
    platform.platform(),
    platform.processor(),
    str(machine.threads()),
    os.environ.get("XLA_FLAGS", ""),
  ]
  cpuinfo = pathlib.Path("/proc/cpuinfo")
  gpus = pathlib.Path("/proc/driver/nvidia")
  if cpuinfo.exists():
    description += [
      line
      for line in cpuinfo.read_text().splitlines()
      if line.startswith(("model name", "flags", "Features"))
    ]
  for path in (gpus / "version", *sorted(gpus.glob("gpus/*/information"))):
    if path.exists():
      description.append(path.read_text())
  key = hashlib.sha256(os.fsencode("\n".join(description))).hexdigest()
  return default_cache_dir().resolve() / f"xla-{key[:16]}"


def enable() -> None:
  """Makes TensorFlow keep programs; to be called before it is imported.

  Does nothing if the user has set `TF_XLA_FLAGS`, or if there is no room; or if
  others could put programs there, which it says.
  """
  if os.environ.get(_FLAGS, "").endswith(_LAST_OF_OURS):
    # Of the process that started this one, whose folder may be another.
    del os.environ[_FLAGS]
  if _FLAGS in os.environ:
    return
  try:
    programs = own_folder(folder())
    if shutil.disk_usage(programs).free < _LEAST_FREE:
      return
    _remove_damaged(programs)
    # Found out now, and not when a program is to be written.
    probe = programs / f"probe-{os.getpid()}"
    probe.touch()
    probe.unlink()
  except PermissionError as error:
    logging.warning("compiled programs are not kept: %s", error)
    return
  except OSError:
    return
  os.environ[_FLAGS] = f"{_directory(programs)} {_LAST_OF_OURS}"


def _directory(programs: pathlib.Path) -> str:
  """Returns the flag that names a folder, which may have spaces in its name."""
  escaped = re.sub(r'(["\\])', r"\\\1", str(programs))
  return f'--tf_xla_persistent_cache_directory="{escaped}"'


def expected() -> str:
  """Returns how long compiling a training step takes, in words.

  Which program is wanted only TensorFlow knows, once it has come to it.
  """
  programs = folder()
  if _directory(programs) not in os.environ.get(_FLAGS, ""):
    return f"about 10 s {_WHERE}"
  if any(programs.glob(_PROGRAMS)):
    return f"about 3 s if it was compiled before, else 10 s, {_WHERE}"
  return f"about 10 s the first time, 3 s later, {_WHERE}"


def seal() -> None:
  """Writes the checksums of new programs; to be called after compilation."""
  try:
    programs = folder()
    if _directory(programs) not in os.environ.get(_FLAGS, ""):
      return
    for path in programs.glob(_PROGRAMS):
      checksum = _checksum_path(path)
      if not checksum.exists():
        temporary = checksum.with_name(f"{checksum.name}-{os.getpid()}")
        temporary.write_bytes(_checksum(path))
        for file in (path, temporary):  # whatever the umask
          file.chmod(stat.S_IRUSR | stat.S_IWUSR)
        temporary.rename(checksum)
  except OSError:
    return  # then the next start compiles again


def _checksum_path(path: pathlib.Path) -> pathlib.Path:
  return path.with_name(path.name + _CHECKSUM)


def _checksum(path: pathlib.Path) -> bytes:
  return hashlib.sha256(path.read_bytes()).hexdigest().encode()


def _remove_damaged(programs: pathlib.Path) -> None:
  """Leaves only whole programs, the newest of them."""
  newest_first = sorted(
    programs.glob(_PROGRAMS), key=lambda path: path.stat().st_mtime
  )[::-1]
  for i, path in enumerate(newest_first):
    checksum = _checksum_path(path)
    whole = (
      checksum.exists()
      and is_ours(path.stat())
      and is_ours(checksum.stat())
      and checksum.read_bytes() == _checksum(path)
    )
    if i >= _KEPT or not whole:
      path.unlink(missing_ok=True)
      checksum.unlink(missing_ok=True)
  for path in programs.glob("*.tmp"):  # of processes that were killed
    if time.time() - path.stat().st_mtime > _WRITTEN_WITHIN:
      path.unlink(missing_ok=True)
