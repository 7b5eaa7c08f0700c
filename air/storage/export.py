"""A trained model as a TensorFlow SavedModel, which needs nothing of `air`."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from air import scenes
from air.model import AIRModel
from air.scenes import BATCH_SIZE, Scenes
from air.storage import files

_TYPES = Scenes(*[tf.float32] * len(Scenes._fields))._replace(
  count=tf.int32, presence=tf.bool
)


def save(
  model: AIRModel, folder: pathlib.Path, count_probs: Any = None
) -> None:
  """Writes a SavedModel with the signatures `infer` and `sample`.

  Both return a dictionary of the fields of `Scenes` and give the numbers of
  `TrainedModel.infer` and `TrainedModel.sample`:

  infer:  images `[N, H, W]` float32 in [0, 1], seed `[]` int32
  sample: n `[]` int32, seed `[]` int32

  Args:
    model: trained.
    folder: to write to.
    count_probs: `[T + 1]`, the probabilities of 0..T objects in the scenes of
      `sample`; None: the model's prior.

  Raises:
    InputError: if they are not T + 1 probabilities whose sum is 1.
    OSError: if it cannot be written.
  """
  probs = scenes.count_probs_for(model, count_probs)

  def scalar(name: str) -> tf.TensorSpec:
    return tf.TensorSpec([], tf.int32, name)

  size = model.config.model.image_size
  module = tf.Module()
  module.variables_of_model = model.variables
  signatures = {
    "infer": tf.function(
      functools.partial(_infer, model), autograph=False
    ).get_concrete_function(
      tf.TensorSpec([None, *size], tf.float32, "images"), scalar("seed")
    ),
    "sample": tf.function(
      functools.partial(_sample, model, probs), autograph=False
    ).get_concrete_function(scalar("n"), scalar("seed")),
  }
  with files.tensorflow_errors(folder):
    tf.saved_model.save(module, str(folder), signatures)


def _infer(
  model: AIRModel, images: tf.Tensor, seed: tf.Tensor
) -> dict[str, tf.Tensor]:
  # No NaN passes either.
  message = "images are not in [0, 1]"
  tf.debugging.assert_greater_equal(images, 0.0, message)
  tf.debugging.assert_less_equal(images, 1.0, message)
  num_images = tf.shape(images)[0]
  padded = tf.pad(images, [[0, -num_images % BATCH_SIZE], [0, 0], [0, 0]])
  batches = tf.reshape(padded, [-1, BATCH_SIZE, *images.shape[1:]])
  return _in_batches(
    lambda start: scenes.infer(
      model, batches[start // BATCH_SIZE], seed, start
    ),
    num_images,
  )


def _sample(
  model: AIRModel, count_probs: tf.Tensor, n: tf.Tensor, seed: tf.Tensor
) -> dict[str, tf.Tensor]:
  return _in_batches(
    lambda start: scenes.sample(model, count_probs, seed, start), n
  )


def _in_batches(
  scenes_from: Callable[[tf.Tensor], Any], num: tf.Tensor
) -> dict[str, tf.Tensor]:
  """Returns scenes, made a batch at a time.

  Args:
    scenes_from: the place in the sequence of its first scene to a batch.
    num: `[]` int32, scenes in all.
  """
  batched = tf.map_fn(
    scenes_from, tf.range(0, num, BATCH_SIZE), fn_output_signature=_TYPES
  )
  return {
    name: tf.reshape(field, [-1, *field.shape[2:]])[:num]
    for name, field in batched._asdict().items()
  }
