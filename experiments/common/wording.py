"""How numbers are worded."""

import statistics
from collections.abc import Sequence


def number_of(count: int, noun: str) -> str:
  """Returns a number of things in words: 1 image, 2,000 images.

  Args:
    count: of the things.
    noun: what one of them is called; an "s" makes it many.
  """
  return f"{count:,} {noun}" + ("" if count == 1 else "s")


def median_and_range(shares: Sequence[float]) -> str:
  """Returns shares of 1, at least one, as text in per cent."""
  median, low, high = (100 * f(shares) for f in (statistics.median, min, max))
  return f"{median:.2f} ({low:.2f}-{high:.2f})"
