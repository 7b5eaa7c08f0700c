"""The estimators of the ELBO gradient against each other and enumeration."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from air import config as config_lib
from air import estimators
from air.errors import ConfigError
from air.model import AIRModel
from air.noise import Noise

NUM_STEPS = 3
BATCH = 2
DIFFERENCE = {"step_input": "difference", "glimpse_input": "difference"}
NO_FEEDBACK = {"latent_feedback": False}
MODELS = {
  "AIR": {},
  "AIR without feedback": NO_FEEDBACK,
  "DAIR with memory": DIFFERENCE,
  "DAIR": {"memory": False, **DIFFERENCE, **NO_FEEDBACK},
  "AIR with background": {"background_model": "network"},
  "DAIR with background": {"background_model": "network", **DIFFERENCE},
}


def make_model(estimator, kind="AIR", seed=0, **training):
  config = config_lib.AIRConfig(
    model=config_lib.ModelConfig(
      image_size=(10, 9),
      num_steps=NUM_STEPS,
      glimpse_size=(5, 4),
      what_size=3,
      hidden_sizes=(8, 8),
      presence_hidden_sizes=(8, 8),
      baseline_hidden_sizes=(8, 6),
      lstm_size=6,
      **MODELS[kind],
    ),
    training=config_lib.TrainingConfig(
      estimator=estimator, seed=seed, **training
    ),
  )
  return AIRModel(config)


def make_inputs(model):
  rng = np.random.default_rng(3)
  images = tf.constant(rng.random([BATCH, 10, 9]), tf.float32)
  return images, model.sample_noise(tf.constant([5, 1]), BATCH)


def noise_for(step_noise, num_steps):
  """The noise under which every image takes `num_steps` steps."""
  steps = np.arange(NUM_STEPS)[:, None]
  presence = np.where(steps < num_steps, -1.0, 2.0)
  presence = np.broadcast_to(presence, [NUM_STEPS, BATCH])
  return step_noise._replace(presence=tf.constant(presence, tf.float32))


def gradients_per_image(model, images, step_noise, image):
  """The gradient of one image's objective in the model's variables.

  And q(n|z) of that image.
  """
  one = slice(image, image + 1)
  step_noise = Noise(*(field[:, one] for field in step_noise))
  with tf.GradientTape() as tape:
    output = model(images[one], step_noise, 0.2)
    terms = model.elbo_terms(output, model.priors(4000))
    loss = model.objective(output, terms).loss
  gradients = tape.gradient(
    loss, model.model_variables, unconnected_gradients="zero"
  )
  return [g.numpy() for g in gradients], terms.probs[0].numpy()


def expected_reinforce_gradient(model, images, step_noise, image):
  """sum_n q(n|z) g_reinforce(n), by forcing each n in turn."""
  total = None
  for n in range(NUM_STEPS + 1):
    gradients, probs = gradients_per_image(
      model, images, noise_for(step_noise, n), image
    )
    weighted = [probs[n] * g for g in gradients]
    total = weighted if total is None else [
      t + w for t, w in zip(total, weighted, strict=True)
    ]  # fmt: skip
  return total


def largest_relative_error(actual, expected):
  return max(
    np.abs(a - e).max() / max(np.abs(e).max(), 1e-3)
    for a, e in zip(actual, expected, strict=True)
  )


def with_baseline(model, scale):
  """Makes the baseline matter next to the error; scale 0: no baseline."""
  for variable in model.baseline_variables:
    variable.assign(scale * (variable + 0.3))
  return model


def unbiasedness_error(model, image=0, kind="AIR"):
  marginal = make_model("marginal", kind)
  images, step_noise = make_inputs(model)
  expected, _ = gradients_per_image(marginal, images, step_noise, image)
  actual = expected_reinforce_gradient(model, images, step_noise, image)
  return largest_relative_error(actual, expected)


@pytest.mark.parametrize("image", range(BATCH))
@pytest.mark.parametrize("scale", [0.0, 2.0], ids=["no baseline", "baseline"])
def test_reinforce_averages_to_marginal(scale, image):
  model = with_baseline(make_model("reinforce"), scale)
  assert unbiasedness_error(model, image) < 1e-4


@pytest.mark.parametrize(
  "kind", ["DAIR with memory", "DAIR", "AIR with background"]
)
def test_reinforce_averages_to_marginal_for_other_models(kind):
  model = with_baseline(make_model("reinforce", kind), 2.0)
  assert unbiasedness_error(model, kind=kind) < 1e-4


@pytest.mark.parametrize("image", range(BATCH))
def test_per_step_signals_average_to_marginal(image):
  assert unbiasedness_error(make_model("reinforce_per_step"), image) < 1e-4


def test_a_presence_is_charged_with_what_follows_it():
  model = make_model("reinforce_per_step")
  images, step_noise = make_inputs(model)
  output = model(images, noise_for(step_noise, 2), 0.2)
  terms = model.elbo_terms(output, model.priors(0))
  likelihoods = terms.log_likelihoods.numpy()
  log_presence = tf.math.log_sigmoid(output.presence_logits).numpy()
  expected = sum(
    (likelihoods[:, i] - likelihoods[:, 2]) * log_presence[:, i]
    for i in range(2)
  )
  objective = model.objective(output, terms)
  np.testing.assert_allclose(
    objective.reinforce_loss, expected.mean(), rtol=1e-5
  )


def test_a_baseline_that_sees_the_presence_is_biased():
  model = with_baseline(make_model("reinforce_leaky"), 2.0)
  assert unbiasedness_error(model) > 1e-2


def bias_over_a_batch(estimator):
  """The bias of the gradient of a batch, all (n_1, n_2) enumerated."""
  model = with_baseline(make_model(estimator), 2.0)
  images, step_noise = make_inputs(model)
  with tf.GradientTape() as tape:
    output = model(images, step_noise, 0.2)
    terms = model.elbo_terms(output, model.priors(4000))
    expected = estimators.marginal(
      estimators.Context(terms, output, tf.zeros([BATCH]), 1, model.output_std)
    ).loss
    bias = -expected
    for counts in itertools.product(range(NUM_STEPS + 1), repeat=BATCH):
      num_steps = tf.constant(counts)
      prob = tf.reduce_prod(tf.gather(terms.probs, num_steps, batch_dims=1))
      estimate = model.objective(output._replace(num_steps=num_steps), terms)
      bias += tf.stop_gradient(prob) * estimate.loss
  return tape.gradient(bias, model.presence_head.trainable_variables)


def test_the_broadcast_divides_the_bias_by_the_batch():
  assert all(np.abs(g).max() < 1e-3 for g in bias_over_a_batch("reinforce"))
  broadcast, leaky = map(
    bias_over_a_batch, ("reinforce_broadcast", "reinforce_leaky")
  )
  assert max(np.abs(g).max() for g in leaky) > 0.1
  for ours, expected in zip(broadcast, leaky, strict=True):
    np.testing.assert_allclose(ours, expected / BATCH, atol=1e-3)


def test_models_of_all_estimators_start_from_the_same_weights():
  models = [make_model(name) for name in estimators.ESTIMATORS]
  for model in models[1:]:
    for a, b in zip(
      models[0].model_variables, model.model_variables, strict=True
    ):
      np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", MODELS)
def test_marginal_is_the_sum_over_truncated_unrolls(kind):
  """N + 1 unrolls that really feed back z_pres = 1, .., 1, 0, .., 0.

  And that show the difference to the canvas of the objects present alone.
  """
  model = make_model("marginal", kind)
  images, step_noise = make_inputs(model)
  priors = model.priors(4000)
  output = model(images, step_noise)
  loss = model.objective(output, model.elbo_terms(output, priors)).loss

  expected = np.zeros(BATCH)
  for n in range(NUM_STEPS + 1):
    log_joint, q_n = truncated_unroll(
      model, images, step_noise, priors.where, n
    )
    log_prior = priors.log_num_steps.numpy()[n]
    expected -= q_n * (log_joint + log_prior - np.log(q_n))
  np.testing.assert_allclose(loss, expected.mean(), rtol=1e-5)


def truncated_unroll(model, images, step_noise, where_prior, n):
  """Takes n steps with z_pres = 1 fed back, the others with 0.

  The canvas whose difference to the image is observed is painted here.

  Returns:
    log p(x | canvas) minus the KL terms of the n steps, and q(n|z), `[B]`.
  """
  behind = model.background(images, step_noise.background[0])
  images = images - behind.canvas
  state = model.cell.initial_state(images)
  canvas, q_n = np.zeros(images.shape), 1.0
  kl = gaussian_kl(behind.loc, behind.scale, 0.0, 1.0)
  for step in range(NUM_STEPS):
    of_step = Noise(*(field[step] for field in step_noise))
    out, state = model.cell(of_step, state)
    presence = float(step < n)
    state = state._replace(presence=presence * tf.ones([BATCH, 1]))
    p = 1 / (1 + np.exp(-model.presence_head(out.hidden).numpy()))
    if step < n:
      q_n = q_n * p
      canvas = canvas + model.config.model.canvas_multiplier * paste(model, out)
      kl = kl + gaussian_kl(out.what_loc, out.what_scale, 0.0, 1.0)
      kl = kl + gaussian_kl(
        out.where_loc, out.where_scale, where_prior.loc, where_prior.scale
      )
    elif step == n:
      q_n = q_n * (1 - p)
    state = state._replace(canvas=tf.constant(canvas, tf.float32))
  std = model.config.model.output_std
  error = ((images - canvas) ** 2).numpy().sum((1, 2))
  log_likelihood = -0.5 * error / std**2 - 90 * np.log(std * np.sqrt(2 * np.pi))
  return log_likelihood - kl, q_n


def paste(model, out):
  """The decoded object painted by bilinear interpolation, in plain numpy."""
  glimpses = model.decoder(out.what).numpy()
  height, width = model.config.model.image_size
  canvas = np.zeros([BATCH, height, width])
  for b, (sx, tx, sy, ty) in enumerate(out.window.numpy()):
    for row, y in enumerate(np.linspace(-1, 1, height)):
      for column, x in enumerate(np.linspace(-1, 1, width)):
        v = ((y - ty) / sy + 1) / 2 * (glimpses.shape[1] - 1)
        u = ((x - tx) / sx + 1) / 2 * (glimpses.shape[2] - 1)
        for i in (np.floor(v), np.floor(v) + 1):
          for j in (np.floor(u), np.floor(u) + 1):
            if 0 <= i < glimpses.shape[1] and 0 <= j < glimpses.shape[2]:
              weight = (1 - abs(v - i)) * (1 - abs(u - j))
              canvas[b, row, column] += weight * glimpses[b, int(i), int(j)]
  return canvas


def gaussian_kl(loc, scale, prior_loc, prior_scale):
  loc, scale = np.asarray(loc, np.float64), np.asarray(scale, np.float64)
  prior_loc, prior_scale = np.asarray(prior_loc), np.asarray(prior_scale)
  ratio = (scale / prior_scale) ** 2
  distance = ((loc - prior_loc) / prior_scale) ** 2
  return 0.5 * (ratio + distance - 1 - np.log(ratio)).sum(-1)


@pytest.mark.parametrize("num_samples", [2, 3])
def test_vimco_averages_to_the_gradient_of_its_bound(num_samples):
  """Bound and estimates enumerated over all (n_1, .., n_K) of an image."""
  model = make_model("vimco", num_samples=num_samples)
  images, _ = make_inputs(model)
  images = tf.tile(images[:1], [num_samples, 1, 1])
  step_noise = model.sample_noise(tf.constant([5, 1]), num_samples)
  with tf.GradientTape(persistent=True) as tape:
    output = model(images, step_noise, 0.2)
    terms = model.elbo_terms(output, model.priors(4000))
    negative_bound, expected_loss = 0.0, 0.0
    for counts in itertools.product(range(NUM_STEPS + 1), repeat=num_samples):
      num_steps = tf.constant(counts)
      prob = tf.reduce_prod(tf.gather(terms.probs, num_steps, batch_dims=1))
      log_weights = tf.gather(terms.log_weights, num_steps, batch_dims=1)
      bound = tf.reduce_logsumexp(log_weights) - np.log(num_samples)
      negative_bound -= prob * bound
      estimate = model.objective(output._replace(num_steps=num_steps), terms)
      expected_loss += tf.stop_gradient(prob) * estimate.loss
  actual, expected = (
    tape.gradient(loss, model.model_variables)
    for loss in (expected_loss, negative_bound)
  )
  assert largest_relative_error(actual, expected) < 1e-4


def test_vimco_scores_a_sample_against_the_others():
  """The signals by hand: many a baseline has the same mean gradient."""
  model = make_model("vimco", num_samples=3)
  images, _ = make_inputs(model)
  step_noise = model.sample_noise(tf.constant([5, 1]), 3 * BATCH)
  output = model(tf.tile(images, [3, 1, 1]), step_noise, 0.2)
  terms = model.elbo_terms(output, model.priors(4000))
  rows = np.arange(3 * BATCH)
  log_weights, score = (
    table.numpy().astype(np.float64)[rows, output.num_steps].reshape(3, BATCH)
    for table in (terms.log_weights, terms.log_probs)
  )
  signals = np.zeros([3, BATCH])
  for image in range(BATCH):
    weights = np.exp(log_weights[:, image])
    for k in range(3):
      others = np.delete(weights, k)
      replaced = [*others, np.sqrt(others.prod())]
      signals[k, image] = np.log(np.mean(replaced)) - np.log(np.mean(weights))
  assert np.ptp(signals) > 1.0
  objective = model.objective(output, terms)
  np.testing.assert_allclose(
    objective.reinforce_loss, (signals * score).sum(0).mean(), rtol=1e-3
  )
  np.testing.assert_allclose(
    objective.signal_variance, signals.var(), rtol=1e-3
  )


def test_vimco_does_not_mix_images():
  model = make_model("vimco", num_samples=3)
  images, _ = make_inputs(model)
  step_noise = model.sample_noise(tf.constant([5, 1]), 3 * BATCH)

  def loss(images, step_noise):
    output = model(tf.tile(images, [3, 1, 1]), step_noise, 0.2)
    return model.objective(
      output, model.elbo_terms(output, model.priors(0))
    ).loss

  singly = [
    loss(
      images[i : i + 1], Noise(*(field[:, i::BATCH] for field in step_noise))
    )
    for i in range(BATCH)
  ]
  np.testing.assert_allclose(
    loss(images, step_noise), np.mean(singly), rtol=1e-5
  )


def relaxed_loss(model, images, step_noise):
  output = model(images, step_noise, 0.2)
  terms = model.elbo_terms(output, model.priors(4000))
  return model.objective(output, terms).loss


@pytest.mark.parametrize(
  "modules", [("decoder",), ("presence_head",), ("what_head", "glimpse_enc")]
)
def test_gradients_of_the_relaxed_objective_by_finite_differences(modules):
  """Of what moves no window: there, interpolation has kinks."""
  model = make_model("relaxed", "AIR without feedback")
  images, step_noise = make_inputs(model)
  variables = [
    v for v in model.model_variables if any(m in v.name for m in modules)
  ]
  with tf.GradientTape() as tape:
    loss = relaxed_loss(model, images, step_noise)
  gradients = tape.gradient(loss, variables)
  norm = float(tf.linalg.global_norm(gradients))
  step = 0.05 / norm  # by 0.05 nats
  losses = []
  for steps in (step, -2.0 * step):  # there, and to the other side
    for variable, gradient in zip(variables, gradients, strict=True):
      variable.assign_add(steps / norm * gradient)
    losses.append(float(relaxed_loss(model, images, step_noise)))
  slope = (losses[0] - losses[1]) / (2.0 * step)
  assert slope == pytest.approx(norm, rel=1e-2)


def test_the_relaxed_error_by_hand(monkeypatch):
  monkeypatch.setattr(estimators, "RELAXATION_TEMPERATURE", 0.7)
  model = make_model("relaxed")
  images, step_noise = make_inputs(model)
  output = model(images, step_noise, 0.2)
  logits, u = output.presence_logits.numpy(), output.presence_noise.numpy()
  canvases = output.canvases.numpy()
  error = []
  for image in range(BATCH):
    canvas, weight = canvases[0, image], 1.0
    for i in range(NUM_STEPS):
      odds = np.exp(logits[image, i]) * (1.0 / u[image, i] - 1.0)
      weight *= odds ** (1 / 0.7) / (1.0 + odds ** (1 / 0.7))
      canvas = canvas + weight * (canvases[i + 1] - canvases[i])[image]
    distance = (images[image].numpy() - canvas) / 0.3
    error.append(
      0.5 * (distance**2).sum() + 90 * np.log(0.3 * np.sqrt(2 * np.pi))
    )
  objective = model.objective(output, model.elbo_terms(output, model.priors(0)))
  np.testing.assert_allclose(
    objective.reconstruction, np.mean(error), rtol=1e-4
  )


def test_at_low_temperature_the_relaxed_error_is_that_of_the_sample(
  monkeypatch,
):
  monkeypatch.setattr(estimators, "RELAXATION_TEMPERATURE", 1e-4)
  model = make_model("relaxed")
  images, step_noise = make_inputs(model)
  output = model(images, step_noise, 0.2)
  terms = model.elbo_terms(output, model.priors(0))
  rows = np.arange(BATCH)
  expected = -terms.log_likelihoods.numpy()[rows, output.num_steps.numpy()]
  objective = model.objective(output, terms)
  np.testing.assert_allclose(
    objective.reconstruction, expected.mean(), rtol=1e-5
  )


def test_the_broadcast_baseline_scores_images_against_each_other():
  model = make_model("reinforce_broadcast")
  images, step_noise = make_inputs(model)
  output = model(images, step_noise, 0.2)
  terms = model.elbo_terms(output, model.priors(0))
  objective = model.objective(output, terms)
  features = estimators.leaky_baseline_features(output)
  baseline = model.baseline(features).numpy()
  n = output.num_steps.numpy()
  rows = np.arange(BATCH)
  error = -terms.log_likelihoods.numpy()[rows, n]
  signal = error[None, :] - baseline[:, None]
  score = terms.log_probs.numpy()[rows, n]
  np.testing.assert_allclose(
    objective.reinforce_loss, (signal * score).mean(), rtol=1e-5
  )
  np.testing.assert_allclose(
    objective.baseline_loss, 0.5 * (signal**2).mean(), rtol=1e-5
  )


def test_the_baseline_loss_trains_the_baseline_only():
  model = make_model("reinforce")
  images, step_noise = make_inputs(model)
  with tf.GradientTape(persistent=True) as tape:
    output = model(images, step_noise, 0.2)
    terms = model.elbo_terms(output, model.priors(0))
    objective = model.objective(output, terms)
  of_model = tape.gradient(objective.baseline_loss, model.model_variables)
  of_baseline = tape.gradient(objective.loss, model.baseline_variables)
  assert all(g is None for g in of_model + of_baseline)
  trained = tape.gradient(objective.baseline_loss, model.baseline_variables)
  assert all(np.abs(g).max() > 0 for g in trained)


def test_the_baseline_sees_image_and_latents_and_no_presence():
  model = make_model("reinforce")
  images, step_noise = make_inputs(model)
  features = [
    estimators.baseline_features(model(images, noise_for(step_noise, n)))
    for n in range(NUM_STEPS + 1)
  ]
  assert features[0].shape == [BATCH, 90 + NUM_STEPS * (3 + 4)]
  for other in features[1:]:
    np.testing.assert_array_equal(features[0], other)


@pytest.mark.parametrize(
  ("estimator", "kind"),
  [
    *((estimator, "DAIR") for estimator in estimators.ESTIMATORS),
    ("reinforce", "DAIR with memory"),
    *(
      (estimator, "AIR with background") for estimator in estimators.ESTIMATORS
    ),
  ],
)
def test_every_estimator_trains_other_models(estimator, kind):
  model = make_model(estimator, kind, num_samples=2)
  images, _ = make_inputs(model)
  images = tf.tile(images, [2, 1, 1])
  step_noise = model.sample_noise(tf.constant([5, 1]), 2 * BATCH)
  with tf.GradientTape() as tape:
    output = model(images, step_noise, 0.2)
    objective = model.objective(
      output, model.elbo_terms(output, model.priors(0))
    )
    loss = objective.loss + objective.baseline_loss
  variables = [*model.model_variables]
  if estimator != "reinforce_plain":  # which has no use for its baseline
    variables += model.baseline_variables
  for variable, gradient in zip(
    variables, tape.gradient(loss, variables), strict=True
  ):
    assert np.all(np.isfinite(gradient)), variable.name
    assert np.abs(gradient).max() > 0, variable.name


def test_unknown_estimator_is_refused():
  config = config_lib.AIRConfig()
  training = dataclasses.replace(config.training, estimator="magic")
  with pytest.raises(ConfigError, match="estimator is 'magic'"):
    AIRModel(dataclasses.replace(config, training=training))
