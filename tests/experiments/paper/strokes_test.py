"""Where strokes lie on a canvas, and which ink is whose."""

import itertools

import numpy as np
import pytest
from PIL import Image, ImageDraw

from data import omniglot
from data.config import DataConfig
from experiments.paper import strokes as strokes_lib

# Points (y, x) in pixels of the drawing, of an angle, a slant and a dot.
STROKES = [
  np.array([[20, 30], [70, 30], [70, 80]], np.float32),
  np.array([[15, 50], [55, 75]], np.float32),
  np.array([[85, 60]], np.float32),
]


def drawing(strokes):
  """Returns what a pen of 5 pixels draws, uint8 `[105, 105]`."""
  image = Image.new("L", (omniglot.SIDE, omniglot.SIDE))
  draw = ImageDraw.Draw(image)
  for stroke in strokes:
    points = [(float(x), float(y)) for y, x in stroke]
    draw.line(points, 255, width=5)
    for x, y in points:
      draw.ellipse((x - 2, y - 2, x + 2, y + 2), 255)
  return np.asarray(image)


def canvases(num, digit_size, background="none"):
  names = [f"Greek/character01/{i:04d}_01" for i in range(num)]
  characters = omniglot.Characters(
    np.stack([drawing(STROKES)] * num), np.arange(num), names
  )
  data = DataConfig(
    dataset="omniglot", digit_size=digit_size, background=background
  )
  return strokes_lib.on_canvases(
    characters,
    dict.fromkeys(names, STROKES),
    data,
    np.random.default_rng(0),
  )


@pytest.mark.parametrize("digit_size", [(50,), (36,), (30, 50)])
def test_strokes_lie_on_the_ink_of_their_image(digit_size):
  made = canvases(20, digit_size)
  assert made.images.shape == made.ink.shape == (20, 50, 50)
  assert len({ink.tobytes() for ink in made.ink}) > 10  # in many places

  def ious(by):
    return [
      strokes_lib.iou(
        strokes_lib.drawn([s + by for s in strokes], (50, 50), radius), ink
      )
      for strokes, radius, ink in zip(
        made.strokes, made.pen_radius, made.ink, strict=True
      )
    ]

  lying = ious(0.0)
  assert min(lying) > 0.75
  assert np.mean(lying) > 0.85
  # Half a pixel off is less.
  for by in itertools.product((-0.5, 0.0, 0.5), repeat=2):
    if any(by):
      assert np.mean(ious(np.array(by))) < np.mean(lying) - 0.03


def test_a_background_is_no_ink():
  made = canvases(2, (50,), "grid")
  assert made.images.min(axis=(1, 2)).max() == 0
  assert (made.images >= 102).sum() > 2 * made.ink.sum()  # its lines
  np.testing.assert_array_equal(made.ink, canvases(2, (50,)).ink)


def test_distance_from_a_line():
  line = np.array([[0.5, 0.5], [0.5, 4.5], [3.5, 4.5]])
  pixels = np.array([[0, 2], [2, 0], [3, 1], [5, 4], [2, 6]])
  np.testing.assert_allclose(
    strokes_lib.distances(pixels, line), [0, 2, 3, 2, 2], atol=1e-6
  )
  np.testing.assert_allclose(
    strokes_lib.distances(pixels, line[:1])[:3], [2, 2, np.sqrt(10)]
  )


def test_ink_is_of_the_nearest_stroke():
  ink = np.zeros((6, 8), bool)
  ink[1:3], ink[4] = True, True
  lines = [np.array([[y, 0.5], [y, 7.5]]) for y in (2.0, 4.5)]
  masks = strokes_lib.of_strokes(ink, lines)
  expected = np.zeros((2, 6, 8), bool)
  expected[0, 1:3], expected[1, 4] = True, True
  np.testing.assert_array_equal(masks, expected)


def test_ink_is_of_the_object_that_paints_it_the_brightest():
  ink = np.ones((1, 5), bool)
  ink[0, 4] = False
  objects = np.array([[[0.9, 0.6, 0.2, 0.0, 0.9]], [[0.6, 0.9, 0.1, 0.6, 0.0]]])
  np.testing.assert_array_equal(
    strokes_lib.of_objects(ink, objects),
    [[[True, False, False, False, False]], [[False, True, False, True, False]]],
  )
  assert strokes_lib.of_objects(ink, objects[:0]).shape == (0, 1, 5)


def test_clusters_are_what_lies_together():
  ink = np.zeros((10, 10), bool)
  ink[:3, :3], ink[7:, 6:] = True, True
  first, second = strokes_lib.of_clusters(ink, 2)
  assert not (first & second).any()
  assert {first.sum(), second.sum()} == {9, 12}
  np.testing.assert_array_equal(first | second, ink)
  assert strokes_lib.of_clusters(ink, 0).shape == (0, 10, 10)
  assert len(strokes_lib.of_clusters(ink, 50)) == 21  # no more than pixels


def test_parts_are_matched_to_strokes():
  rng = np.random.default_rng(0)
  parts, strokes = rng.random((4, 5, 5)) > 0.5, rng.random((3, 5, 5)) > 0.5
  best = max(
    sum(
      (parts[p] & stroke).sum() / (parts[p] | stroke).sum()
      for p, stroke in zip(order, strokes, strict=True)
    )
    for order in itertools.permutations(range(4), 3)
  )
  assert strokes_lib.matched_iou(parts, strokes) == pytest.approx(best / 4)
  assert strokes_lib.matched_iou(strokes, parts) == pytest.approx(best / 4)
  assert strokes_lib.matched_iou(strokes[::-1], strokes) == 1
  # One part of all ink: half of one of two equal strokes.
  halves = np.array([[[True, False]], [[False, True]]])
  assert strokes_lib.matched_iou(halves.any(0)[None], halves) == 0.25
  assert strokes_lib.matched_iou(halves[:0], halves) == 0
  assert strokes_lib.iou(~halves[0] & halves[0], halves[0]) == 0
