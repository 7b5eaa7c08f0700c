"""The codes of images."""

import numpy as np
import tensorflow as tf

import air
from experiments.common import codes as codes_lib


def test_they_are_the_means_of_each_image(run_dir, user_images, monkeypatch):
  monkeypatch.setattr(codes_lib, "BATCH_SIZE", 5)
  model = air.load(run_dir).network
  codes = codes_lib.infer(model, user_images, with_glimpses=True)
  images = tf.constant(user_images / np.float32(255))
  output = model(images, model.zero_noise(16))
  for field, expected in (
    (codes.what, output.steps.what_loc),
    (codes.what_scale, output.steps.what_scale),
    (codes.where, output.steps.where_loc),
    (codes.where_scale, output.steps.where_scale),
    (codes.glimpses, output.steps.glimpse),
  ):
    np.testing.assert_allclose(
      field, np.swapaxes(expected, 0, 1), rtol=1e-4, atol=1e-5
    )
  posterior = output.num_steps_posterior()
  np.testing.assert_allclose(codes.count_probs, posterior.probs(), atol=1e-5)
  np.testing.assert_array_equal(codes.count, posterior.mode())


def test_boxes_are_those_that_the_latents_mean(run_dir, user_images):
  model = air.load(run_dir)
  codes = codes_lib.infer(model.network, user_images)
  painted = model.paint(codes.what[:, 0], codes.where[:, 0])
  rows = np.arange(50)
  for image, (y0, _, y1, _) in zip(painted, codes.boxes[:, 0], strict=True):
    outside = (rows < y0 - 1) | (rows > y1)
    assert np.abs(image[outside]).max(initial=0.0) < 1e-5
    assert np.abs(image).max() > 0.0


def test_without_glimpses(run_dir, user_images):
  codes = codes_lib.infer(air.load(run_dir).network, user_images)
  assert codes.glimpses.shape[:2] == (16, 3)
  assert not codes.glimpses.size
