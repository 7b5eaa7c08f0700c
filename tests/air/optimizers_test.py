"""RMSProp against TensorFlow 1's, transcribed and itself."""

import numpy as np
import pytest
import tensorflow as tf

from air.optimizers import RMSProp

SETTINGS = {
  "learning_rate": 0.02,
  "decay": 0.9,
  "momentum": 0.8,
  "epsilon": 1e-10,
}  # fmt: skip
SHAPES = [(3, 2), (4,), ()]


def gradients_of_steps(num_steps, seed=0):
  """Gradients of very different sizes, some of them exactly zero."""
  rng = np.random.default_rng(seed)
  return [
    [
      np.asarray(rng.normal(size=s) * 10.0 ** rng.uniform(-3, 2, s), np.float32)
      * (rng.random(s) < 0.9)
      for s in SHAPES
    ]
    for _ in range(num_steps)
  ]


def initial_values():
  rng = np.random.default_rng(9)
  return [np.asarray(rng.normal(size=s), np.float32) for s in SHAPES]


def rmsprop_of_tf1(values, steps, learning_rate, decay, momentum, epsilon):
  """Centered RMSProp in float64, its mean square starting at one."""
  values = [v.astype(np.float64) for v in values]
  square = [np.ones_like(v) for v in values]
  mean = [np.zeros_like(v) for v in values]
  velocity = [np.zeros_like(v) for v in values]
  for gradients in steps:
    for i, g in enumerate(gradients):
      g = g.astype(np.float64)
      square[i] = decay * square[i] + (1.0 - decay) * g**2
      mean[i] = decay * mean[i] + (1.0 - decay) * g
      step = learning_rate * g / np.sqrt(square[i] - mean[i] ** 2 + epsilon)
      velocity[i] = momentum * velocity[i] + step
      values[i] = values[i] - velocity[i]
  return values, square, mean, velocity


def rmsprop_of_ours(steps, values=None, **settings):
  variables = [tf.Variable(v) for v in values or initial_values()]
  optimizer = RMSProp(variables, **{**SETTINGS, **settings})
  apply = tf.function(optimizer.apply)
  for gradients in steps:
    apply([tf.constant(g, tf.float32) for g in gradients])
  return variables, optimizer


@pytest.mark.parametrize(
  "changes",
  [{}, {"momentum": 0.0}, {"epsilon": 0.1}, {"decay": 0.99}],
  ids=str,
)
def test_matches_the_transcription(changes):
  steps = gradients_of_steps(20)
  variables, optimizer = rmsprop_of_ours(steps, **changes)
  values, square, mean, velocity = rmsprop_of_tf1(
    initial_values(), steps, **{**SETTINGS, **changes}
  )
  for i in range(len(SHAPES)):
    np.testing.assert_allclose(variables[i], values[i], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(optimizer.mean[i], mean[i], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
      optimizer.variance[i], square[i] - mean[i] ** 2, rtol=1e-3, atol=1e-6
    )
    np.testing.assert_allclose(
      optimizer.velocity[i], velocity[i], rtol=1e-3, atol=1e-5
    )


def test_matches_tensorflow_1():
  steps = gradients_of_steps(20, seed=1)
  settings = dict(SETTINGS)
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    theirs = [tf.compat.v1.Variable(v) for v in initial_values()]
    feeds = [tf.compat.v1.placeholder(tf.float32, s) for s in SHAPES]
    train_op = tf.compat.v1.train.RMSPropOptimizer(
      centered=True, **settings
    ).apply_gradients(zip(feeds, theirs, strict=True))
    session.run(tf.compat.v1.global_variables_initializer())
    for gradients in steps:
      session.run(train_op, dict(zip(feeds, gradients, strict=True)))
    expected = session.run(theirs)
  ours, _ = rmsprop_of_ours(steps)
  for variable, value in zip(ours, expected, strict=True):
    np.testing.assert_allclose(variable, value, rtol=1e-4, atol=1e-5)


def test_first_step():
  # v = decay (1 + (1 - decay) g^2), not (1 - decay) g^2 decay.
  variables, _ = rmsprop_of_ours([[np.float32([2.0])]], [np.float32([1.0])])
  expected = 1.0 - 0.02 * 2.0 / np.sqrt(0.9 * (1.0 + 0.1 * 4.0))
  np.testing.assert_allclose(variables[0], [expected], rtol=1e-6)


def test_zero_gradients_change_nothing():
  zeros = [[np.zeros(s, np.float32) for s in SHAPES]] * 5
  variables, _ = rmsprop_of_ours(zeros)
  for variable, value in zip(variables, initial_values(), strict=True):
    np.testing.assert_array_equal(variable, value)


def test_constant_gradients_never_give_nan():
  # In float32, E[g^2] - E[g]^2 is negative here in TensorFlow 1.
  gradient = tf.constant([1e-6, 0.1, 1.0, 123.456, 1e4, -7654.321, 1e8, 1e15])
  variable = tf.Variable(tf.zeros_like(gradient))
  optimizer = RMSProp([variable], 1e-4, 0.9, 0.9, 1e-10)

  @tf.function
  def run(num_steps):
    smallest = tf.constant(np.inf)
    for _ in tf.range(num_steps):
      optimizer.apply([gradient])
      smallest = tf.minimum(smallest, tf.reduce_min(optimizer.variance[0]))
    return smallest

  smallest = run(tf.constant(1000))
  assert smallest >= 0.0
  for slot in (variable, optimizer.velocity[0], optimizer.mean[0]):
    assert np.all(np.isfinite(slot))
  np.testing.assert_allclose(optimizer.mean[0], gradient, rtol=1e-4)


def test_wants_a_gradient_for_each_variable():
  optimizer = RMSProp([tf.Variable(0.0), tf.Variable(1.0)], 0.1, 0.9, 0.9, 1e-3)
  with pytest.raises(ValueError, match="argument 2 is longer"):
    optimizer.apply([tf.constant(1.0)])


def test_slots_are_not_trained():
  variables, optimizer = rmsprop_of_ours([])
  own = {id(v) for v in variables}
  slots = [v for v in optimizer.variables if id(v) not in own]
  assert len(slots) == 3 * len(SHAPES)
  assert not any(v.trainable for v in slots)
