"""AIR: the cell unrolled, the canvas composed, the ELBO and its gradient."""

import math

import sonnet as snt
import tensorflow as tf
import tree
from tensorflow_probability import distributions as tfd

from air import (
  background,
  estimators,
  likelihood,
  modules,
  moments,
  noise,
  prior,
  transformer,
)
from air import cell as cell_lib
from air import config as config_lib
from air.outputs import AIROutput, ElboTerms


def as_floats(images: tf.Tensor) -> tf.Tensor:
  """Returns images as float32 in [0, 1].

  Args:
    images: any shape, uint8, or float32 in [0, 1], which stays as it is.
  """
  if images.dtype == tf.uint8:
    return tf.cast(images, tf.float32) / 255.0
  return images


class AIRModel(snt.Module):
  """Attend, Infer, Repeat (Eslami et al. 2016; blog post)."""

  def __init__(self, config: config_lib.AIRConfig, name: str | None = None):
    """Makes the model and all of its variables.

    Args:
      config: of the model, its priors, and its training, of which the model
        reads the estimator with its options, what is mixed with presence, its
        limit, and the seed (of its weights).
      name: of the module.

    Raises:
      ConfigError: if it cannot be, see `estimators.configured`.
    """
    super().__init__(name=name)
    self._estimator = estimators.configured(config.training)
    self.config = config
    self.num_samples = (
      config.training.num_samples or self._estimator.num_samples
    )
    model_config = config.model
    w_init = modules.FanInNormal(tf.constant([config.training.seed, 0]))
    initial_where = None
    if model_config.where_init == "prior":
      initial_where = prior.where_prior(
        config.prior, model_config.where_size, 0.0
      )

    def paint(what, window):
      glimpses = model_config.canvas_multiplier * self.decoder(what)
      return transformer.paste(glimpses, window, model_config.image_size)

    self.cell = cell_lib.AIRCell(
      model_config, w_init, initial_where, paint, name="cell"
    )
    self.presence_head = modules.ScalarHead(
      model_config.presence_hidden_sizes,
      w_init,
      model_config.presence_bias,
      name="presence_head",
    )
    self.decoder = modules.Decoder(
      model_config.hidden_sizes,
      model_config.glimpse_size,
      w_init,
      model_config.decoder_init_scale,
      name="decoder",
    )
    self.background = background.Background(
      model_config, w_init, name="background"
    )
    self._log_output_std: tf.Variable | None = None
    if model_config.train_output_std:
      self._log_output_std = tf.Variable(
        math.log(model_config.output_std), name="log_output_std"
      )
    self.baseline: modules.ScalarHead | None = None
    if self._estimator.baseline_features is not None:
      self.baseline = modules.ScalarHead(
        model_config.baseline_hidden_sizes, w_init, name="baseline"
      )
    self.signal_moments: moments.SignalMoments | None = None
    if config.training.normalize_signal:
      self.signal_moments = moments.SignalMoments(name="signal_moments")
    self._create_variables()

  def _create_variables(self) -> None:
    output = self(
      tf.zeros([1, *self.config.model.image_size]), self.zero_noise(1)
    )
    if self.baseline is not None:
      self._reinforce(output, self.elbo_terms(output, self.final_priors()))

  @property
  def model_variables(self) -> tuple[tf.Variable, ...]:
    """The trainable variables of the model, without the baseline's."""
    baseline = {id(v) for v in self.baseline_variables}
    return tuple(v for v in self.trainable_variables if id(v) not in baseline)

  @property
  def baseline_variables(self) -> tuple[tf.Variable, ...]:
    """The trainable variables of the baseline; none without one."""
    return self.baseline.trainable_variables if self.baseline else ()

  def sample_noise(self, seed: tf.Tensor, batch_size: int) -> noise.Noise:
    """Returns noise for a batch of B images from a stateless seed `[2]`."""
    model_config = self.config.model
    return noise.sample(
      seed,
      model_config.num_steps,
      batch_size,
      model_config.where_size,
      model_config.what_size,
      background.latent_size(model_config),
    )

  def zero_noise(self, batch_size: int) -> noise.Noise:
    """Returns the noise under which z_what and z_where are their means."""
    model_config = self.config.model
    return noise.zeros(
      model_config.num_steps,
      batch_size,
      model_config.where_size,
      model_config.what_size,
      background.latent_size(model_config),
    )

  @property
  def output_std(self) -> float | tf.Tensor:
    """The standard deviation of a pixel given the canvas, `[]`."""
    if self._log_output_std is None:
      return self.config.model.output_std
    return tf.exp(self._log_output_std)

  def __call__(
    self,
    images: tf.Tensor,
    step_noise: noise.Noise,
    presence_floor: tf.Tensor | float = 0.0,
  ) -> AIROutput:
    """Infers and reconstructs all objects of each image.

    Args:
      images: `[B, H, W]` float in [0, 1].
      step_noise: see `sample_noise`.
      presence_floor: `[]`, the weight of the coin that each presence
        probability is mixed with (the code's `explore_eps`).

    Returns:
      The latents, canvases and the posterior of the number of steps.
    """
    behind = self.background(images, step_noise.background[0])
    foreground = images
    if self.config.model.background_model != "none":
      foreground -= behind.canvas
    steps = self._unroll(foreground, step_noise)
    glimpses = self._decode(steps.what)  # [T, B, h, w]
    # One step after the other: under XLA faster than all at once.
    objects = self.config.model.canvas_multiplier * glimpses
    canvases = [behind.canvas]
    for step in range(self.config.model.num_steps):
      painted = transformer.paste(
        objects[step], steps.window[step], self.config.model.image_size
      )
      canvases.append(canvases[-1] + painted)  # [B, H, W]
    raw_presence_logits = self._presence_logits(steps.hidden)  # [B, T]
    if self.signal_moments is not None:
      raw_presence_logits = self.signal_moments.scale_gradient(
        raw_presence_logits
      )
    presence_logits = prior.mix_with_coin(
      raw_presence_logits,
      presence_floor,
      prior.coins(
        self.config.training.presence_floor_coin, self.config.model.num_steps
      ),
    )  # [B, T]
    presence_noise = tf.transpose(step_noise.presence)  # [B, T]
    num_steps = prior.count_leading_ones(
      presence_noise < tf.sigmoid(presence_logits)
    )  # [B]
    return AIROutput(
      images=images,
      steps=steps,
      raw_presence_logits=raw_presence_logits,
      presence_logits=presence_logits,
      presence_noise=presence_noise,
      glimpses=glimpses,
      background=behind,
      canvases=tf.stack(canvases),
      num_steps=num_steps,
    )

  def _unroll(
    self, images: tf.Tensor, step_noise: noise.Noise
  ) -> cell_lib.CellOutput:
    """Returns the outputs of the cell, `[T, B, ...]`.

    Args:
      images: `[B, H, W]`, without their background.
      step_noise: see `sample_noise`.
    """
    state = self.cell.initial_state(images)
    outputs = []
    for step in range(self.config.model.num_steps):
      noise_of_step = tree.map_structure(lambda n, i=step: n[i], step_noise)
      output, state = self.cell(noise_of_step, state)
      outputs.append(output)
    return tree.map_structure(lambda *step: tf.stack(step), *outputs)

  def _presence_logits(self, hidden: tf.Tensor) -> tf.Tensor:
    """Returns `[B, T]`, raw logits of p_1..p_T, of h_1..h_T `[T, B, F]`."""
    logits = self.presence_head(tf.reshape(hidden, [-1, hidden.shape[-1]]))
    return tf.transpose(tf.reshape(logits, [hidden.shape[0], -1]))

  def _decode(self, what: tf.Tensor) -> tf.Tensor:
    """Returns glimpses, `[T, B, h, w]`, of z_what `[T, B, Z]`."""
    glimpses = self.decoder(tf.reshape(what, [-1, what.shape[-1]]))
    return tf.reshape(glimpses, [what.shape[0], -1, *glimpses.shape[1:]])

  def windows(self, where: tf.Tensor) -> tf.Tensor:
    """Returns `[..., 4]`, windows (sx, tx, sy, ty) of z_where `[..., D]`."""
    return cell_lib.to_window(self.cell.squash(where))

  def paint(self, what: tf.Tensor, where: tf.Tensor) -> tf.Tensor:
    """Returns what each object adds to its canvas, `[B, T, H, W]`.

    Args:
      what: `[B, T, Z]`, z_what.
      where: `[B, T, D]`, z_where, before any squash of samples.
    """
    config = self.config.model
    return config.canvas_multiplier * transformer.paste(
      self._decode(what), self.windows(where), config.image_size
    )

  def log_success_probability(self, iteration: tf.Tensor | int) -> tf.Tensor:
    """Returns log s of the geometric prior at the iteration, `[]` float64."""
    return prior.log_success_probability(self.config.prior, iteration)

  def priors(self, iteration: tf.Tensor | int) -> prior.Priors:
    """Returns the priors as annealed at the iteration `[]`."""
    config = self.config.prior
    fraction = prior.annealed_fraction(
      iteration, config.where_scale_prior_hold, config.where_scale_prior_anneal
    )
    return prior.Priors(
      prior.where_prior(config, self.config.model.where_size, fraction),
      prior.geometric_log_probs(
        self.log_success_probability(iteration),
        self.config.model.num_steps,
        config.steps_prior_normalize,
      ),
    )

  def final_priors(self) -> prior.Priors:
    """Returns the priors once annealed, p(n) always normalised.

    Values of the ELBO under them compare across iterations, and between
    configurations with the same priors at the end and the same `where_squash`.
    """
    config = self.config.prior
    log_success = tf.constant(math.log(config.steps_prior_final), tf.float64)
    return prior.Priors(
      prior.where_prior(config, self.config.model.where_size, 1.0),
      prior.geometric_log_probs(log_success, self.config.model.num_steps),
    )

  def presence_floor(self, iteration: tf.Tensor | int) -> tf.Tensor:
    """Returns the weight of the coin at the iteration, `[]` float32."""
    config = self.config.training
    initial, final = config.presence_floor_initial, config.presence_floor_final
    fraction = tf.cast(
      prior.annealed_fraction(iteration, 0, config.presence_floor_anneal),
      tf.float32,
    )
    floor = initial + (final - initial) * fraction
    return tf.where(iteration < config.presence_warmup, 1.0, floor)

  def log_likelihoods(self, output: AIROutput) -> tf.Tensor:
    """Returns log p(x | canvas_n) `[B, T + 1]`, n = 0..T, nats."""
    return tf.stack(
      [
        likelihood.log_likelihood(output.images, canvas, self.output_std)
        for canvas in tf.unstack(output.canvases)
      ],
      axis=-1,
    )

  def elbo_terms(self, output: AIROutput, priors: prior.Priors) -> ElboTerms:
    """Returns the terms of the ELBO per image.

    Args:
      output: of the model.
      priors: see the method of this name.
    """
    steps = output.steps
    posterior = output.num_steps_posterior()
    log_likelihoods = self.log_likelihoods(output)  # [B, T + 1]
    log_probs = posterior.log_probs()  # [B, T + 1]
    q_what = tfd.Normal(steps.what_loc, steps.what_scale)  # [T, B, Z]
    q_where = tfd.Normal(steps.where_loc, steps.where_scale)  # [T, B, D]
    p_what = tfd.Normal(0.0, 1.0)

    def of_steps(per_dimension):
      return tf.transpose(tf.reduce_sum(per_dimension, axis=-1))  # [B, T]

    # Steps after the n-th leave no trace in the image: p and q agree on them.
    log_ratios = tf.math.cumsum(
      of_steps(p_what.log_prob(steps.what) - q_what.log_prob(steps.what))
      + of_steps(
        priors.where.log_prob(steps.where) - q_where.log_prob(steps.where)
      ),
      axis=-1,
    )  # [B, T], of the first n steps for n = 1..T
    return ElboTerms(
      log_likelihoods=log_likelihoods,
      probs=posterior.probs(),
      log_probs=log_probs,
      survival=posterior.survival(),
      kl_num_steps=posterior.kl_to(priors.log_num_steps),
      kl_what=of_steps(q_what.kl_divergence(p_what)),
      kl_where=of_steps(q_where.kl_divergence(priors.where)),
      kl_background=output.background.kl(),
      log_weights=log_likelihoods
      + priors.log_num_steps
      - log_probs
      + tf.pad(log_ratios, [[0, 0], [1, 0]])
      + output.background.log_ratio()[:, None],
    )

  def objective(
    self, output: AIROutput, terms: ElboTerms
  ) -> estimators.Objective:
    """Returns what to differentiate, by the configured estimator.

    Its loss has the penalty on presence that is too certain: of the raw logits,
    before exploration, a sum over steps and a mean over images and samples.

    Args:
      output: of the model, for K samples of each image if that is what the
        estimator takes: first all images for sample 1, then for sample 2, ...
      terms: of the ELBO.
    """
    if self.baseline is not None:
      objective = self._reinforce(output, terms)
    else:
      baseline = tf.zeros_like(terms.kl_num_steps)
      objective = self._estimate(output, terms, baseline)
    penalty = prior.excess_penalty(
      output.raw_presence_logits, self.config.training.presence_limit
    )
    return objective._replace(loss=objective.loss + tf.reduce_mean(penalty))

  def _reinforce(
    self, output: AIROutput, terms: ElboTerms
  ) -> estimators.Objective:
    """Returns the score-function objective with the neural baseline.

    The baseline predicts the reconstruction error; nothing of its own loss
    reaches the model.

    Args:
      output: of the model, with the sampled number of steps.
      terms: of the ELBO.
    """
    assert self.baseline is not None
    assert self._estimator.baseline_features is not None
    features = self._estimator.baseline_features(output)  # [B, F]
    baseline = self.baseline(tf.stop_gradient(features))  # [B]
    if self.signal_moments is None:
      return self._estimate(output, terms, baseline)
    centre = self.signal_moments.mean
    objective = self._estimate(output, terms, baseline + centre)
    return objective._replace(
      learning_signal=objective.learning_signal + centre
    )

  def _estimate(
    self,
    output: AIROutput,
    terms: ElboTerms,
    baseline: tf.Tensor,
  ) -> estimators.Objective:
    return self._estimator.objective(
      estimators.Context(
        terms, output, baseline, self.num_samples, self.output_std
      )
    )

  def log_importance_weights(
    self, output: AIROutput, priors: prior.Priors
  ) -> tf.Tensor:
    """Returns log p(x, n, z) - log q(n, z|x) `[B]` of the sampled n and z.

    The average of its exponential over samples is an unbiased estimate of
    p(x) (Burda et al. 2016).

    Args:
      output: of the model.
      priors: see the method of this name.
    """
    log_weights = self.elbo_terms(output, priors).log_weights
    return tf.gather(log_weights, output.num_steps, batch_dims=1)
