"""What a caller hands in, checked: wrong values are refused in a clear line."""

import operator
from typing import Any

import numpy as np

from air.errors import InputError
from air.images import Reading, as_array, read


def images(
  value: Any, image_size: tuple[int, ...], reading: Reading = Reading()
) -> np.ndarray:
  """Returns images `[N, H, W]` as uint8, or as float32 in [0, 1].

  Args:
    value: what `air.images.read` takes.
    image_size: (H, W), pixels.
    reading: how to read it.

  Raises:
    InputError: if it cannot be read, or has another size.
  """
  array = as_array("images", value)
  result = read("images", array, reading)
  if result.shape[1:] != tuple(image_size):
    height, width = image_size
    raise InputError(
      f"images is {array.dtype} {list(array.shape)}, expected"
      f" {height}x{width} pixels (height x width), as the model was trained on"
    )
  return result


# Samples of an importance-weighted bound: more take hours for a batch.
MOST_SAMPLES = 100_000


def integer(
  name: str, value: Any, lowest: int = 0, highest: int = 2**31 - 1
) -> int:
  """Returns an integer in lowest..highest.

  Args:
    name: of the argument.
    value: an integer of Python or numpy.
    lowest: that is possible.
    highest: that is possible.

  Raises:
    InputError: if it is not one.
  """
  try:
    number = operator.index(value)
  except TypeError:
    number = lowest - 1
  if not lowest <= number <= highest or isinstance(value, bool):
    limit = "2^31 - 1" if highest == 2**31 - 1 else f"{highest:,}"
    raise InputError(
      f"{name} is {value!r}, expected an integer in {lowest}..{limit}"
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
  array = as_array("count_probs", value)
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
  array = as_array(name, value)
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
