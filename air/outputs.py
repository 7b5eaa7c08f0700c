"""What the model computes: everything of one pass, and the ELBO's terms."""

from typing import NamedTuple

import tensorflow as tf

from air import prior
from air.background import BackgroundOutput
from air.cell import CellOutput


class AIROutput(NamedTuple):
  """Everything that one pass over a batch computes.

  Attributes:
    images: `[B, H, W]` in [0, 1].
    steps: what the cell infers, each field with the axis `T` in front.
    raw_presence_logits: `[B, T]`, as the network gives them for p_1..p_T.
    presence_logits: `[B, T]`, of p_1..p_T, floor included: q(n|z).
    presence_noise: `[B, T]`, uniform on (0, 1), which makes n of them.
    glimpses: `[T, B, h, w]`, the decoded z_what.
    background: what is behind the objects.
    canvases: `[T + 1, B, H, W]`, the background with the first n painted
      objects for n = 0..T.
    num_steps: `[B]` int32, a sample of q(n|z).
  """

  images: tf.Tensor
  steps: CellOutput
  raw_presence_logits: tf.Tensor
  presence_logits: tf.Tensor
  presence_noise: tf.Tensor
  glimpses: tf.Tensor
  background: BackgroundOutput
  canvases: tf.Tensor
  num_steps: tf.Tensor

  def num_steps_posterior(self) -> prior.NumStepsDistribution:
    """Returns q(n|z), batch shape `[B]`."""
    return prior.NumStepsDistribution(logits=self.presence_logits)


class ElboTerms(NamedTuple):
  """The terms of the ELBO per image, in nats, for one sample of z.

  Attributes:
    log_likelihoods: `[B, T + 1]`, log p(x | canvas_n) for n = 0..T.
    probs: `[B, T + 1]`, q(n|z).
    log_probs: `[B, T + 1]`, log q(n|z).
    survival: `[B, T]`, q(n >= i|z) for i = 1..T.
    kl_num_steps: `[B]`, KL(q(n|z) || p(n)).
    kl_what: `[B, T]`, KL(q(z_what_i) || p(z_what)) for i = 1..T.
    kl_where: `[B, T]`, the same of z_where.
    kl_background: `[B]`, KL(q(z_bg) || p(z_bg)); zero without z_bg.
    log_weights: `[B, T + 1]`, log p(x, n, z) - log q(n, z|x), n = 0..T, where z
      includes z_bg.
  """

  log_likelihoods: tf.Tensor
  probs: tf.Tensor
  log_probs: tf.Tensor
  survival: tf.Tensor
  kl_num_steps: tf.Tensor
  kl_what: tf.Tensor
  kl_where: tf.Tensor
  kl_background: tf.Tensor
  log_weights: tf.Tensor

  def expected_kl_what(self) -> tf.Tensor:
    """Returns `[B]`, sum_i q(n>=i|z) KL(z_what_i)."""
    return tf.reduce_sum(self.survival * self.kl_what, axis=-1)

  def expected_kl_where(self) -> tf.Tensor:
    """Returns `[B]`, sum_i q(n>=i|z) KL(z_where_i)."""
    return tf.reduce_sum(self.survival * self.kl_where, axis=-1)

  def kl(self) -> tf.Tensor:
    """Returns `[B]`, the sum of the KL terms."""
    return (
      self.kl_num_steps
      + self.expected_kl_what()
      + self.expected_kl_where()
      + self.kl_background
    )

  def expected_reconstruction(self) -> tf.Tensor:
    """Returns `[B]`, sum_n q(n|z) [-log p(x | canvas_n)]."""
    return -tf.reduce_sum(self.probs * self.log_likelihoods, axis=-1)
