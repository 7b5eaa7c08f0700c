"""Stopping in an orderly way when a signal comes."""

import signal
from typing import Any

from data.files import note


class StopSignal:
  """Within it, the first SIGINT, SIGTERM or SIGHUP is only remembered.

  A second one has its usual effect. SIGHUP, which comes when a terminal is
  closed, stays ignored under nohup.

  Attributes:
    number: of the signal that came; None: none did.
  """

  def __init__(self, message: str):
    """Makes it.

    Args:
      message: shown when the signal comes.
    """
    self._message = message
    self.number: int | None = None
    self._handlers: dict[signal.Signals, Any] = {}

  def __enter__(self) -> "StopSignal":
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
      numbers.append(signal.SIGHUP)
    self._handlers = {n: signal.signal(n, self._receive) for n in numbers}
    return self

  def __exit__(self, *_) -> None:
    self._restore()

  def _receive(self, number, frame):
    del frame
    self.number = number
    self._restore()
    note(self._message)

  def _restore(self):
    for number, handler in self._handlers.items():
      signal.signal(number, handler)
