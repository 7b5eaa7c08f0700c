"""What a caller may hand in, and how the rest is refused."""

import numpy as np
import pytest

from air.errors import InputError
from air.storage import inputs

SIZE = (4, 5)
FLOATS = np.zeros([2, 4, 5])
FLOATS[:, 1:-1, 1:-1] = np.linspace(0.0, 1.0, 12).reshape(2, 2, 3)


def with_value(value):
  images = FLOATS.copy()
  images[1, 2, 3] = value
  return images


def test_uint8_images_stay_as_they_are():
  images = (255 * FLOATS).astype(np.uint8)
  assert inputs.images(images, SIZE) is images


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_become_float32(dtype):
  images = inputs.images(FLOATS.astype(dtype), SIZE)
  assert images.dtype == np.float32
  np.testing.assert_array_equal(images, FLOATS.astype(dtype).astype("f"))
  np.testing.assert_array_equal(images, inputs.images(images.tolist(), SIZE))


@pytest.mark.parametrize(
  ("value", "message"),
  [
    (FLOATS[0], r"images is float64 \[4, 5\], expected \[N, H, W\]"),
    (FLOATS.transpose(0, 2, 1), r"\[2, 5, 4\], expected 4x5 pixels"),
    (FLOATS[:, None], r"\[2, 1, 4, 5\], with channels first"),
    (FLOATS.astype(object), "images is object "),
    (None, r"images is object \[\]"),
    (FLOATS[:0], r"\[0, 4, 5\], expected at least one image"),
    (with_value(np.nan), "images has NaN"),
    (with_value(np.inf), "images has 0 to inf, expected 0 to 1"),
    (255 * FLOATS, "images has 0 to 255, expected 0 to 1"),
  ],
)
def test_other_images_are_refused(value, message):
  with pytest.raises(InputError, match=message):
    inputs.images(value, SIZE)


@pytest.mark.parametrize("value", [0, 7, np.int64(7), np.uint8(7), 2**31 - 1])
def test_integers(value):
  number = inputs.integer("seed", value)
  assert number == value
  assert type(number) is int


@pytest.mark.parametrize("value", [-1, 2**31, 1.0, "1", None, True, [1]])
def test_other_integers_are_refused(value):
  with pytest.raises(
    InputError, match=r"^seed is .*, expected an integer in 0"
  ):
    inputs.integer("seed", value)


def test_lowest_integer():
  with pytest.raises(
    InputError, match=r"^n is 0, expected an integer in 1\.\."
  ):
    inputs.integer("n", 0, lowest=1)


def test_count_probs():
  probs = inputs.count_probs([0, 1, 0], 2)
  assert probs.dtype == np.float32
  np.testing.assert_array_equal(probs, [0.0, 1.0, 0.0])


@pytest.mark.parametrize(
  "value",
  [[1.0], [0.5, 0.5, 0, 0], [[0, 1, 0]], ["0", "1", "0"], [1.5, -0.5, 0],
   [0.5, 0.4, 0], [1.0, np.nan, 0], [np.inf, 0, 0], [0, 0, 0]],
)  # fmt: skip
def test_other_count_probs_are_refused(value):
  with pytest.raises(
    InputError, match=r"^count_probs is .*, expected .*probab"
  ):
    inputs.count_probs(value, 2)


def test_latents():
  latents = inputs.latents("z_what", [[1, 2], [3, 4], [5, 6]], 2)
  assert latents.dtype == np.float32
  assert latents.shape == (3, 2)


@pytest.mark.parametrize(
  "value",
  [[1.0, 2.0], [[1.0]], [["a", "b"]], [[np.nan, 1.0]], [[np.inf, 1.0]],
   [[1e300, 1.0]]],
)  # fmt: skip
def test_other_latents_are_refused(value):
  with pytest.raises(InputError, match=r"^z_what .*, expected .*floats"):
    inputs.latents("z_what", value, 2)
