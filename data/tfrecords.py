"""TFRecords of DeepMind's multi-object data sets.

Multi-dSprites, Tetrominoes, CLEVR with masks and Objects Room, see
https://github.com/google-deepmind/multi_object_datasets. This is the one place
where `data` uses TensorFlow, which is imported once a file is read.
"""

import pathlib
from collections.abc import Iterator

import numpy as np

from data.errors import DataError
from data.mnist import start_of

_GZIP = b"\x1f\x8b"
# What an image can be, by its number of bytes.
_SHAPES = {
  64 * 64: (64, 64, 1),  # binarized Multi-dSprites
  64 * 64 * 3: (64, 64, 3),  # other Multi-dSprites, Objects Room
  35 * 35 * 3: (35, 35, 3),  # Tetrominoes
  240 * 320 * 3: (240, 320, 3),  # CLEVR
}
_BATCH_SIZE = 128


def read(
  path: pathlib.Path, num_images: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
  """Yields images and their counts, some at a time.

  Args:
    path: of the file, plain or gzipped.
    num_images: to be read at most; 0: all.

  Yields:
    uint8 `[N, H, W, C]`; and int32 `[N]`, the number of visible entities but
    for the background, or None where the file does not say what is visible.

  Raises:
    DataError: if the file is damaged, or of another data set.
  """
  import tensorflow as tf

  def parse(record):
    # Each pixel is a string of its own.
    strings = tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True)
    floats = tf.io.FixedLenSequenceFeature([], tf.float32, allow_missing=True)
    features = {"image": strings, "visibility": floats}
    example = tf.io.parse_single_example(record, features)
    content = tf.strings.reduce_join(example["image"])
    return tf.io.decode_raw(content, tf.uint8), example["visibility"]

  compression = "GZIP" if start_of(path).startswith(_GZIP) else ""
  records = tf.data.TFRecordDataset(str(path), compression)
  if num_images:
    records = records.take(num_images)
  parsed = records.map(parse, num_parallel_calls=tf.data.AUTOTUNE)
  batches = parsed.batch(_BATCH_SIZE).prefetch(1)
  try:
    for pixels, visibility in batches.as_numpy_iterator():
      shape = _SHAPES.get(pixels.shape[1])
      if shape is None:
        raise DataError(
          f"{path} has images of {pixels.shape[1]} bytes, expected Multi-"
          "dSprites, Tetrominoes, CLEVR with masks or Objects Room, with"
          f" {', '.join(map(str, _SHAPES))}"
        )
      counts = None
      if visibility.shape[1]:
        counts = np.round(visibility.sum(axis=1)).astype(np.int32) - 1
      yield pixels.reshape(-1, *shape), counts
  except tf.errors.OpError as error:
    reason = " ".join(error.message.split())
    raise DataError(f"{path} cannot be read as TFRecords: {reason}") from error
