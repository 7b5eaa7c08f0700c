"""How a long run shows that it is alive: a bar, or lines."""

import sys
import time
from typing import Any

import tqdm

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
  """Shows iteration, speed, ELBO, counting accuracy and time to go.

  A bar if stderr is a terminal; else a line every ten seconds or so.
  """

  def __init__(self, first: int, last: int):
    """Starts at iteration `first` of `last`."""
    self._last = last
    self._iteration = first
    self._bar = tqdm.tqdm(
      total=last,
      initial=first,
      unit="it",
      dynamic_ncols=True,
      smoothing=0.05,
      disable=not sys.stderr.isatty(),
    )
    self._status = ""
    self._line_time = time.monotonic()
    self._line_iteration = first

  def evaluated(self, result: dict[str, Any]) -> None:
    """Shows the result of an evaluation."""
    self._status = f"ELBO {result['elbo']:.1f}"
    if "count_accuracy" in result:
      self._status += f", counts {result['count_accuracy']:.2%}"
    self._bar.set_postfix_str(self._status)
    if self._bar.disable:
      print(
        f"iteration {result['iteration']}: validation {self._status}",
        file=sys.stderr,
      )

  def advance(self, iterations: int, seconds: float) -> None:
    """Counts iterations done, in so many seconds."""
    self._iteration += iterations
    self._bar.update(iterations)
    now = time.monotonic()
    if self._bar.disable and now - self._line_time >= _SECONDS_BETWEEN_LINES:
      speed = iterations / seconds
      remaining = (self._last - self._iteration) / speed
      print(
        f"iteration {self._iteration}/{self._last}: {speed:.1f} it/s,"
        f" {tqdm.tqdm.format_interval(remaining)} to go",
        file=sys.stderr,
      )
      self._line_time = now

  def warn(self, message: str) -> None:
    """Shows a line without disturbing the bar."""
    self._bar.write(message, file=sys.stderr)

  def close(self) -> None:
    """Ends the bar."""
    self._bar.close()
