import hashlib
import itertools
import time

import numpy as np
import pytest
from PIL import Image

from data.errors import DataError
from data.mnist import DigitSet
from data.multi_mnist import MultiMNISTSpec, generate


def _rectangles(*shapes, values=None):
  """Digit k is a filled rectangle of a shape, in the middle of its frame."""
  images = np.zeros((len(shapes), 28, 28), np.uint8)
  for k, (h, w) in enumerate(shapes):
    y, x = (28 - h) // 2, (28 - w) // 2
    images[k, y : y + h, x : x + w] = values[k] if values else 100 + k
  return DigitSet(images, np.arange(len(shapes), dtype=np.uint8))


# Each digit has a size and a value of its own.
_DIGITS = _rectangles((20, 12), (14, 20), (18, 5), (9, 9), (20, 20))


def _generate(digits=_DIGITS, seed=0, **fields):
  spec = MultiMNISTSpec(**fields)
  return generate(spec, digits, np.random.default_rng(seed))


def _assert_uniform(frequencies):
  """Chi-square test at five standard deviations."""
  frequencies = np.ravel(frequencies)
  expected = frequencies.mean()
  assert expected >= 20
  statistic = ((frequencies - expected) ** 2 / expected).sum()
  freedom = frequencies.size - 1
  assert statistic < freedom + 5 * np.sqrt(2 * freedom) + 5


def _boxes(made, index):
  return made.boxes[index, : made.counts[index]].tolist()


def test_shapes_and_types():
  made = _generate(num_images=7, canvas_size=(48, 52), counts=(0, 3))
  assert made.images.shape == (7, 48, 52)
  assert made.images.dtype == np.uint8
  assert made.counts.shape == (7,)
  assert made.labels.shape == (7, 3)
  assert made.boxes.shape == (7, 3, 4)
  assert made.counts.dtype == made.labels.dtype == made.boxes.dtype == np.int32


def test_a_seed_gives_the_same_images_for_ever():
  """If this changes, `_VERSION` in data/dataset.py must, too."""
  made = _generate(num_images=50, canvas_size=(60, 60))
  digest = hashlib.sha256()
  for array in made:
    digest.update(array.tobytes())
  assert digest.hexdigest()[:16] == "fd9d7143dbb7e29c"


def test_slots_without_a_digit_are_padded():
  made = _generate(num_images=300)
  empty = np.arange(2) >= made.counts[:, None]
  assert (made.labels[empty] == -1).all()
  assert (made.boxes[empty] == 0).all()
  assert np.isin(made.labels[~empty], range(5)).all()
  assert not made.images[made.counts == 0].any()
  assert made.images[made.counts > 0].any(axis=(1, 2)).all()


@pytest.mark.parametrize(
  ("counts", "probs"),
  [((0, 1, 2), ()), ((2, 0), (0.1, 0.9)), ((1, 3), (0.0, 1.0))],
)
def test_counts_have_their_probabilities(counts, probs):
  made = _generate(num_images=6_000, counts=counts, count_probs=probs)
  assert set(made.counts.tolist()) <= set(counts)
  for k, count in enumerate(counts):
    p = probs[k] if probs else 1 / len(counts)
    tolerance = 5 * np.sqrt(p * (1 - p) / 6_000)
    assert (made.counts == count).mean() == pytest.approx(p, abs=tolerance)


def test_digits_are_drawn_uniformly():
  made = _generate(num_images=5_000, counts=(2,))
  frequencies = np.zeros((5, 5))
  np.add.at(frequencies, tuple(made.labels.T), 1)
  _assert_uniform(frequencies)


def test_single_digit_is_uniform_in_y_and_x_independently():
  made = _generate(
    _rectangles((20, 16)),
    canvas_size=(26, 24),
    counts=(1,),
    num_images=20_000,
  )
  y, x = made.boxes[:, 0, 0], made.boxes[:, 0, 1]
  joint = np.zeros((7, 9))  # every position where the digit fits
  np.add.at(joint, (y, x), 1)
  _assert_uniform(joint.sum(axis=1))
  _assert_uniform(joint.sum(axis=0))
  _assert_uniform(joint)
  assert abs(np.corrcoef(y, x)[0, 1]) < 5 / np.sqrt(20_000)


