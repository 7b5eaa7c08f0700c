"""The mathematics over extreme float32 values: finite, and still right."""

import functools
import math

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from tensorflow_probability import distributions as tfd

from air import estimators, likelihood, modules, prior, transformer
from air.config import PriorConfig
from air.outputs import AIROutput, ElboTerms

_T = 3
_LARGEST = float(np.finfo(np.float32).max)
_MAGNITUDES = (
  *(0.0, 1e-45, 1e-40, 1.2e-38, 1e-30, 1e-8, 1.0, 17.0, 88.8, 104.0),
  *(1e4, 1e10, 1e18, 1e30, _LARGEST),
)


def arrays(shape, low=-_LARGEST, high=_LARGEST):
  """Arrays of float32 of all magnitudes, often where something may break."""
  special = np.array([low, high, *_MAGNITUDES, *(-m for m in _MAGNITUDES)])
  largest = math.log10(max(abs(low), abs(high)))

  def make(seed):
    # Many times faster than to have hypothesis draw every number.
    rng = np.random.default_rng(seed)
    any_size = 10.0 ** rng.uniform(-45.0, largest, shape)
    values = np.where(
      rng.random(shape) < 0.5,
      rng.choice(special, shape),
      rng.choice([-1.0, 1.0], shape) * any_size,
    )
    return np.clip(values, low, high).astype(np.float32)

  return st.integers(0, 2**32 - 1).map(make)


def check(examples):
  def decorate(test):
    settings = hypothesis.settings(
      max_examples=examples,
      deadline=None,
      derandomize=True,
      suppress_health_check=list(hypothesis.HealthCheck),
    )
    return settings(test)

  return decorate


def differentiated(function):
  """Returns a function to values by name, finite, and so their gradients."""

  @tf.function(autograph=False)
  def run(*inputs):
    with tf.GradientTape() as tape:
      tape.watch(inputs)
      values = function(*inputs)
      # What is not finite in one part is not in the sum either.
      total = tf.add_n([tf.reduce_sum(value) for value in values.values()])
    return values, tape.gradient(
      total, inputs, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )

  def checked(*inputs):
    values, gradients = run(*(tf.constant(x, tf.float32) for x in inputs))
    for name, value in values.items():
      assert np.all(np.isfinite(value)), name
    for index, gradient in enumerate(gradients):
      assert np.all(np.isfinite(gradient)), f"gradient in input {index}"
    return values

  return checked


def of_num_steps(**parameter):
  distribution = prior.NumStepsDistribution(**parameter)
  log_prior = prior.geometric_log_probs(
    tf.constant(math.log(1e-5), tf.float64), _T
  )
  return {
    "probs": distribution.probs(),
    "log_probs": distribution.log_probs(),
    "survival": distribution.survival(),
    "mean": distribution.mean(),
    "kl": distribution.kl_to(log_prior),
    "log_prob": distribution.log_prob(tf.range(_T + 1)[:, None]),
  }


@pytest.mark.parametrize(
  ("kind", "low", "high"), [("logits", -_LARGEST, _LARGEST), ("probs", 0, 1)]
)
def test_number_of_steps(kind, low, high):
  of_parameter = differentiated(lambda x: of_num_steps(**{kind: x}))

  @check(50)
  @hypothesis.given(arrays([20, _T], low, high))
  def run(parameter):
    values = of_parameter(parameter)
    probs = values["probs"].numpy()
    np.testing.assert_allclose(probs.sum(-1), 1.0, rtol=1e-6)
    assert np.all((probs >= 0.0) & (probs <= 1.0))
    assert np.all(values["log_probs"] <= 0.0)
    np.testing.assert_allclose(np.exp(values["log_probs"]), probs, atol=1e-6)
    assert np.all(np.diff(values["survival"], axis=-1) <= 0.0)
    assert np.all(values["kl"] > -1e-5)

  run()


def test_presence_mixed_with_a_coin():
  def mixed(logits, floor):
    return {"mixed": prior.mix_with_coin(logits, tf.stop_gradient(floor), 0.5)}

  of_logits = differentiated(mixed)

  @check(50)
  @hypothesis.given(arrays([40]), arrays([], 0.0, 1.0))
  def run(logits, floor):
    values = of_logits(np.sort(logits), floor)
    presence = tf.sigmoid(values["mixed"]).numpy()
    assert np.all(presence >= 0.5 * floor * (1 - 1e-5))
    assert np.all(presence <= 1.0 - 0.5 * floor * (1 - 1e-5) + 1e-6)
    assert np.all(np.diff(presence) >= -1e-5)

  run()


@check(60)
@hypothesis.given(
  initial=st.floats(1e-300, 1.0),
  final=st.floats(1e-300, 1.0),
  iteration=st.one_of(st.integers(0, 1_000), st.integers(0, 2**62)),
  max_steps=st.integers(1, 8),
)
def test_prior_of_the_number_of_steps(initial, final, iteration, max_steps):
  config = PriorConfig(
    steps_prior_initial=initial,
    steps_prior_final=final,
    steps_prior_anneal=1_000,
  )
  log_success = prior.log_success_probability(
    config, tf.constant(iteration, tf.int64)
  )
  for normalize in (True, False):
    log_probs = prior.geometric_log_probs(log_success, max_steps, normalize)
    assert np.all(np.isfinite(log_probs))
    assert np.all(np.diff(log_probs) <= 0.0)
    total = np.exp(np.float64(log_probs)).sum()
    assert total <= 1.0 + 1e-6
    if normalize:
      assert total == pytest.approx(1.0, rel=1e-6)


