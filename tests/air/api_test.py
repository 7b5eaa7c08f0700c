"""What a trained model says, and that the documentation's examples run."""

import doctest
import shutil

import numpy as np
import pytest
import tensorflow as tf

import air
from air import api, noise, scenes
from air.evaluation import Evaluator
from air.storage import checkpoints

SEED = 3


@pytest.fixture(scope="module")
def model(run_dir):
  return air.load(run_dir)


@pytest.fixture(scope="module")
def inferred(model, user_images):
  return model.infer(user_images, SEED)


@pytest.fixture(scope="module")
def sampled(model):
  return model.sample(200, SEED, [0.1, 0.5, 0.4, 0.0])


def assert_same(some, others):
  for name, field in some._asdict().items():
    np.testing.assert_array_equal(field, getattr(others, name), err_msg=name)


def test_the_examples_run(model, run_dir, user_images, tmp_path, monkeypatch):
  (tmp_path / "runs").mkdir()
  (tmp_path / "runs" / "default").symlink_to(run_dir)
  monkeypatch.chdir(tmp_path)
  methods = [
    f"TrainedModel.{name}"
    for name, value in vars(api.TrainedModel).items()
    if not name.startswith("_") and callable(value)
  ]
  public = {f"air.api.{name}" for name in ["load", *methods]}
  examples = [
    test
    for test in doctest.DocTestFinder().find(
      api, globs={"np": np, "model": model, "images": user_images}
    )
    if test.examples
  ]
  assert {test.name for test in examples} == public
  for test in examples:
    assert doctest.DocTestRunner().run(test).failed == 0, test.name


class TestRepr:
  def test_of_a_run(self, model, run_dir):
    assert (
      repr(model)
      == f"TrainedModel({run_dir}, iteration 20, 50x50, up to 3 objects)"
    )

  def test_of_a_network(self, model):
    made = air.TrainedModel(model.network, 7)
    assert repr(made) == ("TrainedModel(iteration 7, 50x50, up to 3 objects)")

  def test_of_scenes(self, sampled, model):
    counts = ", ".join(str(n) for n in sampled.count[:10])
    assert repr(sampled) == (
      f"Scenes(200 images of 50x50, {sampled.count.sum()} objects: counts"
      f" {counts}, ...)"
    )
    one = model.sample(1, count_probs=[0, 1, 0, 0])
    assert repr(one) == "Scenes(1 image of 50x50, 1 object: counts 1)"

  def test_of_other_fields(self, sampled):
    """Those of one image, or tensors."""
    one = air.Scenes(*(field[0] for field in sampled))
    assert repr(one) == f"Scenes{tuple(one)}"
    tensors = air.Scenes(*map(tf.constant, sampled))
    assert repr(tensors).startswith("Scenes(<tf.Tensor")


