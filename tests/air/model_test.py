"""The model: composition of the canvas, likelihood, priors, bound."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from air import config as config_lib
from air import estimators
from air.model import AIRModel


def make_model(prior=None, training=None, **changes):
  sizes = {
    "image_size": (11, 9),
    "glimpse_size": (5, 4),
    "what_size": 3,
    "hidden_sizes": (8,),
    "presence_hidden_sizes": (8,),
    "lstm_size": 6,
  }
  return AIRModel(
    config_lib.AIRConfig(
      model=config_lib.ModelConfig(**{**sizes, **changes}),
      prior=prior or config_lib.PriorConfig(),
      training=training or config_lib.TrainingConfig(),
    )
  )


def run(model, batch=4, floor=0.0, seed=1):
  rng = np.random.default_rng(2)
  images = rng.random([batch, *model.config.model.image_size])
  noise = model.sample_noise(tf.constant([seed, 1]), batch)
  return model(tf.constant(images, tf.float32), noise, floor)


def test_canvases_are_sums_of_prefixes():
  model = make_model(canvas_multiplier=0.5)
  output = run(model)
  one_step = make_model(canvas_multiplier=1.0, num_steps=1)
  for ours, theirs in zip(
    one_step.trainable_variables, model.trainable_variables, strict=True
  ):
    ours.assign(theirs)
  first = run(one_step)
  assert output.canvases.shape == [4, 4, 11, 9]
  np.testing.assert_array_equal(output.canvases[0], np.zeros([4, 11, 9]))
  np.testing.assert_allclose(
    output.canvases[1], 0.5 * first.canvases[1], rtol=1e-5, atol=1e-6
  )
  painted = np.diff(output.canvases.numpy(), axis=0)
  assert np.abs(painted).max(axis=(1, 2, 3)).min() > 0


DIFFERENCE = {"step_input": "difference", "glimpse_input": "difference"}
DAIR = {"memory": False, "latent_feedback": False, **DIFFERENCE}


@pytest.mark.parametrize(
  "changes", [{}, DIFFERENCE, DAIR], ids=["AIR", "DAIR with memory", "DAIR"]
)
def test_a_step_does_not_depend_on_later_ones(changes):
  longer, shorter = (make_model(num_steps=n, **changes) for n in (4, 2))
  many, few = run(longer), run(shorter)
  close = {"rtol": 1e-5, "atol": 1e-6}
  np.testing.assert_allclose(many.canvases[:3], few.canvases, **close)
  np.testing.assert_allclose(
    many.presence_logits[:, :2], few.presence_logits, **close
  )
  for name, field in few.steps._asdict().items():
    np.testing.assert_allclose(
      getattr(many.steps, name)[:2], field, err_msg=name, **close
    )


def test_a_step_of_dair_sees_what_the_canvas_lacks():
  """The third step is the first on what two objects leave."""
  model = make_model(**DAIR)
  output = run(model)
  noise = model.zero_noise(4)
  rest = model(output.images - output.canvases[2], noise)
  image = model(output.images, noise)
  found = output.raw_presence_logits[:, 2]
  assert np.abs(image.raw_presence_logits[:, 0] - found).max() > 1e-2
  np.testing.assert_allclose(
    rest.raw_presence_logits[:, 0], found, rtol=1e-4, atol=1e-5
  )


def test_decoder_init_scale_multiplies_the_first_output():
  one, ten = make_model(), make_model(decoder_init_scale=10.0)
  what = tf.random.stateless_normal([4, 3], [0, 0])
  np.testing.assert_allclose(
    ten.decoder(what), 10.0 * one.decoder(what), rtol=1e-5
  )
  changed = [
    ours.name
    for ours, theirs in zip(
      one.trainable_variables, ten.trainable_variables, strict=True
    )
    if not np.array_equal(ours, theirs)
  ]
  assert changed == ["air_model/decoder/mlp/linear_1/w:0"]


def test_log_likelihood_is_a_sum_over_pixels():
  model = make_model(output_std=0.3)
  output = run(model)
  error = output.images.numpy() - output.canvases.numpy()
  expected = -0.5 * (error / 0.3) ** 2 - math.log(0.3 * math.sqrt(2 * math.pi))
  np.testing.assert_allclose(
    model.log_likelihoods(output), expected.sum((2, 3)).T, rtol=1e-5
  )


def test_the_cap_of_the_elbo_on_50x50_images():
  """FACTS: 712.6 nats at std .3, where the canvas equals the image."""
  model = make_model(image_size=(50, 50), glimpse_size=(5, 4))
  output = run(model, batch=1)
  perfect = output._replace(images=output.canvases[0])
  assert model.log_likelihoods(perfect)[0, 0].numpy() == pytest.approx(
    712.6, abs=0.1
  )


def test_sampled_num_steps_follow_the_posterior():
  model = make_model()
  images = tf.fill([20_000, 11, 9], 0.3)
  noise = model.sample_noise(tf.constant([3, 1]), 20_000)
  # One z for all images, so that q(n|z) is the same.
  noise = noise._replace(
    where=tf.zeros_like(noise.where), what=tf.zeros_like(noise.what)
  )
  output = model(images, noise, 0.1)
  q = output.num_steps_posterior().probs()[0].numpy()
  frequencies = np.bincount(output.num_steps, minlength=4) / 20_000
  np.testing.assert_allclose(frequencies, q, atol=4 * 0.5 / math.sqrt(20_000))


def test_presence_floor_mixes_with_a_fair_coin():
  model = make_model()
  plain = tf.sigmoid(run(model, floor=0.0).presence_logits).numpy()
  mixed = tf.sigmoid(run(model, floor=0.3).presence_logits).numpy()
  np.testing.assert_allclose(mixed, 0.15 + 0.7 * plain, rtol=1e-5)


def test_presence_floor_mixes_with_the_configured_coin():
  model = make_model()
  training = dataclasses.replace(
    model.config.training, presence_floor_coin="uniform"
  )
  model.config = dataclasses.replace(model.config, training=training)
  posterior = run(model, floor=1.0).num_steps_posterior()
  np.testing.assert_allclose(
    posterior.probs(), np.full([4, 4], 0.25), rtol=1e-5
  )


def test_presence_floor_falls_linearly():
  model = make_model()
  training = dataclasses.replace(
    model.config.training,
    presence_floor_initial=0.3,
    presence_floor_final=0.1,
    presence_floor_anneal=200,
  )
  for warmup, first in ((0, 0.3), (100, 1.0)):
    training = dataclasses.replace(training, presence_warmup=warmup)
    model.config = dataclasses.replace(model.config, training=training)
    floors = [float(model.presence_floor(i)) for i in (0, 100, 200, 10_000)]
    np.testing.assert_allclose(floors, [first, 0.2, 0.1, 0.1], rtol=1e-6)


def test_in_the_warmup_presence_is_a_fair_coin_that_nothing_changes():
  model = make_model()
  noise = model.sample_noise(tf.constant([1, 1]), 4)
  with tf.GradientTape() as tape:
    output = model(tf.fill([4, 11, 9], 0.5), noise, 1.0)
    terms = model.elbo_terms(output, model.priors(0))
    loss = model.objective(output, terms).loss
  np.testing.assert_array_equal(output.presence_logits, tf.zeros([4, 3]))
  head = model.presence_head.trainable_variables
  for gradient in tape.gradient(loss, head):
    assert np.abs(gradient).max() < 1e-20


@pytest.mark.parametrize("estimator", list(estimators.ESTIMATORS))
@pytest.mark.parametrize("bias", [-9.0, 9.0])
def test_presence_limit_adds_the_excess_of_the_raw_logits_to_the_loss(
  estimator, bias
):
  def result(limit):
    training = config_lib.TrainingConfig(
      estimator=estimator, presence_limit=limit
    )
    model = make_model(training=training, presence_bias=bias)
    output = run(model, batch=10, floor=0.3)
    terms = model.elbo_terms(output, model.priors(0))
    return model.objective(output, terms).loss, output.raw_presence_logits

  loss, logits = result(0.0)
  with_limit, same_logits = result(3.0)
  np.testing.assert_array_equal(same_logits, logits)
  assert np.min(np.abs(logits)) > 3.0
  excess = np.abs(logits.numpy()) - 3.0
  expected = np.mean(np.sum(excess**2, axis=1))
  assert expected > 1.0
  assert float(with_limit - loss) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("parametrization", ["4d", "3d"])
def test_where_prior_of_scales_and_shifts(parametrization):
  prior = config_lib.PriorConfig(
    where_scale_prior_mean=-1.5,
    where_scale_prior_std=0.2,
  )
  model = make_model(prior, where_parametrization=parametrization)
  size = 4 if parametrization == "4d" else 3
  scales = [0, 2] if size == 4 else [0]
  expected = np.array([[0.0, 1.0]] * size)
  expected[scales] = [-1.5, 0.2]
  where_prior = model.final_priors().where
  np.testing.assert_allclose(where_prior.loc, expected[:, 0], rtol=1e-6)
  np.testing.assert_allclose(where_prior.scale, expected[:, 1], rtol=1e-6)


@pytest.mark.parametrize("parametrization", ["4d", "3d"])
def test_where_prior_is_annealed(parametrization):
  prior = config_lib.PriorConfig(
    where_scale_prior_mean_initial=-1.0,
    where_scale_prior_std_initial=0.1,
    where_scale_prior_mean=1.0,
    where_scale_prior_std=0.4,
    where_scale_prior_hold=100,
    where_scale_prior_anneal=200,
  )
  model = make_model(prior, where_parametrization=parametrization)
  expected = {
    0: (-1.0, 0.1),
    100: (-1.0, 0.1),
    200: (0.0, 0.2),
    300: (1.0, 0.4),
    10**6: (1.0, 0.4),
  }
  for iteration, (mean, std) in expected.items():
    where_prior = model.priors(iteration).where
    np.testing.assert_allclose(where_prior.loc[:2], [mean, 0.0], atol=1e-6)
    np.testing.assert_allclose(where_prior.scale[:2], [std, 1.0], rtol=1e-6)
  final = model.final_priors().where
  np.testing.assert_array_equal(final.loc, where_prior.loc)
  np.testing.assert_array_equal(final.scale, where_prior.scale)


@pytest.mark.parametrize("parametrization", ["4d", "3d"])
def test_q_of_where_starts_at_its_prior(parametrization):
  prior = config_lib.PriorConfig(
    where_scale_prior_mean_initial=-1.2,
    where_scale_prior_std_initial=0.2,
  )
  model = make_model(prior, where_parametrization=parametrization)
  for variable in model.cell.where_head.trainable_variables:
    variable.assign(tf.zeros_like(variable))
  output = model(tf.zeros([1, 11, 9]), model.zero_noise(1))
  where_prior = model.priors(0).where
  for step in range(3):
    np.testing.assert_allclose(
      output.steps.where_loc[step, 0], where_prior.loc, rtol=1e-6
    )
    np.testing.assert_allclose(
      output.steps.where_scale[step, 0], where_prior.scale, rtol=1e-5
    )


def test_q_of_where_starts_as_in_the_code():
  model = make_model(where_init="code", where_scale_bias=0.5)
  for variable in model.cell.where_head.trainable_variables:
    variable.assign(tf.zeros_like(variable))
  steps = model(tf.zeros([1, 11, 9]), model.zero_noise(1)).steps
  np.testing.assert_array_equal(steps.where_loc, tf.zeros([3, 1, 4]))
  np.testing.assert_allclose(
    steps.where_scale, tf.fill([3, 1, 4], math.log1p(math.exp(0.5))), rtol=1e-6
  )


@pytest.mark.parametrize("background_model", ["none", "network"])
def test_the_elbo_is_the_mean_log_importance_weight(background_model):
  """E_q(n|z) of the log weights is the ELBO, but for E_q(z) of the KL terms.

  Both are averaged over the same noise; what differs is that one has the KL
  terms of z in closed form.
  """
  model = make_model(background_model=background_model)
  batch = 4_000
  images = tf.fill([batch, 11, 9], 0.2)
  priors = model.final_priors()
  noise = model.sample_noise(tf.constant([7, 1]), batch)
  output = model(images, noise, 0.2)
  terms = model.elbo_terms(output, priors)
  elbo = -terms.expected_reconstruction() - terms.kl()
  probs = output.num_steps_posterior().probs().numpy()
  expected = np.zeros(batch)
  for n in range(4):
    forced = output._replace(num_steps=tf.fill([batch], n))
    log_weights = model.log_importance_weights(forced, priors)
    expected += probs[:, n] * log_weights.numpy()
  difference = expected - elbo.numpy()
  error = difference.std() / math.sqrt(batch)
  assert abs(difference.mean()) < 4 * error
  assert error < 0.2  # nats: the comparison means something


def test_final_prior_is_normalised_whatever_training_uses():
  prior = config_lib.PriorConfig(
    steps_prior_initial=1.0,
    steps_prior_final=1e-5,
    steps_prior_anneal=1000,
    steps_prior_normalize=False,
  )
  model = make_model(prior)
  final = model.final_priors().log_num_steps
  assert np.exp(final).sum() == pytest.approx(1.0)
  assert np.exp(model.priors(0).log_num_steps).sum() < 1e-10
  difference = model.priors(10**6).log_num_steps - final
  np.testing.assert_allclose(difference, np.zeros(4), atol=1e-4)


def test_variables_exist_before_the_first_call():
  model = make_model()
  assert model.baseline is None
  before = len(model.trainable_variables)
  run(model)
  assert len(model.trainable_variables) == before
  assert model.model_variables == model.trainable_variables
