"""Scenes: what a model infers of images, or makes up, a batch at a time.

Batches are of one size, and the noise of an image is a function of the seed and
of the image's place in the sequence: neither the other images nor how they are
batched changes it.
"""

import importlib
import io
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from air import noise, transformer
from air.model import AIRModel, as_floats
from air.outputs import AIROutput
from air.storage import inputs

BATCH_SIZE = 64
_SHOWN = 10  # counts, by `repr`

# Streams of random numbers, the second entry of a seed (see air/training.py and
# air/evaluation.py).
_INFERENCE_STREAM = 5
_SAMPLE_STREAM = 6


class Scenes(NamedTuple):
  """What is in N images: how many objects, where, and what they look like.

  All T steps are there; those that belong to the scene are the first `count`.

  Attributes:
    count: `[N]` int32, the number of objects: the most probable n of an image,
      or the n that was drawn.
    count_probs: `[N, T + 1]`, the probabilities of n = 0..T that `count` comes
      from.
    boxes: `[N, T, 4]`, (y0, x0, y1, x1) in pixels, with pixel i covering
      [i, i + 1); a box may leave the image.
    z_what: `[N, T, Z]`, what each object looks like.
    z_where: `[N, T, D]`, where it is: (sx, tx, sy, ty) or (s, tx, ty), before
      any squash of samples; `boxes` says what it means.
    presence: `[N, T]` bool, whether the step belongs to the scene.
    objects: `[N, T, H, W]`, what each step paints; 1 is white.
    background: `[N, H, W]`, what they are painted on; black by default.
    canvas: `[N, H, W]`, the background and the first `count` objects: the mean
      of p(x|scene).
  """

  count: np.ndarray  # type: ignore[assignment]  # hides tuple.count
  count_probs: np.ndarray
  boxes: np.ndarray
  z_what: np.ndarray
  z_where: np.ndarray
  presence: np.ndarray
  objects: np.ndarray
  background: np.ndarray
  canvas: np.ndarray

  def _repr_png_(self) -> bytes | None:
    """Shows the first scenes in a notebook."""
    if not isinstance(self.count, np.ndarray) or not self.count.size:
      return None
    # By name: what the model consists of draws nothing.
    plot = importlib.import_module("air.viz.scenes").plot
    content = io.BytesIO()
    plot(self).save(content, "PNG")
    return content.getvalue()

  def __repr__(self) -> str:
    if not isinstance(self.count, np.ndarray) or self.count.ndim != 1:
      # Tensors, or fields of another kind by way of `_replace`.
      return f"Scenes{tuple(self)!r}"
    number, total = len(self.count), int(self.count.sum())
    images = "1 image" if number == 1 else f"{number} images"
    objects = "1 object" if total == 1 else f"{total} objects"
    height, width = self.canvas.shape[-2:]
    counts = [str(count) for count in self.count[:_SHOWN]]
    counts += ["..."] * (number > _SHOWN)
    return (
      f"Scenes({images} of {height}x{width}, {objects}: counts"
      f" {', '.join(counts)})"
    )


def infer(
  model: AIRModel, images: tf.Tensor, seed: tf.Tensor, start: tf.Tensor
) -> Scenes:
  """Returns what the model infers of a batch, as tensors.

  z is a sample of q(z|x), and `count` the most probable n of q(n|z), without
  the presence floor, which is there to explore in training.

  Args:
    model: trained.
    images: `[B, H, W]` uint8, or float32 in [0, 1], B = `BATCH_SIZE`.
    seed: `[]` int32.
    start: `[]` int32, the place of the first image in the sequence.
  """
  output = encode(model, images, seed, start)
  posterior = output.num_steps_posterior()
  return _compose(
    model,
    posterior.mode(),
    posterior.probs(),
    tf.transpose(output.steps.what, [1, 0, 2]),
    tf.transpose(output.steps.where, [1, 0, 2]),
    output.background.canvas,
  )


def encode(
  model: AIRModel, images: tf.Tensor, seed: tf.Tensor, start: tf.Tensor
) -> AIROutput:
  """Returns everything that `infer` goes by; the arguments are the same."""
  key = noise.fold_in(tf.stack([seed, _INFERENCE_STREAM]), start)
  return model(as_floats(images), model.sample_noise(key, BATCH_SIZE))


def padded(images: np.ndarray) -> np.ndarray:
  """Returns images `[N, H, W]` with black ones up to a multiple of a batch."""
  return np.pad(images, [(0, -len(images) % BATCH_SIZE), (0, 0), (0, 0)])


def sample(
  model: AIRModel, count_probs: tf.Tensor, seed: tf.Tensor, start: tf.Tensor
) -> Scenes:
  """Returns `BATCH_SIZE` scenes drawn from the generative model, as tensors.

  z_what and z_bg are drawn from N(0, 1), z_where from its prior once annealed.

  Args:
    model: trained.
    count_probs: `[T + 1]` float32, the probabilities of n = 0..T.
    seed: `[]` int32.
    start: `[]` int32, the place of the first scene in the sequence.
  """
  key = noise.fold_in(tf.stack([seed, _SAMPLE_STREAM]), start)
  step_noise = model.sample_noise(key, BATCH_SIZE)
  where_prior = model.final_priors().where
  where = where_prior.loc + where_prior.scale * step_noise.where  # [T, B, D]
  # One uniform number decides n; the last possible n has exactly 1 here.
  cumulative = tf.cumsum(count_probs)
  cumulative /= cumulative[-1]
  above = step_noise.presence[0][:, None] >= cumulative[:-1]  # [B, T]
  return _compose(
    model,
    tf.reduce_sum(tf.cast(above, tf.int32), axis=-1),
    tf.repeat(count_probs[None], BATCH_SIZE, axis=0),
    tf.transpose(step_noise.what, [1, 0, 2]),
    tf.transpose(where, [1, 0, 2]),
    model.background.paint(step_noise.background[0]),
  )


def count_probs_for(model: AIRModel, count_probs: Any) -> tf.Tensor:
  """Returns probabilities of n = 0..T for `sample`, `[T + 1]` float32.

  Args:
    model: that they are for.
    count_probs: T + 1 numbers; None: the model's p(n) once annealed.

  Raises:
    InputError: if they are not T + 1 probabilities whose sum is 1.
  """
  if count_probs is None:
    return tf.exp(model.final_priors().log_num_steps)
  return tf.constant(
    inputs.count_probs(count_probs, model.config.model.num_steps)
  )


def _compose(
  model: AIRModel,
  count: tf.Tensor,
  count_probs: tf.Tensor,
  what: tf.Tensor,
  where: tf.Tensor,
  background: tf.Tensor,
) -> Scenes:
  """Returns the scenes that latents mean; batch first, see `Scenes`."""
  config = model.config.model
  presence = tf.sequence_mask(count, config.num_steps)  # [B, T]
  objects = model.paint(what, where)  # [B, T, H, W]
  return Scenes(
    count=count,
    count_probs=count_probs,
    boxes=transformer.boxes(model.windows(where), config.image_size),
    z_what=what,
    z_where=where,
    presence=presence,
    objects=objects,
    background=background,
    canvas=background
    + tf.einsum("bt,bthw->bhw", tf.cast(presence, tf.float32), objects),
  )
