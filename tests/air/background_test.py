"""Backgrounds: what is inferred of them, and that all else works with them."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import distributions as tfd

import air
from air import evaluation, likelihood
from air.model import AIRModel
from air.storage import checkpoints, export, run_folder
from air.training import Trainer


@pytest.fixture(scope="module", params=["constant", "network"])
def trainer(request, small_config, small_images, eager_execution):
  config = small_config(
    background_model=request.param,
    train_output_std=request.param == "network",
    learning_rate=1e-3,
  )
  trainer = Trainer(config, small_images, jit_compile=False)
  with eager_execution():
    trainer.train(5)
  return trainer


@pytest.fixture(scope="module")
def run_dir(trainer, tmp_path_factory):
  folder = tmp_path_factory.mktemp("background")
  checkpoints.save(run_folder.checkpoints(folder), trainer)
  run_folder.write_config(folder, trainer.config, digit_source="noise")
  return folder


def _run(model, images, seed=1):
  noise = model.sample_noise(tf.constant([seed, 1]), len(images))
  return model(tf.constant(images / np.float32(255)), noise)


def test_by_default_there_is_none(small_config, small_images):
  model = AIRModel(small_config())
  assert not model.background.trainable_variables
  output = _run(model, small_images)
  assert not output.canvases[0].numpy().any()
  terms = model.elbo_terms(output, model.final_priors())
  assert not terms.kl_background.numpy().any()


def test_objects_are_painted_on_it(trainer, small_images):
  model = trainer.model
  output = _run(model, small_images)
  np.testing.assert_array_equal(output.canvases[0], output.background.canvas)
  assert np.abs(output.canvases[0]).max() > 0.0
  objects = model.paint(
    tf.transpose(output.steps.what, [1, 0, 2]),
    tf.transpose(output.steps.where, [1, 0, 2]),
  )
  np.testing.assert_allclose(
    output.canvases[-1],
    output.background.canvas + tf.reduce_sum(objects, axis=1),
    atol=1e-5,
  )


def test_steps_see_the_image_without_it(trainer, small_images):
  model = trainer.model
  output = _run(model, small_images)
  noise = model.sample_noise(tf.constant([1, 1]), len(small_images))
  foreground = output.images - output.background.canvas
  steps = model._unroll(foreground, noise)
  np.testing.assert_array_equal(steps.where, output.steps.where)
  np.testing.assert_array_equal(steps.glimpse, output.steps.glimpse)


def test_a_constant_is_the_same_for_all_images(small_config, small_images):
  model = AIRModel(small_config(background_model="constant"))
  ramp = np.linspace(0, 1, 120, dtype=np.float32).reshape(12, 10)
  model.background.image.assign(ramp)
  output = _run(model, small_images)
  np.testing.assert_array_equal(
    output.canvases[0], np.broadcast_to(ramp, [20, 12, 10])
  )
  assert output.background.latent.shape == [20, 0]


def test_the_kl_of_the_latent(small_config, small_images):
  model = AIRModel(small_config(background_model="network"))
  output = _run(model, small_images)
  behind = output.background
  assert behind.loc.shape == [20, 8]
  posterior = tfd.MultivariateNormalDiag(behind.loc, behind.scale)
  prior = tfd.MultivariateNormalDiag(tf.zeros([8]), tf.ones([8]))
  terms = model.elbo_terms(output, model.final_priors())
  expected = tfd.kl_divergence(posterior, prior)
  assert expected.numpy().min() > 0.0
  np.testing.assert_allclose(terms.kl_background, expected, rtol=1e-4)
  np.testing.assert_allclose(
    behind.log_ratio(),
    prior.log_prob(behind.latent) - posterior.log_prob(behind.latent),
    rtol=1e-4,
    atol=1e-4,
  )
  # A part of the whole.
  others = (
    terms.kl_num_steps + terms.expected_kl_what() + terms.expected_kl_where()
  )
  np.testing.assert_allclose(terms.kl() - others, expected, rtol=1e-3)


def test_gradients_by_finite_differences(small_config, small_images):
  """Also through what the steps see of the image."""
  model = AIRModel(
    small_config(background_model="network", train_output_std=True)
  )
  images = small_images[:4]
  variables = [*model.background.trainable_variables, model._log_output_std]
  directions = [
    tf.random.stateless_normal(v.shape, [3, i]) for i, v in enumerate(variables)
  ]

  def loss():
    output = _run(model, images)
    return model.objective(
      output, model.elbo_terms(output, model.priors(0))
    ).loss

  with tf.GradientTape() as tape:
    value = loss()
  gradients = tape.gradient(value, variables)
  expected = sum(
    float(tf.reduce_sum(g * d))
    for g, d in zip(gradients, directions, strict=True)
  )

  def shifted(step):
    for variable, direction in zip(variables, directions, strict=True):
      variable.assign_add(step * direction)
    value = float(loss())
    for variable, direction in zip(variables, directions, strict=True):
      variable.assign_sub(step * direction)
    return value

  step = 1e-3
  actual = (shifted(step) - shifted(-step)) / (2 * step)
  assert abs(expected) > 1.0
  assert actual == pytest.approx(expected, rel=0.02)


def test_the_trained_deviation_is_that_of_the_likelihood(
  small_config, small_images
):
  model = AIRModel(small_config(train_output_std=True, output_std=0.3))
  assert float(model.output_std) == pytest.approx(0.3)
  output = _run(model, small_images)
  np.testing.assert_allclose(
    likelihood.log_likelihood(output.images, output.canvases[0], 0.3),
    likelihood.log_likelihood(
      output.images, output.canvases[0], model.output_std
    ),
    rtol=1e-5,
  )
  model._log_output_std.assign(np.log(0.5))
  terms = model.elbo_terms(output, model.final_priors())
  expected = tfd.Normal(output.canvases, 0.5).log_prob(output.images)
  np.testing.assert_allclose(
    terms.log_likelihoods,
    tf.transpose(tf.reduce_sum(expected, axis=[2, 3])),
    rtol=1e-4,
  )


def test_scenes_have_it_apart_from_their_objects(
  trainer, run_dir, small_images, eagerly
):
  model = air.load(run_dir)
  scenes = model.infer(small_images)
  present = scenes.presence[:, :, None, None] * scenes.objects
  np.testing.assert_allclose(
    scenes.canvas, scenes.background + present.sum(1), atol=1e-5
  )
  assert scenes.background.any()
  sampled = model.sample(70, seed=2)
  is_constant = trainer.config.model.background_model == "constant"
  same = (sampled.background == sampled.background[:1]).all()
  assert same == is_constant
  assert model.log_prob(small_images, iwae_samples=3).shape == (20,)


def test_the_evaluation_has_its_kl(trainer, small_images, eagerly):
  result = evaluation.summarize(
    evaluation.Evaluator(trainer.model).evaluate(small_images, 5, 0),
    None,
    3,
  )
  kls = ("kl_num_steps", "kl_what", "kl_where", "kl_background")
  known = [result[name] for name in kls if name in result]
  has_latent = trainer.config.model.background_model == "network"
  assert ("kl_background" in result) == has_latent
  assert result["elbo"] == pytest.approx(
    -result["reconstruction"] - sum(known), rel=1e-4
  )


def test_training_goes_on_and_a_saved_model_agrees(
  trainer, run_dir, small_images, tmp_path, eagerly
):
  resumed = Trainer(trainer.config, small_images, jit_compile=False)
  [path] = checkpoints.find(run_folder.checkpoints(run_dir))
  checkpoints.restore(path, resumed)
  for ours, theirs in zip(resumed.variables, trainer.variables, strict=True):
    np.testing.assert_array_equal(ours, theirs, err_msg=ours.name)
  export.save(trainer.model, tmp_path)
  infer = tf.saved_model.load(str(tmp_path)).signatures["infer"]
  exported = infer(
    images=tf.constant(small_images / np.float32(255)), seed=tf.constant(0)
  )
  scenes = air.load(run_dir).infer(small_images)
  for name, field in scenes._asdict().items():
    np.testing.assert_allclose(exported[name], field, atol=1e-4, err_msg=name)
