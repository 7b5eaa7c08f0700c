"""Gradient estimators of the ELBO, as pure functions of its terms.

Differentiating an estimator's `loss` gives an estimate of the gradient of the
negative ELBO, averaged over the batch (`vimco` and `relaxed` say what theirs
is of):

  -ELBO = E_q(z) sum_n q(n|z) [-log p(x|canvas_n)] + KL(q(n|z) || p(n))
          + sum_i q(n>=i|z) [KL(z_what_i) + KL(z_where_i)]

z is reparametrised in all of them; they differ in the sum over n. An estimator
is a pure function of a `Context`. To add one, add a function and its line in
`ESTIMATORS`.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import sonnet as snt
import tensorflow as tf

from air import config as config_lib
from air import likelihood
from air.errors import ConfigError
from air.outputs import AIROutput, ElboTerms

# Of the relaxed presence, as aakhundov's.
RELAXATION_TEMPERATURE = 1.0


class Context(NamedTuple):
  """What an estimator may use.

  Attributes:
    terms: of the ELBO.
    output: of the model, with the sampled number of steps.
    baseline: `[B]`, the predicted reconstruction error of each image; zeros
      for an estimator without a baseline.
    num_samples: K; B is K times the number of images, sample by sample.
    output_std: the standard deviation of a pixel given the canvas, `[]`.
  """

  terms: ElboTerms
  output: AIROutput
  baseline: tf.Tensor
  num_samples: int
  output_std: float | tf.Tensor


class Objective(NamedTuple):
  """What an estimator returns: scalars, in nats.

  Attributes:
    loss: differentiate this in the model's parameters. With a score function
      its value means nothing.
    reconstruction: the reconstruction error that the estimator has seen.
    reinforce_loss: the part of `loss` that is there for the score function.
    baseline_loss: differentiate this in the baseline's parameters.
    learning_signal: the mean of what multiplies the score, not centred.
    signal_variance: its variance, nats squared.
  """

  loss: tf.Tensor
  reconstruction: tf.Tensor
  reinforce_loss: tf.Tensor
  baseline_loss: tf.Tensor
  learning_signal: tf.Tensor
  signal_variance: tf.Tensor


def marginal(context: Context) -> Objective:
  """The expectation over n as the exact sum of its T + 1 terms."""
  terms = context.terms
  return _objective(terms, terms.expected_reconstruction())


def reinforce(context: Context) -> Objective:
  """The score-function estimator with a baseline (the post and the paper).

  The baseline regresses on the reconstruction error, and must not depend on
  the sampled presence.
  """
  error = _error(context)  # [B]
  signal = tf.stop_gradient(error) - context.baseline  # [B]
  score = _at(context.terms.log_probs, context.output.num_steps)  # [B]
  return _score_function_objective(context.terms, error, signal, score)


def reinforce_plain(context: Context) -> Objective:
  """The score-function estimator without a baseline."""
  return reinforce(context)._replace(baseline_loss=tf.zeros([]))


def backpropagation(context: Context) -> Objective:
  """Back-propagation alone, n sampled: the score function is left out.

  Biased: presence then knows its price, the KL, and not what it is good for.
  Here to be measured.
  """
  return _objective(context.terms, _error(context))


def reinforce_per_step(context: Context) -> Objective:
  """REINFORCE that charges each presence with what it can still influence.

  The presence of step i scores log p(x|canvas_n) - log p(x|canvas_{i-1}): the
  likelihood had step i not been taken is its baseline, known exactly, and no
  network is needed. It does not depend on that presence, so nothing is biased.
  The step that was not taken, n + 1, has the signal zero.
  """
  errors = -context.terms.log_likelihoods  # [B, T + 1]
  error = _error(context)  # [B]
  taken = tf.sequence_mask(
    context.output.num_steps, errors.shape[-1] - 1, errors.dtype
  )  # [B, T]
  signal = taken * tf.stop_gradient(error[:, None] - errors[:, :-1])  # [B, T]
  score = tf.math.log_sigmoid(context.output.presence_logits)  # [B, T]
  reinforce_loss = tf.reduce_sum(signal * score, axis=-1)  # [B]
  return _objective(context.terms, error, reinforce_loss, signal=signal)


def reinforce_broadcast(context: Context) -> Objective:
  """REINFORCE as the blog's code computes it, quirk included.

  There the error `[B]` minus the baseline `[B, 1]` became `[B, B]`: every
  image is scored against every other image's baseline, and the baseline is
  regressed on every other image's error, of which it can only learn the mean.
  It also sees the presence that it scores (`leaky_baseline_features`), but of
  the B baselines only one does: the bias is 1 / B of `reinforce_leaky`'s.
  Here to reproduce that code's numbers; nobody gets it by default.
  """
  error = _error(context)  # [B]
  signal = (
    tf.stop_gradient(error)[None, :] - context.baseline[:, None]
  )  # [B, B]
  score = _at(context.terms.log_probs, context.output.num_steps)  # [B]
  return _score_function_objective(context.terms, error, signal, score[None, :])


def vimco(context: Context) -> Objective:
  """VIMCO (Mnih & Rezende 2016): the bound of K samples, not the ELBO.

    L = E log (1/K) sum_k w_k,  w_k = p(x, n_k, z_k) / q(n_k, z_k|x)

  z is reparametrised here too; n_k is scored by L less what L would be, had w_k
  been the geometric mean of the others, which does not depend on n_k.
  """
  num_samples = context.num_samples
  num_steps = context.output.num_steps

  def of_samples(table):
    return tf.reshape(_at(table, num_steps), [num_samples, -1])  # [K, B / K]

  log_weights = of_samples(context.terms.log_weights)
  bound = tf.reduce_logsumexp(log_weights, axis=0) - math.log(num_samples)
  fixed = tf.stop_gradient(log_weights)
  others = (tf.reduce_sum(fixed, axis=0) - fixed) / (num_samples - 1)
  replaced = tf.where(
    tf.eye(num_samples, dtype=tf.bool)[:, :, None], others, fixed
  )  # [K, K, B / K], in row k the k-th replaced
  baseline = tf.reduce_logsumexp(replaced, axis=1) - math.log(num_samples)
  signal = baseline - tf.stop_gradient(bound)  # [K, B / K], as of errors
  score = of_samples(context.terms.log_probs)
  reinforce_loss = tf.reduce_sum(signal * score, axis=0)  # [B / K]
  objective = _objective(
    context.terms, _error(context), reinforce_loss, signal=signal
  )
  return objective._replace(
    loss=objective.reinforce_loss - tf.reduce_mean(bound)
  )


def relaxed(context: Context) -> Objective:
  """Concrete relaxation of presence (Maddison et al. 2017), as aakhundov's.

  The ELBO with another first term: log p(x | sum_i w_i object_i), where
  w_i = y_1 .. y_i are products of relaxed Bernoulli samples,

    y_i = sigmoid((logit p_i - logit u_i) / temperature),  u_i uniform,

  so everything is differentiated by back-propagation. It is not the ELBO:
  objects may be half there. As the temperature falls, y_i becomes the sampled
  presence [u_i < p_i], and the objective the ELBO. The KL terms are those of
  the ELBO, exact in n, where aakhundov's code samples that of presence between
  two Concrete distributions; and its canvas weighs an object by y_i alone, up
  to where the sum of 1 - y_i passes a threshold.
  """
  output = context.output
  u = output.presence_noise
  distance = output.presence_logits - tf.math.log(u / (1.0 - u))  # [B, T]
  log_presence = tf.math.log_sigmoid(distance / RELAXATION_TEMPERATURE)
  weights = tf.exp(tf.math.cumsum(log_presence, axis=-1))  # [B, T]
  objects = output.canvases[1:] - output.canvases[:-1]  # [T, B, H, W]
  canvas = output.canvases[0] + tf.einsum("bt,tbhw->bhw", weights, objects)
  error = -likelihood.log_likelihood(output.images, canvas, context.output_std)
  return _objective(context.terms, error)


def _score_function_objective(
  terms: ElboTerms, error: tf.Tensor, signal: tf.Tensor, score: tf.Tensor
) -> Objective:
  return _objective(
    terms,
    error,
    reinforce_loss=tf.stop_gradient(signal) * score,
    baseline_loss=0.5 * tf.square(signal),
    signal=signal,
  )


def _objective(
  terms: ElboTerms,
  error: tf.Tensor,
  reinforce_loss: tf.Tensor | float = 0.0,
  baseline_loss: tf.Tensor | float = 0.0,
  signal: tf.Tensor | float = 0.0,
) -> Objective:
  """Returns the means of these, of any shape, and the loss with the KL."""
  reconstruction = tf.reduce_mean(error)
  reinforce_loss = tf.reduce_mean(reinforce_loss)
  return Objective(
    loss=reconstruction + tf.reduce_mean(terms.kl()) + reinforce_loss,
    reconstruction=reconstruction,
    reinforce_loss=reinforce_loss,
    baseline_loss=tf.reduce_mean(baseline_loss),
    learning_signal=tf.reduce_mean(signal),
    signal_variance=tf.math.reduce_variance(signal),
  )


def _error(context: Context) -> tf.Tensor:
  """Returns `[B]`, the reconstruction error with the sampled n."""
  return -_at(context.terms.log_likelihoods, context.output.num_steps)


def _at(table: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
  """Returns `[B]`, table[b, index[b]] of a table `[B, K]`."""
  # A product and a sum: faster than a gather under XLA, and so its gradient.
  return tf.reduce_sum(table * tf.one_hot(index, table.shape[-1]), axis=-1)


def baseline_features(output: AIROutput) -> tf.Tensor:
  """What the baseline sees: the image and the what and where latents.

  All T steps of them, whatever n was sampled: a baseline that depended on the
  sampled presence would bias the gradient.

  Args:
    output: of the model.

  Returns:
    `[B, H W + T Z + T D]`.
  """
  steps = output.steps
  features = [
    output.images,
    _batch_major(steps.what),
    _batch_major(steps.where),
  ]
  return tf.concat([snt.flatten(f) for f in features], axis=-1)


def leaky_baseline_features(output: AIROutput) -> tf.Tensor:
  """What the baseline of the blog's code sees: also the sampled presence.

  And the LSTM's last state.

  Args:
    output: of the model.

  Returns:
    `[B, H W + T Z + T D + T + 2 lstm_size]`.
  """
  steps = output.steps
  presence = tf.sequence_mask(
    output.num_steps, steps.what.shape[0], tf.float32
  )  # [B, T]
  features = [presence, steps.hidden[-1], steps.cell[-1]]
  return tf.concat([baseline_features(output), *features], axis=-1)


def _batch_major(sequence: tf.Tensor) -> tf.Tensor:
  """Returns `[B, T, ...]` of `[T, B, ...]`, with three axes."""
  return tf.transpose(sequence, [1, 0, 2])


class Estimator(NamedTuple):
  """An estimator and what its baseline sees.

  Attributes:
    objective: what to differentiate.
    baseline_features: `(AIROutput) -> [B, F]`; None: it has no baseline.
    num_samples: K where the configuration does not say; more than one: it
      needs at least two.
    unbiased: whether its mean is the gradient of the ELBO.
  """

  objective: Callable[[Context], Objective]
  baseline_features: Callable[[AIROutput], tf.Tensor] | None = None
  num_samples: int = 1
  unbiased: bool = False


ESTIMATORS = {
  "marginal": Estimator(marginal, unbiased=True),
  "reinforce": Estimator(reinforce, baseline_features, unbiased=True),
  "reinforce_plain": Estimator(reinforce_plain, unbiased=True),
  "reinforce_per_step": Estimator(reinforce_per_step, unbiased=True),
  "reinforce_leaky": Estimator(reinforce, leaky_baseline_features),
  "reinforce_broadcast": Estimator(
    reinforce_broadcast, leaky_baseline_features
  ),
  "backpropagation": Estimator(backpropagation),
  "vimco": Estimator(vimco, num_samples=5),
  "relaxed": Estimator(relaxed),
}


def configured(training: config_lib.TrainingConfig) -> Estimator:
  """Returns the estimator that a configuration names.

  Args:
    training: its name and options.

  Raises:
    ConfigError: if there is no such estimator, if it needs more samples, or if
      it has no signal of a baseline to normalise.
  """
  name = training.estimator
  if name not in ESTIMATORS:
    raise ConfigError(
      f"estimator is {name!r}, expected one of {', '.join(ESTIMATORS)}"
    )
  estimator = ESTIMATORS[name]
  if training.num_samples == 1 < estimator.num_samples:
    raise ConfigError(
      "num_samples is 1, expected at least 2 for the estimator " + name
    )
  if training.normalize_signal and estimator.baseline_features is None:
    raise ConfigError(
      "normalize_signal is True, expected False with the estimator"
      f" {name}, which has no baseline"
    )
  return estimator
