"""Backgrounds behind the objects of any data set."""

from collections.abc import Callable

import numpy as np
from PIL import Image

_CHUNK = 1000  # images at a time
_NOISE_STD, _NOISE_CONTRAST, _NOISE_BLACK = 0.2, 0.8, 0.1
_GRID_PERIOD, _GRID_GREY = 5, 0.4
_SMOOTH_GREY, _SMOOTH_POINTS = 0.4, 4


def _noise(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Less contrast, and noise on every pixel (SuPAIR)."""
  noise = rng.normal(_NOISE_BLACK, _NOISE_STD, images.shape)
  return _NOISE_CONTRAST * images + noise


def _grid(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Lines in every fifth row and column, of another offset in each image."""
  num_images, height, width = images.shape
  offsets = rng.integers(0, _GRID_PERIOD, (2, num_images, 1))
  rows, columns = (
    np.arange(side) % _GRID_PERIOD == offset
    for side, offset in zip((height, width), offsets, strict=True)
  )
  lines = rows[:, :, None] | columns[:, None]
  return np.maximum(images, _GRID_GREY * lines)


def _smooth(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """A pattern of low frequency, which objects cover."""
  num_images, height, width = images.shape
  points = rng.uniform(size=(num_images, _SMOOTH_POINTS, _SMOOTH_POINTS))
  patterns = np.stack(
    [
      np.asarray(
        Image.fromarray(p.astype(np.float32)).resize(
          (width, height), Image.Resampling.BICUBIC
        )
      )
      for p in points
    ]
  )
  patterns = _SMOOTH_GREY * np.clip(patterns, 0, 1)
  return images + (1 - images) * patterns


_BACKGROUNDS: dict[
  str, Callable[[np.ndarray, np.random.Generator], np.ndarray]
] = {"noise": _noise, "grid": _grid, "smooth": _smooth}
NAMES = ("none", *_BACKGROUNDS)


def add(images: np.ndarray, name: str, rng: np.random.Generator) -> np.ndarray:
  """Returns images with something behind their objects.

  `noise`: x becomes .8 x + .1 + N(0, .2^2), clipped, pixel by pixel; `grid`: in
  every fifth row and column, from a random one of each image on, pixels are at
  least .4. Both are those of SuPAIR (Stelzner et al. 2019). `smooth`: a random
  pattern of up to .4, interpolated between 4x4 points, shines through where
  objects are dark.

  Args:
    images: uint8 `[N, H, W]`.
    name: one of `NAMES`.
    rng: the source of all randomness.

  Returns:
    uint8 `[N, H, W]`; of "none", the images themselves.
  """
  if name == "none":
    return images
  result = np.empty_like(images)
  for start in range(0, len(images), _CHUNK):
    part = slice(start, start + _CHUNK)
    made = _BACKGROUNDS[name](images[part] / 255, rng)
    result[part] = np.round(255 * np.clip(made, 0, 1))
  return result
