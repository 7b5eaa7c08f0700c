"""How unlike its training images an image is to a model."""

import json

import numpy as np
import pytest

import air
from air import scenes, surprise
from air.storage import run_folder
from air.surprise import Scores


def made(rng, number, **shifts):
  """Scores of images: with more objects, and more ink, the ELBO is lower."""
  count = rng.integers(0, 3, number)
  norm = 20.0 * count + rng.normal(0, 3, number)
  elbo = 700 - 100 * count - 5 * (norm - 20 * count) + rng.normal(0, 5, number)
  fields = {"count": count, "elbo": elbo, "norm": norm}
  return Scores(**{k: v + shifts.get(k, 0) for k, v in fields.items()})


@pytest.fixture(scope="module")
def reference():
  return made(np.random.default_rng(0), 4000)


def test_p_values_of_like_images_are_uniform(reference):
  p_value = surprise.p_values(made(np.random.default_rng(1), 4000), reference)
  # Of 4,000, with a deviation of 0.008 at most.
  for share in (0.01, 0.1, 0.5, 0.9):
    assert np.mean(p_value <= share) == pytest.approx(share, abs=0.03)
  assert np.mean(p_value <= surprise.LEVEL) < 2 * surprise.LEVEL


@pytest.mark.parametrize(
  "shifts",
  [
    {"elbo": -40},
    {"elbo": 40},  # of dim images
    {"norm": 15},  # more ink, but no lower ELBO
    {"count": 1},
    {"count": 7},  # was never seen
  ],
)
def test_unlike_images_are_found(reference, shifts):
  unlike = made(np.random.default_rng(1), 100, **shifts)
  p_value = surprise.p_values(unlike, reference)
  assert np.mean(p_value <= surprise.LEVEL) > 0.6
  assert surprise.are_unlike(p_value)


def test_more_to_explain_explains_a_lower_elbo(reference):
  unlike = Scores(*(np.array([v]) for v in (1, 570.0, 20.0)))
  like = unlike._replace(norm=np.array([26.0]))
  [low], [high] = (surprise.p_values(s, reference) for s in (unlike, like))
  assert low < 0.01 < 0.05 < high


def test_the_most_surprising_is_as_surprising_as_itself(reference):
  few = Scores(*(field[:200] for field in reference))
  p_value = surprise.p_values(few, few)
  assert p_value.min() == np.float32(2 / 201)
  assert p_value.max() == 1
  assert p_value.dtype == np.float32


def test_images_of_nothing_are_all_alike():
  """Their scores have no variance, and no covariance."""
  nothing = Scores(np.zeros(200, int), np.full(200, 712.6), np.zeros(200))
  scores = Scores(
    np.zeros(3, int), np.array([712.6, 712.0, 690.0]), np.array([0, 0.5, 6.7])
  )
  p_value = surprise.p_values(scores, nothing)
  np.testing.assert_allclose(p_value, [1, 1 / 201, 1 / 201], rtol=1e-6)


@pytest.mark.parametrize(
  ("unlike", "of", "expected"),
  [
    (0, 1, False),
    (1, 1, True),
    (1, 5, False),
    (2, 10, True),
    (2, 64, False),
    (4, 64, True),
    (20, 1000, False),
    (40, 1000, True),
    (0, 10**6, False),
    (10**4, 10**6, False),
    (10**6, 10**6, True),
  ],
)
def test_more_than_chance_explains(unlike, of, expected):
  p_value = np.full(of, 0.5, np.float32)
  p_value[:unlike] = 0.01
  assert surprise.are_unlike(p_value) is expected


class TestScorer:
  def test_goes_by_the_latents_of_infer(self, run_dir, user_images):
    model = air.load(run_dir)
    inferred = model.infer(user_images, seed=3)
    scores = surprise.Scorer(model.network)(user_images, seed=3)
    np.testing.assert_array_equal(scores.count, inferred.count)
    output = scenes.encode(
      model.network, scenes.padded(user_images), np.int32(3), np.int32(0)
    )
    what = np.transpose(output.steps.what[:, : len(user_images)], [1, 0, 2])
    np.testing.assert_allclose(what, inferred.z_what, atol=1e-4)
    terms = model.network.elbo_terms(output, model.network.final_priors())
    expected = -terms.expected_reconstruction() - terms.kl()
    np.testing.assert_allclose(
      scores.elbo, expected[: len(user_images)], rtol=1e-4
    )
    norm = np.sqrt(np.sum((user_images / 255.0) ** 2, axis=(1, 2)))
    np.testing.assert_allclose(scores.norm, norm / 0.3, rtol=1e-5)

  def test_other_images_change_nothing(self, run_dir, user_images):
    scorer = surprise.Scorer(air.load(run_dir).network)
    many = scorer(np.tile(user_images, [5, 1, 1]), seed=0)
    few = scorer(user_images[:3], seed=0)
    for some, all_of_them in zip(few, many, strict=True):
      assert len(all_of_them) == 80
      np.testing.assert_array_equal(some, all_of_them[:3])
    floats = scorer(user_images[:3] / np.float32(255), seed=0)
    np.testing.assert_allclose(floats.elbo, few.elbo, rtol=1e-5)


class TestOfTheModel:
  def test_its_own_training_images_are_no_surprise(self, run_dir, user_images):
    result = air.load(run_dir).surprise(user_images)
    assert result.elbo.dtype == result.p_value.dtype == np.float32
    assert not surprise.are_unlike(result.p_value)
    black = np.zeros([4, 50, 50], np.uint8)
    assert surprise.are_unlike(air.load(run_dir).surprise(black).p_value)

  def test_a_model_without_a_reference_cannot_say(self, run_dir, user_images):
    model = air.load(run_dir)
    other = air.TrainedModel(model.network, model.iteration)
    result = other.surprise(user_images[:2])
    assert result.p_value is None
    np.testing.assert_array_equal(
      result.elbo, model.surprise(user_images[:2]).elbo
    )


class TestReference:
  def test_is_read_as_it_was_written(self, tmp_path, reference):
    scores = Scores(*(f.astype(np.float32) for f in reference))
    run_folder.write_reference(tmp_path, 7, scores)
    read = run_folder.read_reference(tmp_path, 7)
    for name, field in read._asdict().items():
      written = getattr(scores, name)
      np.testing.assert_allclose(field, written, rtol=1e-7, err_msg=name)
    assert run_folder.read_reference(tmp_path, 8) is None

  @pytest.mark.parametrize(
    "change",
    [
      {"iteration": "7"},
      {"elbo": [1.0]},
      {"elbo": None},
      {"norm": [[1.0, 2.0]]},
      {"norm": [1.0, float("nan")]},
      {"count": ["a", "b"]},
      {"count": [1, 2, 3]},
    ],
  )
  def test_a_damaged_one_is_none(self, tmp_path, change):
    values = {"iteration": 7, "count": [0, 1], "elbo": [1, 2], "norm": [3, 4]}
    path = tmp_path / "surprise.json"
    path.write_text(json.dumps(values))
    assert run_folder.read_reference(tmp_path, 7) is not None
    path.write_text(json.dumps(values | change))
    assert run_folder.read_reference(tmp_path, 7) is None

  @pytest.mark.parametrize("content", [b"", b"3", b"[]", b"\xff", b"[" * 10**5])
  def test_what_is_no_json_is_none(self, tmp_path, content):
    (tmp_path / "surprise.json").write_bytes(content)
    assert run_folder.read_reference(tmp_path, 7) is None
