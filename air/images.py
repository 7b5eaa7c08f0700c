"""What pixels mean: 0 is black, and bright objects are on black.

All ways in (training, `air.load(...).infer`, `experiments.infer`,
`data.convert`) read images here. Whatever could be read in two ways is refused,
with what to say to have it read in one.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from air.errors import InputError

# As much above 1, or below 0, is an error of rounding.
TOLERANCE = 1e-5
# A set whose brightest pixel is darker than this share of the maximum is on
# another scale: masks of 0 and 1, classes, floats that were divided twice.
DIM = 1 / 16
# An image is bright on its border if the median there is no less.
BRIGHT = 0.5
# Of the images of a set, more than this share may not have a bright border.
BRIGHT_SHARE = 0.1
_CHANNELS = (1, 3, 4)
_CHUNK = 1 << 24  # pixels that are converted at a time


@dataclasses.dataclass(frozen=True)
class Reading:
  """How pixels are to be read, where that is not plain.

  Attributes:
    invert: whether objects are dark on a bright ground.
    max_value: what the brightest possible pixel is stored as; 0: 255 of uint8,
      1 of floats and bool; other types have to state it.

  Raises:
    InputError: if a value cannot work.
  """

  invert: bool = False
  max_value: float = 0

  def __post_init__(self):
    if not 0 <= self.max_value < math.inf:
      raise InputError(
        f"max_value is {self.max_value}, expected a positive number, or 0 for"
        " that of the type"
      )


def read(
  name: str, value: Any, reading: Reading = Reading(), rounded: bool = False
) -> np.ndarray:
  """Returns images `[N, H, W]`: uint8, or float32 in [0, 1].

  Colours are turned to grey by the brightest channel of each pixel, so that an
  object is as bright in blue as in white; what is transparent becomes ground.

  Args:
    name: of the images, which messages begin with.
    value: what numpy makes an array of: `[N, H, W]`, or with 1 channel (grey),
      3 (RGB) or 4 (RGB and opacity) at the end; bool, uint8, floats in [0, 1],
      or other integers whose maximum is stated.
    reading: how to read them.
    rounded: to return uint8 in any case; else it is returned of bool and uint8
      that need no scaling.

  Raises:
    InputError: if type, shape or range are others, or if there is none; if
      they are on another scale than stated, or bright on their border.
  """
  array = as_array(name, value)
  _check_shape(name, array)
  maximum = _maximum(name, array, reading)
  _check_range(name, array, maximum, reading)
  is_bytes = array.dtype == np.uint8 and maximum == 255
  if is_bytes and array.ndim == 3:
    result = ~array if reading.invert else np.ascontiguousarray(array)
  else:
    as_uint8 = rounded or is_bytes or array.dtype == bool
    result = np.empty(array.shape[:3], np.uint8 if as_uint8 else np.float32)
    step = max(1, _CHUNK // math.prod(array.shape[1:]))
    for start in range(0, len(array), step):
      part = _grey(array[start : start + step], maximum, reading.invert)
      if as_uint8:
        part = np.round(part * 255)
      result[start : start + step] = part
  _check_ground(name, result, reading)
  _check_opaque(name, array, result, reading)
  return result


def check_sets(sets: Mapping[str, np.ndarray]) -> None:
  """Checks that there is something in sets of images, on one scale.

  Args:
    sets: by name, as `read` returns them `rounded`.

  Raises:
    InputError: if all images of a set are black, or if the brightest pixel of
      one is far darker than that of another.
  """
  brightest = {name: int(images.max()) for name, images in sets.items()}
  light, dark = (f(brightest, key=brightest.__getitem__) for f in (max, min))
  if not brightest[dark]:
    raise InputError(
      f"{dark} has nothing but black pixels, expected bright objects on black"
    )
  if brightest[dark] < DIM * brightest[light]:
    raise InputError(
      f"{dark} has 0 to {brightest[dark]} of 255 and {light} has 0 to"
      f" {brightest[light]}, expected the same scale in both"
    )


def as_array(name: str, value: Any) -> np.ndarray:
  """Returns what numpy makes of a value.

  Raises:
    InputError: if it makes nothing of it.
  """
  try:
    return np.asarray(value)
  except (TypeError, ValueError) as error:
    raise InputError(f"{name} is not an array: {error}") from error


def _check_shape(name: str, array: np.ndarray) -> None:
  described = f"{name} is {array.dtype} {list(array.shape)}"
  if array.dtype.kind not in "bfiu":
    raise InputError(
      f"{described}, expected bool, uint8, floats in [0, 1], or other integers"
      " whose maximum --max_value (max_value in Python) states"
    )
  has_channels = array.ndim == 4 and array.shape[-1] in _CHANNELS
  if array.ndim == 4 and not has_channels and array.shape[1] in _CHANNELS:
    raise InputError(
      f"{described}, with channels first; expected [N, H, W], or channels"
      " last, [N, H, W, C]: np.moveaxis(images, 1, -1)"
    )
  if array.ndim != 3 and not has_channels:
    raise InputError(
      f"{described}, expected [N, H, W], or [N, H, W, C] with 1 (grey), 3 (RGB)"
      " or 4 (RGB and opacity) channels"
    )
  if not array.size:
    raise InputError(f"{described}, expected at least one image and one pixel")


def _maximum(name: str, array: np.ndarray, reading: Reading) -> float:
  """Returns what the brightest possible pixel is stored as."""
  if array.dtype.kind == "b":
    return 1
  if reading.max_value:
    return reading.max_value
  if array.dtype.kind == "f":
    return 1
  if array.dtype == np.uint8:
    return 255
  raise InputError(
    f"{name} is {array.dtype} with {array.min()} to {array.max()}, expected"
    " bool, uint8, floats in [0, 1], or that --max_value (max_value in Python)"
    " states the maximum, as 255 or 65535"
  )


def _check_range(
  name: str, array: np.ndarray, maximum: float, reading: Reading
) -> None:
  if array.dtype.kind == "b":
    return
  lowest, highest = array.min(), array.max()
  slack = TOLERANCE * maximum if array.dtype.kind == "f" else 0
  if math.isnan(lowest):
    raise InputError(f"{name} has NaN, expected pixels of 0 to {maximum:g}")
  if lowest < -slack or highest > maximum + slack:
    raise InputError(
      f"{name} has {_number(lowest)} to {_number(highest)}, expected 0 to"
      f" {maximum:g}; --max_value (max_value in Python) states another maximum"
    )
  if not reading.max_value and 0 < highest < DIM * maximum:
    raise InputError(
      f"{name} is {array.dtype} with {_number(lowest)} to {_number(highest)},"
      f" where {maximum:g} is bright; expected bright objects: state"
      f" --max_value={_number(highest)} (max_value in Python) if this is the"
      f" brightest, or {maximum:g} if it is as dark as that"
    )


def _number(value: Any) -> str:
  return f"{value:.9g}"


def _grey(images: np.ndarray, maximum: float, invert: bool) -> np.ndarray:
  """Returns images as float32 `[N, H, W]` in [0, 1]."""
  # Of more bytes, float32 does not hold all values.
  floats = images.astype("f4" if images.dtype.itemsize <= 2 else "f8")
  part = np.clip(floats / maximum, 0, 1)
  colours = part if part.ndim == 3 else part[..., :3].max(-1)
  if invert:
    colours = 1 - (part if part.ndim == 3 else part[..., :3].min(-1))
  if _has_opacity(part):
    colours *= part[..., 3]
  return colours.astype(np.float32)


def _has_opacity(images: np.ndarray) -> bool:
  return images.ndim == 4 and images.shape[-1] == 4


def _check_ground(name: str, images: np.ndarray, reading: Reading) -> None:
  """Checks that the ground is black, by the images' borders."""
  border = np.concatenate(
    [images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1]], 1
  )
  scale = 255 if images.dtype == np.uint8 else 1
  bright = np.median(border, axis=1) >= BRIGHT * scale
  if bright.mean() <= BRIGHT_SHARE:
    return
  which = "" if bright.all() else f" in {bright.sum()} of {len(bright)} images"
  if reading.invert:
    raise InputError(
      f"{name} has a bright border after inversion{which}, expected bright"
      " objects on black: leave out --invert (invert in Python)"
    )
  raise InputError(
    f"{name} has a bright border{which}, expected bright objects on black:"
    " invert dark objects on a bright ground with --invert (invert=True in"
    " Python)"
  )


def _check_opaque(
  name: str, array: np.ndarray, images: np.ndarray, reading: Reading
) -> None:
  """Checks that not all that is drawn has the colour of the ground."""
  if not _has_opacity(array) or images.any():
    return
  opacity = array[..., 3]
  if opacity.min() < opacity.max():
    change = "leave out" if reading.invert else "add"
    raise InputError(
      f"{name} is black once what is transparent has become ground, expected"
      f" bright objects on black: {change} --invert (invert in Python)"
    )
