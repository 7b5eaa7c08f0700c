"""Settings of data, and the data sets that they mean."""

import dataclasses

import numpy as np
import pytest

from data import config, mnist, omniglot
from data.config import DataConfig
from data.errors import DataError
from data.mnist import Digits, DigitSet
from data.multi_mnist import MultiMNISTSpec
from data.sprites import SpritesSpec

SMALL = {"num_images": 6, "validation_size": 3, "test_size": 4}


@pytest.fixture(autouse=True)
def glyphs(monkeypatch):
  """Digits are grey, characters white."""
  for module, name, side, value in (
    (mnist, "load_digits", 28, 100),
    (omniglot, "load", 105, 255),
  ):
    images = np.zeros((4, side, side), np.uint8)
    images[:, side // 4 : side // 2, side // 4 : side // 2] = value
    part = DigitSet(images, np.arange(4, dtype=np.uint8))
    made = Digits(part, part, part, f"source of {name}")
    monkeypatch.setattr(module, name, lambda *_, made=made: made)


def test_the_default_is_multi_mnist():
  assert DataConfig().spec() == MultiMNISTSpec()
  made = config.load(DataConfig(**SMALL), None)
  assert made.digit_source == "source of load_digits"
  assert [len(split.images) for split in made[:3]] == [6, 3, 4]


@pytest.mark.parametrize(
  ("name", "brightest", "num_labels"),
  [
    ("multi_mnist", 100, 4),
    ("sprites", 255, 3),
    ("varied_sprites", 255, 4),
    ("omniglot", 255, 4),
  ],
)
def test_every_data_set(name, brightest, num_labels):
  settings = {**SMALL, "num_images": 60, "dataset": name, "counts": (1, 2)}
  plain, behind = (
    config.load(DataConfig(**settings, background=background), None)
    for background in ("none", "grid")
  )
  train = plain.train
  assert train.images.shape == (60, 50, 50)
  assert train.images.max() <= brightest
  assert set(train.counts.tolist()) == {1, 2}
  assert set(train.labels.ravel().tolist()) == {-1, *range(num_labels)}
  assert (behind.train.images > 0).mean() > (train.images > 0).mean() + 0.2


def test_characters_have_any_size():
  settings = {**SMALL, "dataset": "omniglot", "counts": (1,)}
  for size in (28, 45):
    made = config.load(DataConfig(**settings, digit_size=(size,)), None)
    [y0, _, y1, _] = made.train.boxes[0, 0]
    assert y1 - y0 == pytest.approx(size / 4, abs=2)


def test_sprites_have_counts_and_their_probabilities():
  settings = {"dataset": "varied_sprites", "counts": (0, 3)}
  spec = DataConfig(**settings, count_probs=(0.9, 0.1)).spec()
  assert spec == SpritesSpec(
    recipe="varied", counts=(0, 3), count_probs=(0.9, 0.1)
  )


@pytest.mark.parametrize(
  ("name", "field", "value"),
  [
    ("sprites", "digit_size", (20,)),
    ("sprites", "overlap", True),
    ("varied_sprites", "single_on_diagonal", True),
    ("varied_sprites", "placement", "observations"),
    ("omniglot", "placement", "observations"),
  ],
)
def test_what_has_no_meaning_is_refused(name, field, value):
  settings = DataConfig(dataset=name, **{field: value})
  with pytest.raises(DataError, match=f"^{field} is .* --dataset={name}"):
    settings.spec()


def test_every_field_says_what_it_is():
  for field in dataclasses.fields(DataConfig):
    assert field.metadata["help"]
