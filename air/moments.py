"""The variance normaliser of NVIL (Mnih & Gregor 2014, algorithm 1)."""

import sonnet as snt
import tensorflow as tf

# Of the moving averages.
_DECAY = 0.99


class SignalMoments(snt.Module):
  """Moving mean and variance of the learning signal.

  NVIL centres the signal and divides it by max(1, its standard deviation). In
  NVIL all that the discrete variable costs is in the signal; here its KL is
  differentiated exactly and is not. So that the two keep their proportion, the
  whole gradient that goes by way of q(n|z) is divided. The presence head has
  then the ELBO's gradient but for a factor; what q(n|z) shares with the rest,
  as the image encoder and the LSTM, has a mixture of two in other proportions.
  Also unlike NVIL, the averages are those before the present batch.

  Attributes:
    mean: `[]`, nats.
    variance: `[]`, nats squared.
  """

  def __init__(self, name: str | None = None):
    super().__init__(name=name)
    self.mean = tf.Variable(0.0, trainable=False, name="mean")
    self.variance = tf.Variable(1.0, trainable=False, name="variance")

  def scale_gradient(self, tensor: tf.Tensor) -> tf.Tensor:
    """Returns the same values; their gradient is divided."""
    constant = tf.stop_gradient(tensor)
    return constant + (tensor - constant) / tf.maximum(
      1.0, tf.sqrt(self.variance)
    )

  def update(self, mean: tf.Tensor, variance: tf.Tensor) -> None:
    """Moves the averages towards those of a batch, each `[]`."""
    self.mean.assign(_DECAY * self.mean + (1.0 - _DECAY) * mean)
    self.variance.assign(_DECAY * self.variance + (1.0 - _DECAY) * variance)
