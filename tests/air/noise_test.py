"""Stateless noise: a function of the seed, step by step."""

import numpy as np
import tensorflow as tf

from air import noise

# Of the seed (1, 2): z_where and the first entries of z_what of an image at the
# first step, and presence at all steps.
WHERE = [0.0770072, -0.6658927, 1.6976998]
WHAT = [-2.1483200, 0.9577817, 0.9232927]
PRESENCE = [0.9655135, 0.4911858, 0.4621382]

SIZES = {"num_steps": 3, "batch_size": 4, "where_size": 3, "what_size": 5}


def sample(seed=(1, 2), **changes):
  return noise.sample(tf.constant(seed), **{**SIZES, **changes})


def assert_equal(first, second):
  for a, b in zip(first, second, strict=True):
    np.testing.assert_array_equal(a, b)


def assert_all_differ(first, second):
  for a, b in zip(first, second, strict=True):
    assert np.all(a.numpy() != b.numpy())


def test_shapes():
  drawn = sample()
  assert drawn.where.shape == [3, 4, 3]
  assert drawn.what.shape == [3, 4, 5]
  assert drawn.presence.shape == [3, 4]


def test_same_seed_same_noise():
  assert_equal(sample(), sample())
  assert_equal(sample(), tf.function(sample)())


def test_another_seed_gives_other_noise():
  assert_all_differ(sample((1, 2)), sample((1, 3)))
  assert_all_differ(sample((1, 2)), sample((2, 2)))
  assert_all_differ(sample((1, 2)), sample((2, 1)))


def test_another_iteration_gives_other_noise():
  seed = tf.constant([1, 2])
  seeds = [noise.fold_in(seed, tf.constant(i, tf.int64)) for i in range(100)]
  assert len({tuple(s.numpy()) for s in seeds}) == 100
  assert_all_differ(sample(seeds[0]), sample(seeds[1]))
  np.testing.assert_array_equal(
    seeds[7], noise.fold_in(seed, tf.constant(7, tf.int64))
  )


def test_steps_do_not_depend_on_their_number():
  longer, shorter = sample(num_steps=5), sample(num_steps=2)
  assert_equal([field[:2] for field in longer], shorter)


def test_steps_and_kinds_differ():
  drawn = sample(where_size=5)
  for field in drawn:
    assert np.all(field[0].numpy() != field[1].numpy())
  assert np.all(drawn.where.numpy() != drawn.what.numpy())


def test_moments():
  drawn = sample(batch_size=20_000)
  for normal in (drawn.where.numpy(), drawn.what.numpy()):
    errors = 1.0 / np.sqrt(20_000)
    np.testing.assert_allclose(normal.mean(1), 0.0, atol=5.0 * errors)
    np.testing.assert_allclose(normal.var(1), 1.0, atol=7.5 * errors)
    flat = normal.transpose(1, 0, 2).reshape(20_000, -1)
    correlations = np.corrcoef(flat.T) - np.eye(flat.shape[1])
    np.testing.assert_allclose(correlations, 0.0, atol=5.0 * errors)
    np.testing.assert_allclose(np.mean(np.abs(normal) < 1.0), 0.6827, atol=0.01)
  uniform = drawn.presence.numpy()
  # So neither 0 nor 1, whose normal would be infinite.
  np.testing.assert_array_equal((uniform * 2.0**24) % 2.0, 1.0)
  assert uniform.max() < 1.0
  for quantile in (0.1, 0.5, 0.9):
    np.testing.assert_allclose(
      (uniform < quantile).mean(1), quantile, atol=0.02
    )


def test_a_seed_gives_the_same_numbers_for_ever():
  """A run can be repeated by any version of this code."""
  drawn = sample()
  np.testing.assert_allclose(drawn.where[0, 0], WHERE, rtol=1e-5)
  np.testing.assert_allclose(drawn.what[0, 0, :3], WHAT, rtol=1e-5)
  np.testing.assert_allclose(drawn.presence[:, 0], PRESENCE, rtol=1e-6)


def test_zeros():
  zero = noise.zeros(**SIZES)
  for field, drawn in zip(zero, sample(), strict=True):
    assert field.shape == drawn.shape
    assert field.dtype == drawn.dtype
  assert not np.any(zero.where)
  assert not np.any(zero.what)
  np.testing.assert_array_equal(zero.presence, 0.5)
