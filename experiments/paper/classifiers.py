"""The networks of the downstream tasks, in Keras, and how they are trained.

All of them are trained in the same way: Adam on cross-entropy, with a rate that
falls to zero by a cosine, for as many images whatever is read of them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras as keras

from air.model import AIRModel
from experiments.common import codes as codes_lib
from experiments.common.codes import Codes
from experiments.paper.tasks import NUM_OBJECTS

_BATCH_SIZE, _TEST_BATCH_SIZE = 64, 500
_STEPS_PER_EXECUTION = 50
# Images that a network is trained on: all that have labels so often, but at
# least and at most so many.
_PASSES, _FEWEST_IMAGES, _MOST_IMAGES = 40, 96_000, 200_000
# A model that is trained already needs few of them.
_TUNED_SHARE = 0.2
_WIDTH = 128  # units of a hidden layer
_FILTERS, _KERNEL_SIZES, _STRIDE = (16, 32, 64), (5, 3, 3), 2
_EMBEDDING_SIZE = 16
_AUTOENCODER_IMAGES, _AUTOENCODER_LEARNING_RATE = 200_000, 1e-3


class Settings(NamedTuple):
  """What is chosen for each method.

  Attributes:
    dropout: rate, after each hidden layer.
    learning_rate: of Adam, at first.
  """

  dropout: float
  learning_rate: float


def object_features(codes: Codes, count: tf.Tensor) -> tf.Tensor:
  """Returns what a classifier reads of the first two objects, left to right.

  z_what, z_where, and a one; zeros where there is no object, which is then the
  last.

  Args:
    codes: of B images.
    count: `[B]`, the number of objects.

  Returns:
    `[B, 2, 2, F]`, of each object the means, then the standard deviations.
  """
  what, what_scale, where, where_scale, boxes = (
    field[:, :NUM_OBJECTS] for field in codes[:5]
  )
  one = tf.ones_like(what[..., :1])
  means = tf.concat([what, where, one], axis=-1)
  scales = tf.concat([what_scale, where_scale, 0.0 * one], axis=-1)
  present = tf.sequence_mask(count, NUM_OBJECTS)  # [B, 2]
  features = tf.stack([means, scales], axis=2)  # [B, 2, 2, F]
  features *= tf.cast(present, features.dtype)[..., None, None]
  x = tf.where(present, boxes[..., 1] + boxes[..., 3], np.inf)
  return tf.gather(features, tf.argsort(x, stable=True), batch_dims=1)


class _Sample(keras.layers.Layer):
  """Samples of the objects' codes in training, otherwise their means."""

  def call(self, features: tf.Tensor, training: bool = False) -> tf.Tensor:
    """Returns `[B, K, F]` of `[B, K, 1 or 2, F]`, see `object_features`."""
    means = features[:, :, 0]
    if not training or features.shape[2] < 2:
      return means
    return means + features[:, :, 1] * tf.random.normal(tf.shape(means))


class Encoder(keras.layers.Layer):
  """A trained model's codes of images, with gradients for its weights."""

  def __init__(self, model: AIRModel):
    """Makes the layer.

    Args:
      model: whose weights are trained further.
    """
    super().__init__()
    # Nothing here needs AutoGraph, and without it tracing is faster.
    self._codes = tf.autograph.experimental.do_not_convert(
      functools.partial(codes_lib.of_batch, model)
    )
    # Keras trains them. The others have no effect on codes, or no gradient.
    self._variables = list(model.cell.trainable_variables)

  def call(self, images: tf.Tensor) -> tf.Tensor:
    """Returns `object_features` of images, with the most probable n."""
    codes = self._codes(images)
    count = tf.argmax(codes.count_probs, axis=-1)
    return object_features(codes, count)


def of_objects(
  shape: Sequence[int], num_answers: int, dropout: float
) -> keras.Model:
  """Returns a classifier of two objects: the same layers for each, then both.

  The answers are linear in the outer product of what the layers make of the
  left object and of the right one.

  Args:
    shape: of the input without the batch, see `object_features`.
    num_answers: of the task.
    dropout: see `Settings`.
  """
  inputs = keras.Input(shape)
  objects = _hidden(_Sample()(inputs), dropout, layers=2)
  objects = keras.layers.Dense(_EMBEDDING_SIZE)(objects)  # [B, 2, E]
  left, right = (objects[:, i, :, None] for i in range(NUM_OBJECTS))
  both = keras.layers.Dot(axes=2)([left, right])  # [B, E, E]
  return keras.Model(inputs, _answers(both, num_answers))


def with_encoder(classifier: keras.Model, model: AIRModel) -> keras.Model:
  """Returns a classifier of images that trains the weights of a model, too.

  Args:
    classifier: of the model's codes, trained.
    model: trained.
  """
  inputs = keras.Input(model.config.model.image_size, dtype=tf.uint8)
  return keras.Model(inputs, classifier(Encoder(model)(inputs)))


def of_vectors(
  shape: Sequence[int], num_answers: int, dropout: float
) -> keras.Model:
  """Returns a classifier of vectors, see `of_objects`."""
  inputs = keras.Input(shape)
  hidden = _hidden(inputs, dropout, layers=3)
  return keras.Model(inputs, _answers(hidden, num_answers))


