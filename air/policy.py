"""The scan policy: how well the place of a glimpse tells its step.

Plain numpy.
"""

from typing import NamedTuple

import numpy as np

_NEIGHBOURS = 15
_MIN_FOLDS = 5
_MAX_FOLD = 200  # images, which bounds the memory


class StepPrediction(NamedTuple):
  """How well steps are guessed.

  Attributes:
    accuracy: fraction of the glimpses whose step is guessed.
    chance: the same of the best guess that does not look at them, the most
      frequent step.
    num_images: that take at least two steps; in others, a glimpse's step is
      known without looking.
  """

  accuracy: float
  chance: float
  num_images: int


def centres(windows: np.ndarray) -> np.ndarray:
  """Returns the centres (x, y) of windows (sx, tx, sy, ty), in [-1, 1].

  Args:
    windows: `[..., 4]`.

  Returns:
    `[..., 2]`; x along the width, y downwards.
  """
  return windows[..., (1, 3)]


def predict_steps(
  windows: np.ndarray, num_steps: np.ndarray
) -> StepPrediction | None:
  """Guesses each glimpse's step from its centre, cross-validated.

  The guess is the most frequent step among the nearest glimpses of other
  images. The folds consist of images: where the other glimpses of its own image
  are tells nothing.

  Args:
    windows: `[N, T, 4]`, (sx, tx, sy, ty) of each image's steps.
    num_steps: `[N]`, how many of them exist.

  Returns:
    The accuracy over all folds; None if too few images take two steps.
  """
  several = num_steps >= 2
  images = int(several.sum())
  if images < _MIN_FOLDS:
    return None
  max_steps = windows.shape[1]
  exists = np.arange(max_steps) < num_steps[several, None]  # [M, T]
  image, step = np.nonzero(exists)  # [G]
  places = centres(windows[several])[exists]  # [G, 2]
  folds = max(_MIN_FOLDS, -(-images // _MAX_FOLD))
  right = 0
  for fold in range(folds):
    test = image % folds == fold
    train = ~test
    offsets = places[test, None] - places[None, train]  # [G_test, G_train, 2]
    distances = np.square(offsets).sum(-1)
    neighbours = min(_NEIGHBOURS, distances.shape[1])
    nearest = np.argpartition(distances, neighbours - 1)[:, :neighbours]
    votes = step[train][nearest][..., None] == np.arange(max_steps)
    right += np.sum(votes.sum(1).argmax(-1) == step[test])
  return StepPrediction(
    accuracy=float(right / len(step)),
    chance=float(np.bincount(step).max() / len(step)),
    num_images=images,
  )
