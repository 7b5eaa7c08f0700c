"""NVIL's variance normaliser: what it does to gradients, and its state."""

import numpy as np
import pytest
import tensorflow as tf

from air.moments import SignalMoments
from air.storage import checkpoints
from air.training import Trainer


@pytest.mark.parametrize(("variance", "divisor"), [(0.25, 1.0), (9.0, 3.0)])
def test_divides_gradients_by_a_standard_deviation_above_one(variance, divisor):
  moments = SignalMoments()
  moments.variance.assign(variance)
  x = tf.Variable([1.5, -2.0])
  with tf.GradientTape() as tape:
    y = moments.scale_gradient(x)
    loss = tf.reduce_sum(tf.square(y))
  np.testing.assert_array_equal(x, y)
  np.testing.assert_allclose(tape.gradient(loss, x), 2.0 * x / divisor)


def test_the_averages_follow_the_signal():
  moments = SignalMoments()
  rng = np.random.default_rng(0)
  for _ in range(1_000):
    batch = rng.normal(-40.0, 5.0, 64).astype(np.float32)
    moments.update(np.mean(batch), np.var(batch))
  assert float(moments.mean) == pytest.approx(-40.0, abs=0.5)
  assert float(moments.variance) == pytest.approx(25.0, rel=0.05)


def make_trainer(small_config, small_images, **training):
  return Trainer(
    small_config(estimator="reinforce", **training),
    small_images,
    jit_compile=False,
    iterations_per_call=3,
  )


def test_only_what_goes_by_way_of_n_is_divided(
  small_config, small_images, eagerly
):
  gradients = []
  for variance in (1.0, 4.0, 16.0):
    trainer = make_trainer(small_config, small_images, normalize_signal=True)
    trainer.model.signal_moments.variance.assign(variance)
    _, model_gradients, _ = trainer.next_gradients()
    names = [v.name for v in trainer.model.model_variables]
    gradients.append(dict(zip(names, model_gradients, strict=True)))
  plain, halved, divided = gradients
  for name, gradient in plain.items():
    # All are linear in what divides: 1, 1/2, 1/4.
    np.testing.assert_allclose(
      divided[name],
      halved[name] - 0.5 * (gradient - halved[name]),
      rtol=1e-3,
      atol=1e-3,
    )
    if "presence_head" in name:
      np.testing.assert_allclose(
        divided[name], gradient / 4.0, rtol=1e-4, atol=1e-5
      )
    elif "decoder" in name:
      np.testing.assert_allclose(divided[name], gradient, rtol=1e-5)
    elif "image_encoder" in name:
      assert not np.allclose(divided[name], gradient, rtol=1e-3)


def test_the_mean_is_part_of_the_baseline(small_config, small_images, eagerly):
  trainer = make_trainer(small_config, small_images, normalize_signal=True)
  before, *_ = trainer.next_gradients()
  trainer.model.signal_moments.mean.assign(7.0)
  after, *_ = trainer.next_gradients()
  signal = before.learning_signal
  assert float(after.learning_signal) == pytest.approx(float(signal))
  # Of the mean of (s - 7)^2 / 2, where it was that of s^2 / 2.
  np.testing.assert_allclose(
    after.baseline_loss, before.baseline_loss - 7.0 * signal + 24.5, rtol=1e-4
  )


def test_a_run_goes_on_from_its_checkpoint_bit_for_bit(
  tmp_path, small_config, small_images, eagerly
):
  uninterrupted, first, second = (
    make_trainer(small_config, small_images, normalize_signal=True)
    for _ in range(3)
  )
  uninterrupted.train(1)
  uninterrupted.train(1)
  first.train(1)
  checkpoints.restore(checkpoints.save(tmp_path, first), second)
  second.train(1)
  moments = uninterrupted.model.signal_moments
  assert float(moments.mean) != 0.0
  assert float(moments.variance) != 1.0
  for ours, theirs in zip(
    second.variables, uninterrupted.variables, strict=True
  ):
    np.testing.assert_array_equal(ours, theirs)
