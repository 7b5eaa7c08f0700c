"""Stateless noise: every draw is a function of its seed.

A seed is a `[2]` integer tensor. Seeds are derived by folding in what the draw
is for: the stream (weights, training, evaluation), the iteration, the step.
"""

from typing import NamedTuple

import tensorflow as tf

# Named, because TensorFlow's default depends on the device.
RNG_ALGORITHM = "philox"


class Noise(NamedTuple):
  """The noise of one unroll: the cell's inputs, and what decides n.

  Attributes:
    where: `[T, B, D]`, standard normal.
    what: `[T, B, Z]`, standard normal.
    presence: `[T, B]`, uniform on [0, 1); step i is present, given that those
      before it are, where this is below its presence probability.
  """

  where: tf.Tensor
  what: tf.Tensor
  presence: tf.Tensor


def fold_in(seed: tf.Tensor, data: tf.Tensor | int) -> tf.Tensor:
  """Returns the seed `[2]` that belongs to `seed` `[2]` and an integer."""
  return tf.random.experimental.stateless_fold_in(seed, data, alg=RNG_ALGORITHM)


def sample(
  seed: tf.Tensor,
  num_steps: int,
  batch_size: int,
  where_size: int,
  what_size: int,
) -> Noise:
  """Returns noise for an unroll, a function of the seed, step by step.

  Args:
    seed: `[2]` integer.
    num_steps: T; the noise of a step does not depend on it.
    batch_size: B.
    where_size: D.
    what_size: Z.
  """
  where, what, presence = [], [], []
  for step in range(num_steps):
    seeds = [fold_in(fold_in(seed, step), kind) for kind in range(3)]
    where.append(
      tf.random.stateless_normal(
        [batch_size, where_size], seeds[0], alg=RNG_ALGORITHM
      )
    )
    what.append(
      tf.random.stateless_normal(
        [batch_size, what_size], seeds[1], alg=RNG_ALGORITHM
      )
    )
    presence.append(
      tf.random.stateless_uniform([batch_size], seeds[2], alg=RNG_ALGORITHM)
    )
  return Noise(tf.stack(where), tf.stack(what), tf.stack(presence))


def zeros(
  num_steps: int, batch_size: int, where_size: int, what_size: int
) -> Noise:
  """Returns noise under which every Gaussian sample is its location."""
  return Noise(
    where=tf.zeros([num_steps, batch_size, where_size]),
    what=tf.zeros([num_steps, batch_size, what_size]),
    presence=tf.fill([num_steps, batch_size], 0.5),
  )
