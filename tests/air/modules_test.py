"""Modules against Sonnet's own, and how their weights start."""

import numpy as np
import sonnet as snt
import tensorflow as tf

from air import modules


def initializer(seed=0):
  return modules.FanInNormal(tf.constant([seed, 0]))


def test_weights_start_with_the_variance_of_one_over_their_inputs():
  weights = initializer()([400, 300], tf.float32).numpy()
  # A normal cut off at two standard deviations has 0.88 of its own.
  np.testing.assert_allclose(weights.std(), 0.8796 / 20.0, rtol=0.01)
  np.testing.assert_allclose(weights.mean(), 0.0, atol=1e-3)
  assert 0.095 < np.abs(weights).max() <= 0.1


def test_weight_matrices_differ():
  init = initializer()
  first, second = (init([5, 6], tf.float32).numpy() for _ in range(2))
  assert np.all(first != second)
  np.testing.assert_array_equal(initializer()([5, 6], tf.float32), first)


def test_the_lstm_is_sonnets():
  rng = np.random.default_rng(0)

  def random(*shape):
    return tf.constant(rng.normal(size=shape), tf.float32)

  constant, inputs = random(3, 6), random(3, 2)
  state = snt.LSTMState(hidden=random(3, 5), cell=random(3, 5))
  ours = modules.LSTM(5, initializer())
  theirs = snt.LSTM(5)
  gates = ours.constant_gates(constant, 2)
  both = tf.concat([constant, inputs], axis=-1)
  theirs(both, state)
  np.testing.assert_array_equal(ours.b, theirs.b)  # at first
  ours.b.assign(random(20))
  gates = ours.constant_gates(constant, 2)
  theirs.input_to_hidden.assign(ours.w_i)
  theirs.hidden_to_hidden.assign(ours.w_h)
  theirs.b.assign(ours.b)
  found = ours(gates, inputs, state)
  output, expected = theirs(both, state)
  np.testing.assert_allclose(found.hidden, output, rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(found.cell, expected.cell, rtol=1e-5, atol=1e-6)
