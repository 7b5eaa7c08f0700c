"""How unlike its training images an image is to a model.

The ELBO alone does not tell: dim or small objects have a higher one than those
that a model was trained on, as with other generative models (Nalisnick et al.
2019). What is compared is therefore the ELBO together with how much there is to
explain, the norm of the image, among images of the same inferred count: the
Mahalanobis distance from their mean (as of the classes in Lee et al. 2018; of
statistics of a generative model, Morningstar et al. 2021). Its rank among
validation images is a p-value. Training images will not do: they have a higher
ELBO than others like them if they are few.

docs/your-images.md says what this finds and what it does not, as
experiments/analysis/unlike.py measures it.
"""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from air import scenes
from air.model import AIRModel
from air.outputs import AIROutput

# The p-value up to which an image is said to be unlike the training images.
LEVEL = 0.01
# The reference that it takes for a p-value to be so low.
FEWEST = 100
# The images of a count that it takes to say what such images are like.
_FEWEST_OF_COUNT = 10
# Images are, together, unlike the training images if so many are said to be
# that it is less probable than this, even at so many times the level.
_CHANCE = 0.05
_SLACK = 2.0


class Scores(NamedTuple):
  """What images are compared by, `[N]` each.

  Attributes:
    count: int32, the inferred number of objects.
    elbo: nats, under the final priors.
    norm: |x|, in standard deviations of p(x|canvas).
  """

  count: np.ndarray  # type: ignore[assignment]  # hides tuple.count
  elbo: np.ndarray
  norm: np.ndarray


class Surprise(NamedTuple):
  """How unlike the training images each of N images is.

  Attributes:
    elbo: `[N]` float32, a lower bound of log p(x) from one sample of the
      latents, those of `TrainedModel.infer`; nats.
    p_value: `[N]` float32, the share of the run's validation images that are as
      surprising as this one or more: small if it is unlike them, and anything
      from 0 to 1 with the same probability if it is like them. None: the run
      cannot say, for its training has not ended, or had fewer than 100 of them.
  """

  elbo: np.ndarray
  p_value: np.ndarray | None


class Scorer:
  """Scores images by a model, with the latents of `TrainedModel.infer`."""

  def __init__(self, model: AIRModel):
    """Makes the scorer.

    Args:
      model: that scores, always with its present weights.
    """
    # Nothing here needs AutoGraph, and without it tracing takes two thirds.
    self._score = tf.function(functools.partial(_score, model), autograph=False)

  def __call__(self, images: np.ndarray, seed: int) -> Scores:
    """Returns the scores of images.

    Args:
      images: `[N, H, W]` uint8, or float32 in [0, 1], at least one.
      seed: of the latents.
    """
    size = scenes.BATCH_SIZE
    batches = [
      self._score(
        scenes.padded(images[start : start + size]),
        tf.constant(seed),
        tf.constant(start),
      )
      for start in range(0, len(images), size)
    ]
    fields = zip(*batches, strict=True)
    return Scores(*(np.concatenate(f)[: len(images)] for f in fields))


def _score(
  model: AIRModel, images: tf.Tensor, seed: tf.Tensor, start: tf.Tensor
) -> Scores:
  """Returns the scores of a batch, as tensors; see `scenes.infer`."""
  return score(model, scenes.encode(model, images, seed, start))


def score(model: AIRModel, output: AIROutput) -> Scores:
  """Returns the scores of a batch, as tensors.

  Args:
    model: that scores.
    output: of the model.
  """
  terms = model.elbo_terms(output, model.final_priors())
  return Scores(
    count=output.num_steps_posterior().mode(),
    elbo=-terms.expected_reconstruction() - terms.kl(),
    norm=tf.norm(output.images, axis=[1, 2]) / model.output_std,
  )


def p_values(scores: Scores, reference: Scores) -> np.ndarray:
  """Returns the share of the reference that is as surprising, `[N]` float32.

  With the image itself counted in, so that of images like the reference at most
  the share p has a p-value of p or less, whatever their distribution.

  Args:
    scores: of N images.
    reference: of images like those that the model was trained on.
  """
  of_reference = np.sort(distances(reference, reference))
  below = np.searchsorted(of_reference, distances(scores, reference))
  total = len(of_reference)
  return ((total - below + 1) / (total + 1)).astype(np.float32)


def normals(
  reference: Scores,
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
  """Returns what images of a count are like, where there are enough of them.

  Args:
    reference: of N images.

  Returns:
    Count to mean `[2]` and covariance `[2, 2]` of ELBO and norm.
  """
  points = _points(reference)
  found = {}
  for count in np.unique(reference.count):
    same = points[reference.count == count]
    if len(same) >= _FEWEST_OF_COUNT:
      # One nat, and one deviation of a pixel, make no difference: images of
      # nothing would else be known to the last digit.
      covariance = np.cov(same, rowvar=False) + np.eye(2)
      found[int(count)] = same.mean(axis=0), covariance
  return found


def distances(scores: Scores, reference: Scores) -> np.ndarray:
  """Returns squared Mahalanobis distances, `[N]`.

  Infinite where the reference has hardly an image of this count.

  Args:
    scores: of N images.
    reference: whose means and covariances are taken, per count.
  """
  result = np.full(len(scores.count), np.inf)
  points = _points(scores)
  for count, (mean, covariance) in normals(reference).items():
    own = scores.count == count
    offsets = points[own] - mean
    result[own] = np.sum(
      offsets * np.linalg.solve(covariance, offsets.T).T, axis=1
    )
  return result


def _points(scores: Scores) -> np.ndarray:
  """Returns ELBO and norm, `[N, 2]` float64."""
  return np.stack([scores.elbo, scores.norm], axis=1).astype(np.float64)


def are_unlike(p_value: np.ndarray) -> bool:
  """Returns whether images are, together, unlike the training images.

  That is, whether more of them are below `LEVEL` than chance explains, even if
  twice as many were by chance: no more exactly is the level itself known.

  Args:
    p_value: `[N]`, see `Surprise`.
  """
  found = int(np.sum(p_value <= LEVEL))
  if not found:
    return False
  # P(at least so many of N), each with this probability.
  chance = tf.math.betainc(
    tf.constant(found, tf.float64),
    tf.constant(len(p_value) - found + 1, tf.float64),
    tf.constant(_SLACK * LEVEL, tf.float64),
  )
  return float(chance) < _CHANCE