def test_single_digit_can_lie_on_the_diagonal():
  fields = {"canvas_size": (26, 26), "counts": (1, 2), "num_images": 20_000}
  made = _generate(_rectangles((20, 20)), **fields, overlap=True)
  diagonal = _generate(
    _rectangles((20, 20)), **fields, overlap=True, single_on_diagonal=True
  )
  single = diagonal.counts == 1
  np.testing.assert_array_equal(made.counts, diagonal.counts)
  y, x = diagonal.boxes[single, 0, :2].T
  np.testing.assert_array_equal(y, x)
  _assert_uniform(np.bincount(y, minlength=7))
  y, x = diagonal.boxes[~single, 0, :2].T
  assert abs(np.corrcoef(y, x)[0, 1]) < 0.05


def test_two_digits_are_uniform_over_the_placements_without_overlap():
  made = _generate(
    _rectangles((3, 2), (2, 3)),
    canvas_size=(5, 5),
    counts=(2,),
    num_images=60_000,
  )
  rows = made.labels.tolist()
  chosen = np.array([labels == [0, 1] for labels in rows])
  boxes = made.boxes[chosen]
  frequencies = np.zeros((3, 4, 4, 3))
  np.add.at(
    frequencies,
    (boxes[:, 0, 0], boxes[:, 0, 1], boxes[:, 1, 0], boxes[:, 1, 1]),
    1,
  )
  valid = np.zeros(frequencies.shape, bool)
  for a, b, c, d in np.ndindex(*valid.shape):
    canvas = np.zeros((5, 5), int)
    canvas[a : a + 3, b : b + 2] += 1
    canvas[c : c + 2, d : d + 3] += 1
    valid[a, b, c, d] = canvas.max() == 1
  assert 0 < valid.sum() < valid.size
  assert not frequencies[~valid].any()
  _assert_uniform(frequencies[valid])


@pytest.mark.parametrize("digit_size", [(28,), (10, 20)])
def test_boxes_bound_the_ink_and_do_not_overlap(digit_size):
  made = _generate(num_images=500, counts=(0, 1, 2, 3), digit_size=digit_size)
  for index, image in enumerate(made.images):
    rest = image.copy()
    for y0, x0, y1, x1 in _boxes(made, index):
      ink = rest[y0:y1, x0:x1]  # empty if another box covered it
      for edge in (ink[0], ink[-1], ink[:, 0], ink[:, -1]):
        assert edge.any()
      rest[y0:y1, x0:x1] = 0
    assert not rest.any()


