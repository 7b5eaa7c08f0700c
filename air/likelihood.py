"""The likelihood of an image given a canvas."""

import math

import tensorflow as tf


def log_likelihood(
  images: tf.Tensor, canvas: tf.Tensor, std: float | tf.Tensor
) -> tf.Tensor:
  """Returns log p(x | canvas) = log N(x; canvas, std^2), `[B]` nats.

  Args:
    images: `[B, H, W]`.
    canvas: `[B, H, W]`.
    std: the standard deviation of a pixel.
  """
  squared_error = tf.reduce_sum(tf.square(images - canvas), axis=[1, 2])
  num_pixels = math.prod(images.shape[1:])
  log_std = tf.math.log(std) if tf.is_tensor(std) else math.log(std)
  constant = num_pixels * (0.5 * math.log(2.0 * math.pi) + log_std)
  return -0.5 / std**2 * squared_error - constant
