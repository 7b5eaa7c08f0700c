"""Stopping in an orderly way when a signal comes."""

import signal
import sys
from typing import Any


class StopSignal:
  """Within it, the first SIGINT or SIGTERM is only remembered.

  A second one has its usual effect.

  Attributes:
    number: of the signal that came; None: none did.
  """

  _NUMBERS = (signal.SIGINT, signal.SIGTERM)

  def __init__(self, message: str):
    """Makes it.

    Args:
      message: shown when the signal comes.
    """
    self._message = message
    self.number: int | None = None
    self._handlers: list[Any] = []

  def __enter__(self) -> "StopSignal":
    self._handlers = [signal.signal(n, self._receive) for n in self._NUMBERS]
    return self

  def __exit__(self, *_) -> None:
    self._restore()

  def _receive(self, number, frame):
    del frame
    self.number = number
    self._restore()
    print(self._message, file=sys.stderr)

  def _restore(self):
    for number, handler in zip(self._NUMBERS, self._handlers, strict=True):
      signal.signal(number, handler)
