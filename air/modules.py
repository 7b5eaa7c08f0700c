"""The networks of AIR, each an MLP with ELU (blog post, "What do we need?").

Every weight is drawn from a stateless seed, so that a model is a function of
its configuration and seed whatever was created before it.
"""

import math
from collections.abc import Sequence

import numpy as np
import sonnet as snt
import tensorflow as tf

from air.noise import RNG_ALGORITHM, fold_in

# Of a Gaussian: far below the spacing of float32 around any sample that means
# something, and its square and logarithm, and their gradients, are finite.
_SMALLEST_SCALE = 1e-15


class FanInNormal(snt.initializers.Initializer):
  """Truncated normal with standard deviation 1 / sqrt(fan-in).

  Sonnet's default initializer, drawn from a stateless seed: the k-th call of
  one object uses the seed folded with k. Share one object among the modules
  of a model.
  """

  def __init__(self, seed: tf.Tensor):
    """Makes the initializer.

    Args:
      seed: `[2]` integer, a stateless seed.
    """
    self._seed = seed
    self._calls = 0

  def __call__(self, shape: Sequence[int], dtype: tf.DType) -> tf.Tensor:
    """Returns `shape`, the initial value of a weight matrix."""
    seed = fold_in(self._seed, self._calls)
    self._calls += 1
    return tf.random.stateless_truncated_normal(
      shape,
      seed,
      stddev=1.0 / math.sqrt(shape[0]),
      dtype=dtype,
      alg=RNG_ALGORITHM,
    )


class MLP(snt.nets.MLP):
  """Fully connected layers with ELU between them."""

  def __init__(
    self,
    output_sizes: Sequence[int],
    w_init: snt.initializers.Initializer,
    activate_final: bool = False,
    init_scale: float = 1.0,
    name: str | None = None,
  ):
    """Makes the module.

    Args:
      output_sizes: of the layers.
      w_init: of every weight matrix.
      activate_final: also after the last layer.
      init_scale: the last layer's initial weights are multiplied by this.
      name: of the module.
    """
    super().__init__(
      output_sizes,
      w_init=w_init,
      activation=tf.nn.elu,
      activate_final=activate_final,
      name=name,
    )
    self._layers[-1].w_init = lambda *args: init_scale * w_init(*args)


class Encoder(snt.Module):
  """Flattens images and encodes them; used for images and for glimpses."""

  def __init__(
    self,
    hidden_sizes: Sequence[int],
    w_init: snt.initializers.Initializer,
    name: str | None = None,
  ):
    super().__init__(name=name)
    self._mlp = MLP(hidden_sizes, w_init, activate_final=True)

  def __call__(self, images: tf.Tensor) -> tf.Tensor:
    """Returns `[B, hidden_sizes[-1]]` of images `[B, H, W]`."""
    return self._mlp(snt.flatten(images))


class Decoder(snt.Module):
  """Decodes z_what into a glimpse."""

  def __init__(
    self,
    hidden_sizes: Sequence[int],
    glimpse_size: tuple[int, ...],
    w_init: snt.initializers.Initializer,
    init_scale: float = 1.0,
    name: str | None = None,
  ):
    """Makes the module.

    Args:
      hidden_sizes: of the layers before the output.
      glimpse_size: (h, w), pixels.
      w_init: of every weight matrix.
      init_scale: the initial output is multiplied by this.
      name: of the module.
    """
    super().__init__(name=name)
    self._glimpse_size = tuple(glimpse_size)
    self._mlp = MLP(
      [*hidden_sizes, math.prod(self._glimpse_size)],
      w_init,
      init_scale=init_scale,
    )

  def __call__(self, what: tf.Tensor) -> tf.Tensor:
    """Returns glimpses `[B, h, w]` of z_what `[B, Z]`."""
    return tf.reshape(self._mlp(what), [-1, *self._glimpse_size])


