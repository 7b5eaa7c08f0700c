"""The model: composition of the canvas, likelihood, priors, bound."""

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from air import config as config_lib
from air.model import AIRModel


def make_model(prior=None, **changes):
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


def test_presence_floor_falls_linearly():
  model = make_model()
  training = dataclasses.replace(
    model.config.training,
    presence_floor_initial=0.3,
    presence_floor_final=0.1,
    presence_floor_anneal=200,
  )
  model.config = dataclasses.replace(model.config, training=training)
  floors = [float(model.presence_floor(i)) for i in (0, 100, 200, 10_000)]
  np.testing.assert_allclose(floors, [0.3, 0.2, 0.1, 0.1], rtol=1e-6)


@pytest.mark.parametrize("parametrization", ["4d", "3d"])
def test_where_prior_of_scales_and_shifts(parametrization):
  prior = config_lib.PriorConfig(
    where_scale_prior_mean=-1.5,
    where_scale_prior_std=0.2,
    where_shift_prior_mean=0.1,
    where_shift_prior_std=0.9,
  )
  model = make_model(prior, where_parametrization=parametrization)
  size = 4 if parametrization == "4d" else 3
  scales = [0, 2] if size == 4 else [0]
  expected = np.array([[0.1, 0.9]] * size)
  expected[scales] = [-1.5, 0.2]
  where_prior = model.where_prior()
  np.testing.assert_allclose(where_prior.loc, expected[:, 0], rtol=1e-6)
  np.testing.assert_allclose(where_prior.scale, expected[:, 1], rtol=1e-6)


def test_the_elbo_is_the_mean_log_importance_weight():
  """E_q(n|z) of the log weights is the ELBO, but for E_q(z) of the KL terms.

  Both are averaged over the same noise; what differs is that one has the KL
  terms of z in closed form.
  """
  model = make_model()
  batch = 4_000
  images = tf.fill([batch, 11, 9], 0.2)
  prior = model.final_steps_prior()
  noise = model.sample_noise(tf.constant([7, 1]), batch)
  output = model(images, noise, 0.2)
  terms = model.elbo_terms(output, prior)
  elbo = -terms.expected_reconstruction() - terms.kl()
  probs = output.num_steps_posterior().probs().numpy()
  expected = np.zeros(batch)
  for n in range(4):
    forced = output._replace(num_steps=tf.fill([batch], n))
    log_weights = model.log_importance_weights(forced, prior)
    expected += probs[:, n] * log_weights.numpy()
  difference = expected - elbo.numpy()
  error = difference.std() / math.sqrt(batch)
  assert abs(difference.mean()) < 4 * error
  assert error < 0.2  # nats: the comparison means something


def test_final_prior_is_normalised_whatever_training_uses():
  prior = config_lib.PriorConfig(
    steps_prior_final=1e-5, steps_prior_normalize=False
  )
  model = make_model(prior)
  assert np.exp(model.final_steps_prior()).sum() == pytest.approx(1.0)
  assert np.exp(model.steps_prior(0)).sum() < 1e-10
  difference = model.steps_prior(10**6) - model.final_steps_prior()
  np.testing.assert_allclose(difference, np.zeros(4), atol=1e-4)


def test_variables_exist_before_the_first_call():
  model = make_model()
  assert model.baseline is None
  before = len(model.trainable_variables)
  run(model)
  assert len(model.trainable_variables) == before
  assert model.model_variables == model.trainable_variables
