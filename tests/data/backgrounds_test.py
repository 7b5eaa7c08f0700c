"""Backgrounds: their statistics, and what they leave of the objects."""

import numpy as np
import pytest

from data import backgrounds

BLACK = np.zeros((1500, 30, 20), np.uint8)


def add(name, images=BLACK, seed=0):
  made = backgrounds.add(images, name, np.random.default_rng(seed))
  assert made.dtype == np.uint8
  assert made.shape == images.shape
  return made


def test_none_is_none():
  assert add("none") is BLACK


def test_noise_has_supairs_moments():
  grey = np.full_like(BLACK, 128)  # far from where it is clipped
  values = add("noise", grey) / 255
  assert values.mean() == pytest.approx(0.8 * 128 / 255 + 0.1, abs=1e-3)
  assert values.std() == pytest.approx(0.2, abs=4e-3)
  # Clipped at black: that of a normal number about .1.
  assert (add("noise") == 0).mean() == pytest.approx(0.31, abs=0.01)


def test_a_grid_is_in_every_fifth_row_and_column():
  made = add("grid")
  assert set(np.unique(made)) == {0, round(0.4 * 255)}
  rows = (made > 0).all(2)  # [N, H]
  columns = (made > 0).all(1)
  assert set(rows.sum(1)) == {6}
  assert set(columns.sum(1)) == {4}
  assert (made > 0).sum() == sum(
    r * 20 + c * 30 - r * c
    for r, c in zip(rows.sum(1), columns.sum(1), strict=True)
  )
  for lines in (rows, columns):
    first = lines.argmax(1)
    shares = np.bincount(first, minlength=5) / len(first)
    np.testing.assert_allclose(shares, 0.2, atol=0.04)
  bright = np.full_like(BLACK, 200)
  np.testing.assert_array_equal(add("grid", bright), bright)


def test_smooth_patterns_differ_little_between_neighbours():
  made = add("smooth").astype(int)
  assert 0 <= made.min() < 20
  assert 80 < made.max() <= round(0.4 * 255)
  assert abs(np.diff(made, axis=1)).mean() < 8
  assert made.std((1, 2)).mean() > 10
  # White stays white, and grey gets no darker.
  assert (add("smooth", BLACK + 255) == 255).all()
  assert (add("smooth", BLACK + 100) >= 100).all()


@pytest.mark.parametrize("name", backgrounds.NAMES[1:])
def test_images_have_their_own_backgrounds_which_the_seed_decides(name):
  made = add(name)
  np.testing.assert_array_equal(made, add(name))
  assert (made != add(name, seed=1)).any()
  assert any((made[0] != other).any() for other in made[1:20])
  # Also beyond those that are made at a time.
  assert made[1200:].any()
