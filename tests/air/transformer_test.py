"""The spatial transformer against a plain double loop over pixels."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from air import transformer


def bilinear(image, y, x):
  """The value at pixel position (y, x), of four neighbours, zero outside."""
  height, width = image.shape
  y0, x0 = int(np.floor(y)), int(np.floor(x))
  value = 0.0
  for row, column in itertools.product((y0, y0 + 1), (x0, x0 + 1)):
    if 0 <= row < height and 0 <= column < width:
      weight = (1.0 - abs(y - row)) * (1.0 - abs(x - column))
      value += weight * image[row, column]
  return value


def coordinate(index, size):
  return -1.0 + 2.0 * index / (size - 1)


def position(coordinate, size):
  return (coordinate + 1.0) * (size - 1) / 2.0


def crop_by_loops(image, where, glimpse_size):
  sx, tx, sy, ty = where
  (h, w), (height, width) = glimpse_size, image.shape
  glimpse = np.zeros(glimpse_size)
  for i, j in np.ndindex(h, w):
    y = sy * coordinate(i, h) + ty
    x = sx * coordinate(j, w) + tx
    glimpse[i, j] = bilinear(image, position(y, height), position(x, width))
  return glimpse


def paste_by_loops(glimpse, where, image_size):
  sx, tx, sy, ty = where
  (h, w), (height, width) = glimpse.shape, image_size
  image = np.zeros(image_size)
  for i, j in np.ndindex(height, width):
    y = (coordinate(i, height) - ty) / sy
    x = (coordinate(j, width) - tx) / sx
    image[i, j] = bilinear(glimpse, position(y, h), position(x, w))
  return image


WINDOWS = {
  "identity": (1.0, 0.0, 1.0, 0.0),
  "interior": (0.41, 0.13, 0.37, -0.22),
  "partly outside": (0.5, 0.83, 0.6, -0.77),
  "all around": (1.7, 0.1, 2.3, -0.3),
  "entirely outside": (0.3, 2.5, 0.3, 0.0),
  "entirely outside below": (0.3, 0.1, 0.3, -3.0),
  "touching the border": (0.5, 1.45, 0.5, -1.45),
  "mirrored in x": (-0.6, 0.17, 0.7, 0.07),
  "mirrored in y": (0.6, 0.17, -0.7, 0.07),
  "mirrored twice": (-1.3, 0.4, -0.9, -0.21),
  "tiny": (0.01, 0.123, 0.02, -0.321),
  "thin": (0.9, 0.05, 0.03, 0.11),
}
SIZES = [((7, 7), (4, 4)), ((9, 6), (3, 5)), ((5, 8), (6, 4)), ((6, 6), (2, 9))]


@pytest.fixture
def rng():
  return np.random.default_rng(0)


@pytest.mark.parametrize(("image_size", "glimpse_size"), SIZES)
@pytest.mark.parametrize("window", WINDOWS)
class TestAgainstLoops:
  def test_crop(self, image_size, glimpse_size, window, rng):
    image = rng.normal(size=image_size).astype(np.float32)
    where = WINDOWS[window]
    glimpse = transformer.crop(image, tf.constant(where), glimpse_size)
    expected = crop_by_loops(image, where, glimpse_size)
    np.testing.assert_allclose(glimpse, expected, atol=2e-5)
    if window.startswith("entirely outside"):
      assert not np.any(glimpse)

  def test_paste(self, image_size, glimpse_size, window, rng):
    glimpse = rng.normal(size=glimpse_size).astype(np.float32)
    where = WINDOWS[window]
    image = transformer.paste(glimpse, tf.constant(where), image_size)
    expected = paste_by_loops(glimpse, where, image_size)
    np.testing.assert_allclose(image, expected, atol=2e-4)
    if window.startswith("entirely outside"):
      assert not np.any(image)


@pytest.mark.parametrize("seed", range(5))
def test_random_windows_in_a_batch(seed):
  rng = np.random.default_rng(seed)
  where = rng.normal(size=[6, 4]).astype(np.float32)
  images = rng.normal(size=[6, 8, 5]).astype(np.float32)
  glimpses = rng.normal(size=[6, 3, 4]).astype(np.float32)
  cropped = transformer.crop(images, where, (3, 4))
  pasted = transformer.paste(glimpses, where, (8, 5))
  for i in range(6):
    np.testing.assert_allclose(
      cropped[i], crop_by_loops(images[i], where[i], (3, 4)), atol=2e-5
    )
    np.testing.assert_allclose(
      pasted[i], paste_by_loops(glimpses[i], where[i], (8, 5)), atol=2e-4
    )


class TestShapes:
  def test_leading_axes(self, rng):
    images = rng.normal(size=[3, 2, 8, 5]).astype(np.float32)
    glimpses = rng.normal(size=[3, 2, 4, 6]).astype(np.float32)
    where = rng.normal(size=[3, 2, 4]).astype(np.float32)
    cropped = transformer.crop(images, where, (4, 6))
    pasted = transformer.paste(glimpses, where, (8, 5))
    assert cropped.shape == [3, 2, 4, 6]
    assert pasted.shape == [3, 2, 8, 5]
    assert transformer.boxes(where, (8, 5)).shape == [3, 2, 4]
    for t, b in np.ndindex(3, 2):
      np.testing.assert_allclose(
        cropped[t, b],
        transformer.crop(images[t, b], where[t, b], (4, 6)),
        atol=1e-6,
      )
      np.testing.assert_allclose(
        pasted[t, b],
        transformer.paste(glimpses[t, b], where[t, b], (8, 5)),
        atol=1e-5,
      )

  def test_batch_size_may_be_unknown(self, rng):
    images = rng.normal(size=[2, 8, 5]).astype(np.float32)
    where = rng.normal(size=[2, 4]).astype(np.float32)

    @tf.function(
      input_signature=[
        tf.TensorSpec([None, 8, 5]), tf.TensorSpec([None, 4])
      ]
    )  # fmt: skip
    def round_trip(images, where):
      glimpses = transformer.crop(images, where, (4, 3))
      return glimpses, transformer.paste(glimpses, where, (8, 5))

    glimpses, pasted = round_trip(images, where)
    eager = transformer.crop(images, where, (4, 3))
    np.testing.assert_allclose(glimpses, eager, atol=1e-6)
    np.testing.assert_allclose(
      pasted, transformer.paste(eager, where, (8, 5)), atol=1e-5
    )


@pytest.mark.parametrize("size", [2, 3, 20, 28, 50])
def test_coordinates_are_those_of_linspace(size):
  """To the last bit, so that runs of earlier versions can be repeated."""
  np.testing.assert_array_equal(
    transformer._coordinates(size), tf.linspace(-1.0, 1.0, size)
  )


class TestLimits:
  IDENTITY = (1.0, 0.0, 1.0, 0.0)

  def test_the_whole_image_is_the_image(self, rng):
    image = rng.normal(size=[7, 9]).astype(np.float32)
    where = tf.constant(self.IDENTITY)
    for function in (transformer.crop, transformer.paste):
      np.testing.assert_allclose(
        function(image, where, (7, 9)), image, atol=1e-5
      )

  @pytest.mark.parametrize("function", [transformer.crop, transformer.paste])
  def test_mirrors(self, function, rng):
    image = rng.normal(size=[7, 9]).astype(np.float32)
    np.testing.assert_allclose(
      function(image, tf.constant([-1.0, 0.0, 1.0, 0.0]), (7, 9)),
      image[:, ::-1],
      atol=1e-5,
    )
    np.testing.assert_allclose(
      function(image, tf.constant([1.0, 0.0, -1.0, 0.0]), (7, 9)),
      image[::-1],
      atol=1e-5,
    )

  def test_a_window_of_whole_pixels_is_a_slice(self, rng):
    # Rows 2..5 of 9 and columns 1..5 of 11: centres at -.125 and -.4.
    image = rng.normal(size=[9, 11]).astype(np.float32)
    where = tf.constant([2 / 5, -2 / 5, 1.5 / 4, -0.5 / 4])
    glimpse = transformer.crop(image, where, (4, 5))
    np.testing.assert_allclose(glimpse, image[2:6, 1:6], atol=1e-5)

  def test_crop_then_paste_recovers_the_patch(self, rng):
    image = rng.normal(size=[9, 11]).astype(np.float32)
    where = tf.constant([2 / 5, -2 / 5, 1.5 / 4, -0.5 / 4])
    pasted = transformer.paste(
      transformer.crop(image, where, (4, 5)), where, (9, 11)
    )
    expected = np.zeros_like(image)
    expected[2:6, 1:6] = image[2:6, 1:6]
    np.testing.assert_allclose(pasted, expected, atol=2e-4)

  def test_paste_then_crop_recovers_the_glimpse(self, rng):
    glimpse = rng.normal(size=[4, 5]).astype(np.float32)
    where = tf.constant([2 / 5, -2 / 5, 1.5 / 4, -0.5 / 4])
    image = transformer.paste(glimpse, where, (9, 11))
    np.testing.assert_allclose(
      transformer.crop(image, where, (4, 5)), glimpse, atol=1e-4
    )

  def test_a_linear_image_is_reproduced_exactly(self):
    # Bilinear interpolation has no error on a plane.
    y, x = np.meshgrid(
      np.linspace(-1, 1, 9), np.linspace(-1, 1, 7), indexing="ij"
    )
    image = tf.constant(0.3 + 2.0 * y - 1.5 * x, tf.float32)
    glimpse = transformer.crop(
      image, tf.constant([0.3, 0.2, 0.4, -0.1]), (5, 4)
    )
    y, x = np.meshgrid(
      0.4 * np.linspace(-1, 1, 5) - 0.1,
      0.3 * np.linspace(-1, 1, 4) + 0.2,
      indexing="ij",
    )
    np.testing.assert_allclose(glimpse, 0.3 + 2.0 * y - 1.5 * x, atol=1e-5)

  def test_crop_of_scale_zero_is_one_point(self, rng):
    image = rng.normal(size=[9, 7]).astype(np.float32)
    glimpse = transformer.crop(
      image, tf.constant([0.0, 0.3, 0.0, -0.2]), (3, 4)
    )
    value = bilinear(image, position(-0.2, 9), position(0.3, 7))
    np.testing.assert_allclose(glimpse, np.full([3, 4], value), rtol=1e-4)

  @pytest.mark.parametrize("scale", [0.0, -0.0, 1e-8, -1e-8, 1e-30])
  def test_paste_of_scale_zero(self, scale, rng):
    glimpse = rng.normal(size=[3, 5]).astype(np.float32)
    # Between pixels: nothing is seen.
    where = tf.constant([scale, 0.1, scale, 0.1])
    assert not np.any(transformer.paste(glimpse, where, (9, 9)))
    # On the middle pixel: that pixel sees the middle of the glimpse.
    where = tf.constant([scale, 0.0, scale, 0.0])
    expected = np.zeros([9, 9])
    expected[4, 4] = glimpse[1, 2]
    np.testing.assert_allclose(
      transformer.paste(glimpse, where, (9, 9)), expected, rtol=1e-5
    )

  def test_paste_of_scale_zero_along_one_axis_is_a_line(self, rng):
    glimpse = rng.normal(size=[3, 9]).astype(np.float32)
    image = transformer.paste(
      glimpse, tf.constant([1.0, 0.0, 0.0, 0.0]), (7, 9)
    )
    expected = np.zeros([7, 9])
    expected[3] = glimpse[1]
    np.testing.assert_allclose(image, expected, atol=1e-5)

  @pytest.mark.parametrize("shift", [1e7, -1e7, 1e30, -1e30, np.inf])
  def test_far_away_is_black(self, shift, rng):
    image = rng.normal(size=[7, 7]).astype(np.float32)
    for where in ([0.5, shift, 0.5, 0.0], [0.5, 0.0, 0.5, shift]):
      assert not np.any(transformer.crop(image, tf.constant(where), (7, 7)))
      assert not np.any(transformer.paste(image, tf.constant(where), (7, 7)))

  def test_a_huge_window_shrinks_the_image_to_a_point(self, rng):
    image = rng.normal(size=[7, 7]).astype(np.float32)
    where = tf.constant([1e30, 0.0, 1e30, 0.0])
    expected = np.zeros([5, 5])
    expected[2, 2] = image[3, 3]
    np.testing.assert_allclose(
      transformer.crop(image, where, (5, 5)), expected, atol=1e-6
    )
    # And a glimpse is magnified to its middle.
    np.testing.assert_allclose(
      transformer.paste(image, where, (5, 5)),
      np.full([5, 5], image[3, 3]),
      rtol=1e-3,
    )


# Where no sample falls on a pixel's centre, the kink of the hat weights.
SMOOTH_WINDOWS = [
  (0.437, 0.131, 0.613, -0.217),
  (-0.731, 0.219, 0.523, 0.107),
  (0.537, 0.683, 0.619, -0.571),
  (1.413, -0.117, 1.327, 0.183),
]


@pytest.mark.parametrize("where", SMOOTH_WINDOWS)
@pytest.mark.parametrize(
  ("function", "input_size", "output_size"),
  [(transformer.crop, (8, 7), (4, 3)), (transformer.paste, (3, 4), (7, 6))],
  ids=["crop", "paste"],
)
class TestGradients:
  def test_in_the_window(self, function, input_size, output_size, where, rng):
    inputs = tf.constant(rng.normal(size=input_size), tf.float32)
    weights = tf.constant(rng.normal(size=output_size), tf.float32)
    by_loops = crop_by_loops if function is transformer.crop else paste_by_loops

    def loss(window):
      output = by_loops(inputs.numpy().astype(np.float64), window, output_size)
      return np.sum(output * weights.numpy())

    where = np.array(where)
    step = 1e-6
    numeric = [
      (loss(where + step * e) - loss(where - step * e)) / (2.0 * step)
      for e in np.eye(4)
    ]
    variable = tf.constant(where, tf.float32)
    with tf.GradientTape() as tape:
      tape.watch(variable)
      value = tf.reduce_sum(function(inputs, variable, output_size) * weights)
    np.testing.assert_allclose(value, loss(where), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
      tape.gradient(value, variable), numeric, rtol=2e-3, atol=2e-3
    )

  def test_in_the_pixels(self, function, input_size, output_size, where, rng):
    # Linear: the gradient is the weight with which each pixel is seen.
    weights = tf.constant(rng.normal(size=output_size), tf.float32)
    inputs = tf.constant(rng.normal(size=input_size), tf.float32)
    with tf.GradientTape() as tape:
      tape.watch(inputs)
      value = tf.reduce_sum(
        function(inputs, tf.constant(where), output_size) * weights
      )
    by_loops = crop_by_loops if function is transformer.crop else paste_by_loops
    expected = np.zeros(input_size)
    for i, j in np.ndindex(*input_size):
      unit = np.zeros(input_size)
      unit[i, j] = 1.0
      expected[i, j] = np.sum(by_loops(unit, where, output_size) * weights)
    np.testing.assert_allclose(
      tape.gradient(value, inputs), expected, rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("function", [transformer.crop, transformer.paste])
def test_gradients_are_finite_everywhere(function, rng):
  scales = [0.0, 1e-8, -1e-8, 1e-6, -1e-6, 0.5, 1e30, -1e30]
  shifts = [0.0, 0.1, 1.0, 1e30, -1e30]
  where = tf.constant(
    [
      [sx, tx, sy, ty]
      for sx, tx in itertools.product(scales, shifts)
      for sy, ty in [(0.5, 0.1), (0.0, 0.0), (1e-8, 1e30), (1e30, -1e30)]
    ],
    tf.float32,
  )
  images = tf.constant(rng.normal(size=[len(where), 7, 7]), tf.float32)
  with tf.GradientTape() as tape:
    tape.watch((images, where))
    output = function(images, where, (7, 7))
    loss = tf.reduce_sum(tf.square(output - 0.3))
  assert np.all(np.isfinite(output))
  for gradient in tape.gradient(loss, (images, where)):
    assert np.all(np.isfinite(gradient))


class TestBoxes:
  def test_the_whole_image(self):
    box = transformer.boxes(tf.constant([1.0, 0.0, 1.0, 0.0]), (12, 10))
    np.testing.assert_allclose(box, [0.0, 0.0, 12.0, 10.0], atol=1e-5)

  def test_a_window_of_whole_pixels(self):
    # Rows 2..5 of 9 and columns 1..5 of 11 (see TestLimits).
    where = tf.constant([2 / 5, -2 / 5, 1.5 / 4, -0.5 / 4])
    np.testing.assert_allclose(
      transformer.boxes(where, (9, 11)), [2.0, 1.0, 6.0, 6.0], atol=1e-5
    )

  def test_mirrored_windows_have_the_same_box(self):
    where = np.float32([0.4, 0.1, 0.3, -0.2])
    expected = transformer.boxes(where, (9, 11))
    mirrored = transformer.boxes(where * np.float32([-1, 1, -1, 1]), (9, 11))
    np.testing.assert_allclose(mirrored, expected, rtol=1e-6)
    y0, x0, y1, x1 = expected.numpy()
    assert y0 < y1
    assert x0 < x1

  def test_a_box_of_no_size_is_one_pixel(self):
    box = transformer.boxes(tf.constant([0.0, 0.0, 0.0, 0.0]), (9, 11))
    np.testing.assert_allclose(box, [4.0, 5.0, 5.0, 6.0], atol=1e-5)

  @pytest.mark.parametrize(
    "where", [WINDOWS["interior"], (0.9, 0.05, 0.13, 0.11)]
  )
  def test_holds_what_is_pasted(self, where):
    image = transformer.paste(np.ones([5, 6], np.float32), where, (20, 24))
    y0, x0, y1, x1 = transformer.boxes(tf.constant(where), (20, 24)).numpy()
    rows, columns = np.nonzero(image)
    # Half a glimpse pixel fades out on each side.
    margin_y, margin_x = (y1 - y0 - 1) / 4, (x1 - x0 - 1) / 5
    assert rows.min() >= np.floor(y0 - margin_y)
    assert rows.max() + 1 <= np.ceil(y1 + margin_y)
    assert columns.min() >= np.floor(x0 - margin_x)
    assert columns.max() + 1 <= np.ceil(x1 + margin_x)


def test_windows_are_those_of_boxes():
  boxes = np.array([[0, 0, 9, 11], [2, 3, 5, 10]])
  windows = transformer.windows(boxes, (9, 11))
  np.testing.assert_allclose(windows[0], [1.0, 0.0, 1.0, 0.0], atol=1e-6)
  found = transformer.boxes(windows, (9, 11))
  np.testing.assert_allclose(found, boxes, atol=1e-5)
