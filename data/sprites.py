"""Sprites: bright shapes on black, with the truth about each of them.

Two recipes: `supair`, of Stelzner et al. 2019 (SuPAIR), and `varied`, shapes of
many sizes, rotations and grey levels.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from data import counts as counts_lib
from data.errors import DataError, require
from data.multi_mnist import MAX_IMAGES

SUPAIR_SHAPES = ("circle", "square", "diamond")
VARIED_SHAPES = ("circle", "square", "triangle", "star")
_CHUNK = 2000  # images at a time
_MAX_TRIES = 1000
_SUPAIR_SIDE = 50
_SUPAIR_SIZES = (12, 16)
# Red, green and blue as SuPAIR's code turns them to grey.
_SUPAIR_GREYS = (255, 204, 178)
_STAR_INNER = 0.45  # radius of a star's inner corners


@dataclasses.dataclass(frozen=True)
class SpritesSpec:
  """What the images look like.

  Attributes:
    recipe: "supair": circles, squares and diamonds of 12 to 16 pixels and a
      grey level of their own; or "varied": circles, squares, triangles and
      stars of any size in `sizes`, rotation and grey level in `greys`.
    canvas_size: (H, W), pixels; of "supair" 50, 50.
    counts: the numbers of sprites that an image can have.
    count_probs: their probabilities; empty: equal.
    sizes: the least and the largest diameter of "varied" sprites, pixels.
    greys: their least and largest grey level.
    num_images: how many to make.

  Raises:
    DataError: if a value cannot work; the message starts with its name.
  """

  recipe: str = "supair"
  canvas_size: tuple[int, ...] = (_SUPAIR_SIDE, _SUPAIR_SIDE)
  counts: tuple[int, ...] = (0, 1, 2)
  count_probs: tuple[float, ...] = ()
  sizes: tuple[float, ...] = (10.0, 20.0)
  greys: tuple[int, ...] = (128, 255)
  num_images: int = 60_000

  def __post_init__(self):
    require(
      self.recipe in ("supair", "varied"),
      "recipe",
      f'"{self.recipe}"',
      "supair or varied",
    )
    require(
      self.recipe == "varied"
      or self.canvas_size == (_SUPAIR_SIDE, _SUPAIR_SIDE),
      "canvas_size",
      self.canvas_size,
      f"{_SUPAIR_SIDE},{_SUPAIR_SIDE}, that of SuPAIR's sprites",
    )
    counts_lib.check(self.counts, self.count_probs)
    require(
      len(self.sizes) == 2
      and 4 <= self.sizes[0] <= self.sizes[1] <= min(self.canvas_size),
      "sizes",
      self.sizes,
      "a least and a largest diameter of 4 pixels up to the canvas's side",
    )
    require(
      len(self.greys) == 2 and 1 <= self.greys[0] <= self.greys[1] <= 255,
      "greys",
      self.greys,
      "a least and a largest level in 1..255",
    )
    require(
      1 <= self.num_images <= MAX_IMAGES,
      "num_images",
      self.num_images,
      f"1 to {MAX_IMAGES}",
    )

  @property
  def shapes(self) -> tuple[str, ...]:
    """The names of the classes."""
    return SUPAIR_SHAPES if self.recipe == "supair" else VARIED_SHAPES


class Sprites(NamedTuple):
  """Images and the truth about them; M is the largest of the counts.

  Attributes:
    images: uint8 `[N, H, W]`.
    counts: int32 `[N]`, the number of sprites.
    labels: int32 `[N, M]`, the shapes, as in `SpritesSpec.shapes`; -1 where
      there is no sprite.
    boxes: int32 `[N, M, 4]`, the bounding boxes of the sprites' pixels (y0, x0,
      y1, x1), ends exclusive; zeros where there is none.
    factors: float32 `[N, M, 3]`: diameter in pixels, rotation in radians
      (anticlockwise, in 0..2 pi), grey level in 0..1; zeros where there is no
      sprite.
  """

  images: np.ndarray
  counts: np.ndarray
  labels: np.ndarray
  boxes: np.ndarray
  factors: np.ndarray


class _Drawn(NamedTuple):
  """One sprite for each of some images: its pixels, and the truth about it."""

  pixels: np.ndarray  # uint8 [N, H, W]
  labels: np.ndarray  # [N]
  factors: np.ndarray  # [N, 3]


def generate(spec: SpritesSpec, rng: np.random.Generator) -> Sprites:
  """Draws images.

  The count is drawn first. Sprites come one after the other; one that shares a
  pixel with those before it is drawn anew, in all of its properties.

  Args:
    spec: of the images.
    rng: the source of all randomness.

  Raises:
    DataError: if sprites do not fit on the canvas together.
  """
  num_images, most = spec.num_images, max(spec.counts)
  counts = counts_lib.draw(spec.counts, spec.count_probs, num_images, rng)
  result = Sprites(
    images=np.zeros((num_images, *spec.canvas_size), np.uint8),
    counts=counts,
    labels=np.full((num_images, most), -1, np.int32),
    boxes=np.zeros((num_images, most, 4), np.int32),
    factors=np.zeros((num_images, most, 3), np.float32),
  )
  for start in range(0, num_images, _CHUNK):
    for index in range(most):
      chunk = slice(start, start + _CHUNK)
      pending = start + np.flatnonzero(counts[chunk] > index)
      _add(spec, result, index, pending, rng)
  return result


def _add(
  spec: SpritesSpec,
  result: Sprites,
  index: int,
  pending: np.ndarray,
  rng: np.random.Generator,
) -> None:
  """Adds a sprite to each of some images."""
  draw = _draw_supair if spec.recipe == "supair" else _draw_varied
  for _ in range(_MAX_TRIES):
    if not pending.size:
      return
    drawn = draw(spec, len(pending), rng)
    free = ~np.any((drawn.pixels > 0) & (result.images[pending] > 0), (1, 2))
    rows = pending[free]
    result.images[rows] += drawn.pixels[free]
    result.labels[rows, index] = drawn.labels[free]
    result.boxes[rows, index] = _boxes(drawn.pixels[free])
    result.factors[rows, index] = drawn.factors[free]
    pending = pending[~free]
  raise DataError(
    f"counts is {spec.counts}, expected no more sprites than find a place of"
    f" their own on {spec.canvas_size} pixels"
  )


def _boxes(pixels: np.ndarray) -> np.ndarray:
  """Returns int `[N, 4]`, the bounding boxes of what is not black."""
  ends = []
  for axis in (2, 1):  # of the rows, then of the columns
    inked = np.asarray(np.any(pixels, axis))
    ends.append((inked.argmax(1), inked.shape[1] - inked[:, ::-1].argmax(1)))
  (y0, y1), (x0, x1) = ends
  return np.stack([y0, x0, y1, x1], axis=-1)


def _draw_supair(
  spec: SpritesSpec, number: int, rng: np.random.Generator
) -> _Drawn:
  """Draws sprites as SuPAIR's code does, on 50x50 pixels."""
  least, largest = _SUPAIR_SIZES
  corners = rng.integers(0, _SUPAIR_SIDE - least, (number, 2), endpoint=True)
  room = np.minimum(largest, _SUPAIR_SIDE - corners.max(1))
  sizes = rng.integers(least, room, endpoint=True)
  labels = rng.integers(len(SUPAIR_SHAPES), size=number)
  offsets = np.arange(_SUPAIR_SIDE) - corners[:, :, None]  # [N, 2, 50]
  half = (sizes // 2)[:, None, None]
  dy = offsets[:, 0, :, None] - half
  dx = offsets[:, 1, None, :] - half

  def spans(start):
    return (start >= 0) & (start < sizes[:, None, None])

  inside = np.choose(
    labels[:, None, None],
    [
      dy**2 + dx**2 < half**2,
      spans(dy + half) & spans(dx + half),
      abs(dy) + abs(dx) < half,
    ],
  )
  greys = np.array(_SUPAIR_GREYS, np.uint8)[labels]
  factors = np.stack([sizes, np.zeros(number), greys / 255], axis=-1)
  return _Drawn(inside * greys[:, None, None], labels, factors)


def _draw_varied(
  spec: SpritesSpec, number: int, rng: np.random.Generator
) -> _Drawn:
  """Draws sprites anywhere where they lie within the canvas as a whole."""
  height, width = spec.canvas_size
  diameters = rng.uniform(spec.sizes[0], spec.sizes[1], number)
  rotations = rng.uniform(0, 2 * math.pi, number)
  greys = rng.integers(spec.greys[0], spec.greys[1], number, endpoint=True)
  labels = rng.integers(len(VARIED_SHAPES), size=number)
  radii = diameters / 2
  y = rng.uniform(radii, height - radii)
  x = rng.uniform(radii, width - radii)
  dy = (np.arange(height) + 0.5)[:, None] - y[:, None, None]
  dx = np.arange(width) + 0.5 - x[:, None, None]
  angles = np.arctan2(-dy, dx) - rotations[:, None, None]
  borders = np.choose(
    labels[:, None, None],
    [
      np.ones_like(angles),
      *(_polygon(angles, n) for n in (4, 3)),
      _star(angles),
    ],
  )
  # A pixel on the border is as bright as its share within.
  distances = radii[:, None, None] * borders - np.hypot(dy, dx)
  shares = np.clip(distances + 0.5, 0, 1)
  pixels = np.round(shares * greys[:, None, None]).astype(np.uint8)
  factors = np.stack([diameters, rotations, greys / 255], axis=-1)
  return _Drawn(pixels, labels, factors)


def _polygon(angles: np.ndarray, corners: int) -> np.ndarray:
  """Returns the radius of a regular polygon, in that of its circumcircle."""
  step = 2 * math.pi / corners
  return math.cos(step / 2) / np.cos(angles % step - step / 2)


def _star(angles: np.ndarray) -> np.ndarray:
  """Returns the radius of a star of five points, in that of its points."""
  step = math.pi / 5
  # From a point, at angle 0, to an inner corner, in a straight line.
  within = step - abs(angles % (2 * step) - step)
  y, x = _STAR_INNER * math.sin(step), _STAR_INNER * math.cos(step)
  return y / (np.sin(within) * (1 - x) + np.cos(within) * y)