def test_image_shows_the_digits_of_its_labels():
  made = _generate(num_images=300)
  for index, image in enumerate(made.images):
    for label, (y0, x0, y1, x1) in zip(
      made.labels[index], _boxes(made, index), strict=False
    ):
      frame = _DIGITS.images[label]
      ys, xs = frame.nonzero()
      glyph = frame[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
      np.testing.assert_array_equal(image[y0:y1, x0:x1], glyph)


def test_redrawing_positions_changes_neither_counts_nor_digits():
  fields = {"num_images": 2_000, "counts": (0, 2, 4), "digit_size": (20, 28)}
  free = _generate(**fields, overlap=True)
  apart = _generate(**fields)
  np.testing.assert_array_equal(free.counts, apart.counts)
  np.testing.assert_array_equal(free.labels, apart.labels)
  np.testing.assert_array_equal(
    free.boxes[..., 2:] - free.boxes[..., :2],
    apart.boxes[..., 2:] - apart.boxes[..., :2],
  )
  assert (free.boxes != apart.boxes).any()


@pytest.mark.parametrize(("value", "total"), [(100, 200), (200, 255)])
def test_overlapping_ink_adds_and_saturates(value, total):
  made = _generate(
    _rectangles((10, 10), values=[value]),
    canvas_size=(10, 10),
    counts=(2,),
    overlap=True,
    num_images=3,
  )
  np.testing.assert_array_equal(made.images, np.full((3, 10, 10), total))


def test_the_same_arguments_give_the_same_images():
  first, second = (_generate(num_images=200) for _ in range(2))
  for a, b in zip(first, second, strict=True):
    np.testing.assert_array_equal(a, b)
  other = _generate(num_images=200, seed=1)
  assert (first.images != other.images).any()


def test_digit_sizes_are_uniform_over_the_range_with_both_ends():
  made = _generate(
    _rectangles((28, 28)),
    digit_size=(12, 17),
    counts=(1,),
    num_images=6_000,
  )
  sides = made.boxes[:, 0, 2:] - made.boxes[:, 0, :2]
  np.testing.assert_array_equal(sides[:, 0], sides[:, 1])
  frequencies = np.bincount(sides[:, 0])
  assert not frequencies[:12].any()
  assert len(frequencies) == 18
  _assert_uniform(frequencies[12:])


def test_digits_are_resized_antialiased():
  random = np.random.default_rng(0)
  image = random.integers(1, 256, (28, 28), dtype=np.uint8)
  made = _generate(
    DigitSet(image[None], np.zeros(1, np.uint8)),
    canvas_size=(14, 14),
    digit_size=(14,),
    counts=(1,),
    num_images=1,
  )
  expected = Image.fromarray(image).resize((14, 14), Image.Resampling.BILINEAR)
  np.testing.assert_array_equal(made.images[0], np.asarray(expected))
  # Every pixel counts: no sub-sampling.
  assert made.images.mean() == pytest.approx(image.mean(), abs=3)


def test_hard_spec_keeps_its_counts():
  # Only the corners have room for four.
  made = _generate(
    _rectangles((20, 20)),
    canvas_size=(40, 40),
    counts=(0, 4),
    count_probs=(0.5, 0.5),
    num_images=60,
  )
  assert set(made.counts.tolist()) == {0, 4}
  for index in np.flatnonzero(made.counts):
    corners = sorted(box[:2] for box in _boxes(made, index))
    assert corners == [[0, 0], [0, 20], [20, 0], [20, 20]]


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"canvas_size": (19, 50)}, "expected room for a digit of 20x"),
    ({"digit_size": (1_000,)}, "expected room for a digit of"),
    ({"canvas_size": (30, 30)}, "expected room for 2 digits of"),
    ({"counts": (1, 100)}, "expected room for 100 digits of"),
    ({"counts": (6,)}, "expected room for 6 digits of"),
  ],
)
def test_impossible_spec_raises_promptly(fields, message):
  start = time.process_time()
  with pytest.raises(DataError, match=f"^canvas_size is .*{message}"):
    _generate(num_images=5_000, **fields)
  assert time.process_time() - start < 15


def test_blank_digit_is_refused():
  with pytest.raises(DataError, match=r"^digit_size is .* digit 0 is blank"):
    _generate(_rectangles((0, 0)), num_images=9)


