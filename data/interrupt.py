"""Ctrl-C while modules are imported: the command ends without a traceback.

An interrupt then comes from the midst of other people's modules, some of which
take it for a failure of their own, and there is nothing to be cleaned up yet.
"""

import signal
import sys


def end_at_once() -> None:
  """Has Ctrl-C end the process, if it is `python -m` that imports a command."""
  handler = signal.getsignal(signal.SIGINT)  # it may be ignored
  if sys.argv[:1] == ["-m"] and handler is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_again() -> None:
  """Has Ctrl-C raise a KeyboardInterrupt, as Python has it."""
  if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
    signal.signal(signal.SIGINT, signal.default_int_handler)