def gaussian_terms(head, loc, raw_scale, noise):
  """What the ELBO needs of q(z) and p(z), as the model makes them."""
  location, scale = head(tf.concat([loc, raw_scale], axis=-1))
  q, p = tfd.Normal(location, scale), tfd.Normal(0.5, 0.15)
  z = location + scale * tf.stop_gradient(noise)
  return {
    "scale": scale,
    "z": z,
    "kl": q.kl_divergence(p),
    "log q": q.log_prob(z),
    "log p": p.log_prob(z),
  }


def test_gaussians():
  head = modules.GaussianParams(4, 0.0, [], lambda *_: tf.eye(8))
  head(tf.zeros([1, 8]))
  of_parameters = differentiated(functools.partial(gaussian_terms, head))

  @check(50)
  @hypothesis.given(
    arrays([10, 4], -1e10, 1e10),
    arrays([10, 4], -_LARGEST, 1e10),
    arrays([10, 4], -6.0, 6.0),
  )
  def run(loc, raw_scale, noise):
    values = of_parameters(loc, raw_scale, noise)
    assert np.all(values["scale"] > 0.0)
    assert np.all(values["kl"] > -1e-5)

  run()


@pytest.mark.parametrize("function", [transformer.crop, transformer.paste])
def test_transformer(function):
  of_inputs = differentiated(
    lambda *inputs: {"output": function(*inputs, (6, 5))}
  )

  @check(50)
  @hypothesis.given(arrays([4, 5, 6], -1e15, 1e15), arrays([4, 4]))
  def run(images, where):
    output = of_inputs(images, where)["output"]
    # Weights are in [0, 1], and their sum is at most one.
    largest = np.abs(images).max(axis=(1, 2), keepdims=True)
    assert np.all(np.abs(output) <= 1.001 * largest)

  run()


@check(50)
@hypothesis.given(arrays([10, 4], -1e30, 1e30))
def test_boxes(where):
  boxes = transformer.boxes(tf.constant(where), (12, 10)).numpy()
  assert np.all(np.isfinite(boxes))
  assert np.all(boxes[:, 0] <= boxes[:, 2])
  assert np.all(boxes[:, 1] <= boxes[:, 3])


@pytest.mark.parametrize("std", [1e-3, 0.3, 1e3])
def test_likelihood(std):
  of_canvas = differentiated(
    lambda *inputs: {"log p": likelihood.log_likelihood(*inputs, std)}
  )
  largest = -20 * (0.5 * math.log(2.0 * math.pi) + math.log(std))

  @check(50)
  @hypothesis.given(arrays([4, 4, 5], 0.0, 1.0), arrays([4, 4, 5], -1e15, 1e15))
  def run(images, canvas):
    assert np.all(of_canvas(images, canvas)["log p"] <= largest + 1e-3)

  run()


def context(logits, floor, log_likelihoods, kl, baseline, u, num_steps):
  """What an estimator gets: two samples of each of two images."""
  logits = prior.mix_with_coin(logits, floor, 0.5)
  posterior = prior.NumStepsDistribution(logits=logits)
  log_prior = prior.geometric_log_probs(
    tf.constant(math.log(1e-5), tf.float64), _T
  )
  terms = ElboTerms(
    log_likelihoods=log_likelihoods,
    probs=posterior.probs(),
    log_probs=posterior.log_probs(),
    survival=posterior.survival(),
    kl_num_steps=posterior.kl_to(log_prior),
    kl_what=kl,
    kl_where=kl,
    kl_background=tf.zeros([4]),
    log_weights=log_likelihoods + log_prior - posterior.log_probs(),
  )
  output = AIROutput(
    images=tf.zeros([4, 1, 1]),
    steps=None,
    raw_presence_logits=None,
    presence_logits=logits,
    presence_noise=u,
    glimpses=None,
    background=None,
    canvases=tf.reshape(tf.transpose(log_likelihoods), [_T + 1, 4, 1, 1]),
    num_steps=tf.cast(num_steps, tf.int32),
  )
  return estimators.Context(terms, output, baseline, 2, 0.3)


@pytest.mark.parametrize("name", estimators.ESTIMATORS)
def test_estimators(name):
  def objective(logits, log_likelihoods, kl, baseline, *others):
    floor, u, num_steps = map(tf.stop_gradient, others)
    return (
      estimators.ESTIMATORS[name]
      .objective(
        context(logits, floor, log_likelihoods, kl, baseline, u, num_steps)
      )
      ._asdict()
    )

  of_terms = differentiated(objective)
  half = 2.0**-24

  @check(50)
  @hypothesis.given(
    logits=arrays([4, _T]),
    log_likelihoods=arrays([4, _T + 1], -1e15, 1e15),
    kl=arrays([4, _T], 0.0, 1e15),
    baseline=arrays([4], -1e15, 1e15),
    floor=arrays([], 0.0, 1.0),
    u=arrays([4, _T], half, 1.0 - half),
    num_steps=st.lists(st.integers(0, _T), min_size=4, max_size=4),
  )
  def run(logits, log_likelihoods, kl, baseline, floor, u, num_steps):
    of_terms(logits, log_likelihoods, kl, baseline, floor, u, num_steps)

  run()