@pytest.mark.parametrize(
  ("field", "value", "message"),
  [
    ("canvas_size", (50,), "expected a height and a width of 1 to 32768"),
    ("canvas_size", (50, 0), "expected a height and a width of 1 to 32768"),
    ("canvas_size", (50, 9.5), "expected a height and a width of 1 to 32768"),
    ("counts", (), "expected one or more different numbers in 0..100"),
    ("counts", (1, 1), "expected one or more different numbers in 0..100"),
    ("counts", (-1, 1), "expected one or more different numbers in 0..100"),
    ("counts", (0, 101), "expected one or more different numbers in 0..100"),
    ("count_probs", (0.5, 0.5), "one probability for each of the counts"),
    ("count_probs", (0.5, 0.5, 0.1), "expected probabilities that sum to 1"),
    ("count_probs", (1.5, -0.5, 0), "expected probabilities that sum to 1"),
    ("count_probs", (np.nan, 0.5, 0.5), "probabilities that sum to 1"),
    ("digit_size", (), "expected one side of at least 1 pixel, or a range"),
    ("digit_size", (0,), "expected one side of at least 1 pixel, or a range"),
    ("digit_size", (20, 12), "expected one side of at least 1 pixel"),
    ("digit_size", (1_401,), "expected no more than 1400"),
    ("num_images", 0, "expected 1 to 2147483647"),
  ],
)
def test_bad_field_is_named(field, value, message):
  with pytest.raises(DataError, match=rf"^{field} is .*{message}"):
    MultiMNISTSpec(**{field: value})


def test_sixty_thousand_images_in_seconds():
  start = time.process_time()
  made = _generate()
  assert time.process_time() - start < 30
  assert made.images.shape == (60_000, 50, 50)
  assert np.unique(made.counts).tolist() == [0, 1, 2]


def test_boxes_of_many_digits_do_not_overlap():
  made = _generate(num_images=300, counts=(4,), digit_size=(14, 20))
  for index in range(300):
    for a, b in itertools.combinations(_boxes(made, index), 2):
      assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_observations_recipe():
  """Sides of 28 over N(1.3, .1^2), anywhere, drawn anew where ink overlaps."""
  full = _rectangles((28, 28), values=[200])
  made = _generate(full, placement="observations", num_images=3000)
  _assert_uniform(np.bincount(made.counts))
  sides = made.boxes[..., 2:] - made.boxes[..., :2]
  one = made.counts == 1
  assert (sides[..., 0] == sides[..., 1]).all()
  # As rounded down, of scales within a few deviations.
  scales = np.random.default_rng(1).normal(1.3, 0.1, 100_000)
  expected = np.bincount((28 / scales).astype(int), minlength=40) / 100_000
  found = np.bincount(sides[one, 0, 0], minlength=40) / one.sum()
  np.testing.assert_allclose(found, expected, atol=0.04)
  # Of two digits of 200, which would add up to 400, none overlap.
  for index in np.flatnonzero(made.counts == 2):
    a, b = _boxes(made, index)
    assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
  assert set(np.unique(made.images)) == {0, 200}
  # Alone, it lies uniformly over its room, but for the last position.
  corner = made.boxes[one, 0, :2] / (50 - sides[one, 0])
  assert corner.max() < 1
  np.testing.assert_allclose(corner.mean(0), 0.5 * 28 / 29, atol=0.04)
  _assert_uniform(np.histogram(corner, 4, (0, 1))[0])


def test_observations_digits_overlap_where_their_ink_does_not_exceed_white():
  faint = _rectangles((28, 28), values=[100])
  made = _generate(
    faint, placement="observations", counts=(2, 3), num_images=400
  )
  brightest = made.images.max((1, 2))
  assert set(brightest.tolist()) == {100, 200}
  assert (brightest[made.counts == 3] == 200).mean() > 0.8


@pytest.mark.parametrize(
  "fields",
  [
    {"digit_size": (20,)},
    {"overlap": True},
    {"single_on_diagonal": True},
    {"canvas_size": (50, 39)},
  ],
)
def test_observations_recipe_fixes_the_rest(fields):
  [name] = fields
  with pytest.raises(DataError, match=rf"^{name} is .* placement observations"):
    MultiMNISTSpec(placement="observations", **fields)
  with pytest.raises(DataError, match=r"^placement is .*, expected apart or"):
    MultiMNISTSpec(placement="elsewhere")


def test_too_many_observations_digits_are_refused():
  bright = _rectangles((28, 28), values=[255])
  with pytest.raises(DataError, match=r"^counts is \(9,\)"):
    _generate(bright, placement="observations", counts=(9,), num_images=1)
