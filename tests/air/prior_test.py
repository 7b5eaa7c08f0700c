"""The number of steps against sums over n in float64 numpy."""

import math

import numpy as np
import pytest
import tensorflow as tf

from air import prior
from air.config import PriorConfig
from air.prior import NumStepsDistribution

EXTREME_LOGITS = [1e4, -1e4, np.inf, -np.inf]


def brute_force_probs(presence):
  """q(n), n = 0..T, of p `[..., T]`: the sum over all 2^T outcomes."""
  presence = np.asarray(presence, np.float64)
  num_steps = presence.shape[-1]
  probs = np.zeros([*presence.shape[:-1], num_steps + 1])
  for outcome in np.ndindex(*[2] * num_steps):
    outcome = np.array(outcome)
    n = np.argmin(np.append(outcome, 0))
    probs[..., n] += np.where(outcome, presence, 1.0 - presence).prod(axis=-1)
  return probs


def logit(p):
  return np.log(p) - np.log1p(-p)


@pytest.fixture
def presence():
  """p_i `[2, 5, 3]`."""
  rng = np.random.default_rng(0)
  return rng.uniform(0.05, 0.95, [2, 5, 3]).astype(np.float32)


@pytest.fixture(params=["probs", "logits"])
def distribution(request, presence):
  if request.param == "probs":
    return NumStepsDistribution(probs=presence)
  return NumStepsDistribution(logits=logit(presence))


class TestNumStepsDistribution:
  def test_probabilities(self, distribution, presence):
    expected = brute_force_probs(presence)
    np.testing.assert_allclose(distribution.probs(), expected, rtol=1e-5)
    np.testing.assert_allclose(
      distribution.log_probs(), np.log(expected), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(
      np.sum(distribution.probs(), axis=-1), 1.0, rtol=1e-6
    )

  def test_survival_mean_and_mode(self, distribution, presence):
    probs = brute_force_probs(presence)
    survival = np.stack([probs[..., i:].sum(-1) for i in (1, 2, 3)], axis=-1)
    np.testing.assert_allclose(distribution.survival(), survival, rtol=1e-5)
    np.testing.assert_allclose(
      distribution.mean(), probs @ np.arange(4), rtol=1e-5
    )
    np.testing.assert_array_equal(distribution.mode(), probs.argmax(-1))
    assert distribution.mode().dtype == tf.int32

  def test_prob_and_log_prob_of_each_n(self, distribution, presence):
    expected = brute_force_probs(presence)
    for n in range(4):
      np.testing.assert_allclose(
        distribution.prob(n), expected[..., n], rtol=1e-5
      )
      np.testing.assert_allclose(
        distribution.log_prob(n), np.log(expected[..., n]), rtol=1e-5, atol=1e-5
      )

  def test_prob_of_an_n_for_each_element(self, distribution, presence):
    n = np.random.default_rng(1).integers(0, 4, [6, 2, 5])
    expected = brute_force_probs(presence)
    expected = np.take_along_axis(
      np.broadcast_to(expected, [6, 2, 5, 4]), n[..., None], axis=-1
    )[..., 0]
    np.testing.assert_allclose(distribution.prob(n), expected, rtol=1e-5)
    np.testing.assert_allclose(
      distribution.log_prob(n), np.log(expected), rtol=1e-5, atol=1e-5
    )

  @pytest.mark.parametrize("n", [-1, 4, 100])
  def test_impossible_n(self, distribution, n):
    assert not np.any(distribution.prob(n))
    log_prob = distribution.log_prob(n).numpy()
    assert np.all(np.isfinite(log_prob))
    assert np.all(log_prob < -1000.0)

  def test_shapes(self, distribution):
    assert distribution.max_steps == 3
    assert distribution.batch_shape == [2, 5]
    assert distribution.event_shape == []
    np.testing.assert_array_equal(distribution.batch_shape_tensor(), [2, 5])
    assert distribution.sample(seed=1).shape == [2, 5]
    assert distribution.sample([7, 2], seed=1).shape == [7, 2, 2, 5]
    assert NumStepsDistribution(probs=[0.5]).batch_shape == []

  def test_sample_frequencies(self, distribution, presence):
    num_samples = 4000
    samples = distribution.sample(num_samples, seed=3).numpy()
    assert samples.dtype == np.int32
    expected = brute_force_probs(presence)
    frequencies = np.stack([(samples == n).mean(0) for n in range(4)], axis=-1)
    errors = np.sqrt(expected * (1.0 - expected) / num_samples)
    assert np.all(np.abs(frequencies - expected) < 5.0 * errors + 1e-3)

  def test_samples_depend_on_the_seed_only(self, distribution):
    first, again, other = (
      distribution.sample(50, seed=seed) for seed in ([1, 2], [1, 2], [1, 3])
    )
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)

  def test_kl_is_the_direct_sum(self, distribution, presence):
    q = brute_force_probs(presence)
    prior_probs = np.array([0.4, 0.1, 0.3, 0.2])
    expected = (q * np.log(q / prior_probs)).sum(-1)
    kl = distribution.kl_to(np.log(prior_probs))
    np.testing.assert_allclose(kl, expected, rtol=1e-4, atol=1e-6)
    assert np.all(kl.numpy() > 0.0)

  def test_kl_to_a_prior_for_each_element(self, distribution, presence):
    q = brute_force_probs(presence)
    prior_probs = np.random.default_rng(2).dirichlet(np.ones(4), [2, 5])
    expected = (q * np.log(q / prior_probs)).sum(-1)
    kl = distribution.kl_to(np.log(prior_probs).astype(np.float32))
    np.testing.assert_allclose(kl, expected, rtol=1e-4, atol=1e-6)

  def test_kl_to_itself_is_zero(self, distribution):
    np.testing.assert_allclose(
      distribution.kl_to(distribution.log_probs()), 0.0, atol=1e-6
    )

  def test_logits_and_probs_agree_in_graph_mode(self, presence):
    @tf.function
    def both(p):
      logits = tf.math.log(p) - tf.math.log1p(-p)
      return (
        NumStepsDistribution(probs=p).log_probs(),
        NumStepsDistribution(logits=logits).log_probs(),
      )

    of_probs, of_logits = both(presence)
    np.testing.assert_allclose(of_probs, of_logits, rtol=1e-4, atol=1e-5)

  def test_float64_keeps_its_precision(self):
    p = np.array([0.3, 1.0 - 1e-12])
    log_probs = NumStepsDistribution(probs=tf.constant(p)).log_probs()
    expected = [np.log(0.7), np.log(0.3 * (1.0 - p[1])), np.log(0.3 * p[1])]
    np.testing.assert_allclose(log_probs, expected, rtol=1e-12)

  @pytest.mark.parametrize("arguments", [{}, {"probs": [0.5], "logits": [0.0]}])
  def test_wants_either_probs_or_logits(self, arguments):
    with pytest.raises(ValueError, match="Give either probs or logits"):
      NumStepsDistribution(**arguments)


