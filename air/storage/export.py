"""A trained model as a TensorFlow SavedModel, which needs nothing of `air`."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from air import scenes
from air.images import BRIGHT, BRIGHT_SHARE, DIM, TOLERANCE
from air.model import AIRModel, as_floats
from air.scenes import BATCH_SIZE, Scenes
from air.storage import files

_TYPES = Scenes(*[tf.float32] * len(Scenes._fields))._replace(
  count=tf.int32, presence=tf.bool
)


def save(
  model: AIRModel, folder: pathlib.Path, count_probs: Any = None
) -> None:
  """Writes a SavedModel with the signatures `infer` and `sample`.

  All return a dictionary of the fields of `Scenes` and give the numbers of
  `TrainedModel.infer` and `TrainedModel.sample`:

  serving_default: images `[N, H, W]` float32 in [0, 1]; seed 0
  infer:           the same, seed `[]` int32
  infer_uint8:     images `[N, H, W]` uint8, seed `[]` int32
  sample:          n `[]` int32, seed `[]` int32

  They refuse what `TrainedModel` does. Objects are bright on black.

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

  def images(kind: tf.DType) -> tf.TensorSpec:
    size = model.config.model.image_size
    return tf.TensorSpec([None, *size], kind, "images")

  def function(signature: Callable, *specs: tf.TensorSpec) -> Any:
    made = tf.function(signature, autograph=False)
    return made.get_concrete_function(*specs)

  # Three signatures call it, and it is traced once.
  scenes_of = tf.function(functools.partial(_infer, model), autograph=False)

  def infer(images: tf.Tensor, seed: tf.Tensor) -> dict[str, tf.Tensor]:
    return scenes_of(_checked(images), _integer("seed", seed))

  module = tf.Module()
  module.variables_of_model = model.variables
  signatures = {
    "serving_default": function(
      lambda images: infer(images, tf.constant(0)), images(tf.float32)
    ),
    "infer": function(infer, images(tf.float32), scalar("seed")),
    "infer_uint8": function(infer, images(tf.uint8), scalar("seed")),
    "sample": function(
      functools.partial(_sample, model, probs), scalar("n"), scalar("seed")
    ),
  }
  with files.tensorflow_errors(folder):
    tf.saved_model.save(module, str(folder), signatures)


def _infer(
  model: AIRModel, images: tf.Tensor, seed: tf.Tensor
) -> dict[str, tf.Tensor]:
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
  n, seed = _integer("n", n, lowest=1), _integer("seed", seed)
  return _in_batches(
    lambda start: scenes.sample(model, count_probs, seed, start), n
  )


def _checked(images: tf.Tensor) -> tf.Tensor:
  """Returns images as float32; refuses what `air.images.read` does."""
  _require(
    tf.size(images) > 0,
    f"images is {images.dtype.name} {{}}, expected at least one image and one"
    " pixel",
    tf.shape(images),
  )
  maximum = 255 if images.dtype == tf.uint8 else 1
  lowest, highest = tf.reduce_min(images), tf.reduce_max(images)
  if images.dtype.is_floating:
    _require(
      ~tf.reduce_any(tf.math.is_nan(images)),
      "images has NaN, expected pixels of 0 to 1",
    )
    _require(
      (lowest >= -TOLERANCE) & (highest <= 1 + TOLERANCE),
      "images has {} to {}, expected 0 to 1",
      *(lowest, highest),
    )
  floats = tf.clip_by_value(as_floats(images), 0.0, 1.0)
  brightest = tf.reduce_max(floats)
  _require(
    (brightest == 0) | (brightest >= DIM),
    f"images is {images.dtype.name} with {{}} to {{}}, where {maximum} is"
    " bright; expected bright objects",
    *(lowest, highest),
  )
  ends = floats[:, 0], floats[:, -1], floats[:, 1:-1, 0], floats[:, 1:-1, -1]
  border = tf.sort(tf.concat(ends, 1), axis=1)
  half = border.shape[1] // 2  # of an even number
  median = (border[:, half - 1] + border[:, half]) / 2
  share = tf.reduce_mean(tf.cast(median >= BRIGHT, tf.float32))
  _require(
    share <= BRIGHT_SHARE,
    "images has a bright border, expected bright objects on black: invert dark"
    f" objects on a bright ground, {maximum} - images",
  )
  return floats


def _integer(name: str, value: tf.Tensor, lowest: int = 0) -> tf.Tensor:
  """Returns an integer that is checked before it is used."""
  message = f"{name} is {{}}, expected an integer in {lowest}..2^31 - 1"
  with tf.control_dependencies([_require(value >= lowest, message, value)]):
    return tf.identity(value)


def _require(
  condition: tf.Tensor, message: str, *values: tf.Tensor
) -> tf.Operation:
  """Fails at a condition that is false, with values in place of {}."""
  return tf.debugging.Assert(condition, [tf.strings.format(message, values)])


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
