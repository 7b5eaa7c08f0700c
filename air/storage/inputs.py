"""What a caller hands in, checked: wrong values are refused in a clear line."""

import operator
from typing import Any

import numpy as np

from air.errors import InputError


def images(value: Any, image_size: tuple[int, ...]) -> np.ndarray:
  """Returns images `[N, H, W]` as uint8, or as float32 in [0, 1].

  Args:
    value: anything that numpy makes such an array of; other floats are
      converted.
    image_size: (H, W), pixels.

  Raises:
    InputError: if N is zero, or shape, type or range are others.
  """
  array = _array("images", value)
  is_float = array.dtype.kind == "f"
  height, width = image_size
  if (
    array.ndim != 3
    or array.shape[1:] != tuple(image_size)
    or not (is_float or array.dtype == np.uint8)
  ):
    raise InputError(
      f"images is {array.dtype} {list(array.shape)}, expected uint8 or floats"
      f" in [0, 1], [N, {height}, {width}]"
    )
  if not len(array):
    raise InputError("images is empty, expected at least one image")
  if not is_float:
    return array
  if np.isnan(array).any():
    raise InputError("images has NaN, expected floats in [0, 1]")
  if array.min() < 0 or array.max() > 1:
    raise InputError(
      f"images has {array.min():g} to {array.max():g}, expected floats in"
      " [0, 1], or uint8"
    )
  return array.astype(np.float32, copy=False)


def integer(name: str, value: Any, lowest: int = 0) -> int:
  """Returns an integer in lowest..2^31 - 1.

  Args:
    name: of the argument.
    value: an integer of Python or numpy.
    lowest: that is possible.

  Raises:
    InputError: if it is not one.
  """
  try:
    number = operator.index(value)
  except TypeError:
    number = lowest - 1
  if not lowest <= number < 2**31 or isinstance(value, bool):
    raise InputError(
      f"{name} is {value!r}, expected an integer in {lowest}..2^31 - 1"
    )
  return number


def count_probs(value: Any, max_steps: int) -> np.ndarray:
  """Returns probabilities of n = 0..T, `[T + 1]` float32.

  Args:
    value: anything that numpy makes such an array of.
    max_steps: T.

  Raises:
    InputError: if they are not T + 1 probabilities whose sum is 1.
  """
  array = _array("count_probs", value)
  if array.shape != (max_steps + 1,) or array.dtype.kind not in "fiu":
    raise InputError(
      f"count_probs is {array.dtype} {list(array.shape)}, expected"
      f" {max_steps + 1} probabilities, of n = 0..{max_steps}"
    )
  # NaN is in no range.
  if not np.all((array >= 0) & (array <= 1)) or abs(array.sum() - 1) > 1e-4:
    raise InputError(
      f"count_probs is {array.tolist()}, expected probabilities whose sum is 1"
    )
  return array.astype(np.float32)


def latents(name: str, value: Any, size: int) -> np.ndarray:
  """Returns latents `[N, size]` as float32.

  Args:
    name: of the argument.
    value: anything that numpy makes such an array of.
    size: of a latent.

  Raises:
    InputError: if N is zero, if shape or type are others, or if they are not
      finite.
  """
  array = _array(name, value)
  if array.ndim != 2 or array.shape[1] != size or array.dtype.kind not in "fiu":
    raise InputError(
      f"{name} is {array.dtype} {list(array.shape)}, expected floats"
      f" [N, {size}]"
    )
  if not len(array):
    raise InputError(f"{name} is empty, expected at least one latent")
  with np.errstate(over="ignore"):  # what float32 cannot hold is infinite
    array = array.astype(np.float32)
  if not np.isfinite(array).all():
    raise InputError(
      f"{name} has NaN or infinity as float32, expected finite floats"
    )
  return array


def _array(name: str, value: Any) -> np.ndarray:
  try:
    return np.asarray(value)
  except (TypeError, ValueError) as error:
    raise InputError(f"{name} is not an array: {error}") from error
