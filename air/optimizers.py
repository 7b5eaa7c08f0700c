"""Centered RMSProp as in TensorFlow 1, which the blog's code trains with.

`snt.optimizers.RMSProp` differs: its mean square starts at zero, not at one
(the first steps are then up to 10 times as long), and its variance, a
difference of two averages, can become negative in float32.
"""

from collections.abc import Sequence

import sonnet as snt
import tensorflow as tf


class RMSProp(snt.Module):
  """Centered RMSProp with momentum.

  TensorFlow 1 keeps the moving averages m of g and s of g^2 and divides by
  sqrt(s - m^2 + epsilon). Here v = s - m^2 is itself the moving quantity:

    m <- decay m + (1 - decay) g
    v <- decay (v + (1 - decay) d^2),  d = (g - m) / decay

  which is the same in exact arithmetic (d is the distance from the old m) and
  cannot be negative.
  """

  def __init__(
    self,
    variables: Sequence[tf.Variable],
    learning_rate: float,
    decay: float = 0.9,
    momentum: float = 0.9,
    epsilon: float = 1e-10,
    name: str | None = None,
  ):
    """Makes the optimizer and its slots. The defaults are the code's.

    Args:
      variables: to be trained.
      learning_rate: see `apply`.
      decay: of the moving averages, in (0, 1).
      momentum: of the updates.
      epsilon: added to the variance.
      name: of the module.
    """
    super().__init__(name=name)
    self._variables = tuple(variables)
    self._learning_rate = learning_rate
    self._decay = decay
    self._momentum = momentum
    self._epsilon = epsilon

    def slots(name, value):
      return [
        tf.Variable(tf.fill(v.shape, value), trainable=False, name=name)
        for v in self._variables
      ]

    self.mean = slots("mean", 0.0)
    self.variance = slots("variance", 1.0)
    self.velocity = slots("velocity", 0.0)

  def apply(
    self, gradients: Sequence[tf.Tensor], rate_factor: tf.Tensor | float = 1.0
  ) -> None:
    """Takes one step.

    Args:
      gradients: of the loss in each of the variables, in their order.
      rate_factor: `[]`, the learning rate is multiplied by this.
    """
    learning_rate = self._learning_rate * rate_factor
    for gradient, variable, mean, variance, velocity in zip(
      gradients,
      self._variables,
      self.mean,
      self.variance,
      self.velocity,
      strict=True,
    ):
      # Each slot is read but where it is written: XLA then works in place.
      mean.assign(self._decay * mean + (1.0 - self._decay) * gradient)
      deviation = (gradient - mean) / self._decay
      variance.assign(
        self._decay * (variance + (1.0 - self._decay) * tf.square(deviation))
      )
      velocity.assign(
        self._momentum * velocity
        + learning_rate * gradient * tf.math.rsqrt(variance + self._epsilon)
      )
      variable.assign_sub(velocity)
