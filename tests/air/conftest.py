"""Fixtures shared by the tests of `air`: a small model and its images."""

import dataclasses

import numpy as np
import pytest

from air.config import AIRConfig, ModelConfig, PriorConfig, TrainingConfig


@pytest.fixture(scope="session")
def small_config():
  """A function that returns a small AIRConfig; keywords replace its values.

  The keywords are fields of any of the three parts.
  """
  parts = {
    "model": ModelConfig(
      image_size=(12, 10),
      num_steps=3,
      glimpse_size=(6, 5),
      what_size=4,
      hidden_sizes=(8, 8),
      presence_hidden_sizes=(8,),
      baseline_hidden_sizes=(8,),
      lstm_size=8,
    ),
    "prior": PriorConfig(),
    "training": TrainingConfig(batch_size=4),
  }

  def make(**values):
    replaced = {}
    for name, part in parts.items():
      fields = {field.name for field in dataclasses.fields(part)}
      own = {k: values.pop(k) for k in fields & set(values)}
      replaced[name] = dataclasses.replace(part, **own)
    assert not values
    return AIRConfig(**replaced)

  return make


@pytest.fixture(scope="session")
def small_images():
  """Images of the small model's size, `[20, 12, 10]` uint8, read-only.

  Noise on black.
  """
  images = np.random.default_rng(5).integers(0, 256, [20, 12, 10], np.uint8)
  images[:, [0, -1]] = images[:, :, [0, -1]] = 0
  images.setflags(write=False)
  return images
