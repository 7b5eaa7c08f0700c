"""The number of steps: its posterior, its prior and their divergence.

All of it in log space: the prior's success probability may start within 1e-15
of one, where float32 arithmetic on probabilities has nothing left to say. And
the prior on z_where.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from air import config as config_lib

# Logarithms are floored here: far below the smallest float32 (e^-103), so that
# no probability changes, and finite, so that 0 * log 0 and its gradient are.
_LOG_ZERO = -1e4


class Priors(NamedTuple):
  """The priors that change in training; z_what always has N(0, 1).

  Attributes:
    where: p(z_where), batch shape `[D]`, before any squash of samples.
    log_num_steps: `[T + 1]`, log p(n) for n = 0..T, nats.
  """

  where: tfd.Normal
  log_num_steps: tf.Tensor


class NumStepsDistribution(tfd.Distribution):
  """The modified geometric distribution of the number of steps.

  Step i takes place, given that all before it did, with probability p_i, for
  i = 1..T:  q(n) = (1 - p_{n+1}) prod_{i<=n} p_i, with p_{T+1} := 0.

  Finite for probabilities of exactly 0 and 1, gradients included: `log_prob`
  of an impossible n is a large negative number in place of -inf.
  """

  def __init__(
    self,
    probs: tf.Tensor | None = None,
    logits: tf.Tensor | None = None,
    name: str = "NumStepsDistribution",
  ):
    """Makes the distribution from p_i or their logits, of which give one.

    Args:
      probs: `[..., T]` float, p_1..p_T.
      logits: `[..., T]` float, log p_i - log (1 - p_i).
      name: of the distribution.

    Raises:
      ValueError: if both or none of `probs` and `logits` are given.
    """
    parameters = dict(locals())
    if (probs is None) == (logits is None):
      raise ValueError("Give either probs or logits.")
    with tf.name_scope(name):
      if logits is not None:
        logits = tf.convert_to_tensor(logits)
        self._presence = tf.sigmoid(logits)
        self._absence = tf.sigmoid(-logits)
        log_presence = tf.math.log_sigmoid(logits)
        log_absence = tf.math.log_sigmoid(-logits)
      else:
        self._presence = tf.convert_to_tensor(probs)
        self._absence = 1.0 - self._presence
        tiny = self._presence.dtype.as_numpy_dtype(1e-37)
        log_presence = tf.math.log(tf.maximum(self._presence, tiny))
        log_absence = tf.math.log(tf.maximum(self._absence, tiny))
      self._log_presence = tf.maximum(log_presence, _LOG_ZERO)
      self._log_absence = tf.maximum(log_absence, _LOG_ZERO)
    super().__init__(
      dtype=tf.int32,
      reparameterization_type=tfd.NOT_REPARAMETERIZED,
      validate_args=False,
      allow_nan_stats=True,
      parameters=parameters,
      name=name,
    )

  @property
  def max_steps(self) -> int:
    """T, the largest n."""
    return int(self._presence.shape[-1])

  def survival(self) -> tf.Tensor:
    """Returns `[..., T]`, q(n >= i) for i = 1..T."""
    survival, so_far = [], 1.0
    for presence in tf.unstack(self._presence, axis=-1):
      so_far = so_far * presence
      survival.append(so_far)
    return tf.stack(survival, axis=-1)

  def probs(self) -> tf.Tensor:
    """Returns `[..., T + 1]`, q(n) for n = 0..T."""
    one = tf.ones_like(self._presence[..., :1])
    return tf.concat([one, self.survival()], -1) * tf.concat(
      [self._absence, one], -1
    )

  def log_probs(self) -> tf.Tensor:
    """Returns `[..., T + 1]`, log q(n) for n = 0..T, in nats."""
    zero = tf.zeros_like(self._log_presence[..., :1])
    log_survival = tf.math.cumsum(self._log_presence, axis=-1)
    return tf.concat([zero, log_survival], -1) + tf.concat(
      [self._log_absence, zero], -1
    )

  def kl_to(self, prior_log_probs: tf.Tensor) -> tf.Tensor:
    """Returns KL(q || prior) `[...]` in nats, summed over n = 0..T.

    Args:
      prior_log_probs: `[T + 1]` or `[..., T + 1]`, log p(n); see
        `geometric_log_probs`. If it is not normalised, neither is the result.
    """
    q = self.probs()
    difference = self.log_probs() - tf.cast(prior_log_probs, q.dtype)
    return tf.reduce_sum(q * difference, axis=-1)

  def _batch_shape(self):
    return self._presence.shape[:-1]

  def _batch_shape_tensor(self):
    return tf.shape(self._presence)[:-1]

  def _event_shape(self):
    return tf.TensorShape([])

  def _event_shape_tensor(self):
    return tf.constant([], dtype=tf.int32)

  def _select(self, table: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """Returns table[..., n], zero where n is not in 0..T."""
    one_hot = tf.one_hot(tf.cast(n, tf.int32), self.max_steps + 1)
    return tf.reduce_sum(tf.cast(one_hot, table.dtype) * table, axis=-1)

  def _prob(self, n):
    return self._select(self.probs(), n)

  def _log_prob(self, n):
    n = tf.cast(n, tf.int32)
    possible = (n >= 0) & (n <= self.max_steps)
    log_prob = self._select(self.log_probs(), n)
    return tf.where(possible, log_prob, _LOG_ZERO)

  def _sample_n(self, n, seed=None):
    bernoulli = tfd.Bernoulli(probs=self._presence, dtype=tf.int32)
    return count_leading_ones(bernoulli.sample(n, seed=seed))

  def _mean(self):
    return tf.reduce_sum(self.survival(), axis=-1)

  def _mode(self):
    return tf.argmax(self.probs(), axis=-1, output_type=tf.int32)


def count_leading_ones(presence: tf.Tensor) -> tf.Tensor:
  """Returns the number of ones before the first zero, `[...]` int32.

  Args:
    presence: `[..., T]`, bool or integer, whether each step would take place.
  """
  leading = tf.math.cumprod(tf.cast(presence, tf.int32), axis=-1)
  return tf.reduce_sum(leading, axis=-1)


def annealed_fraction(
  iteration: tf.Tensor | int, hold: int, anneal: int
) -> tf.Tensor:
  """Returns 0 up to iteration `hold`, 1 from `hold + anneal` on, `[]` float64.

  Linear in between; without annealing it steps from 0 to 1 at `hold`.
  """
  elapsed = tf.cast(iteration, tf.float64) - float(hold)
  if anneal:
    return tf.clip_by_value(elapsed / float(anneal), 0.0, 1.0)
  return tf.cast(elapsed >= 0.0, tf.float64)


def where_prior(
  config: config_lib.PriorConfig, where_size: int, fraction: tf.Tensor | float
) -> tfd.Normal:
  """Returns p(z_where), batch shape `[where_size]`, before any squash.

  Args:
    config: the prior at the start and at the end.
    where_size: 4 for (sx, tx, sy, ty), 3 for (s, tx, ty).
    fraction: `[]`, how far between the two; the mean of the scales goes there
      linearly, their standard deviation exponentially.
  """
  fraction = tf.cast(fraction, tf.float32)
  mean = (
    config.where_scale_prior_mean_initial * (1.0 - fraction)
    + config.where_scale_prior_mean * fraction
  )
  std = tf.exp(
    math.log(config.where_scale_prior_std_initial) * (1.0 - fraction)
    + math.log(config.where_scale_prior_std) * fraction
  )
  scale = (mean, std)
  shift = (0.0, 1.0)  # (post)
  means, stds = zip(
    *(
      [scale, shift, scale, shift] if where_size == 4 else [scale, shift, shift]
    ),
    strict=True,
  )
  return tfd.Normal(tf.stack(means), tf.stack(stds))


def log_success_probability(
  config: config_lib.PriorConfig, iteration: tf.Tensor
) -> tf.Tensor:
  """Returns log s, the annealed success probability of the geometric prior.

  From `steps_prior_initial`, held for `steps_prior_hold` iterations, to
  `steps_prior_final` over the next `steps_prior_anneal`, exponentially (code),
  then constant. (The post: from close to 1 to 1e-5 or 1e-10 over 100k
  iterations.)

  Args:
    config: the schedule.
    iteration: `[]` integer, the iterations done so far.

  Returns:
    `[]` float64: float32 cannot tell 1 - 1e-15 from 1.
  """
  fraction = annealed_fraction(
    iteration, config.steps_prior_hold, config.steps_prior_anneal
  )
  initial, final = config.steps_prior_initial, config.steps_prior_final
  log_initial, log_final = math.log(initial), math.log(final)
  return log_initial + (log_final - log_initial) * fraction


def geometric_log_probs(
  log_success: tf.Tensor, max_steps: int, normalize: bool = True
) -> tf.Tensor:
  """Returns log p(n) of the geometric prior, n = 0..T.

  Args:
    log_success: `[]` float64, log s, at most 0.
    max_steps: T.
    normalize: divide by the sum over 0..T. Without it, p(n) = (1 - s) s^n as
      in the original code, with 1 - s at least 1e-15: still a bound, but up to
      34 nats lower.

  Returns:
    `[T + 1]` float32, in nats.
  """
  log_powers = log_success * tf.range(max_steps + 1, dtype=tf.float64)
  if normalize:
    log_probs = tf.nn.log_softmax(log_powers)
  else:
    failure = tf.maximum(-tf.math.expm1(log_success), 1e-15)
    log_probs = tf.math.log(failure) + log_powers
  return tf.cast(log_probs, tf.float32)


def excess_penalty(logits: tf.Tensor, limit: float) -> tf.Tensor:
  """Returns `[...]`, sum_i max(0, |logit_i| - L)^2 of logits `[..., T]`.

  As part of the loss it keeps presence from becoming so certain that its
  gradient is lost. Where the loss pushes some logits up without end, as it does
  that of the first step on an object, others of the same weights go with them,
  right or wrong. Beyond the limit the push is met, and what is left of the
  gradient is that of the logits that should come back.

  Args:
    logits: `[..., T]`.
    limit: L, at least 0; 0: the penalty is 0.
  """
  if not limit:
    return tf.zeros_like(logits[..., 0])
  return tf.reduce_sum(tf.nn.relu(tf.abs(logits) - limit) ** 2, axis=-1)


def coins(kind: str, num_steps: int) -> np.ndarray:
  """Returns `[T]` float32, what presence probabilities are mixed with.

  Args:
    kind: "fair": 1/2, as in the blog's code, so that n < T steps have the
      probability 2^-(n + 1); "uniform": what makes all n = 0..T as probable.
    num_steps: T.
  """
  if kind == "fair":
    return np.full(num_steps, 0.5, np.float32)
  rest = np.arange(num_steps, 0, -1, dtype=np.float32)
  return rest / (rest + 1.0)


def mix_with_coin(
  logits: tf.Tensor, weight: tf.Tensor, coin: np.ndarray | float
) -> tf.Tensor:
  """Returns the logits of weight coin + (1 - weight) sigmoid(logits).

  The blog code's `explore_eps`: no presence probability comes closer than
  weight coin to zero, or weight (1 - coin) to one.

  Args:
    logits: any shape, `[..., T]` with different coins.
    weight: `[]` float32 in [0, 1]; at 1 the logits have no gradient.
    coin: in (0, 1), `[T]` or one for all; see `coins`.
  """
  weight = tf.convert_to_tensor(weight, tf.float32)
  log_rest = tf.math.log(tf.maximum(1.0 - weight, 1e-30))

  def log_mixture(log_prob, prob_of_coin):
    log_coin = tf.math.log(tf.maximum(prob_of_coin * weight, 1e-30))
    return tfp.math.log_add_exp(log_coin, log_rest + log_prob)

  return log_mixture(tf.math.log_sigmoid(logits), coin) - log_mixture(
    tf.math.log_sigmoid(-logits), 1.0 - coin
  )