class TestCertainSteps:
  """Probabilities of exactly 0 and 1."""

  @pytest.mark.parametrize(
    ("kind", "certain"),
    [("probs", [0.0, 1.0]), ("logits", EXTREME_LOGITS)],
  )
  def test_values_and_gradients_are_finite(self, kind, certain):
    free = 0.3
    cells = [[a, b, c] for a in [*certain, free] for b in certain
             for c in [*certain, free]]  # fmt: skip
    parameters = tf.constant(cells, tf.float32)
    prior_log_probs = prior.geometric_log_probs(
      tf.constant(math.log(1e-5), tf.float64), 3
    )
    functions = {
      "kl_to": lambda d: d.kl_to(prior_log_probs),
      "probs": lambda d: d.probs(),
      "log_probs": lambda d: d.log_probs(),
      "survival": lambda d: d.survival(),
      "mean": lambda d: d.mean(),
    }
    for n in (-1, 0, 1, 2, 3, 4):
      functions[f"log_prob({n})"] = lambda d, n=n: d.log_prob(n)
    for name, function in functions.items():
      with tf.GradientTape() as tape:
        tape.watch(parameters)
        value = function(NumStepsDistribution(**{kind: parameters}))
      gradient = tape.gradient(
        value, parameters, unconnected_gradients=tf.UnconnectedGradients.ZERO
      )
      assert np.all(np.isfinite(value)), name
      assert np.all(np.isfinite(gradient)), name

  @pytest.mark.parametrize(
    ("kind", "no", "yes"),
    [("probs", 0.0, 1.0), ("logits", -1e4, 1e4), ("logits", -np.inf, np.inf)],
  )
  def test_puts_everything_on_one_n(self, kind, no, yes):
    parameters = [
      [no, yes, yes], [yes, no, yes], [yes, yes, no], [yes, yes, yes]
    ]  # fmt: skip
    distribution = NumStepsDistribution(**{kind: parameters})
    np.testing.assert_array_equal(distribution.probs(), np.eye(4))
    np.testing.assert_array_equal(distribution.mode(), np.arange(4))
    np.testing.assert_array_equal(distribution.mean(), np.arange(4))
    np.testing.assert_array_equal(distribution.sample(seed=0), np.arange(4))
    log_probs = distribution.log_probs().numpy()
    np.testing.assert_array_equal(np.diag(log_probs), 0.0)
    assert np.all(log_probs[~np.eye(4, dtype=bool)] < -80.0)
    # KL is then -log p(n).
    log_prior = np.log(np.float32([0.4, 0.3, 0.2, 0.1]))
    np.testing.assert_allclose(
      distribution.kl_to(log_prior), -log_prior, rtol=1e-6
    )

  def test_logits_near_the_end_of_float32_keep_their_gradient(self):
    # d log q(n=0) / d logit_1 = -p_1, d log q(n=1) / d logit_1 = 1 - p_1.
    logits = tf.constant([[60.0], [-60.0]])
    with tf.GradientTape(persistent=True) as tape:
      tape.watch(logits)
      log_probs = NumStepsDistribution(logits=logits).log_probs()
      of_none, of_one = log_probs[:, 0], log_probs[:, 1]
    np.testing.assert_allclose(of_none, [-60.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(of_one, [0.0, -60.0], atol=1e-6)
    np.testing.assert_allclose(
      tape.gradient(of_none, logits), [[-1.0], [0.0]], atol=1e-6
    )
    np.testing.assert_allclose(
      tape.gradient(of_one, logits), [[0.0], [1.0]], atol=1e-6
    )


def test_gradients_match_finite_differences():
  logits = tf.constant([[0.3, -1.2, 0.8]], tf.float64)
  log_prior = np.log([0.4, 0.3, 0.2, 0.1])
  values = tf.constant([1.0, -2.0, 3.0, 0.5], tf.float64)
  for function in (
    lambda d: d.kl_to(log_prior),
    lambda d: tf.linalg.matvec(d.probs(), values),
    lambda d: d.log_prob(2),
    lambda d: d.mean(),
  ):  # fmt: skip
    (theory,), (numeric,) = tf.test.compute_gradient(
      lambda x, f=function: f(NumStepsDistribution(logits=x)), [logits]
    )
    np.testing.assert_allclose(theory, numeric, rtol=1e-6, atol=1e-8)


def test_gradient_in_a_probability_of_exactly_zero():
  # q = (1 - p1, p1 (1 - p2), p1 p2) is linear in p1, zero or not.
  probs = tf.constant([0.0, 0.25])
  with tf.GradientTape(persistent=True) as tape:
    tape.watch(probs)
    q = NumStepsDistribution(probs=probs).probs()
  jacobian = tape.jacobian(q, probs, experimental_use_pfor=False)
  np.testing.assert_allclose(
    jacobian, [[-1.0, 0.0], [0.75, 0.0], [0.25, 0.0]], atol=1e-6
  )


@pytest.mark.parametrize("dtype", [bool, np.int32, np.int64])
def test_count_leading_ones(dtype):
  presence = np.array(list(np.ndindex(2, 2, 2, 2)), dtype).reshape(4, 4, 4)
  expected = [
    "".join("01"[int(b)] for b in row).split("0")[0].count("1")
    for row in presence.reshape(-1, 4)
  ]
  counts = prior.count_leading_ones(tf.constant(presence))
  assert counts.dtype == tf.int32
  np.testing.assert_array_equal(counts, np.reshape(expected, [4, 4]))


def log_success(iteration, **values):
  value = prior.log_success_probability(
    PriorConfig(**values), tf.constant(iteration, tf.int64)
  )
  assert value.dtype == tf.float64
  assert value.shape == []
  return float(value)


SCHEDULE = {
  "steps_prior_initial": 0.9,
  "steps_prior_final": 1e-5,
  "steps_prior_hold": 100,
  "steps_prior_anneal": 400,
}


class TestLogSuccessProbability:
  def test_held_at_first_and_constant_at_last(self):
    for iteration in (0, 50, 100):
      assert log_success(iteration, **SCHEDULE) == pytest.approx(np.log(0.9))
    for iteration in (500, 501, 10**9):
      assert log_success(iteration, **SCHEDULE) == pytest.approx(np.log(1e-5))

  @pytest.mark.parametrize("iteration", [101, 200, 300, 499])
  def test_is_linear_in_the_logarithm(self, iteration):
    fraction = (iteration - 100) / 400
    expected = (1.0 - fraction) * np.log(0.9) + fraction * np.log(1e-5)
    assert log_success(iteration, **SCHEDULE) == pytest.approx(expected)

  def test_without_annealing_it_jumps_after_the_hold(self):
    values = {**SCHEDULE, "steps_prior_anneal": 0}
    assert log_success(99, **values) == pytest.approx(np.log(0.9))
    assert log_success(100, **values) == pytest.approx(np.log(1e-5))

  def test_tells_one_minus_1e_15_from_one(self):
    initial = 1.0 - 1e-15
    values = {"steps_prior_anneal": 1000}
    value = log_success(0, steps_prior_initial=initial, **values)
    assert value == pytest.approx(math.log(initial), rel=1e-12, abs=0.0)
    assert value < 0.0
    assert log_success(0, steps_prior_initial=1.0, **values) == 0.0

  def test_near_one_it_keeps_its_relative_precision(self):
    initial, final = 1.0 - 1e-15, 1.0 - 1e-12
    value = log_success(
      500,
      steps_prior_initial=initial,
      steps_prior_final=final,
      steps_prior_anneal=1000,
    )
    expected = 0.5 * (math.log(initial) + math.log(final))
    assert value == pytest.approx(expected, rel=1e-12, abs=0.0)

  @pytest.mark.parametrize("final", [1e-10, 1e-15, 1e-30, 1e-300])
  def test_reaches_a_tiny_final_probability(self, final):
    value = log_success(10**6, steps_prior_final=final)
    assert value == pytest.approx(np.log(final), rel=1e-6)


class TestGeometricLogProbs:
  @pytest.mark.parametrize(
    "success", [1e-30, 1e-10, 1e-5, 0.1, 0.5, 0.9, 1 - 1e-6, 1 - 1e-15, 1.0]
  )
  @pytest.mark.parametrize("max_steps", [1, 3, 6])
  def test_normalised(self, success, max_steps):
    log_probs = prior.geometric_log_probs(
      tf.constant(np.log(success), tf.float64), max_steps
    )
    assert log_probs.dtype == tf.float32
    weights = success ** np.arange(max_steps + 1.0)
    np.testing.assert_allclose(
      log_probs, np.log(weights / weights.sum()), rtol=1e-6, atol=1e-7
    )
    assert np.exp(np.float64(log_probs)).sum() == pytest.approx(1.0, rel=1e-6)

  def test_uniform_where_success_is_certain(self):
    log_probs = prior.geometric_log_probs(tf.constant(0.0, tf.float64), 3)
    np.testing.assert_allclose(log_probs, np.log(0.25), rtol=1e-6)

  @pytest.mark.parametrize("success", [1e-10, 1e-5, 0.1, 0.5, 0.9, 1 - 1e-6])
  def test_not_normalised(self, success):
    log_probs = prior.geometric_log_probs(
      tf.constant(np.log(success), tf.float64), 3, normalize=False
    )
    expected = np.log1p(-success) + np.arange(4) * np.log(success)
    np.testing.assert_allclose(log_probs, expected, rtol=1e-6, atol=1e-7)

  @pytest.mark.parametrize("success", [1.0, 1.0 - 1e-15, 1.0 - 2e-16])
  def test_not_normalised_close_to_one(self, success):
    log_probs = prior.geometric_log_probs(
      tf.constant(np.log(success), tf.float64), 3, normalize=False
    )
    failure = max(1.0 - success, 1e-15)
    np.testing.assert_allclose(log_probs, np.log(failure), rtol=1e-6)

  def test_both_give_the_same_gradient_of_the_kl(self):
    # The normaliser is a constant in q.
    logits = tf.constant([[0.3, -1.2, 0.8]])
    gradients = []
    for normalize in (True, False):
      log_prior = prior.geometric_log_probs(
        tf.constant(math.log(0.2), tf.float64), 3, normalize
      )
      with tf.GradientTape() as tape:
        tape.watch(logits)
        kl = NumStepsDistribution(logits=logits).kl_to(log_prior)
      gradients.append(tape.gradient(kl, logits))
    np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-6)


class TestMixWithCoin:
  @pytest.mark.parametrize("weight", [0.0, 1e-3, 0.3, 0.999, 1.0])
  def test_mixes_the_probabilities(self, weight):
    p = np.concatenate([[1e-6, 1e-3], np.linspace(0.05, 0.95, 7), [1 - 1e-6]])
    mixed = prior.mix_with_coin(
      tf.constant(logit(p), tf.float32), tf.constant(weight), 0.5
    )
    expected = 0.5 * weight + (1.0 - weight) * p
    np.testing.assert_allclose(mixed, logit(expected), rtol=1e-4, atol=1e-5)

  def test_without_weight_nothing_changes(self):
    logits = tf.linspace(-50.0, 50.0, 41)
    np.testing.assert_allclose(
      prior.mix_with_coin(logits, 0.0, 0.5), logits, rtol=1e-6, atol=1e-6
    )

  @pytest.mark.parametrize("weight", [1e-3, 0.3])
  def test_bounds_of_the_probability(self, weight):
    logits = tf.constant([-1e4, 1e4, -np.inf, np.inf])
    p = tf.sigmoid(prior.mix_with_coin(logits, weight, 0.5))
    low, high = 0.5 * weight, 1.0 - 0.5 * weight
    np.testing.assert_allclose(p, [low, high, low, high], rtol=1e-5)

  def test_extreme_logits_without_weight_are_certain(self):
    logits = tf.constant([-1e4, 1e4, -np.inf, np.inf])
    p = tf.sigmoid(prior.mix_with_coin(logits, 0.0, 0.5))
    np.testing.assert_allclose(p, [0.0, 1.0, 0.0, 1.0], atol=1e-20)

  @pytest.mark.parametrize("weight", [0.0, 1e-3, 0.3, 1.0])
  def test_gradient(self, weight):
    # d logit(m) / d logit(p) = (1 - w) p (1 - p) / (m (1 - m)).
    logits = tf.constant([-1e4, -8.0, -0.5, 0.0, 2.0, 8.0, 1e4])
    with tf.GradientTape() as tape:
      tape.watch(logits)
      mixed = prior.mix_with_coin(logits, weight, 0.5)
    gradient = tape.gradient(mixed, logits)
    p = 1.0 / (1.0 + np.exp(-np.float64(logits[1:-1])))
    m = 0.5 * weight + (1.0 - weight) * p
    expected = (1.0 - weight) * p * (1.0 - p) / (m * (1.0 - m))
    np.testing.assert_allclose(
      gradient, [0.0, *expected, 0.0], rtol=1e-3, atol=1e-6
    )

  @pytest.mark.parametrize("weight", [0.0, 1e-3, 0.3])
  def test_gradient_at_infinite_logits_is_finite(self, weight):
    logits = tf.constant([-np.inf, np.inf])
    with tf.GradientTape() as tape:
      tape.watch(logits)
      mixed = prior.mix_with_coin(logits, weight, 0.5)
    assert np.all(np.isfinite(tape.gradient(mixed, logits)))

  def test_uniform_coins_make_all_numbers_of_steps_as_probable(self):
    coins = prior.coins("uniform", 5)
    logits = prior.mix_with_coin(tf.zeros([2, 5]), tf.constant(1.0), coins)
    probs = NumStepsDistribution(logits=logits).probs()
    np.testing.assert_allclose(probs, np.full([2, 6], 1 / 6), rtol=1e-5)

  def test_fair_coins_halve_the_probability_with_every_step(self):
    logits = prior.mix_with_coin(
      tf.zeros([3]), tf.constant(1.0), prior.coins("fair", 3)
    )
    probs = NumStepsDistribution(logits=logits).probs()
    np.testing.assert_allclose(probs, [1 / 2, 1 / 4, 1 / 8, 1 / 8], rtol=1e-5)


class TestExcessPenalty:
  def test_values(self):
    logits = tf.constant([[-8.0, 3.0, 8.0], [-9.0, 0.0, 11.0]])
    np.testing.assert_allclose(prior.excess_penalty(logits, 8.0), [0.0, 10.0])
    np.testing.assert_array_equal(prior.excess_penalty(logits, 0.0), [0.0, 0.0])

  def test_gradient_pulls_back_what_is_beyond(self):
    logits = tf.constant([-9.0, -7.9, 0.0, 7.9, 11.0])
    with tf.GradientTape() as tape:
      tape.watch(logits)
      penalty = prior.excess_penalty(logits, 8.0)
    np.testing.assert_allclose(
      tape.gradient(penalty, logits), [-2.0, 0.0, 0.0, 0.0, 6.0]
    )
