"""What is behind the objects: the canvas that they are painted on."""

from typing import NamedTuple

import sonnet as snt
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from air import config as config_lib
from air import modules

# So few numbers, and so small a decoder, can say how a background varies, and
# not what object is where on it.
_LATENT_SIZE = 8
_DECODER_HIDDEN_SIZES = (64,)
_LATENT_SCALE_BIAS = 0.5


class BackgroundOutput(NamedTuple):
  """What is inferred of the background; K is 0 where it has no latent.

  Attributes:
    canvas: `[B, H, W]`, the background as it is painted.
    loc: `[B, K]`, location of q(z_bg).
    scale: `[B, K]`, standard deviation of q(z_bg).
    latent: `[B, K]`, the sample of q(z_bg).
  """

  canvas: tf.Tensor
  loc: tf.Tensor
  scale: tf.Tensor
  latent: tf.Tensor

  def kl(self) -> tf.Tensor:
    """Returns `[B]`, KL(q(z_bg|x) || N(0, 1)), nats."""
    posterior = tfd.Normal(self.loc, self.scale)
    return tf.reduce_sum(posterior.kl_divergence(tfd.Normal(0.0, 1.0)), axis=-1)

  def log_ratio(self) -> tf.Tensor:
    """Returns `[B]`, log p(z_bg) - log q(z_bg|x) of the sample."""
    posterior = tfd.Normal(self.loc, self.scale)
    return tf.reduce_sum(
      tfd.Normal(0.0, 1.0).log_prob(self.latent)
      - posterior.log_prob(self.latent),
      axis=-1,
    )


def latent_size(config: config_lib.ModelConfig) -> int:
  """Returns K, the size of z_bg."""
  return _LATENT_SIZE if config.background_model == "network" else 0


@snt.allow_empty_variables
class Background(snt.Module):
  """Black, one trainable image for all, or a small network's of each image."""

  def __init__(
    self,
    config: config_lib.ModelConfig,
    w_init: snt.initializers.Initializer,
    name: str | None = None,
  ):
    """Makes the module.

    Args:
      config: the shape of the model.
      w_init: of every weight matrix.
      name: of the module.
    """
    super().__init__(name=name)
    self._image_size = tuple(config.image_size)
    self._latent_size = latent_size(config)
    self._is_black = config.background_model == "none"
    if config.background_model == "constant":
      self.image = tf.Variable(tf.zeros(self._image_size), name="image")
    elif config.background_model == "network":
      self.encoder = modules.Encoder(
        config.hidden_sizes, w_init, name="encoder"
      )
      self.head = modules.GaussianParams(
        self._latent_size, _LATENT_SCALE_BIAS, [], w_init, name="head"
      )
      self.decoder = modules.Decoder(
        _DECODER_HIDDEN_SIZES, self._image_size, w_init, name="decoder"
      )

  def __call__(self, images: tf.Tensor, noise: tf.Tensor) -> BackgroundOutput:
    """Infers the backgrounds of images.

    Args:
      images: `[B, H, W]` in [0, 1].
      noise: `[B, K]`, standard normal.
    """
    if not self._latent_size:
      nothing = images[:, 0, :0]  # [B, 0]
      return BackgroundOutput(self.paint(nothing), nothing, nothing, nothing)
    loc, scale = self.head(self.encoder(images))
    latent = loc + scale * noise
    return BackgroundOutput(self.paint(latent), loc, scale, latent)

  def paint(self, latent: tf.Tensor) -> tf.Tensor:
    """Returns backgrounds `[B, H, W]` of z_bg `[B, K]`."""
    if self._latent_size:
      return self.decoder(latent)
    shape = [latent.shape[0] or tf.shape(latent)[0], *self._image_size]
    if self._is_black:
      return tf.zeros(shape)
    return tf.broadcast_to(self.image, shape)
