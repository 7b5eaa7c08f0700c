"""Fixtures for all: a trained model, and eager execution."""

import numpy as np
import pytest
import tensorflow as tf

from air import checkpoints, run_folder
from air.config import AIRConfig, ModelConfig, TrainingConfig
from air.training import Trainer

NUM_IMAGES = 16


@pytest.fixture(scope="session")
def user_images():
  """Images of the default's size, `[16, 50, 50]` uint8, read-only."""
  images = np.random.default_rng(2).integers(
    0, 256, [NUM_IMAGES, 50, 50], np.uint8
  )
  images.setflags(write=False)
  return images


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory, user_images):
  """The folder of a run of the default's shapes with a small network."""
  folder = tmp_path_factory.mktemp("run")
  config = AIRConfig(
    ModelConfig(hidden_sizes=(8,), presence_hidden_sizes=(8,), lstm_size=8),
    training=TrainingConfig(batch_size=4),
  )
  trainer = Trainer(config, user_images, jit_compile=False)
  for iteration in (10, 20):
    trainer.iteration.assign(iteration)
    checkpoints.save(run_folder.checkpoints(folder), trainer)
  run_folder.write_config(folder, config, digit_source="random numbers")
  return folder


@pytest.fixture
def eagerly():
  """Spares a test the tracing of graphs that it uses once."""
  tf.config.run_functions_eagerly(True)
  yield
  tf.config.run_functions_eagerly(False)
