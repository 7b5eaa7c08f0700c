"""The networks of the downstream tasks."""

import numpy as np
import pytest

from air.config import AIRConfig, ModelConfig
from air.model import AIRModel
from experiments.common import codes as codes_lib
from experiments.paper import classifiers


@pytest.fixture
def few_images(monkeypatch):
  """Networks are trained on few images."""
  for name in ("_FEWEST_IMAGES", "_MOST_IMAGES", "_AUTOENCODER_IMAGES"):
    monkeypatch.setattr(classifiers, name, 5_000)


@pytest.fixture(scope="module")
def images():
  return np.random.default_rng(0).integers(0, 256, [40, 13, 11], np.uint8)


@pytest.fixture(scope="module")
def model():
  config = ModelConfig(
    image_size=(13, 11),
    num_steps=2,
    glimpse_size=(5, 5),
    what_size=3,
    hidden_sizes=(8,),
    presence_hidden_sizes=(8,),
    lstm_size=8,
    step_input="difference",
    glimpse_input="difference",
  )
  return AIRModel(AIRConfig(config))


def codes_of(centres):
  """Returns codes of three steps, whose z_what is the number of the step."""
  boxes = np.zeros([1, 3, 4], np.float32)
  boxes[0, :, 1] = boxes[0, :, 3] = centres
  steps = np.arange(1.0, 4.0, dtype=np.float32)[None, :, None]
  return codes_lib.Codes(
    steps, steps / 10, 5 * steps, steps / 2, boxes, steps, np.zeros([1, 4])
  )


@pytest.mark.parametrize(
  ("count", "centres", "expected"),
  [
    (2, [3.0, 7.0, 0.0], [1, 2]),
    (2, [7.0, 3.0, 0.0], [2, 1]),
    (3, [7.0, 3.0, 0.0], [2, 1]),  # the third is none of the first two
    (1, [7.0, 3.0, 0.0], [1, 0]),
    (0, [7.0, 3.0, 0.0], [0, 0]),
  ],
)
def test_objects_from_left_to_right_those_that_are_missing_last(
  count, centres, expected
):
  features = classifiers.object_features(codes_of(centres), [count])
  assert features.shape == (1, 2, 2, 3)
  for (means, scales), step in zip(features[0].numpy(), expected, strict=True):
    np.testing.assert_allclose(means, [step, 5 * step, min(step, 1)])
    np.testing.assert_allclose(scales, [step / 10, step / 2, 0.0])


def test_a_classifier_of_objects_learns_their_order(few_images):
  rng = np.random.default_rng(0)
  values = rng.normal(size=[400, 2]).astype(np.float32)
  answers = (values[:, 0] < values[:, 1]).astype(np.int32)
  inputs = values[:, :, None, None]
  classifiers.seed_all(0)
  network = classifiers.of_objects(inputs.shape[1:], 2, 0.0)
  classifiers.train(network, inputs[:300], answers[:300], 1e-2)
  found = classifiers.outputs(network, inputs[300:]).argmax(-1)
  assert np.mean(found == answers[300:]) > 0.9


def test_codes_are_samples_in_training_and_means_otherwise():
  inputs = np.ones([1, 2, 2, 3], np.float32)
  sample = classifiers._Sample()
  np.testing.assert_array_equal(sample(inputs), inputs[:, :, 0])
  classifiers.seed_all(0)
  one, other = (sample(inputs, training=True).numpy() for _ in range(2))
  assert np.all(one != other)
  without_scales = inputs[:, :, :1]
  np.testing.assert_array_equal(
    sample(without_scales, training=True), inputs[:, :, 0]
  )


def test_a_convolutional_network_learns(few_images, images):
  answers = (np.arange(40) % 2).astype(np.int32)
  bright = images // 4 + (127 * answers[:, None, None]).astype(np.uint8)
  classifiers.seed_all(0)
  network = classifiers.of_images((13, 11), 2, 0.0)
  classifiers.train(network, bright[:20], answers[:20], 1e-3)
  found = classifiers.outputs(network, bright[20:]).argmax(-1)
  np.testing.assert_array_equal(found, answers[20:])


def test_an_auto_encoder_paints_its_images(monkeypatch):
  """Images that differ in one number, which is the code."""
  monkeypatch.setattr(classifiers, "_AUTOENCODER_IMAGES", 10_000)
  images = np.zeros([40, 13, 11], np.uint8)
  images[:, 3:9, 2:8] = np.arange(0, 240, 6)[:, None, None]
  model, encoder = classifiers.autoencoder(images, 1, seed=0)
  painted = classifiers.outputs(model, images)
  assert painted.shape == images.shape
  errors = np.square(painted - images).mean(axis=(1, 2))
  assert errors.mean() < 0.1 * images.var(axis=0).mean()
  codes = classifiers.outputs(encoder, images)
  assert codes.shape == (40, 1)
  assert abs(np.corrcoef(codes[:, 0], np.arange(40))[0, 1]) > 0.9


def test_with_an_encoder_it_answers_as_it_does_of_codes(
  few_images, images, model, monkeypatch
):
  """Until it is trained, which changes the weights of the model, too."""
  monkeypatch.setattr(classifiers, "_TUNED_SHARE", 0.03)
  codes = codes_lib.infer(model, images)
  features = classifiers.object_features(codes, codes.count).numpy()
  assert np.any(features)
  of_codes = classifiers.of_objects(features.shape[1:], 19, 0.2)
  network = classifiers.with_encoder(of_codes, model)
  np.testing.assert_allclose(
    classifiers.outputs(network, images),
    classifiers.outputs(of_codes, features),
    atol=1e-5,
  )
  encoder = [v.numpy() for v in model.cell.glimpse_encoder.trainable_variables]
  decoder = [v.numpy() for v in model.decoder.trainable_variables]
  answers = np.arange(40) % 19
  classifiers.train(network, images, answers, 1e-3, tuned=True)
  for before, now in zip(
    encoder, model.cell.glimpse_encoder.trainable_variables, strict=True
  ):
    assert not np.array_equal(before, now)
  for before, now in zip(
    decoder, model.decoder.trainable_variables, strict=True
  ):
    np.testing.assert_array_equal(before, now)


@pytest.mark.parametrize(
  ("labels", "tuned", "expected"),
  [(50, False, 96_000), (4_000, False, 160_000), (50_000, True, 40_000)],
)
def test_the_more_labels_the_longer_it_is_trained_within_bounds(
  labels, tuned, expected, monkeypatch
):
  asked = []
  monkeypatch.setattr(
    classifiers, "_train", lambda *arguments: asked.append(arguments[4])
  )
  answers = np.zeros(labels, np.int32)
  classifiers.train(None, answers, answers, 1e-3, tuned)
  assert asked == [expected]
