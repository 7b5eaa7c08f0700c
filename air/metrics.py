"""Counting accuracy, and which true object a found one is. Plain numpy."""

import numpy as np


def count_accuracy(true: np.ndarray, inferred: np.ndarray) -> float:
  """Returns the fraction of images whose count is right.

  Args:
    true: `[N]` integer, the number of objects in each image.
    inferred: `[N]` integer.
  """
  return float(np.mean(true == inferred))


def count_confusion(
  true: np.ndarray, inferred: np.ndarray, max_steps: int
) -> np.ndarray:
  """Returns how often each count was inferred for each true one.

  Args:
    true: `[N]` integer, at least 0.
    inferred: `[N]` integer in 0..max_steps.
    max_steps: T.

  Returns:
    `[C + 1, T + 1]` int64, row: true count 0..C, column: inferred count.
  """
  confusion = np.zeros([int(np.max(true)) + 1, max_steps + 1], np.int64)
  np.add.at(confusion, (true, inferred), 1)
  return confusion


def accuracy_per_count(confusion: np.ndarray) -> dict[int, float]:
  """Returns the accuracy for each true count that occurs.

  Args:
    confusion: see `count_confusion`.
  """
  accuracies = {}
  for count, row in enumerate(confusion):
    if row.sum():
      right = row[count] if count < len(row) else 0
      accuracies[count] = float(right / row.sum())
  return accuracies


def matched_labels(
  found: np.ndarray, labels: np.ndarray, boxes: np.ndarray
) -> np.ndarray:
  """Returns which of an image's true objects each found one is.

  Args:
    found: `[K, 4]`, the box (y0, x0, y1, x1) of each found object, pixels.
    labels: int `[K, M]`, the classes of the true objects in its image, -1
      where there is none.
    boxes: `[K, M, 4]`, their boxes.

  Returns:
    int `[K]`, the label of the true object whose box has the largest
    intersection over union with the found one; -1 if they are all disjoint.
  """
  if not labels.shape[1]:
    return np.full(len(found), -1)
  boxes = boxes.astype(np.float64)
  found = found[:, None].astype(np.float64)  # [K, 1, 4]
  sides = np.minimum(found[..., 2:], boxes[..., 2:]) - np.maximum(
    found[..., :2], boxes[..., :2]
  )  # [K, M, 2]
  intersection = np.prod(np.maximum(sides, 0.0), axis=-1)
  areas = [np.prod(b[..., 2:] - b[..., :2], axis=-1) for b in (found, boxes)]
  overlap = intersection / (areas[0] + areas[1] - intersection)
  overlap = np.where(labels >= 0, overlap, 0.0)
  best = np.argmax(overlap, axis=-1)[:, None]
  label = np.take_along_axis(labels, best, axis=-1)
  overlaps = np.take_along_axis(overlap, best, axis=-1) > 0.0
  return np.where(overlaps, label, -1)[:, 0]