class LSTM(snt.Module):
  """An LSTM, one part of whose input is the same at every step.

  Variables, initial values and equations are those of `snt.LSTM` on both parts
  concatenated, the constant one first. AIR's cell sees the same image at every
  step; the products of its encoding with the weights are here computed once.
  """

  def __init__(
    self,
    hidden_size: int,
    w_init: snt.initializers.Initializer,
    name: str | None = None,
  ):
    """Makes the module.

    Args:
      hidden_size: of the hidden state and of the cell.
      w_init: of every weight matrix.
      name: of the module.
    """
    super().__init__(name=name)
    self._hidden_size = hidden_size
    self._w_init = w_init

  @snt.once
  def _create_variables(self, constant_size: int, input_size: int) -> None:
    gates = 4 * self._hidden_size
    bias = np.zeros([4, self._hidden_size], np.float32)
    bias[1] = 1.0  # of the forget gate
    self.w_i = tf.Variable(
      self._w_init([constant_size + input_size, gates], tf.float32), name="w_i"
    )
    self.w_h = tf.Variable(
      self._w_init([self._hidden_size, gates], tf.float32), name="w_h"
    )
    self.b = tf.Variable(bias.reshape(-1), name="b")

  def constant_gates(self, constant: tf.Tensor, input_size: int) -> tf.Tensor:
    """Returns what the constant part adds to the gates at every step.

    Args:
      constant: `[B, F]`.
      input_size: G, of the part of the input that changes.

    Returns:
      `[B, 4 hidden_size]`.
    """
    constant_size = constant.shape[-1]
    self._create_variables(constant_size, input_size)
    return tf.matmul(constant, self.w_i[:constant_size]) + self.b

  def __call__(
    self,
    constant_gates: tf.Tensor,
    inputs: tf.Tensor,
    prev_state: snt.LSTMState,
  ) -> snt.LSTMState:
    """Takes one step.

    Args:
      constant_gates: `[B, 4 hidden_size]`, see the method of this name.
      inputs: `[B, G]`, the part of the input that changes, or `[1, G]`, the
        same for all of the batch.
      prev_state: of the step before, hidden and cell,
        `[B, hidden_size]` or `[1, hidden_size]`.

    Returns:
      The next state, whose `hidden` is the output.
    """
    constant_size = self.w_i.shape[0] - inputs.shape[-1]
    gates = (
      constant_gates
      + tf.matmul(inputs, self.w_i[constant_size:])
      + tf.matmul(prev_state.hidden, self.w_h)
    )
    i, f, g, o = tf.split(gates, 4, axis=-1)
    cell = tf.sigmoid(f) * prev_state.cell + tf.sigmoid(i) * tf.tanh(g)
    return snt.LSTMState(hidden=tf.sigmoid(o) * tf.tanh(cell), cell=cell)


class GaussianParams(snt.Module):
  """Location and softplus scale of a diagonal Gaussian.

  The hidden layers may be none; then both are linear in the input.
  """

  def __init__(
    self,
    size: int,
    scale_bias: float | Sequence[float],
    hidden_sizes: Sequence[int],
    w_init: snt.initializers.Initializer,
    location_bias: float | Sequence[float] = 0.0,
    name: str | None = None,
  ):
    """Makes the module.

    Args:
      size: of the Gaussian variable.
      scale_bias: added to the raw scale: scale = softplus(raw + bias); one
        number, or `[size]`.
      hidden_sizes: of the layers before the output.
      w_init: of every weight matrix.
      location_bias: added to the location; one number, or `[size]`.
      name: of the module.
    """
    super().__init__(name=name)
    self._scale_bias = scale_bias
    self._location_bias = location_bias
    self._mlp = MLP([*hidden_sizes, 2 * size], w_init)

  def __call__(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns location and scale, each `[B, size]`, of inputs `[B, F]`."""
    location, raw_scale = tf.split(self._mlp(inputs), 2, axis=-1)
    return (
      location + self._location_bias,
      tf.maximum(tf.nn.softplus(raw_scale + self._scale_bias), _SMALLEST_SCALE),
    )


class ScalarHead(snt.Module):
  """One number per example: a presence logit, or a baseline's prediction."""

  def __init__(
    self,
    hidden_sizes: Sequence[int],
    w_init: snt.initializers.Initializer,
    bias: float = 0.0,
    name: str | None = None,
  ):
    """Makes the module.

    Args:
      hidden_sizes: of the layers before the output.
      w_init: of every weight matrix.
      bias: a constant added to the output.
      name: of the module.
    """
    super().__init__(name=name)
    self._bias = bias
    self._mlp = MLP([*hidden_sizes, 1], w_init)

  def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
    """Returns `[B]` of inputs `[B, F]`."""
    return tf.squeeze(self._mlp(inputs), axis=-1) + self._bias
