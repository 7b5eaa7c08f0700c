"""The downstream tasks: two questions about images of two digits.

sum        of both digits: 0 to 18
ascending  whether the left digit is less than the right one: 0 or 1

The left digit is that whose box has its centre further to the left; of two with
the same, the upper one. Equal digits do not ascend.
"""

from __future__ import annotations

import numpy as np
from etils import epy

from data.dataset import Split

with epy.lazy_imports():
  from air import transformer

NUM_OBJECTS = 2
# Task to the number of answers.
NUM_ANSWERS = {"sum": 19, "ascending": 2}


def left_to_right(boxes: np.ndarray) -> np.ndarray:
  """Returns the order of boxes by their centres, `[N, K]`.

  Args:
    boxes: `[N, K, 4]`, (y0, x0, y1, x1).
  """
  y, x = (boxes[..., i] + boxes[..., i + 2] for i in (0, 1))
  return np.lexsort((y, x))


def answers(task: str, split: Split) -> np.ndarray:
  """Returns the right answers, `[N]`.

  Args:
    task: one of `NUM_ANSWERS`.
    split: images of two digits.
  """
  assert split.labels is not None
  assert split.boxes is not None
  if task == "sum":
    return split.labels.sum(axis=-1)
  order = left_to_right(split.boxes)
  left, right = np.take_along_axis(split.labels, order, axis=-1).T
  return (left < right).astype(np.int32)


def true_objects(split: Split, glimpse_size: tuple[int, ...]) -> np.ndarray:
  """Returns the pixels in the true boxes, and the boxes, from left to right.

  Args:
    split: images of two digits.
    glimpse_size: (h, w) that each box is resized to, pixels.

  Returns:
    `[N, 2, 1, h w + 4]` float32; a box as a window (sx, tx, sy, ty).
  """
  assert split.boxes is not None
  order = left_to_right(split.boxes)[..., None]
  windows = transformer.windows(
    np.take_along_axis(split.boxes, order, axis=1), split.images.shape[1:]
  )
  glimpses = np.concatenate(
    [
      transformer.crop(images[:, None] / np.float32(255), part, glimpse_size)
      for images, part in zip(
        _parts(split.images), _parts(windows), strict=True
      )
    ]
  )
  pixels = glimpses.reshape([*glimpses.shape[:2], -1])
  return np.concatenate([pixels, windows], axis=-1)[:, :, None]


def _parts(array: np.ndarray) -> list[np.ndarray]:
  """Returns an array in parts, for what takes memory."""
  return [array[i : i + 1000] for i in range(0, len(array), 1000)]
