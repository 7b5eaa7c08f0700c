"""Keeps what XLA compiles for the next start, which it makes much shorter.

TensorFlow can do so (`--tf_xla_persistent_cache_directory` in `TF_XLA_FLAGS`),
but loads whatever lies there: a damaged program ends the process, and one for
another processor may do worse. So there is a folder for each kind of machine,
and a program is only left there for TensorFlow if its checksum says that it is
whole. What is computed is the same, bit for bit.
"""

import hashlib
import importlib.metadata
import os
import pathlib
import platform
import shutil
import time

from data.dataset import default_cache_dir
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
  return default_cache_dir() / f"xla-{key[:16]}"


def enable() -> None:
  """Makes TensorFlow keep programs; to be called before it is imported.

  Does nothing if the user has set `TF_XLA_FLAGS`, or if there is no room.
  """
  if os.environ.get(_FLAGS, "").endswith(_LAST_OF_OURS):
    # Of the process that started this one, whose folder may be another.
    del os.environ[_FLAGS]
  if _FLAGS in os.environ:
    return
  try:
    programs = folder()
    programs.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(programs).free < _LEAST_FREE:
      return
    _remove_damaged(programs)
    # Found out now, and not when a program is to be written.
    probe = programs / f"probe-{os.getpid()}"
    probe.touch()
    probe.unlink()
  except OSError:
    return
  os.environ[_FLAGS] = (
    f"--tf_xla_persistent_cache_directory={programs} {_LAST_OF_OURS}"
  )


def expected() -> str:
  """Returns how long compiling a training step takes, in words.

  Which program is wanted only TensorFlow knows, once it has come to it.
  """
  programs = folder()
  if str(programs) not in os.environ.get(_FLAGS, ""):
    return f"about 10 s {_WHERE}"
  if any(programs.glob(_PROGRAMS)):
    return f"about 3 s if it was compiled before, else 10 s, {_WHERE}"
  return f"about 10 s the first time, 3 s later, {_WHERE}"


def seal() -> None:
  """Writes the checksums of new programs; to be called after compilation."""
  try:
    programs = folder()
    if str(programs) not in os.environ.get(_FLAGS, ""):
      return
    for path in programs.glob(_PROGRAMS):
      checksum = _checksum_path(path)
      if not checksum.exists():
        temporary = checksum.with_name(f"{checksum.name}-{os.getpid()}")
        temporary.write_bytes(_checksum(path))
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
    whole = checksum.exists() and checksum.read_bytes() == _checksum(path)
    if i >= _KEPT or not whole:
      path.unlink(missing_ok=True)
      checksum.unlink(missing_ok=True)
  for path in programs.glob("*.tmp"):  # of processes that were killed
    if time.time() - path.stat().st_mtime > _WRITTEN_WITHIN:
      path.unlink(missing_ok=True)
