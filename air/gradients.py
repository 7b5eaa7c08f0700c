"""Statistics of gradients that are too many and too long to be kept."""

import numpy as np
import tensorflow as tf

from air.model import AIRModel


def parameter_groups(model: AIRModel) -> dict[str, np.ndarray]:
  """Returns which parameters belong to a group, for each a mask `[P]`.

  P counts the entries of `model.model_variables`, one variable after the other.
  The decoder's gradient is back-propagation's alone, whatever the estimator;
  the presence head's is the score function's and that of the KL (and of the
  penalty of `presence_limit`, where there is one); the rest get all.

  Args:
    model: of any estimator.
  """
  sizes = [v.shape.num_elements() for v in model.model_variables]

  def mask(module):
    variables = {id(v) for v in module.trainable_variables}
    members = [id(v) in variables for v in model.model_variables]
    return np.repeat(members, sizes)

  decoder, presence_head = mask(model.decoder), mask(model.presence_head)
  return {
    "decoder": decoder,
    "presence_head": presence_head,
    "rest": ~(decoder | presence_head),
  }


class RunningMoments:
  """Mean and variance of each entry of vectors (Welford 1962), in float64."""

  def __init__(self, size: int):
    """Starts without vectors; `size` is P, their length."""
    self._count = 0
    self._mean = tf.zeros([size], tf.float64)
    self._squares = tf.zeros([size], tf.float64)

  def add(self, vector: tf.Tensor) -> None:
    """Takes in a vector, `[P]`."""
    self._count += 1
    self._mean, self._squares = _with(
      vector,
      self._mean,
      self._squares,
      tf.constant(self._count, tf.float64),
    )

  def mean(self) -> np.ndarray:
    """Returns `[P]`."""
    return self._mean.numpy()

  def variance(self) -> np.ndarray:
    """Returns `[P]`, the unbiased estimate; it takes two vectors."""
    return self._squares.numpy() / (self._count - 1)

  def squared_error(self) -> np.ndarray:
    """Returns `[P]`, the squared standard error of the mean."""
    return self.variance() / self._count


@tf.function(jit_compile=True)
def _with(vector, mean, squares, count):
  """Returns the mean, and the sum of squares about it, with one more vector."""
  distance = tf.cast(vector, tf.float64) - mean
  new_mean = mean + distance / count
  return new_mean, squares + distance * (tf.cast(vector, tf.float64) - new_mean)
