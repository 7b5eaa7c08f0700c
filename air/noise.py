"""Stateless noise: every draw is a function of its seed.

A seed is a `[2]` integer tensor. Seeds are derived by folding in what the draw
is for: the stream (weights, training, evaluation), the iteration, the step.
"""

import math
from typing import NamedTuple

import tensorflow as tf

# Named, because TensorFlow's default depends on the device.
RNG_ALGORITHM = "philox"


class Noise(NamedTuple):
  """The noise of one unroll: the cell's inputs, and what decides n.

  Attributes:
    where: `[T, B, D]`, standard normal.
    what: `[T, B, Z]`, standard normal.
    presence: `[T, B]`, uniform on (0, 1); step i is present, given that those
      before it are, where this is below its presence probability.
    background: `[T, B, K]`, standard normal; the first step's makes z_bg.
  """

  where: tf.Tensor
  what: tf.Tensor
  presence: tf.Tensor
  background: tf.Tensor


def fold_in(seed: tf.Tensor, data: tf.Tensor | int) -> tf.Tensor:
  """Returns the seed `[2]` that belongs to `seed` `[2]` and an integer."""
  return tf.random.experimental.stateless_fold_in(seed, data, alg=RNG_ALGORITHM)


def _uniform(shape: list[int], seed: tf.Tensor) -> tf.Tensor:
  """Returns float32 noise, uniform on the odd multiples of 2^-24 in (0, 1).

  From random bits, and not by `tf.random.stateless_uniform`, which makes other
  numbers of the same bits when it is compiled by XLA: a run's noise should not
  depend on that.
  """
  bits = tf.random.stateless_uniform(
    shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg=RNG_ALGORITHM
  )
  integers = tf.cast(
    tf.bitwise.right_shift(bits, tf.constant(9, tf.uint32)), tf.float32
  )
  return (integers + 0.5) * 2.0**-23


def _normal(shape: list[int], seed: tf.Tensor) -> tf.Tensor:
  """Returns standard normal float32 noise, by inversion of `_uniform`."""
  return math.sqrt(2.0) * tf.math.erfinv(2.0 * _uniform(shape, seed) - 1.0)


def sample(
  seed: tf.Tensor,
  num_steps: int,
  batch_size: int,
  where_size: int,
  what_size: int,
  background_size: int = 0,
) -> Noise:
  """Returns noise for an unroll, a function of the seed, step by step.

  Args:
    seed: `[2]` integer.
    num_steps: T; the noise of a step does not depend on it.
    batch_size: B.
    where_size: D.
    what_size: Z.
    background_size: K.
  """
  where, what, presence, background = [], [], [], []
  for step in range(num_steps):
    seeds = [fold_in(fold_in(seed, step), kind) for kind in range(4)]
    where.append(_normal([batch_size, where_size], seeds[0]))
    what.append(_normal([batch_size, what_size], seeds[1]))
    presence.append(_uniform([batch_size], seeds[2]))
    background.append(_normal([batch_size, background_size], seeds[3]))
  return Noise(
    *(tf.stack(steps) for steps in (where, what, presence, background))
  )


def zeros(
  num_steps: int,
  batch_size: int,
  where_size: int,
  what_size: int,
  background_size: int = 0,
) -> Noise:
  """Returns noise under which every Gaussian sample is its location."""
  return Noise(
    where=tf.zeros([num_steps, batch_size, where_size]),
    what=tf.zeros([num_steps, batch_size, what_size]),
    presence=tf.fill([num_steps, batch_size], 0.5),
    background=tf.zeros([num_steps, batch_size, background_size]),
  )
