"""The evaluation pass against float64 numpy, and the bounds' relations."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
import tensorflow as tf

from air import evaluation, noise, transformer
from air.evaluation import Evaluator, ImageMetrics
from air.model import AIRModel

ITERATION = 700
SEED = 3


@pytest.fixture(scope="module")
def model(small_config):
  return AIRModel(
    small_config(
      steps_prior_initial=1.0,
      steps_prior_anneal=10_000,
      where_scale_prior_hold=0,
      where_scale_prior_anneal=2 * ITERATION,
    )
  )


@pytest.fixture(scope="module")
def evaluator(model):
  return Evaluator(model)


@pytest.fixture(scope="module")
def image_metrics(evaluator, small_images):
  return evaluator.evaluate(small_images, ITERATION, SEED)


@pytest.fixture(scope="module")
def output(evaluator, small_images):
  """What the metrics above are computed from: the same noise."""
  return evaluator.infer(small_images, ITERATION, SEED)


def log_normal(x, mean, std):
  x, mean, std = (np.asarray(a, np.float64) for a in (x, mean, std))
  return -0.5 * ((x - mean) / std) ** 2 - np.log(std * np.sqrt(2.0 * np.pi))


def kl_normal(mean, std, prior_mean, prior_std):
  """KL between Gaussians, summed over the last axis."""
  mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
  kl = (
    np.log(prior_std / std)
    + (std**2 + (mean - prior_mean) ** 2) / (2.0 * prior_std**2)
    - 0.5
  )
  return kl.sum(-1)


def where_prior(config):
  mean, std = config.where_scale_prior_mean, config.where_scale_prior_std
  return np.array([mean, 0.0] * 2), np.array([std, 1.0] * 2)


def posterior_of_n(output):
  """q(n|z) `[B, T + 1]`, float64."""
  p = 1.0 / (1.0 + np.exp(-output.presence_logits.astype(np.float64)))
  survival = np.concatenate([np.ones([len(p), 1]), np.cumprod(p, -1)], -1)
  return survival - np.concatenate([survival[:, 1:], np.zeros([len(p), 1])], -1)


def geometric(success, num_steps=3):
  weights = np.power(success, np.arange(num_steps + 1.0))
  return weights / weights.sum()


def log_likelihoods(output, std):
  """log p(x | canvas_n) `[B, T + 1]`."""
  return log_normal(output.images, output.canvases, std).sum((2, 3)).T


class TestAgainstNumpy:
  def test_windows(self, image_metrics, output):
    np.testing.assert_array_equal(
      image_metrics.windows, np.swapaxes(output.steps.window, 0, 1)
    )

  def test_shapes_and_types(self, image_metrics, small_images):
    for name, values in image_metrics._asdict().items():
      per_image = (3, 4) if name == "windows" else ()
      assert values.shape == (len(small_images), *per_image), name
      assert np.all(np.isfinite(values)), name
    assert image_metrics.num_steps.dtype == np.int32

  def test_reconstruction(self, model, image_metrics, output):
    likelihoods = log_likelihoods(output, model.config.model.output_std)
    expected = -(posterior_of_n(output) * likelihoods).sum(-1)
    np.testing.assert_allclose(
      image_metrics.reconstruction, expected, rtol=1e-4
    )

  def test_kl_of_the_number_of_steps(self, model, image_metrics, output):
    q = posterior_of_n(output)
    config = model.config.prior
    fraction = ITERATION / config.steps_prior_anneal
    assert 0.0 < fraction < 1.0
    annealed = config.steps_prior_final**fraction
    for success, kl in (
      (config.steps_prior_final, image_metrics.kl_num_steps),
      (annealed, image_metrics.kl_num_steps_annealed),
    ):
      expected = (q * np.log(q / geometric(success))).sum(-1)
      np.testing.assert_allclose(kl, expected, rtol=1e-4, atol=1e-5)

  def test_kl_of_what_and_where(self, model, image_metrics, output):
    steps = output.steps
    q = posterior_of_n(output)
    survival = np.stack([q[:, i:].sum(-1) for i in (1, 2, 3)])  # [T, B]
    kl_what = kl_normal(steps.what_loc, steps.what_scale, 0.0, 1.0)
    np.testing.assert_allclose(
      image_metrics.kl_what, (survival * kl_what).sum(0), rtol=1e-4
    )
    config = model.config.prior
    halfway = dataclasses.replace(
      config,
      where_scale_prior_mean=0.5
      * (config.where_scale_prior_mean_initial + config.where_scale_prior_mean),
      where_scale_prior_std=math.sqrt(
        config.where_scale_prior_std_initial * config.where_scale_prior_std
      ),
    )
    for prior, kl in (
      (config, image_metrics.kl_where),
      (halfway, image_metrics.kl_where_annealed),
    ):
      kl_where = kl_normal(
        steps.where_loc, steps.where_scale, *where_prior(prior)
      )
      np.testing.assert_allclose(kl, (survival * kl_where).sum(0), rtol=1e-4)

  def test_elbo_is_the_sum_of_its_terms(self, image_metrics):
    total = (
      image_metrics.reconstruction
      + image_metrics.kl_num_steps
      + image_metrics.kl_what
      + image_metrics.kl_where
    )
    np.testing.assert_allclose(image_metrics.elbo, -total, rtol=1e-5)

  def test_num_steps_is_sampled_from_q(self, model, image_metrics, output):
    np.testing.assert_array_equal(image_metrics.num_steps, output.num_steps)
    key = noise.fold_in(tf.constant([SEED, 3]), 0)
    uniform = model.sample_noise(key, len(output.images)).presence.numpy().T
    # n is where the product of leading ones ends.
    present = uniform < 1.0 / (1.0 + np.exp(-output.presence_logits))
    np.testing.assert_array_equal(
      output.num_steps, np.cumprod(present, -1).sum(-1)
    )

  def test_mode_is_taken_at_the_means_without_a_floor(
    self, model, image_metrics, small_images
  ):
    images = tf.constant(small_images, tf.float32) / 255.0
    at_means = model(images, model.zero_noise(len(small_images)))
    probs = at_means.num_steps_posterior().probs().numpy()
    np.testing.assert_array_equal(
      image_metrics.num_steps_mode, probs.argmax(-1)
    )

  def test_without_a_baseline_its_numbers_are_zero(self, image_metrics):
    for name in ("reinforce_loss", "baseline_loss", "learning_signal"):
      assert not np.any(getattr(image_metrics, name))

  def test_the_final_prior_does_not_depend_on_the_iteration(
    self, model, evaluator, small_images
  ):
    # Once all schedules have ended nothing changes, and the priors agree.
    end = model.config.prior.steps_prior_anneal
    late = evaluator.evaluate(small_images, end, SEED)
    later = evaluator.evaluate(small_images, 10 * end, SEED)
    for a, b in zip(late, later, strict=True):
      np.testing.assert_array_equal(a, b)
    for name in ("kl_num_steps", "kl_where"):
      np.testing.assert_allclose(
        getattr(late, name), getattr(late, f"{name}_annealed"), rtol=1e-5
      )


class TestSeedsAndBatches:
  def test_same_seed_same_numbers(self, evaluator, image_metrics, small_images):
    again = evaluator.evaluate(small_images, ITERATION, SEED)
    for a, b in zip(image_metrics, again, strict=True):
      np.testing.assert_array_equal(a, b)

  def test_another_seed_gives_other_numbers(
    self, evaluator, image_metrics, small_images
  ):
    other = evaluator.evaluate(small_images, ITERATION, SEED + 1)
    assert np.all(image_metrics.elbo != other.elbo)
    np.testing.assert_array_equal(
      image_metrics.num_steps_mode, other.num_steps_mode
    )

  def test_the_last_batch_may_be_smaller(
    self, evaluator, image_metrics, small_images, monkeypatch, eagerly
  ):
    monkeypatch.setattr(evaluation, "BATCH_SIZE", 20)
    images = np.concatenate([small_images, small_images[:4]])
    batched = evaluator.evaluate(images, ITERATION, SEED)
    for whole, values in zip(image_metrics, batched, strict=True):
      assert values.shape[0] == 24
      # Rows stay in order, and the first batch has the same noise.
      np.testing.assert_allclose(values[:20], whole, rtol=1e-4, atol=1e-4)
    # The second batch has other noise.
    assert np.all(batched.elbo[20:] != batched.elbo[:4])
    np.testing.assert_array_equal(
      batched.num_steps_mode[20:], batched.num_steps_mode[:4]
    )
    bounds = evaluator.iwae(images, ITERATION, 2, SEED)
    assert bounds.shape == (24,)
    assert np.mean(np.abs(bounds[20:] - bounds[:4])) > 1e-3

  def test_uses_the_present_weights(self, model, evaluator, small_images):
    before = evaluator.iwae(small_images, ITERATION, 1, SEED)
    bias = model.decoder.trainable_variables[0]
    value = bias.numpy()
    bias.assign(value + 1.0)
    changed = evaluator.iwae(small_images, ITERATION, 1, SEED)
    bias.assign(value)
    after = evaluator.iwae(small_images, ITERATION, 1, SEED)
    assert np.any(before != changed)
    np.testing.assert_array_equal(before, after)


def log_weights_by_numpy(model, output):
  """log p(x, n, z) - log q(n, z|x) of the sampled n and z, one by one."""
  config = model.config
  steps, q = output.steps, posterior_of_n(output)
  p = geometric(config.prior.steps_prior_final)
  likelihoods = log_likelihoods(output, config.model.output_std)
  mean, std = where_prior(config.prior)
  log_weights = []
  for b, n in enumerate(np.asarray(output.num_steps)):
    log_weight = likelihoods[b, n] + np.log(p[n]) - np.log(q[b, n])
    for i in range(n):
      what, where = np.asarray(steps.what[i, b]), np.asarray(steps.where[i, b])
      log_weight += log_normal(what, 0.0, 1.0).sum()
      log_weight -= log_normal(
        what, steps.what_loc[i, b], steps.what_scale[i, b]
      ).sum()
      log_weight += log_normal(where, mean, std).sum()
      log_weight -= log_normal(
        where, steps.where_loc[i, b], steps.where_scale[i, b]
      ).sum()
    log_weights.append(log_weight)
  return np.array(log_weights)


def arrays_of(output):
  return tf.nest.map_structure(lambda t: t.numpy(), output)


class TestIwae:
  def test_is_the_logsumexp_of_log_weights(
    self, model, evaluator, small_images
  ):
    num_samples = 5
    images = tf.constant(small_images, tf.float32) / 255.0
    log_weights = []
    for k in range(num_samples):
      key = noise.fold_in(noise.fold_in(tf.constant([SEED, 4]), 0), k)
      output = model(
        images,
        model.sample_noise(key, len(images)),
        model.presence_floor(ITERATION),
      )
      log_weights.append(log_weights_by_numpy(model, arrays_of(output)))
    expected = np.logaddexp.reduce(log_weights) - np.log(num_samples)
    np.testing.assert_allclose(
      evaluator.iwae(small_images, ITERATION, num_samples, SEED),
      expected,
      rtol=1e-4,
    )
    np.testing.assert_allclose(
      evaluator.iwae(small_images, ITERATION, 1, SEED),
      log_weights[0],
      rtol=1e-4,
    )

  def test_seeds(self, evaluator, small_images):
    first, again, other = (
      evaluator.iwae(small_images, ITERATION, 2, seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    # Where no step was sampled at all, the weights are the same.
    assert np.mean(first != other) > 0.5

  def test_more_samples_give_a_higher_bound(self, evaluator, small_images):
    bounds = [
      evaluator.iwae(small_images, ITERATION, num_samples, SEED)
      for num_samples in (1, 5, 40)
    ]
    assert np.all(np.isfinite(bounds))
    for lower, higher in itertools.pairwise(bounds):
      difference = higher - lower
      error = difference.std() / np.sqrt(len(difference))
      assert difference.mean() > -3.0 * error
    assert bounds[2].mean() > bounds[0].mean()

  def test_the_expected_log_weight_is_the_elbo(self, model, small_images):
    num_samples = 4000
    images = tf.constant(small_images[:2], tf.float32) / 255.0
    images = tf.repeat(images, num_samples, axis=0)  # [2 S, H, W]
    step_noise = model.sample_noise(tf.constant([1, 2]), len(images))
    output = model(images, step_noise, 0.1)
    priors = model.final_priors()
    terms = model.elbo_terms(output, priors)
    elbo = -terms.expected_reconstruction() - terms.kl()
    expected = tf.zeros_like(elbo)  # sum_n q(n|z) log w(n, z)
    for n in range(4):
      log_weights = model.log_importance_weights(
        output._replace(num_steps=tf.fill([len(images)], n)), priors
      )
      expected += terms.probs[:, n] * log_weights
    difference = (expected - elbo).numpy().reshape(2, num_samples)
    error = difference.std(-1) / np.sqrt(num_samples)
    assert np.all(np.abs(difference.mean(-1)) < 4.0 * error)
    # Tight enough to notice a missing term.
    kl_z = (terms.expected_kl_what() + terms.expected_kl_where()).numpy()
    assert np.all(error < 0.02 * kl_z.mean())

  def test_the_average_weight_estimates_p_of_x(self, small_config):
    # An encoder that is wrong in two ways finds the same p(x): with one step,
    # one latent and a small image, the average has little variance.
    rng = np.random.default_rng(0)
    config = small_config(
      num_steps=1,
      what_size=1,
      image_size=(2, 2),
      glimpse_size=(2, 2),
      output_std=2.0,
      steps_prior_final=0.5,
      where_init="code",
      where_squash="none",
    )
    model = AIRModel(config)
    image = tf.constant(rng.random([1, 2, 2]), tf.float32)
    num_samples = 20_000
    images = tf.repeat(image, num_samples, axis=0)
    estimates = []
    for floor, seed in ((0.0, 1), (0.9, 2)):
      output = model(
        images, model.sample_noise(tf.constant([seed, 0]), num_samples), floor
      )
      weights = np.exp(
        model.log_importance_weights(output, model.final_priors())
      )
      estimates.append((weights.mean(), weights.std() / num_samples**0.5))
    # And from the prior itself: n, where and what drawn from p.
    where_mean, where_std = where_prior(config.prior)
    where = where_mean + where_std * rng.normal(size=[num_samples, 4])
    what = tf.constant(rng.normal(size=[num_samples, 1]), tf.float32)
    exists = rng.random(num_samples) < geometric(0.5, 1)[1]
    objects = transformer.paste(
      model.decoder(what), tf.constant(where, tf.float32), (2, 2)
    )
    canvas = 0.5 * objects.numpy() * exists[:, None, None]
    likelihood = np.exp(log_normal(image, canvas, 2.0).sum((1, 2)))
    truth = likelihood.mean(), likelihood.std() / num_samples**0.5
    for mean, error in estimates:
      assert mean == pytest.approx(
        truth[0], abs=5.0 * np.hypot(error, truth[1])
      )
      assert error < 0.05 * mean


class TestWithABaseline:
  @pytest.fixture
  def reinforced(self, small_config, small_images, eagerly):
    model = AIRModel(small_config(estimator="reinforce"))
    evaluator = Evaluator(model)
    return (
      model,
      evaluator.evaluate(small_images, ITERATION, SEED),
      evaluator.infer(small_images, ITERATION, SEED),
    )

  def test_elbo_is_of_the_marginal(self, reinforced, image_metrics):
    # The estimators have the same weights and the same bound.
    _, ours, _ = reinforced
    np.testing.assert_allclose(ours.elbo, image_metrics.elbo, rtol=1e-5)

  def test_score_function_and_baseline(self, reinforced, small_images):
    model, ours, output = reinforced
    steps = output.steps
    features = np.concatenate(
      [
        output.images.reshape(20, -1),
        steps.what.transpose(1, 0, 2).reshape(20, -1),
        steps.where.transpose(1, 0, 2).reshape(20, -1),
      ],
      axis=-1,
    )
    baseline = model.baseline(tf.constant(features)).numpy()
    rows = np.arange(20), output.num_steps
    error = -log_likelihoods(output, model.config.model.output_std)[rows]
    signal = error - baseline
    score = np.log(posterior_of_n(output))[rows]
    for values, expected in (
      (ours.learning_signal, signal.mean()),
      (ours.baseline_loss, 0.5 * np.mean(signal**2)),
      (ours.reinforce_loss, np.mean(signal * score)),
    ):
      np.testing.assert_allclose(values, expected, rtol=1e-4)


MEANS = {
  "num_images": 4,
  "elbo": 3.0,
  "reconstruction": 2.5,
  "kl_num_steps": 0.5,
  "kl_what": 1.25,
  "kl_where": 0.75,
  "mean_num_steps": 1.5,
}


class TestSummarize:
  METRICS = ImageMetrics(
    num_steps=np.array([0, 1, 2, 3]),
    num_steps_mode=np.array([0, 1, 2, 2]),
    elbo=np.array([1.0, 2.0, 3.0, 6.0], np.float32),
    reconstruction=np.array([2.0, 2.0, 2.0, 4.0], np.float32),
    kl_num_steps=np.array([0.0, 0.0, 1.0, 1.0], np.float32),
    kl_num_steps_annealed=np.array([9.0] * 4, np.float32),
    kl_what=np.array([1.0, 1.0, 1.0, 2.0], np.float32),
    kl_where=np.array([0.0, 0.0, 0.0, 3.0], np.float32),
    kl_where_annealed=np.array([9.0] * 4, np.float32),
    kl_background=np.zeros(4, np.float32),
    windows=np.zeros([4, 3, 4], np.float32),
    reinforce_loss=np.zeros(4, np.float32),
    baseline_loss=np.zeros(4, np.float32),
    learning_signal=np.zeros(4, np.float32),
  )

  def test_without_counts(self):
    assert evaluation.summarize(self.METRICS, None, 3) == MEANS

  def test_with_counts(self):
    counts = np.array([0, 1, 1, 2])
    summary = evaluation.summarize(self.METRICS, counts, 3)
    assert summary == {
      **MEANS,
      "count_accuracy": 0.5,
      "count_confusion": [[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]],
      "count_accuracy_per_count": {"0": 1.0, "1": 0.5, "2": 0.0},
      "count_accuracy_mode": 0.75,
      "count_confusion_mode": [[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0]],
      "count_accuracy_per_count_mode": {"0": 1.0, "1": 0.5, "2": 1.0},
    }

  def test_survives_json(self):
    summary = evaluation.summarize(self.METRICS, np.array([0, 1, 1, 2]), 3)
    assert json.loads(json.dumps(summary)) == summary
