"""The recurrent core of AIR: one attend-infer-repeat step."""

from collections.abc import Callable
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
    canvas: `[B, H, W]`, what the steps before have painted; zeros at first, and
      always if no step looks at the difference.
    image_gates: `[B, 4 lstm_size]`, what the images' encoding adds to the gates
      of the LSTM, the same at every step; `[B, 0]` if a step observes the
      difference, which is not.
    what: `[B, Z]`, z_what of the last step; zeros at first.
    where: `[B, D]`, z_where of the last step, squashed; zeros at first.
    presence: `[B, 1]`, z_pres of the last step; ones at first, and after every
      step of the cell (see `AIRCell`).
    lstm: `snt.LSTMState`, hidden and cell, each `[B, lstm_size]`; without
      memory, each `[B, 0]`.

  Before the first step, the canvas and the last four are the same for all
  images: B is 1, and their products with the weights are computed once.
  """

  images: tf.Tensor
  canvas: tf.Tensor
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
    glimpse: `[B, h, w]`, the image, or the difference, in that window.
    what_loc: `[B, Z]`, location of q(z_what).
    what_scale: `[B, Z]`, standard deviation of q(z_what).
    what: `[B, Z]`, the sample of q(z_what).
    hidden: `[B, lstm_size]`, the LSTM's output h_i, of which the presence head
      makes p_i; without memory `[B, hidden_sizes[-1]]`, the MLP's.
    cell: `[B, lstm_size]`, the LSTM's cell; without memory `[B, 0]`.
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

  In DAIR (the paper) a step observes the difference between the
  image and the canvas of the steps before, all of them as if present: where
  step i + 1 counts, they are. No gradient flows through that canvas: what a
  step leaves for later ones to see is not a part of its credit.
  """

  def __init__(
    self,
    config: config_lib.ModelConfig,
    w_init: snt.initializers.Initializer,
    initial_where: tfd.Normal | None = None,
    paint: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
    name: str | None = None,
  ):
    """Makes the cell.

    Args:
      config: the shape of the model.
      w_init: of every weight matrix.
      initial_where: what q(z_where) is about before training, batch shape
        `[D]`; None: location 0, scale softplus(config.where_scale_bias).
      paint: z_what `[B, Z]` and windows `[B, 4]` to what these objects add to
        the canvas, `[B, H, W]`; not needed if no step looks at the difference.
      name: of the module.
    """
    super().__init__(name=name)
    self._config = config
    hidden_sizes = config.hidden_sizes
    self.image_encoder = modules.Encoder(
      hidden_sizes, w_init, name="image_encoder"
    )
    self._paint = paint
    # Its gradient through the canvas that a step observes; `tf.identity` would
    # have all of it.
    self.through_canvas = tf.stop_gradient
    if config.memory:
      self.lstm = modules.LSTM(config.lstm_size, w_init, name="lstm")
      zeros = tf.zeros([config.lstm_size])
      self.initial_lstm_state = snt.TrainableState(
        snt.LSTMState(hidden=zeros, cell=zeros), name="initial_lstm_state"
      )
    else:
      self.mlp = modules.MLP(
        hidden_sizes, w_init, activate_final=True, name="mlp"
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
    """Encodes the images once for all steps, where every step observes them.

    Args:
      images: `[B, H, W]` in [0, 1].

    Returns:
      The state before the first step.
    """
    config = self._config
    nothing = images[:, 0, :0]  # [B, 0]
    return CellState(
      images=images,
      canvas=tf.zeros([1, *images.shape[1:]]),
      image_gates=self._gates(images)
      if config.step_input == "image"
      else nothing,
      what=tf.zeros([1, config.what_size]),
      where=tf.zeros([1, config.where_size]),
      presence=tf.ones([1, 1]),
      lstm=self.initial_lstm_state(1)
      if config.memory
      else snt.LSTMState(hidden=nothing, cell=nothing),
    )

  def _gates(self, observed: tf.Tensor) -> tf.Tensor:
    """Returns `[B, 4 lstm_size]`, what images `[B, H, W]` add to the gates."""
    config = self._config
    fed_back = config.what_size + config.where_size + 1
    return self.lstm.constant_gates(
      self.image_encoder(observed), fed_back if config.latent_feedback else 0
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

  def _core(
    self, difference: tf.Tensor, state: CellState
  ) -> tuple[tf.Tensor, snt.LSTMState]:
    """Returns h_i `[B, F]` and the next state of the LSTM, if there is one.

    Args:
      difference: `[B, H, W]`, which the step observes if the config says so.
      state: that the last step returned.
    """
    if not self._config.memory:
      return self.mlp(self.image_encoder(difference)), state.lstm
    gates = state.image_gates
    if self._config.step_input == "difference":
      gates = self._gates(difference)
    lstm_state = self.lstm(gates, self._fed_back(state), state.lstm)
    return lstm_state.hidden, lstm_state

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
    config = self._config
    difference = prev_state.images - self.through_canvas(prev_state.canvas)
    hidden, lstm_state = self._core(difference, prev_state)

    # q(z_where | h_i)
    where_loc, where_scale = self.where_head(hidden)  # [B, D]
    if config.where_squash == "locations":
      where_loc = squash_where(where_loc)
    where = where_loc + where_scale * noise.where
    squashed = self.squash(where)
    window = to_window(squashed)  # [B, 4]

    # q(z_what | glimpse)
    seen = prev_state.images if config.glimpse_input == "image" else difference
    glimpse = transformer.crop(seen, window, config.glimpse_size)  # [B, h, w]
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
    canvas = prev_state.canvas
    if "difference" in (config.step_input, config.glimpse_input):
      assert self._paint is not None
      canvas += self._paint(what, window)
    next_state = prev_state._replace(
      canvas=canvas,
      what=what,
      where=squashed,
      presence=tf.ones_like(what[:, :1]),
      lstm=lstm_state,
    )
    return output, next_state
