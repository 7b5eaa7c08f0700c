"""Codes: what a trained model says of the objects in images, without noise."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from air import transformer
from air.evaluation import BATCH_SIZE
from air.model import AIRModel, as_floats


class Codes(NamedTuple):
  """What is inferred of N images at the means of z.

  Attributes:
    what: `[N, T, Z]`, the means of q(z_what).
    what_scale: `[N, T, Z]`, its standard deviations.
    where: `[N, T, D]`, the means of q(z_where).
    where_scale: `[N, T, D]`, its standard deviations.
    boxes: `[N, T, 4]`, what z_where means, (y0, x0, y1, x1) in pixels.
    glimpses: `[N, T, h, w]`, what each step looks at.
    count_probs: `[N, T + 1]`, q(n|z).
  """

  what: np.ndarray
  what_scale: np.ndarray
  where: np.ndarray
  where_scale: np.ndarray
  boxes: np.ndarray
  glimpses: np.ndarray
  count_probs: np.ndarray

  @property
  def count(self) -> np.ndarray:
    """The most probable number of objects, `[N]`."""
    return np.argmax(self.count_probs, axis=-1)


def of_batch(model: AIRModel, images: tf.Tensor) -> Codes:
  """Returns the codes of a batch, as tensors that have gradients.

  Args:
    model: trained.
    images: `[B, H, W]` uint8, or float32 in [0, 1].
  """
  output = model(as_floats(images), model.zero_noise(tf.shape(images)[0]))
  steps = output.steps

  def batch_first(per_step: tf.Tensor) -> tf.Tensor:
    return tf.einsum("tb...->bt...", per_step)

  return Codes(
    what=batch_first(steps.what_loc),
    what_scale=batch_first(steps.what_scale),
    where=batch_first(steps.where_loc),
    where_scale=batch_first(steps.where_scale),
    boxes=transformer.boxes(
      batch_first(steps.window), model.config.model.image_size
    ),
    glimpses=batch_first(steps.glimpse),
    count_probs=output.num_steps_posterior().probs(),
  )


def infer(
  model: AIRModel, images: np.ndarray, with_glimpses: bool = False
) -> Codes:
  """Returns the codes of images, as numpy arrays.

  Args:
    model: trained.
    images: `[N, H, W]` uint8.
    with_glimpses: whether they are wanted, which take more memory than all
      else; otherwise they are empty.
  """
  function = tf.function(functools.partial(of_batch, model), autograph=False)
  batches = []
  for start in range(0, len(images), BATCH_SIZE):
    batch = function(tf.constant(images[start : start + BATCH_SIZE]))
    if not with_glimpses:
      batch = batch._replace(glimpses=batch.glimpses[..., :0])
    batches.append([field.numpy() for field in batch])
  return Codes(*map(np.concatenate, zip(*batches, strict=True)))
