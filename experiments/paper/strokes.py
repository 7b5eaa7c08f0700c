"""The ink of characters: which of it is which pen stroke's, or object's.

Masks of ink are bool. A pixel has ink if it is brighter than `THRESHOLD`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from etils import epy

from data import backgrounds, multi_mnist, omniglot
from data.config import DataConfig
from data.mnist import DigitSet

with epy.lazy_imports():
  from scipy import optimize
  from sklearn import cluster

# Of 1, white.
THRESHOLD = 0.5
# Pixels of a drawing: between a pen's points, which are whole where a pixel has
# its centre, and our coordinates, where pixel i covers [i, i + 1); and half of
# the width of the line that Omniglot's drawings show.
_CENTRE = 0.5
PEN_RADIUS = 2.5


class Canvases(NamedTuple):
  """N characters, each alone on a canvas, and the strokes that made them.

  Attributes:
    images: uint8 `[N, H, W]`.
    ink: bool `[N, H, W]`, where the character is.
    strokes: of each image float `[P, 2]`, points (y, x) in pixels of the
      canvas, with pixel i covering [i, i + 1).
    pen_radius: `[N]`, half of the lines' width, pixels of the canvas.
    labels: `[N]`, the characters.
  """

  images: np.ndarray
  ink: np.ndarray
  strokes: list[list[np.ndarray]]
  pen_radius: np.ndarray
  labels: np.ndarray


def on_canvases(
  characters: omniglot.Characters,
  strokes: Mapping[str, Sequence[np.ndarray]],
  data: DataConfig,
  rng: np.random.Generator,
) -> Canvases:
  """Places each drawing alone on a canvas, and its strokes with it.

  Args:
    characters: at least one.
    strokes: of each of them by name, see `omniglot.read_strokes`.
    data: what the images look like, but for their numbers.
    rng: of sides, if they vary, places and backgrounds.

  Raises:
    DataError: if a drawing has no ink or is larger than the canvas.
  """
  low, high = data.digit_size[0], data.digit_size[-1]
  sides = rng.integers(low, high + 1, len(characters.names))
  images, moved = [], []
  for name, drawing, side in zip(
    characters.names, characters.images, sides.tolist(), strict=True
  ):
    one = dataclasses.replace(
      data, counts=(1,), count_probs=(), digit_size=(side,), num_images=1
    )
    glyph = DigitSet(drawing[None], np.zeros(1, np.int32))
    made = multi_mnist.generate(one.spec(), glyph, rng)
    images.append(made.images[0])
    # The frame's ink is cropped out and lies in this box.
    left, top, _, _ = multi_mnist.framed(drawing, side).getbbox()
    origin = made.boxes[0, 0, :2] - [top, left]
    scale = side / omniglot.SIDE
    moved.append([(s + _CENTRE) * scale + origin for s in strokes[name]])
  black = np.stack(images)
  return Canvases(
    images=backgrounds.add(black, data.background, rng),
    ink=black > 255 * THRESHOLD,
    strokes=moved,
    pen_radius=PEN_RADIUS * sides / omniglot.SIDE,
    labels=characters.labels,
  )


def distances(pixels: np.ndarray, stroke: np.ndarray) -> np.ndarray:
  """Returns how far the centres of pixels are from a stroke.

  Args:
    pixels: int `[K, 2]`, (y, x).
    stroke: `[P, 2]`, points of a line, at least one.

  Returns:
    `[K]`, pixels.
  """
  start = stroke[:-1] if len(stroke) > 1 else stroke
  along = np.diff(stroke, axis=0) if len(stroke) > 1 else np.zeros((1, 2))
  offset = pixels[:, None] + 0.5 - start  # [K, P - 1, 2]
  length2 = np.maximum(np.sum(along**2, axis=-1), 1e-12)
  share = np.clip(np.sum(offset * along, axis=-1) / length2, 0.0, 1.0)
  apart = offset - share[..., None] * along
  return np.sqrt(np.min(np.sum(apart**2, axis=-1), axis=-1))


def drawn(
  strokes: Sequence[np.ndarray], shape: tuple[int, ...], radius: float
) -> np.ndarray:
  """Returns the ink of a pen with these strokes, `[H, W]`."""
  pixels = np.argwhere(np.ones(shape, bool))
  nearest = np.min([distances(pixels, stroke) for stroke in strokes], axis=0)
  return (nearest <= radius).reshape(shape)


def of_strokes(ink: np.ndarray, strokes: Sequence[np.ndarray]) -> np.ndarray:
  """Returns the ink of each stroke: the pixels that it is the nearest to.

  Args:
    ink: `[H, W]`.
    strokes: S of them, see `Canvases`.

  Returns:
    `[S, H, W]`.
  """
  pixels = np.argwhere(ink)
  owner = np.argmin([distances(pixels, s) for s in strokes], axis=0)
  return _masks(ink, owner, len(strokes))


def of_objects(ink: np.ndarray, objects: np.ndarray) -> np.ndarray:
  """Returns the ink of each object: the pixels that it paints the brightest.

  Pixels on which no object paints ink have none.

  Args:
    ink: `[H, W]`, the image's.
    objects: `[n, H, W]`, what they paint.

  Returns:
    `[n, H, W]`.
  """
  if not len(objects):
    return np.zeros((0, *ink.shape), bool)
  painted = np.any(objects > THRESHOLD, axis=0)
  masks = _masks(ink, np.argmax(objects, axis=0)[ink], len(objects))
  return masks & painted


def of_clusters(ink: np.ndarray, number: int) -> np.ndarray:
  """Returns ink in clusters by its place (k-means), `[number, H, W]`.

  Args:
    ink: `[H, W]`.
    number: of clusters; there are no more than pixels of ink.
  """
  pixels = np.argwhere(ink)
  number = min(number, len(pixels))
  if not number:
    return np.zeros((0, *ink.shape), bool)
  k_means = cluster.KMeans(number, n_init=10, random_state=0)
  return _masks(ink, k_means.fit_predict(pixels), number)


def _masks(ink: np.ndarray, owner: np.ndarray, number: int) -> np.ndarray:
  """Returns `[number, H, W]`, where the owner `[K]` of K pixels' ink says."""
  masks = np.zeros((number, *ink.shape), bool)
  masks[:, ink] = owner == np.arange(number)[:, None]
  return masks


def iou(first: np.ndarray, second: np.ndarray) -> float:
  """Returns the intersection over union of two masks; of empty ones, 0."""
  union = np.sum(first | second)
  return float(np.sum(first & second) / union) if union else 0.0


def matched_iou(parts: np.ndarray, strokes: np.ndarray) -> float:
  """Returns the mean intersection over union of parts and strokes, matched.

  Pairs are chosen so that the sum is the largest; a part without a stroke and a
  stroke without a part count 0.

  Args:
    parts: `[n, H, W]`.
    strokes: `[S, H, W]`, S at least 1.
  """
  if not len(parts):
    return 0.0
  table = np.array(
    [[iou(part, stroke) for stroke in strokes] for part in parts]
  )
  pairs = optimize.linear_sum_assignment(table, maximize=True)
  return float(table[pairs].sum() / max(table.shape))
