"""Counting accuracy, overall and per true count. Plain numpy."""

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