def of_images(
  shape: Sequence[int], num_answers: int, dropout: float
) -> keras.Model:
  """Returns a convolutional network, of images `shape` (H, W), uint8."""
  inputs = keras.Input(shape, dtype=tf.uint8)
  features = _floats(inputs)
  strides = (_STRIDE, 1, 1)
  for filters, size, stride in zip(
    _FILTERS, _KERNEL_SIZES, strides, strict=True
  ):
    features = keras.layers.Conv2D(
      filters, size, stride, "same", activation="relu"
    )(features)
    features = keras.layers.MaxPool2D(padding="same")(features)
  features = keras.layers.Dropout(dropout)(keras.layers.Flatten()(features))
  hidden = _hidden(features, dropout, layers=1)
  return keras.Model(inputs, _answers(hidden, num_answers))


def _hidden(features, dropout: float, layers: int):
  """Returns what hidden layers make of features."""
  for _ in range(layers):
    features = keras.layers.Dense(_WIDTH, "relu")(features)
    features = keras.layers.Dropout(dropout)(features)
  return features


def _answers(features, num_answers: int):
  """Returns the logits of the answers."""
  return keras.layers.Dense(num_answers)(keras.layers.Flatten()(features))


def _floats(images):
  """Returns floats in [0, 1], `[B, H, W, 1]`, of uint8 `[B, H, W]`."""
  return keras.layers.Rescaling(1.0 / 255.0)(images)[..., None]


def autoencoder(
  images: np.ndarray, code_size: int, seed: int
) -> tuple[keras.Model, keras.Model]:
  """Trains a convolutional auto-encoder; returns it, and its encoder.

  It paints pixels of 0 to 255, and learns to make their squared error small.

  Args:
    images: `[N, H, W]` uint8.
    code_size: of its code.
    seed: of weights and batches.
  """
  seed_all(seed)
  inputs = keras.Input(images.shape[1:], dtype=tf.uint8)
  features = _floats(inputs)
  for filters, size in zip(_FILTERS, _KERNEL_SIZES, strict=True):
    features = keras.layers.Conv2D(
      filters, size, _STRIDE, "same", activation="relu"
    )(features)
  code = keras.layers.Dense(code_size)(keras.layers.Flatten()(features))
  # The same the other way round, and cropped to the image.
  height, width = images.shape[1:]
  small = [math.ceil(side / _STRIDE**3) for side in (height, width)]
  small.append(_FILTERS[-1])
  painted = keras.layers.Dense(math.prod(small), "relu")(code)
  painted = keras.layers.Reshape(small)(painted)
  for filters, size, activation in zip(
    *((*_FILTERS[-2::-1], 1), _KERNEL_SIZES[::-1], ("relu", "relu", None)),
    strict=True,
  ):
    painted = keras.layers.Conv2DTranspose(
      filters, size, _STRIDE, "same", activation=activation
    )(painted)
  painted = keras.layers.Rescaling(255.0)(painted[:, :height, :width, 0])
  model = keras.Model(inputs, painted)
  _train(
    model,
    "mean_squared_error",
    images,
    images,
    _AUTOENCODER_IMAGES,
    _AUTOENCODER_LEARNING_RATE,
  )
  return model, keras.Model(inputs, code)


def _train(
  model: keras.Model,
  loss: keras.losses.Loss | str,
  inputs: np.ndarray,
  targets: np.ndarray,
  num_images: int,
  learning_rate: float,
) -> None:
  """Trains a network.

  Args:
    model: the network.
    loss: of its outputs and the targets.
    inputs: `[N, ...]`.
    targets: `[N, ...]`.
    num_images: to train on, each several times.
    learning_rate: at first.
  """
  steps = math.ceil(num_images / _BATCH_SIZE)
  inputs, targets = tf.constant(inputs), tf.constant(targets)
  # Shuffled as numbers: faster than as arrays.
  batches = (
    tf.data.Dataset.range(len(targets))
    .shuffle(len(targets))
    .repeat()
    .batch(_BATCH_SIZE)
    .map(lambda rows: (tf.gather(inputs, rows), tf.gather(targets, rows)))
  )
  model.compile(
    keras.optimizers.Adam(
      keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    ),
    loss,
    steps_per_execution=_STEPS_PER_EXECUTION,
  )
  model.fit(batches, steps_per_epoch=steps, verbose=0)


def seed_all(seed: int) -> None:
  """Seeds the weights, batches and dropout of what is made from now on."""
  keras.utils.set_random_seed(seed)


def train(
  model: keras.Model,
  inputs: np.ndarray,
  answers: np.ndarray,
  learning_rate: float,
  tuned: bool = False,
) -> None:
  """Trains a classifier.

  Args:
    model: see above.
    inputs: `[N, ...]`, that have labels.
    answers: `[N]`, the labels.
    learning_rate: at first.
    tuned: whether it is trained already, and is trained on.
  """
  num_images = min(max(_PASSES * len(answers), _FEWEST_IMAGES), _MOST_IMAGES)
  loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
  if tuned:
    num_images = round(_TUNED_SHARE * num_images)
  _train(model, loss, inputs, answers, num_images, learning_rate)


def outputs(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
  """Returns what a network makes of inputs, `[N, ...]`, some at a time."""
  return model.predict(inputs, batch_size=_TEST_BATCH_SIZE, verbose=0)
