"""How a long run shows that it is alive: a bar, or lines."""

import sys
import time
from typing import Any

import tqdm

_SECONDS_BETWEEN_LINES = 10.0
# Of the last stretch of training in the average of the speed.
_SMOOTHING = 0.2


class Progress:
  """Shows iteration, speed, ELBO, counting accuracy and time to go.

  A bar if stderr is a terminal; else a line every ten seconds or so.

  Attributes:
    speed: iterations per second while training, a moving average; 0 at first.
  """

  def __init__(self, first: int, last: int):
    """Starts at iteration `first` of `last`."""
    self.speed = 0.0
    self._iteration = first
    self._last = last
    self._bar = tqdm.tqdm(
      total=last,
      initial=first,
      unit="it",
      dynamic_ncols=True,
      bar_format="{n_fmt}/{total_fmt} |{bar}| {postfix}",
      disable=not sys.stderr.isatty(),
    )
    self._result = ""
    self._started = 0.0
    self._line_time = time.monotonic()

  def start(self) -> None:
    """Starts the clock of a stretch of training."""
    self._started = time.monotonic()

  def advance(self, iterations: int) -> None:
    """Counts the iterations of the stretch that began with `start`."""
    now = time.monotonic()
    speed = iterations / (now - self._started)
    weight = _SMOOTHING if self.speed else 1.0
    self.speed += weight * (speed - self.speed)
    self._iteration += iterations
    self._bar.update(iterations)
    self._show()
    if self._bar.disable and now - self._line_time >= _SECONDS_BETWEEN_LINES:
      self.write(f"iteration {self._iteration}/{self._last}: {self._status()}")

  def evaluated(self, result: dict[str, Any]) -> None:
    """Shows the result of an evaluation on the validation images."""
    self._result = f"ELBO {result['elbo']:.1f}"
    if "count_accuracy" in result:
      self._result += f", counts {result['count_accuracy']:.2%}"
    self._show()
    if self._bar.disable:
      self.write(f"iteration {result['iteration']}: validation {self._result}")

  def write(self, message: str) -> None:
    """Shows a line without disturbing the bar."""
    self._line_time = time.monotonic()
    self._bar.write(message, file=sys.stderr)

  def close(self) -> None:
    """Ends the bar."""
    self._bar.close()

  def _status(self) -> str:
    if not self.speed:
      return self._result
    remaining = (self._last - self._iteration) / self.speed
    return (
      f"{self.speed:.1f} it/s, {tqdm.tqdm.format_interval(remaining)} to go,"
      f" {self._result}"
    )

  def _show(self) -> None:
    self._bar.set_postfix_str(self._status())
