"""Memory: what can never fit is refused before there is work."""

import os


def require(num_bytes: int) -> None:
  """Checks that the machine has so much memory, used or not.

  Raises:
    MemoryError: if it does not; it says how much there is.
  """
  there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  if num_bytes > there:
    raise MemoryError(
      f"{num_bytes / 2**30:,.0f} GiB and more are needed, and there are"
      f" {there / 2**30:,.0f} GiB"
    )
