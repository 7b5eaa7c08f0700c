"""The axis-aligned spatial transformer and its inverse, pure functions.

A window is (sx, tx, sy, ty): scale and shift along the width, then along the
height. Coordinates run from -1 to 1 between the centres of the outermost
pixels ("corners aligned"), so s = 1, t = 0 is the whole image.

The warp has no rotation, so bilinear interpolation is separable: it is a
product with one matrix of hat weights max(0, 1 - |x - i|) for the rows and one
for the columns. What lies outside the image is zero.
"""

import numpy as np
import tensorflow as tf

# The inverse divides by the scale, which a Gaussian sample may bring to zero:
# no closer than this, on the side of zero where it is.
_SMALLEST_SCALE = 1e-6
# A window further away, or larger, than this (in half-images) shows nothing.
_LARGEST = 1e6


def _coordinates(size: int) -> tf.Tensor:
  """Returns `[size]`, the coordinates of the pixel centres.

  The numbers of `tf.linspace(-1.0, 1.0, size)`, which would be some twenty
  operations in a graph, four times a step.
  """
  distance = np.float32(2.0) / np.float32(size - 1)
  coordinates = np.arange(size, dtype=np.float32) * distance - np.float32(1.0)
  coordinates[-1] = 1.0
  return tf.constant(coordinates)


def _hat_weights(coordinates: tf.Tensor, size: int) -> tf.Tensor:
  """Returns the weight of each pixel at each of the coordinates.

  Args:
    coordinates: `[..., n]`, where to interpolate.
    size: the number of pixels along this axis.

  Returns:
    `[..., n, size]`, in [0, 1].
  """
  pixels = (coordinates + 1.0) * (0.5 * (size - 1))
  distance = tf.abs(pixels[..., None] - tf.range(size, dtype=tf.float32))
  return tf.maximum(0.0, 1.0 - distance)


def _resample(
  images: tf.Tensor, weights_y: tf.Tensor, weights_x: tf.Tensor
) -> tf.Tensor:
  """Returns weights_y images weights_x^T, over the last two axes."""
  return tf.matmul(tf.matmul(weights_y, images), weights_x, transpose_b=True)


def crop(
  images: tf.Tensor, where: tf.Tensor, glimpse_size: tuple[int, ...]
) -> tf.Tensor:
  """Cuts a window out of each image: x_image = s x_glimpse + t.

  Args:
    images: `[..., H, W]`.
    where: `[..., 4]`, the windows (sx, tx, sy, ty).
    glimpse_size: (h, w), pixels.

  Returns:
    `[..., h, w]`, zero where the window leaves the image.
  """
  height, width = images.shape[-2:]
  where = tf.clip_by_value(where, -_LARGEST, _LARGEST)
  sx, tx, sy, ty = tf.unstack(where[..., None, :], axis=-1)  # [..., 1]
  y = sy * _coordinates(glimpse_size[0]) + ty  # [..., h]
  x = sx * _coordinates(glimpse_size[1]) + tx  # [..., w]
  return _resample(images, _hat_weights(y, height), _hat_weights(x, width))


def paste(
  glimpses: tf.Tensor, where: tf.Tensor, image_size: tuple[int, ...]
) -> tf.Tensor:
  """Paints each glimpse into its window: x_glimpse = (x_image - t) / s.

  Args:
    glimpses: `[..., h, w]`.
    where: `[..., 4]`, the windows (sx, tx, sy, ty). A negative scale mirrors;
      one within 1e-6 of zero is moved that far away from it.
    image_size: (H, W), pixels.

  Returns:
    `[..., H, W]`, zero outside the window.
  """
  height, width = glimpses.shape[-2:]
  where = tf.clip_by_value(where, -_LARGEST, _LARGEST)
  sx, tx, sy, ty = tf.unstack(where[..., None, :], axis=-1)  # [..., 1]
  y = (_coordinates(image_size[0]) - ty) / _away_from_zero(sy)  # [..., H]
  x = (_coordinates(image_size[1]) - tx) / _away_from_zero(sx)  # [..., W]
  return _resample(glimpses, _hat_weights(y, height), _hat_weights(x, width))


def _away_from_zero(scale: tf.Tensor) -> tf.Tensor:
  smallest = tf.where(scale < 0.0, -_SMALLEST_SCALE, _SMALLEST_SCALE)
  return tf.where(tf.abs(scale) < _SMALLEST_SCALE, smallest, scale)


def boxes(where: tf.Tensor, image_size: tuple[int, ...]) -> tf.Tensor:
  """Returns the windows' boxes in pixels.

  Args:
    where: `[..., 4]`, the windows (sx, tx, sy, ty).
    image_size: (H, W), pixels.

  Returns:
    `[..., 4]`, (y0, x0, y1, x1): the positions of the window's edges, with
    pixel i covering [i, i + 1).
  """
  sx, tx, sy, ty = tf.unstack(where, axis=-1)
  half_y, half_x = 0.5 * (image_size[0] - 1), 0.5 * (image_size[1] - 1)
  sx, sy = tf.abs(sx), tf.abs(sy)
  return tf.stack(
    [
      (ty - sy + 1.0) * half_y,
      (tx - sx + 1.0) * half_x,
      (ty + sy + 1.0) * half_y + 1.0,
      (tx + sx + 1.0) * half_x + 1.0,
    ],
    axis=-1,
  )


def windows(boxes: tf.Tensor, image_size: tuple[int, ...]) -> tf.Tensor:
  """Returns the windows of boxes in pixels, the inverse of `boxes`.

  Args:
    boxes: `[..., 4]`, (y0, x0, y1, x1).
    image_size: (H, W), pixels.

  Returns:
    `[..., 4]` float32, the windows (sx, tx, sy, ty), of positive scales.
  """
  y0, x0, y1, x1 = tf.unstack(tf.cast(boxes, tf.float32), axis=-1)
  half_y, half_x = 0.5 * (image_size[0] - 1), 0.5 * (image_size[1] - 1)
  return tf.stack(
    [
      0.5 * (x1 - x0 - 1.0) / half_x,
      0.5 * (x0 + x1 - 1.0) / half_x - 1.0,
      0.5 * (y1 - y0 - 1.0) / half_y,
      0.5 * (y0 + y1 - 1.0) / half_y - 1.0,
    ],
    axis=-1,
  )
