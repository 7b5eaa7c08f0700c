"""Tests for what pixels mean."""

import numpy as np
import pytest

from air import images
from air.errors import InputError

_RNG = np.random.default_rng(0)
SCENES = np.zeros((6, 8, 10), np.uint8)
SCENES[:, 2:6, 3:7] = _RNG.integers(1, 256, (6, 4, 4))
SCENES[0, 3, 3] = 255
FLOATS = SCENES / 255
# A bright object in one colour, [N, H, W, 3].
BLUE = np.zeros((*SCENES.shape, 3), np.uint8)
BLUE[..., 2] = SCENES
OPAQUE = np.full((*SCENES.shape, 1), 255, np.uint8)


def read(value, rounded=False, **reading):
  return images.read("images", value, images.Reading(**reading), rounded)


@pytest.mark.parametrize(
  ("value", "reading"),
  [
    (SCENES, {}),
    (SCENES[..., None], {}),
    (SCENES.tolist(), {"max_value": 255}),
    (SCENES.astype(np.int64), {"max_value": 255}),
    (SCENES.astype(np.uint16) * 257, {"max_value": 65535}),
    (FLOATS, {}),
    (FLOATS.astype(np.float16), {}),
    (FLOATS * 1.000001, {}),
    (SCENES.astype(np.float32), {"max_value": 255}),
    (255 - SCENES, {"invert": True}),
    (1 - FLOATS, {"invert": True}),
    (np.repeat(SCENES[..., None], 3, -1), {}),
    (BLUE, {}),
    (255 - BLUE, {"invert": True}),
    (np.concatenate([BLUE, OPAQUE], -1), {}),
    # Black ink on a transparent ground.
    (np.concatenate([BLUE * 0, SCENES[..., None]], -1), {"invert": True}),
  ],
)
def test_is_the_same_however_it_is_stored(value, reading):
  array = np.asarray(value)
  atol = 0.5 if array.dtype == np.float16 else 0
  np.testing.assert_allclose(
    read(value, rounded=True, **reading), SCENES, atol=atol
  )
  pixels = read(value, **reading)
  if pixels.dtype == np.uint8:
    np.testing.assert_array_equal(pixels, SCENES)
  else:
    assert pixels.dtype == np.float32
    assert pixels.max() <= 1
    np.testing.assert_allclose(pixels * 255, SCENES, atol=max(atol, 1e-3))


def test_large_sets_are_converted_in_parts(monkeypatch):
  monkeypatch.setattr(images, "_CHUNK", 100)
  np.testing.assert_array_equal(read(FLOATS, rounded=True), SCENES)


def test_bool_is_black_and_white():
  masks = SCENES > 100
  np.testing.assert_array_equal(read(masks), 255 * masks)


def test_floats_keep_their_precision():
  values = FLOATS.astype(np.float32) * np.float32(0.3)
  np.testing.assert_array_equal(read(values), values)


def test_masks_are_bright_once_their_maximum_is_stated():
  masks = (SCENES > 100).astype(np.uint8)
  np.testing.assert_array_equal(
    read(masks, rounded=True, max_value=1), 255 * masks
  )


def test_dark_images_are_as_they_are_once_it_is_said():
  dark = SCENES // 64
  np.testing.assert_array_equal(read(dark, max_value=255), dark)


@pytest.mark.parametrize(
  ("value", "reading", "message"),
  [
    ((SCENES > 100).astype(np.uint8), {}, "with 0 to 1, where 255 is bright"),
    (SCENES // 64, {}, r"state --max_value=3 \(max_value in Python\)"),
    (FLOATS / 255, {}, "where 1 is bright"),
    (SCENES.astype(np.int64), {}, "int64 with 0 to 255, expected"),
    (SCENES, {"max_value": 200}, "0 to 255, expected 0 to 200"),
    (FLOATS * 1.1, {}, "0 to 1.1, expected 0 to 1"),
    (FLOATS * 1.0001, {}, "0 to 1.0001, expected 0 to 1"),
    (FLOATS - 0.1, {}, "has -0.1 to 0.9"),
    (FLOATS * np.nan, {}, "NaN"),
    (FLOATS + np.inf, {}, "inf to inf"),
    (255 - SCENES, {}, "bright border, .* --invert"),
    (1 - FLOATS, {}, "bright border, .* --invert"),
    (np.maximum(FLOATS, 0.5), {}, "bright border, .* --invert"),
    (255 - BLUE, {}, "bright border, .* --invert"),
    (SCENES, {"invert": True}, "after inversion, .* leave out --invert"),
    (
      np.concatenate([SCENES, 255 - SCENES[:2]]),
      {},
      "bright border in 2 of 8 images",
    ),
    (
      np.concatenate([BLUE * 0, SCENES[..., None]], -1),
      {},
      "transparent .* add --invert",
    ),
    (
      np.concatenate([BLUE * 0 + 255, SCENES[..., None]], -1),
      {"invert": True},
      "transparent .* leave out --invert",
    ),
    (np.moveaxis(BLUE, -1, 1), {}, "channels first"),
    (SCENES[0], {}, r"uint8 \[8, 10\], expected \[N, H, W\]"),
    (BLUE[..., :2], {}, r"uint8 \[6, 8, 10, 2\], expected"),
    (SCENES[:0], {}, "at least one image"),
    (SCENES.astype("S1"), {}, "expected bool, uint8"),
    ([[[1, 2]], [[1]]], {}, "not an array"),
  ],
)
def test_what_can_be_read_in_two_ways_is_refused(value, reading, message):
  with pytest.raises(InputError, match=f"^images .*{message}") as error:
    read(value, **reading)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("max_value", [-1, np.nan, np.inf])
def test_a_maximum_is_positive(max_value):
  with pytest.raises(InputError, match=r"^max_value is"):
    images.Reading(max_value=max_value)


def test_black_images_are_images_but_no_set():
  black = np.zeros_like(SCENES)
  np.testing.assert_array_equal(read(black), black)
  with pytest.raises(InputError, match=r"^test has nothing but black"):
    images.check_sets({"train": SCENES, "test": black})
  images.check_sets({"train": SCENES})


def test_sets_have_one_scale():
  images.check_sets({"train": SCENES, "test": SCENES // 8})
  with pytest.raises(
    InputError, match=r"^test has 0 to 15 of 255 and train has 0 to 255, expec"
  ):
    images.check_sets({"train": SCENES, "test": SCENES // 17})
