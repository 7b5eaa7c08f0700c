"""The recurrent core of AIR: one attend-infer-repeat step."""

from typing import NamedTuple

import sonnet as snt
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from air import config as config_lib
from air import modules, transformer
from air.noise import Noise

# Added to the raw scale of q(z_what) before softplus (code).
_WHAT_SCALE_BIAS = 0.5


class CellState(NamedTuple):
  """What a step gets from the one before it.

  Attributes:
    images: `[B, H, W]` in [0, 1], the same at every step.
    image_gates: `[B, 4 lstm_size]`, what the images' encoding adds to the gates
      of the LSTM, the same at every step.
    what: `[B, Z]`, z_what of the last step; zeros at first.
    where: `[B, D]`, z_where of the last step, squashed; zeros at first.
    presence: `[B, 1]`, z_pres of the last step; ones at first, and after every
      step of the cell (see `AIRCell`).
    lstm: `snt.LSTMState`, hidden and cell, each `[B, lstm_size]`.

  Before the first step, the last four are the same for all images: B is 1, and
  their products with the weights are computed once.
  """

  images: tf.Tensor
  image_gates: tf.Tensor
  what: tf.Tensor
  where: tf.Tensor
  presence: tf.Tensor
  lstm: snt.LSTMState


class CellOutput(NamedTuple):
  """What a step infers.

  Attributes:
    where_loc: `[B, D]`, location of q(z_where).
    where_scale: `[B, D]`, standard deviation of q(z_where).
    where: `[B, D]`, the sample of q(z_where), before any squash of samples.
    window: `[B, 4]`, the window (sx, tx, sy, ty) that this sample means.
    glimpse: `[B, h, w]`, the image in that window.
    what_loc: `[B, Z]`, location of q(z_what).
    what_scale: `[B, Z]`, standard deviation of q(z_what).
    what: `[B, Z]`, the sample of q(z_what).
    hidden: `[B, lstm_size]`, the LSTM's output h_i, of which the presence head
      makes p_i.
    cell: `[B, lstm_size]`, the LSTM's cell.
  """

  where_loc: tf.Tensor
  where_scale: tf.Tensor
  where: tf.Tensor
  window: tf.Tensor
  glimpse: tf.Tensor
  what_loc: tf.Tensor
  what_scale: tf.Tensor
  what: tf.Tensor
  hidden: tf.Tensor
  cell: tf.Tensor


def squash_where(where: tf.Tensor) -> tf.Tensor:
  """Maps scales to (0, 1) by a sigmoid and shifts to (-1, 1) by a tanh.

  Args:
    where: `[..., D]`, (sx, tx, sy, ty) or (s, tx, ty).

  Returns:
    `[..., D]`.
  """
  is_scale = [True, False, True, False] if where.shape[-1] == 4 else [
    True, False, False
  ]  # fmt: skip
  return tf.where(is_scale, tf.sigmoid(where), tf.tanh(where))


def to_window(where: tf.Tensor) -> tf.Tensor:
  """Returns `[..., 4]`, the windows (sx, tx, sy, ty) of where `[..., D]`."""
  if where.shape[-1] == 4:
    return where
  s, tx, ty = tf.unstack(where, axis=-1)
  return tf.stack([s, tx, s, ty], axis=-1)


