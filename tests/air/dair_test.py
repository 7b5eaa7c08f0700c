"""DAIR from training to export: what works for AIR works for it."""

import numpy as np
import pytest
import tensorflow as tf

import air
from air.storage import checkpoints, export, run_folder
from air.training import Trainer

COUNT_PROBS = [0.1, 0.2, 0.3, 0.4]


@pytest.fixture(scope="module", params=[True, False], ids="memory={}".format)
def trainer(request, small_config, small_images, eager_execution):
  config = small_config(
    step_input="difference",
    glimpse_input="difference",
    memory=request.param,
    latent_feedback=request.param,
    estimator="reinforce",
  )
  trainer = Trainer(config, small_images, jit_compile=False)
  with eager_execution():
    trainer.train(3)
  return trainer


@pytest.fixture(scope="module")
def run_dir(trainer, tmp_path_factory):
  folder = tmp_path_factory.mktemp("dair")
  checkpoints.save(run_folder.checkpoints(folder), trainer)
  run_folder.write_config(folder, trainer.config, digit_source="noise")
  return folder


def test_training_goes_on_from_a_checkpoint(
  trainer, run_dir, small_images, eagerly
):
  resumed, undisturbed = (
    Trainer(trainer.config, small_images, jit_compile=False) for _ in range(2)
  )
  undisturbed.train(3)
  [path] = checkpoints.find(run_folder.checkpoints(run_dir))
  checkpoints.restore(path, resumed)
  for each in (resumed, undisturbed):
    each.train(2)
  for ours, theirs in zip(
    resumed.variables, undisturbed.variables, strict=True
  ):
    np.testing.assert_array_equal(ours, theirs, err_msg=ours.name)


def test_objects_are_painted_from_their_latents(
  trainer, run_dir, small_images, eagerly
):
  model = air.load(run_dir)
  assert model.network.config == trainer.config
  scenes = model.infer(small_images)
  for step in range(3):
    painted = model.paint(scenes.z_what[:, step], scenes.z_where[:, step])
    np.testing.assert_allclose(painted, scenes.objects[:, step], atol=1e-5)


def test_a_saved_model_gives_the_same_scenes(run_dir, small_images, tmp_path):
  model = air.load(run_dir)
  images = small_images / np.float32(255)
  export.save(model.network, tmp_path / "saved", COUNT_PROBS)
  signatures = tf.saved_model.load(tmp_path / "saved").signatures
  for found, expected in (
    (
      signatures["infer"](images=tf.constant(images), seed=tf.constant(3)),
      model.infer(images, 3),
    ),
    (
      signatures["sample"](n=tf.constant(5), seed=tf.constant(4)),
      model.sample(5, 4, COUNT_PROBS),
    ),
  ):
    for name, field in expected._asdict().items():
      np.testing.assert_allclose(
        found[name], field, rtol=1e-4, atol=1e-4, err_msg=name
      )
