"""How what takes long shows that it is alive: a live line, or several.

On a terminal a line on stderr that is rewritten; elsewhere a line at first, and
one every ten seconds or so.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Collection, Iterator
from typing import Any, TypeVar

from etils import epy

with epy.lazy_imports():
  import tqdm
  from tqdm.contrib import logging as tqdm_logging

_T = TypeVar("_T")
_SECONDS_BETWEEN_LINES = 10.0
# A task that ends within them shows nothing.
_SECONDS_BEFORE_FIRST = 1.0
_SECONDS_BETWEEN_LOOKS = 0.5
# Of the last stretch of training in the average of the speed.
_SMOOTHING = 0.2


class _Line:
  """A line on stderr: rewritten on a terminal, elsewhere one now and then.

  Work goes on if nobody can read it any more: a terminal is closed, for
  example, or a disk full.
  """

  def __init__(self, bar_format: str, leave: bool, **options: Any):
    """Shows a terminal's line.

    Args:
      bar_format: of tqdm.
      leave: whether the line stays once it is closed.
      **options: of tqdm.
    """
    self.is_live = sys.stderr.isatty()
    self._bar = tqdm.tqdm(
      bar_format=bar_format,
      leave=leave,
      dynamic_ncols=True,
      disable=not self.is_live,
      **options,
    )
    self._written = time.monotonic()

  def show(self, done: int, live: str, otherwise: str) -> None:
    """Shows how far it is.

    Args:
      done: of the bar.
      live: what a terminal shows, the bar's description.
      otherwise: what is written elsewhere, if the last line is old.
    """
    if self.is_live:
      self._bar.n = done
      with contextlib.suppress(OSError):
        self._bar.set_description_str(live)
    elif time.monotonic() - self._written >= _SECONDS_BETWEEN_LINES:
      self.write(otherwise)

  def write(self, message: str) -> None:
    """Writes a line of its own without disturbing the one that is shown."""
    self._written = time.monotonic()
    with contextlib.suppress(OSError):
      self._bar.write(message, file=sys.stderr)

  def close(self) -> None:
    """Ends the line."""
    with contextlib.suppress(OSError):
      self._bar.close()


class Task:
  """Shows what is being done, and how long it has been: a context.

      with Task("reading files", total=len(paths)) as task:
        for path in paths:
          read(path)
          task.advance()

  Nothing is shown of what is done within a second. What the body prints would
  get between; what it logs does not.

  Attributes:
    doing: what is being done; may be changed.
  """

  def __init__(self, doing: str, total: int = 0, expected: str = ""):
    """Makes it.

    Args:
      doing: what is being done.
      total: of what `advance` counts; 0: there is nothing to count.
      expected: how long it takes, in words.
    """
    self.doing = doing
    self._total = total
    self._expected = expected
    self._done = 0
    self._line: _Line | None = None
    self._ended = threading.Event()
    self._thread = threading.Thread(target=self._keep_showing, daemon=True)
    self._context = contextlib.ExitStack()

  def __enter__(self) -> "Task":
    self._started = time.monotonic()
    if sys.stderr.isatty():
      self._context.enter_context(tqdm_logging.logging_redirect_tqdm())
    self._thread.start()
    return self

  def __exit__(self, *exception) -> None:
    self._ended.set()
    self._thread.join()
    if self._line is not None:
      self._line.close()
    self._context.close()

  def advance(self, count: int = 1) -> None:
    """Counts what is done."""
    self._done += count

  def over(self, items: Collection[_T]) -> Iterator[_T]:
    """Yields items, which are all that is counted."""
    self._total = len(items)
    for item in items:
      yield item
      self.advance()

  def _keep_showing(self) -> None:
    pause = _SECONDS_BEFORE_FIRST
    while not self._ended.wait(pause):
      pause = _SECONDS_BETWEEN_LOOKS
      # Nobody may read stderr any more, or its disk be full.
      with contextlib.suppress(OSError):
        self._show()

  def _show(self) -> None:
    done, total = self._done, self._total if self._total > 1 else 0
    seconds = time.monotonic() - self._started
    status = _duration(seconds)
    if done and total > done:
      status += f", {_duration(seconds / done * (total - done))} to go"
    if self._expected:
      status += f" ({self._expected})"
    if total:
      status = f"{done:,} of {total:,}, {status}"
    text = f"{self.doing}: {status}"
    if self._line is None:
      self._line = _Line(
        "{desc} |{bar:20}|" if total else "{desc}",
        leave=False,
        desc=text,
        initial=done,
        total=total or None,
      )
      if not self._line.is_live:
        self._line.write(text)
    self._line.show(done, text, text)


def _duration(seconds: float) -> str:
  """Returns a number of seconds in words, or as minutes and seconds."""
  if seconds < 60:
    return f"{seconds:.0f} s"
  return tqdm.tqdm.format_interval(seconds)


class Progress:
  """Shows iteration, speed, ELBO, counting accuracy and time to go.

  Attributes:
    speed: iterations per second while training, a moving average; 0 at first.
  """

  def __init__(self, first: int, last: int):
    """Starts at iteration `first` of `last`."""
    self.speed = 0.0
    self._iteration = first
    self._last = last
    self._line = _Line(
      "{n_fmt}/{total_fmt} |{bar}| {desc}",
      leave=True,
      total=last,
      initial=first,
    )
    self._result = ""
    self._started = 0.0

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
    self._show()

  def evaluated(self, result: dict[str, Any]) -> None:
    """Shows the result of an evaluation on the validation images."""
    self._result = f"ELBO {result['elbo']:.1f}"
    if "count_accuracy" in result:
      self._result += f", counts {result['count_accuracy']:.2%}"
    if not self._line.is_live:
      self._line.write(
        f"iteration {result['iteration']}: validation {self._result}"
      )
    self._show()

  def close(self) -> None:
    """Ends the bar."""
    self._line.close()

  def _show(self) -> None:
    status = self._result
    if self.speed:
      remaining = (self._last - self._iteration) / self.speed
      status = (
        f"{self.speed:.1f} it/s, {tqdm.tqdm.format_interval(remaining)} to go,"
        f" {self._result}"
      )
    self._line.show(
      self._iteration,
      status,
      f"iteration {self._iteration}/{self._last}: {status}",
    )
