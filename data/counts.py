"""How many objects images hold: drawn, checked, and read from arrays."""

import math

import numpy as np

from data.errors import DataError, all_ints, require

MAX_COUNT = 100
# How `decoded` takes them.
FORMATS = ("auto", "number", "onehot", "unary")


def check(counts: tuple[int, ...], count_probs: tuple[float, ...]) -> None:
  """Raises a DataError unless these are numbers of objects and their probs."""
  require(
    len(counts) > 0
    and all_ints(counts, 0, MAX_COUNT)
    and len(set(counts)) == len(counts),
    "counts",
    counts,
    f"one or more different numbers in 0..{MAX_COUNT}",
  )
  require(
    len(count_probs) in (0, len(counts)),
    "count_probs",
    count_probs,
    f"one probability for each of the counts {counts}",
  )
  require(
    not count_probs
    or (
      all(p >= 0 for p in count_probs)
      and math.isclose(sum(count_probs), 1, abs_tol=1e-6)
    ),
    "count_probs",
    count_probs,
    "probabilities that sum to 1",
  )


def draw(
  counts: tuple[int, ...],
  count_probs: tuple[float, ...],
  num_images: int,
  rng: np.random.Generator,
) -> np.ndarray:
  """Returns the number of objects of each image, int32 `[num_images]`."""
  probs = np.asarray(count_probs or np.ones(len(counts)), float)
  return rng.choice(counts, num_images, p=probs / probs.sum()).astype(np.int32)


def decoded(name: str, array: np.ndarray, counts_as: str) -> np.ndarray:
  """Returns counts as int32 `[N]`.

  A row is one-hot if it has a single one, whose place is the count, and unary
  if its ones come first, as many as the count. An array of rows that are all
  both, of the ones that a 1 begins, is refused.

  Args:
    name: of the array, for messages.
    array: `[N]` or `[N, 1]`, numbers, perhaps floats; or `[N, K]`, rows of
      zeros and ones.
    counts_as: how they are stored; auto: the one way that they can be.

  Raises:
    DataError: if they cannot be, or if there are two ways.
  """
  described = f"{name} is {array.dtype} {list(array.shape)}"
  if array.ndim == 2 and array.shape[1] == 1 and counts_as != "unary":
    array = array[:, 0]
  if array.ndim == 1 and counts_as in ("auto", "number"):
    if not np.all(np.isfinite(array)) or np.any(array != np.round(array)):
      raise DataError(f"{described}, expected whole numbers")
    if array.size and not 0 <= array.min() <= array.max() <= MAX_COUNT:
      raise DataError(
        f"{described} with {array.min():g} to {array.max():g}, expected numbers"
        f" of objects in 0..{MAX_COUNT}"
      )
    return array.astype(np.int32)
  if array.ndim != 2 or counts_as == "number":
    wanted = "[N, K]" if counts_as in ("onehot", "unary") else "[N] or [N, 1]"
    raise DataError(f"{described}, expected {wanted} (--counts_as={counts_as})")
  if not np.all((array == 0) | (array == 1)):
    raise DataError(f"{described}, expected rows of zeros and ones")
  ones = array.astype(np.int32)
  can_be = {
    "onehot": bool(np.all(ones.sum(axis=1) == 1)),
    "unary": bool(np.all(np.diff(ones, axis=1) <= 0)),
  }
  ways = [way for way, can in can_be.items() if can]
  if counts_as == "auto":
    if len(ways) != 1:
      if not ways:
        raise DataError(f"{described}, whose rows are neither onehot nor unary")
      raise DataError(
        f"{described}, whose rows are both onehot, of 0, and unary, of 1: state"
        " which (--counts_as)"
      )
    counts_as = ways[0]
  if not can_be[counts_as]:
    raise DataError(f"{described}, whose rows are not {counts_as}")
  if counts_as == "onehot":
    return ones.argmax(axis=1).astype(np.int32)
  return ones.sum(axis=1, dtype=np.int32)