class TestInfer:
  def test_shapes_and_types(self, inferred):
    shapes = {
      "count": (16,),
      "count_probs": (16, 4),
      "boxes": (16, 3, 4),
      "z_what": (16, 3, 50),
      "z_where": (16, 3, 4),
      "presence": (16, 3),
      "objects": (16, 3, 50, 50),
      "background": (16, 50, 50),
      "canvas": (16, 50, 50),
    }
    types = {"count": np.int32, "presence": np.bool_}
    assert inferred._fields == tuple(shapes)
    for name, field in inferred._asdict().items():
      assert field.shape == shapes[name], name
      assert field.dtype == types.get(name, np.float32), name

  def test_is_what_the_network_infers(self, model, inferred, user_images):
    network = model.network
    images = np.zeros([64, 50, 50], np.float32)
    images[:16] = user_images / np.float32(255)
    key = noise.fold_in(tf.constant([SEED, 5]), 0)
    output = network(tf.constant(images), network.sample_noise(key, 64))
    for field, steps in (
      (inferred.z_what, output.steps.what),
      (inferred.z_where, output.steps.where),
    ):
      expected = tf.transpose(steps, [1, 0, 2])[:16]
      np.testing.assert_allclose(field, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
      inferred.count_probs,
      output.num_steps_posterior().probs()[:16],
      atol=1e-5,
    )
    for i, count in enumerate(inferred.count):
      np.testing.assert_allclose(
        inferred.canvas[i], output.canvases[count, i], atol=1e-4
      )

  def test_the_count_is_the_most_probable_one(self, inferred):
    np.testing.assert_allclose(inferred.count_probs.sum(-1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(
      inferred.count, inferred.count_probs.argmax(-1)
    )
    assert len(set(inferred.count)) > 1

  def test_places_in_the_sequence_decide_not_the_batches(
    self, model, inferred, user_images
  ):
    images = np.concatenate([user_images] * 5)[:70]
    batches = list(model.infer_batches(images, SEED))
    assert [len(batch.count) for batch in batches] == [64, 6]
    assert_same(scenes.Scenes(*(f[:16] for f in batches[0])), inferred)
    # The same images elsewhere in the sequence have other noise.
    assert np.all(batches[1].z_what[:6] != inferred.z_what[:6])
    # And whatever the number of images, it is compiled once.
    assert model._infer.experimental_get_tracing_count() == 1

  def test_seeds(self, model, inferred, user_images):
    assert_same(model.infer(user_images, SEED), inferred)
    other = model.infer(user_images, SEED + 1)
    assert np.all(other.z_what != inferred.z_what)

  def test_floats_are_as_good(self, model, inferred, user_images):
    floats = model.infer(user_images / 255.0, SEED)
    np.testing.assert_allclose(floats.boxes, inferred.boxes, atol=1e-3)
    np.testing.assert_allclose(floats.canvas, inferred.canvas, atol=1e-3)

  def test_reconstruct(self, model, inferred, user_images):
    np.testing.assert_array_equal(
      model.reconstruct(user_images, SEED), inferred.canvas
    )


@pytest.mark.parametrize("name", ["inferred", "sampled"])
class TestScenes:
  @pytest.fixture
  def made(self, name, request):
    return request.getfixturevalue(name)

  def test_the_first_steps_belong_to_the_scene(self, made):
    np.testing.assert_array_equal(
      made.presence, np.arange(3) < made.count[:, None]
    )

  def test_the_canvas_is_the_sum_of_its_objects(self, made):
    expected = (made.objects * made.presence[..., None, None]).sum(1)
    np.testing.assert_allclose(made.canvas, expected, rtol=1e-5, atol=1e-6)
    assert np.ptp(made.canvas) > 0.01

  def test_objects_are_in_their_boxes(self, made):
    pixels = np.arange(50)
    y0, x0, y1, x1 = np.moveaxis(made.boxes, -1, 0)[..., None]
    # Bilinear interpolation reaches as far as one pixel of the glimpse.
    rows = (pixels + 1 > y0 - (y1 - y0) / 19) & (pixels < y1 + (y1 - y0) / 19)
    columns = (pixels + 1 > x0 - (x1 - x0) / 19) & (
      pixels < x1 + (x1 - x0) / 19
    )
    outside = ~(rows[..., :, None] & columns[..., None, :])
    assert np.any(outside)
    assert not np.any(made.objects[outside])


class TestSample:
  def test_counts_have_the_given_distribution(self, sampled):
    frequencies = np.bincount(sampled.count, minlength=4) / 200
    error = np.sqrt(0.25 / 200)
    np.testing.assert_allclose(
      frequencies, [0.1, 0.5, 0.4, 0.0], atol=4 * error
    )
    assert frequencies[3] == 0.0
    np.testing.assert_allclose(sampled.count_probs[7], [0.1, 0.5, 0.4, 0.0])

  def test_latents_have_their_priors(self, model, sampled):
    prior = model.network.final_priors().where
    for latent, mean, std in (
      (sampled.z_what, 0.0, 1.0),
      (sampled.z_where, prior.loc.numpy(), prior.scale.numpy()),
    ):
      values = ((latent - mean) / std).reshape(-1)
      error = 1.0 / np.sqrt(len(values))
      assert abs(values.mean()) < 4 * error
      assert abs(values.std() - 1.0) < 4 * error

  def test_a_shorter_sequence_is_the_same(self, model, sampled):
    shorter = model.sample(70, SEED, [0.1, 0.5, 0.4, 0.0])
    assert_same(shorter, scenes.Scenes(*(field[:70] for field in sampled)))
    assert len(np.unique(sampled.z_what[:, 0, 0])) == 200

  def test_without_probabilities_the_prior(self, model):
    prior = model.sample(64)
    success = model.network.config.prior.steps_prior_final
    weights = success ** np.arange(4.0)
    np.testing.assert_allclose(
      prior.count_probs[0], weights / weights.sum(), rtol=1e-4
    )
    assert not np.any(prior.count)
    assert not np.any(prior.canvas)

  def test_certain_counts(self, model):
    for n in range(4):
      scenes_of_n = model.sample(64, SEED, np.eye(4)[n])
      assert np.all(scenes_of_n.count == n)


class TestLogProb:
  def test_is_the_bound_at_the_checkpoints_iteration(
    self, model, user_images, eagerly
  ):
    bounds = model.log_prob(user_images, iwae_samples=2, seed=SEED)
    padded = np.zeros([64, 50, 50], np.uint8)
    padded[:16] = user_images
    expected = Evaluator(model.network).iwae(padded, 20, 2, SEED)
    assert model.iteration == 20
    np.testing.assert_allclose(bounds, expected[:16], rtol=1e-5)
    assert len(set(bounds)) == 16

  def test_places_in_the_sequence_decide(self, model, user_images, eagerly):
    images = np.concatenate([user_images] * 5)[:70]
    bounds = model.log_prob(images, 1, SEED)
    few = model.log_prob(images[:3] / np.float32(255), 1, SEED)
    np.testing.assert_allclose(bounds[:3], few, rtol=1e-5)
    assert bounds.shape == (70,)
    # Where no step was sampled at all, the weights are the same.
    assert np.mean(np.abs(bounds[64:] - bounds[:6]) > 1e-3) > 0.5


class TestLoad:
  @pytest.fixture
  def copy(self, run_dir, tmp_path):
    return shutil.copytree(run_dir, tmp_path / "copy")

  def test_a_damaged_checkpoint_is_passed_over(self, copy, caplog):
    newest, older = checkpoints.find(copy / "checkpoints")
    (newest / "manifest.json").unlink()
    assert air.load(str(copy)).iteration == 10
    assert "iteration-000000020 is incomplete; trying" in caplog.text
    (older / "manifest.json").unlink()
    with pytest.raises(air.CheckpointError, match="none of the checkpoints"):
      air.load(copy)

  def test_from_the_home_folder(self, copy, monkeypatch):
    monkeypatch.setenv("HOME", str(copy.parent))
    assert air.load("~/copy").iteration == 20
