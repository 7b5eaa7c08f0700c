"""The scan policy: what a glimpse's place tells of its step."""

import numpy as np
import pytest

from air import policy


def windows_at(centres):
  """Windows of one size with centres `[N, T, 2]`."""
  x, y = np.moveaxis(centres, -1, 0)
  size = np.full_like(x, 0.3)
  return np.stack([size, x, size, y], axis=-1)


def two_digits(num_images, seed=0):
  """Centres `[N, 2, 2]` in the left and the right half."""
  rng = np.random.default_rng(seed)
  centres = rng.uniform(-0.9, 0.9, [num_images, 2, 2])
  centres[..., 0] = np.abs(centres[..., 0]) * [-1, 1]
  return centres


def test_centres():
  windows = windows_at(np.array([[[0.1, 0.2], [-0.3, 0.4]]]))
  np.testing.assert_array_equal(
    policy.centres(windows), [[[0.1, 0.2], [-0.3, 0.4]]]
  )


def test_from_left_to_right_is_spatial():
  windows = windows_at(two_digits(400))
  prediction = policy.predict_steps(windows, np.full(400, 2))
  assert prediction.accuracy > 0.95
  assert prediction.chance == 0.5
  assert prediction.num_images == 400


def test_a_corner_first_is_spatial():
  """No straight line tells the first step from the second."""
  centres = np.random.default_rng(0).uniform(-0.9, 0.9, [600, 2, 2])
  outside = np.abs(centres).max(-1)  # [N, T]
  order = np.argsort(outside, axis=1)[..., None]
  centres = np.take_along_axis(centres, order, axis=1)
  prediction = policy.predict_steps(windows_at(centres), np.full(600, 2))
  assert 0.65 < prediction.accuracy < 0.85


def test_any_order_is_not():
  centres = two_digits(400)
  flip = np.random.default_rng(1).random(400) < 0.5
  centres[flip] = centres[flip, ::-1]
  prediction = policy.predict_steps(windows_at(centres), np.full(400, 2))
  # Half of 400 images, and their spread.
  assert abs(prediction.accuracy - 0.5) < 0.1


def test_the_other_glimpse_of_an_image_does_not_tell():
  """Close pairs, of which each would give the other away."""
  rng = np.random.default_rng(0)
  first = rng.uniform(-0.9, 0.9, [100, 1, 2])
  centres = np.concatenate([first, first + 1e-6], axis=1)
  flip = rng.random(100) < 0.5
  centres[flip] = centres[flip, ::-1]
  prediction = policy.predict_steps(windows_at(centres), np.full(100, 2))
  assert 0.3 < prediction.accuracy < 0.7


def test_only_images_with_several_steps_count():
  """With one step, a glimpse's step is known without looking."""
  several = windows_at(two_digits(50))
  single = windows_at(two_digits(500, seed=1)[:, ::-1])
  both = policy.predict_steps(
    np.concatenate([several, single]), np.repeat([2, 1], [50, 500])
  )
  assert both == policy.predict_steps(several, np.full(50, 2))


def test_chance_is_the_most_frequent_step():
  centres = np.random.default_rng(0).uniform(-1, 1, [300, 3, 2])
  num_steps = np.repeat([2, 3], [200, 100])
  prediction = policy.predict_steps(windows_at(centres), num_steps)
  assert prediction.chance == pytest.approx(300 / 700)


@pytest.mark.parametrize("num_steps", [0, 1])
def test_too_few_images(num_steps):
  windows = windows_at(two_digits(20))
  counts = np.full(20, num_steps)
  counts[:4] = 2
  assert policy.predict_steps(windows, counts) is None
