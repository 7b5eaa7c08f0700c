"""How every binary starts: flags in groups, and bad input in one clear line."""

import contextlib
import errno
import logging
import os
import pathlib
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import flags

from air.errors import (
  CheckpointError,
  ConfigError,
  DivergedError,
  InputError,
  RunError,
)
from data import command_line, interrupt
from data.errors import DataError
from data.files import flush_output, note, open_output

# Groups of flags: a binary's own, and those of the configuration, of which
# --help shows some.
_OWN_GROUPS = ("sweep", "run")
_CONFIGURATION = ("data", "model", "prior", "training")
_FIRST = ("seed", "estimator", "mnist", "data")


class UsageError(Exception):
  """The user asked for something impossible; the message says what."""


# Not errors of ours: they say in a line what is wrong, and a traceback would
# add nothing.
_USER_ERRORS = (
  CheckpointError,
  ConfigError,
  DataError,
  DivergedError,
  InputError,
  OSError,
  RunError,
  UsageError,
  flags.Error,
)
# Errors that the request is not, or not alone, to blame for: the status is then
# 1, and the same command works once they are mended.
_NOT_OF_USAGE = (
  *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO),
  *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
)


def run(
  doc: str,
  define_flags: Callable[[flags.FlagValues], None],
  main: Callable[[flags.FlagValues], int | None],
  argv: Sequence[str] | None = None,
) -> int:
  """Parses the command line, calls `main` and returns the exit status.

  Args:
    doc: the binary's docstring, shown by --help.
    define_flags: defines the binary's flags in the values it is given.
    main: does the work; may return an exit status.
    argv: the command line; by default this process's.

  Returns:
    0, or what `main` returned; 141 if nobody reads the output any more, as a
    shell says it of others; 2 after bad input, or 1 if memory is short or a
    disk is full, read-only or broken, which is reported in one line on stderr.
  """
  open_output()
  logging.basicConfig(format="%(message)s")
  interrupt.raise_again()
  signal.signal(signal.SIGTERM, _exit)
  if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # not under nohup
    signal.signal(signal.SIGHUP, _exit)
  argv = list(sys.argv if argv is None else argv)
  flag_values = flags.FlagValues()
  define_flags(flag_values)
  try:
    if asked := command_line.asked_for(argv):
      groups = (_OWN_GROUPS, _CONFIGURATION, _FIRST)
      print(command_line.text(asked, doc, flag_values, *groups), flush=True)
      return 0
    command_line.parse(argv, flag_values)
    status = main(flag_values) or 0
    flush_output()
    return status
  except KeyboardInterrupt:
    return 130
  except BrokenPipeError:
    # Who read the output, as `head` does, has seen enough: nobody is told.
    with contextlib.suppress(OSError):
      flush_output()
    return 128 + signal.SIGPIPE
  except _USER_ERRORS as error:
    with contextlib.suppress(OSError):
      flush_output()
    message = str(error)
    # It may also be a file's number, which tells nobody anything.
    if isinstance(error, OSError) and isinstance(error.filename, str | bytes):
      message = _of_file(error, flag_values)
    message = " ".join(message.split())
    if message.split(" ")[0].rstrip(":") in flag_values:
      message = f"--{message}"
    _say(argv, message)
    return 1 if getattr(error, "errno", None) in _NOT_OF_USAGE else 2
  except Exception as error:
    if not _is_out_of_memory(error):
      raise
    _say(argv, f"out of memory: {error}")
    return 1


def _is_out_of_memory(error: Exception) -> bool:
  # An error of TensorFlow's comes after its import, which takes seconds.
  tf = sys.modules.get("tensorflow")
  return isinstance(error, MemoryError) or (
    tf is not None and isinstance(error, tf.errors.ResourceExhaustedError)
  )


def _say(argv: list[str], message: str) -> None:
  """Prints a message in one line, after the binary's name."""
  binary = os.path.splitext(os.path.basename(argv[0]))[0]
  line = " ".join(message.split())
  note(f"{binary}: {line}")


def _exit(number: int, frame: object) -> NoReturn:
  """Ends the process at a signal, but has files that are not whole removed."""
  del frame
  sys.exit(128 + number)


def _of_file(error: OSError, flag_values: flags.FlagValues) -> str:
  """Returns what is wrong with a file, and the flag that names it if one does.

  Args:
    error: with the file's name.
    flag_values: perhaps parsed.
  """
  file = pathlib.Path(os.fsdecode(error.filename)).absolute()
  named = {}
  for flag in flag_values:
    value = flag_values[flag].value
    for text in value if isinstance(value, list) else [value]:
      if isinstance(text, str) and text:
        path = pathlib.Path(os.path.expanduser(text)).absolute()
        if file.is_relative_to(path):
          named[len(path.parts)] = f"{flag} is {text}, which cannot be used: "
  longest = named[max(named)] if named else ""
  return f"{longest}{error.filename}: {error.strerror}"


def expanded(flag: str, value: str) -> pathlib.Path:
  """Returns the path that a flag says, which may begin with ~.

  Args:
    flag: its name.
    value: its value, or one of its values.

  Raises:
    UsageError: if it is in the folder of a user who is not known.
  """
  try:
    return pathlib.Path(value).expanduser()
  except RuntimeError as error:
    raise UsageError(f"{flag} is {value}, which cannot be: {error}") from error


def output_file(flag: str, value: str) -> pathlib.Path:
  """Returns the file that a flag says will be written, before there is work.

  Args:
    flag: its name.
    value: its value.

  Raises:
    UsageError: if it cannot be a file: it is a folder, or lies in a file.
  """
  path = expanded(flag, value)
  if os.path.isdir(path) or not value:
    raise UsageError(f"{flag} is '{value}', expected the name of a file")
  _check_parents(flag, path)
  return path


def output_folder(flag: str, value: str) -> pathlib.Path:
  """Returns the folder that a flag says will be written to.

  Args:
    flag: its name.
    value: its value.

  Raises:
    UsageError: if it cannot be a folder: it is a file, or lies in one.
  """
  if not value:
    raise UsageError(f"{flag} is empty, expected the name of a folder")
  path = expanded(flag, value)
  if os.path.exists(path) and not os.path.isdir(path):
    raise UsageError(f"{flag} is {value}, which is a file; expected a folder")
  _check_parents(flag, path)
  return path


def _check_parents(flag: str, path: pathlib.Path) -> None:
  # Those of os.path take what cannot be looked at for missing.
  path = path.absolute()
  there = next((p for p in path.parents if os.path.exists(p)), path)
  if not os.path.isdir(there):
    raise UsageError(
      f"{flag} is {path}, expected a place in a folder, but {there} is a file"
    )