class AIRCell(snt.RNNCore):
  """Infers one object: h_i, then z_where_i, the glimpse and z_what_i.

  The noise is the input; nothing is drawn inside, and presence is not sampled.
  A step is computed as if its object were present (it leaves z_pres = 1 in the
  state), because what follows a zero has no effect on the image: one unroll
  then holds everything that any number of steps would give, and p_1..p_T are
  what the distribution q(n|z) consists of. Feeding back a sampled zero would
  silently change the probabilities after it.

  So nothing in the unroll depends on p_i = presence(h_i), and the model
  computes p_1..p_T from h_1..h_T in one go.
  """

  def __init__(
    self,
    config: config_lib.ModelConfig,
    w_init: snt.initializers.Initializer,
    initial_where: tfd.Normal | None = None,
    name: str | None = None,
  ):
    """Makes the cell.

    Args:
      config: the shape of the model.
      w_init: of every weight matrix.
      initial_where: what q(z_where) is about before training, batch shape
        `[D]`; None: location 0, scale softplus(config.where_scale_bias).
      name: of the module.
    """
    super().__init__(name=name)
    self._config = config
    hidden_sizes = config.hidden_sizes
    self.image_encoder = modules.Encoder(
      hidden_sizes, w_init, name="image_encoder"
    )
    self.lstm = modules.LSTM(config.lstm_size, w_init, name="lstm")
    zeros = tf.zeros([config.lstm_size])
    self.initial_lstm_state = snt.TrainableState(
      snt.LSTMState(hidden=zeros, cell=zeros), name="initial_lstm_state"
    )
    location_bias, scale_bias = 0.0, config.where_scale_bias
    if initial_where is not None:
      location_bias = initial_where.loc
      scale_bias = tfp.math.softplus_inverse(initial_where.scale)
    self.where_head = modules.GaussianParams(
      config.where_size,
      scale_bias,
      hidden_sizes,
      w_init,
      location_bias,
      name="where_head",
    )
    self.glimpse_encoder = modules.Encoder(
      hidden_sizes, w_init, name="glimpse_encoder"
    )
    self.what_head = modules.GaussianParams(
      config.what_size,
      _WHAT_SCALE_BIAS,
      [],
      w_init,
      name="what_head",
    )

  def initial_state(self, images: tf.Tensor) -> CellState:
    """Encodes the images, once for all steps.

    Args:
      images: `[B, H, W]` in [0, 1].

    Returns:
      The state before the first step.
    """
    config = self._config
    encoding = self.image_encoder(images)
    fed_back = config.what_size + config.where_size + 1
    return CellState(
      images=images,
      image_gates=self.lstm.constant_gates(
        encoding, fed_back if config.latent_feedback else 0
      ),
      what=tf.zeros([1, config.what_size]),
      where=tf.zeros([1, config.where_size]),
      presence=tf.ones([1, 1]),
      lstm=self.initial_lstm_state(1),
    )

  def squash(self, where: tf.Tensor) -> tf.Tensor:
    """Returns samples of z_where `[..., D]`, squashed if the config says so."""
    if self._config.where_squash == "samples":
      return squash_where(where)
    return where

  def _fed_back(self, state: CellState) -> tf.Tensor:
    """Returns `[B, Z + D + 1]`, what the LSTM sees of the last step, if any."""
    if not self._config.latent_feedback:
      return state.what[:, :0]
    return tf.concat([state.what, state.where, state.presence], axis=-1)

  def __call__(
    self, noise: Noise, prev_state: CellState
  ) -> tuple[CellOutput, CellState]:
    """Takes one step.

    Args:
      noise: of this step, `where` `[B, D]` and `what` `[B, Z]`.
      prev_state: the state that the last step returned.

    Returns:
      What the step infers, and the next state.
    """
    latents = self._fed_back(prev_state)
    lstm_state = self.lstm(prev_state.image_gates, latents, prev_state.lstm)
    hidden = lstm_state.hidden

    # q(z_where | h_i)
    where_loc, where_scale = self.where_head(hidden)  # [B, D]
    if self._config.where_squash == "locations":
      where_loc = squash_where(where_loc)
    where = where_loc + where_scale * noise.where
    squashed = self.squash(where)
    window = to_window(squashed)  # [B, 4]

    # q(z_what | glimpse)
    glimpse = transformer.crop(
      prev_state.images, window, self._config.glimpse_size
    )  # [B, h, w]
    what_loc, what_scale = self.what_head(self.glimpse_encoder(glimpse))
    what = what_loc + what_scale * noise.what  # [B, Z]

    output = CellOutput(
      where_loc=where_loc,
      where_scale=where_scale,
      where=where,
      window=window,
      glimpse=glimpse,
      what_loc=what_loc,
      what_scale=what_scale,
      what=what,
      hidden=hidden,
      cell=lstm_state.cell,
    )
    next_state = prev_state._replace(
      what=what,
      where=squashed,
      presence=tf.ones_like(what[:, :1]),
      lstm=lstm_state,
    )
    return output, next_state
