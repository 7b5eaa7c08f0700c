"""Sprites: both recipes, and the truth about what is drawn."""

import math

import numpy as np
import pytest

from data import sprites
from data.errors import DataError
from data.sprites import SpritesSpec


def generate(seed=0, **spec):
  return sprites.generate(SpritesSpec(**spec), np.random.default_rng(seed))


@pytest.fixture(scope="module", params=["supair", "varied"])
def made(request):
  return SpritesSpec(recipe=request.param), generate(
    recipe=request.param, num_images=2000
  )


def test_counts_and_shapes_are_equally_probable(made):
  spec, made = made
  shares = np.bincount(made.counts, minlength=3) / len(made.counts)
  np.testing.assert_allclose(shares, 1 / 3, atol=0.04)
  labels = made.labels[made.labels >= 0]
  assert len(labels) == made.counts.sum()
  shares = np.bincount(labels) / len(labels)
  assert len(shares) == len(spec.shapes)
  # Larger shapes are drawn anew more often.
  np.testing.assert_allclose(shares, 1 / len(spec.shapes), atol=0.06)


def test_what_is_not_there_has_no_truth(made):
  _, made = made
  absent = np.arange(made.labels.shape[1]) >= made.counts[:, None]
  assert (made.labels[absent] == -1).all()
  assert not made.boxes[absent].any()
  assert not made.factors[absent].any()
  assert (made.labels[~absent] >= 0).all()
  assert not made.images[made.counts == 0].any()


def test_boxes_are_those_of_the_pixels(made):
  _, made = made
  for image, [box, *_] in zip(
    made.images[made.counts == 1], made.boxes[made.counts == 1], strict=True
  ):
    y, x = np.nonzero(image)
    assert box.tolist() == [y.min(), x.min(), y.max() + 1, x.max() + 1]


def test_sprites_share_no_pixel(made):
  """So their ink adds up to what each of them has alone."""
  _, made = made
  assert (made.images.max((1, 2))[made.counts == 2] <= 255).all()
  two = made.counts == 2
  areas = (made.images[two] > 0).sum((1, 2))
  boxes = made.boxes[two].astype(int)
  most = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
  assert (areas <= most.sum(1)).all()
  alone = (made.images[made.counts == 1] > 0).sum((1, 2)).mean()
  assert areas.mean() == pytest.approx(2 * alone, rel=0.1)


def test_supair_shapes_to_the_letter():
  made = generate(counts=(1,), num_images=600)
  # Red, green and blue, each with the weight of its channel.
  brightest = made.images.max((1, 2))
  for label, grey in enumerate((255, 204, 178)):
    assert set(brightest[made.labels[:, 0] == label].tolist()) == {grey}
  for image, [label], [box], [[size, *_]] in zip(
    made.images, made.labels, made.boxes, made.factors, strict=True
  ):
    y0, x0, y1, x1 = box.tolist()
    half = int(size) // 2
    area = (image > 0).sum()
    if label == 1:
      assert (y1 - y0, x1 - x0, area) == (size, size, size**2)
    else:
      assert y1 - y0 == x1 - x0 == 2 * half - 1
      expected = math.pi * half**2 if label == 0 else 2 * half * (half - 1) + 1
      assert area == pytest.approx(expected, rel=0.1 if label == 0 else 0)
  sizes = made.factors[:, 0, 0]
  assert (sizes.min(), sizes.max()) == (12, 16)
  assert (made.boxes[..., :2].min(), made.boxes[..., 2:].max()) == (0, 50)


def test_varied_sprites_have_their_factors():
  made = generate(
    recipe="varied", counts=(1,), num_images=800, canvas_size=(60, 40)
  )
  assert made.images.shape == (800, 60, 40)
  diameters, rotations, greys = made.factors[:, 0].T
  assert 10 <= diameters.min() < 11 < 19 < diameters.max() <= 20
  assert 0 <= rotations.min() < 0.2 < 6.1 < rotations.max() <= 2 * math.pi
  np.testing.assert_allclose(
    made.images.max((1, 2)), np.round(255 * greys), atol=1
  )
  # The share of the circumcircle that a shape covers.
  inner = sprites._STAR_INNER
  shares = (
    1,
    2 / math.pi,
    3 * math.sqrt(3) / 4 / math.pi,
    5 * inner * math.sin(math.pi / 5) / math.pi,
  )
  ink = made.images.sum((1, 2)) / np.round(255 * greys)
  for label, share in enumerate(shares):
    of = made.labels[:, 0] == label
    ratio = ink[of] / (share * math.pi * diameters[of] ** 2 / 4)
    assert np.median(ratio) == pytest.approx(1, abs=0.03)


def test_a_rotation_is_anticlockwise_from_a_corner_on_the_right():
  for label, corners in ((1, 4), (2, 3), (3, 5)):
    for angle in (0.0, 0.7):
      angles = angle + 2 * math.pi / corners * np.arange(corners)
      radius = (
        sprites._star(angles - angle)
        if label == 3
        else sprites._polygon(angles - angle, corners)
      )
      np.testing.assert_allclose(radius, 1)
  made = generate(recipe="varied", counts=(1,), num_images=400, sizes=(20, 20))
  # The point of a triangle that is farthest from the centre of mass.
  for image, [label], [[_, rotation, _]] in zip(
    made.images, made.labels, made.factors, strict=True
  ):
    if label == 2:
      y, x = np.nonzero(image > 100)
      dy, dx = y - y.mean(), x - x.mean()
      far = np.hypot(dy, dx).argmax()
      angle = math.atan2(-dy[far], dx[far]) - rotation
      third = 2 * math.pi / 3
      assert abs((angle + third / 2) % third - third / 2) < 0.25


def test_the_seed_decides():
  np.testing.assert_array_equal(
    generate(3, num_images=20).images, generate(3, num_images=20).images
  )
  assert (
    generate(3, num_images=20).images != generate(4, num_images=20).images
  ).any()


@pytest.mark.parametrize(
  ("name", "value"),
  [
    ("recipe", "other"),
    ("canvas_size", (40, 50)),
    ("counts", ()),
    ("counts", (1, 1)),
    ("counts", (101,)),
    ("count_probs", (0.5, 0.5)),
    ("sizes", (3.0, 9.0)),
    ("sizes", (20.0, 10.0)),
    ("greys", (0, 255)),
    ("num_images", 0),
  ],
)
def test_a_value_that_cannot_work_is_named(name, value):
  with pytest.raises(DataError, match=f"^{name} is"):
    SpritesSpec(**{name: value})


def test_too_many_sprites_are_refused():
  with pytest.raises(DataError, match=r"^counts is \(9,\)"):
    generate(
      recipe="varied", counts=(9,), sizes=(20, 20), canvas_size=(40, 40),
      num_images=1,
    )  # fmt: skip
