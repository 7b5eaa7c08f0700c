"""How every binary starts: flags in groups, and bad input in one clear line."""

import logging
import os
import sys
from collections.abc import Callable, Sequence

from absl import flags

from air.checkpoints import CheckpointError
from air.config import ConfigError
from air.inputs import InputError
from air.run_folder import RunError
from air.training import DivergedError
from data.mnist import DataError

_GROUPS = ("sweep", "run", "data", "model", "prior", "training")


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
    0, or what `main` returned, or 2 after bad input, which is reported in one
    line on stderr.
  """
  logging.basicConfig(format="%(message)s")
  argv = list(sys.argv if argv is None else argv)
  flag_values = flags.FlagValues()
  define_flags(flag_values)
  if any(argument in ("--help", "-help", "-h") for argument in argv[1:]):
    print(doc)
    for group in _GROUPS:
      if group_help := flag_values.module_help(group):
        print(group_help)
    return 0
  try:
    positional = flag_values(argv)[1:]
    if positional:
      raise UsageError(f"unexpected argument {positional[0]!r}; see --help")
    return main(flag_values) or 0
  except KeyboardInterrupt:
    return 130
  except _USER_ERRORS as error:
    message = " ".join(str(error).split())
    if message.split(" ")[0].rstrip(":") in flag_values:
      message = f"--{message}"
    binary = os.path.splitext(os.path.basename(argv[0]))[0]
    print(f"{binary}: {message}", file=sys.stderr)
    return 2
