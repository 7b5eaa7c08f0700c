"""How numbers are worded."""


def number_of(count: int, noun: str) -> str:
  """Returns a number of things in words: 1 image, 2,000 images.

  Args:
    count: of the things.
    noun: what one of them is called; an "s" makes it many.
  """
  return f"{count:,} {noun}" + ("" if count == 1 else "s")
