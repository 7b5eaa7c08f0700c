"""The evaluation pass: ELBO, counts and importance-weighted bound."""

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tree

from air import metrics, noise
from air.model import AIRModel, as_floats
from air.outputs import AIROutput

# Streams of random numbers, the second entry of a seed (see air/training.py).
_EVALUATION_STREAM = 3
_IWAE_STREAM = 4

BATCH_SIZE = 500


class ImageMetrics(NamedTuple):
  """Of each image, `[N]`; nats.

  Expectations over n are exact, those over z are single samples. "Final" and
  "annealed" are priors at the end of their schedules and at this iteration.

  Attributes:
    num_steps: a sample of q(n|x), with the sampled z (as the blog counts).
    num_steps_mode: the most probable n at the means of z.
    elbo: under the final priors.
    reconstruction: -log p(x|canvas), expected over n.
    kl_num_steps: KL(q(n|z) || p(n)) to the final prior.
    kl_num_steps_annealed: the same to the annealed prior.
    kl_what: sum_i q(n>=i|z) KL(z_what_i).
    kl_where: sum_i q(n>=i|z) KL(z_where_i) to the final prior.
    kl_where_annealed: the same to the annealed prior.
    kl_background: KL(q(z_bg|x) || p(z_bg)); zero without z_bg.
    windows: `[N, T, 4]`, where each step looked, (sx, tx, sy, ty).
    reinforce_loss: of the score function with the sampled n, mean over the
      image's batch; zero without a baseline.
    baseline_loss: of the baseline, likewise.
    learning_signal: what multiplies the score, likewise.
  """

  num_steps: np.ndarray
  num_steps_mode: np.ndarray
  elbo: np.ndarray
  reconstruction: np.ndarray
  kl_num_steps: np.ndarray
  kl_num_steps_annealed: np.ndarray
  kl_what: np.ndarray
  kl_where: np.ndarray
  kl_where_annealed: np.ndarray
  kl_background: np.ndarray
  windows: np.ndarray
  reinforce_loss: np.ndarray
  baseline_loss: np.ndarray
  learning_signal: np.ndarray


class Evaluator:
  """Evaluates a model on images, in batches, with noise of its own."""

  def __init__(self, model: AIRModel):
    """Makes the evaluator.

    Args:
      model: to be evaluated, always with its present weights.
    """
    self._model = model
    # Nothing here needs AutoGraph, and without it tracing takes two thirds.
    function = functools.partial(tf.function, autograph=False)
    self._evaluate = function(self._evaluate_batch)
    self._infer = function(self._infer_batch)
    self._log_weights = function(self._log_weights_of_batch)

  def evaluate(
    self,
    images: np.ndarray,
    iteration: int,
    seed: int,
    progress: Callable[[range], Iterable[int]] = iter,
  ) -> ImageMetrics:
    """Returns the metrics of every image.

    Args:
      images: `[N, H, W]` uint8.
      iteration: at which the schedules are read.
      seed: of the noise; the same seed gives the same numbers.
      progress: yields the starts of the batches, as they are, and so is told
        of every batch.
    """
    key = tf.constant([seed, _EVALUATION_STREAM])
    batches = [
      self._evaluate(
        tf.constant(images[start : start + BATCH_SIZE]),
        noise.fold_in(key, start),
        tf.constant(iteration, tf.int64),
      )
      for start in progress(range(0, len(images), BATCH_SIZE))
    ]
    return ImageMetrics(
      *(np.concatenate(field) for field in zip(*batches, strict=True))
    )

  def _evaluate_batch(self, images, key, iteration) -> ImageMetrics:
    model = self._model
    batch_size = images.shape[0]
    output = self._infer_batch(images, key, iteration)
    terms = model.elbo_terms(output, model.final_priors())
    annealed = model.elbo_terms(output, model.priors(iteration))
    at_means = model(output.images, model.zero_noise(batch_size))
    zeros = tf.zeros([batch_size])
    reinforce_loss = baseline_loss = learning_signal = zeros
    if model.baseline is not None:
      objective = model.objective(output, terms)
      reinforce_loss += objective.reinforce_loss
      baseline_loss += objective.baseline_loss
      learning_signal += objective.learning_signal
    reconstruction = terms.expected_reconstruction()
    return ImageMetrics(
      num_steps=output.num_steps,
      num_steps_mode=at_means.num_steps_posterior().mode(),
      elbo=-reconstruction - terms.kl(),
      reconstruction=reconstruction,
      kl_num_steps=terms.kl_num_steps,
      kl_num_steps_annealed=annealed.kl_num_steps,
      kl_what=terms.expected_kl_what(),
      kl_where=terms.expected_kl_where(),
      kl_where_annealed=annealed.expected_kl_where(),
      kl_background=terms.kl_background,
      windows=tf.transpose(output.steps.window, [1, 0, 2]),
      reinforce_loss=reinforce_loss,
      baseline_loss=baseline_loss,
      learning_signal=learning_signal,
    )

  def infer(self, images: np.ndarray, iteration: int, seed: int) -> AIROutput:
    """Returns everything that the model infers, as numpy arrays.

    With the noise of `evaluate`. A canvas is as large as a float image: mind
    the memory that many images take.

    Args:
      images: `[N, H, W]` uint8, at most `BATCH_SIZE` of them.
      iteration: at which the presence floor is read.
      seed: of the noise.
    """
    if len(images) > BATCH_SIZE:
      raise ValueError(f"{len(images)} images, expected {BATCH_SIZE} at most")
    key = tf.constant([seed, _EVALUATION_STREAM])
    output = self._infer(
      tf.constant(images),
      noise.fold_in(key, 0),
      tf.constant(iteration, tf.int64),
    )
    return tree.map_structure(lambda t: t.numpy(), output)

  def _infer_batch(self, images, key, iteration) -> AIROutput:
    return self._model(
      as_floats(images),
      self._model.sample_noise(key, images.shape[0]),
      self._model.presence_floor(iteration),
    )

  def iwae(
    self,
    images: np.ndarray,
    iteration: int,
    num_samples: int,
    seed: int,
    batch_size: int = BATCH_SIZE,
    progress: Callable[[range], Iterable[int]] = iter,
  ) -> np.ndarray:
    """Returns the importance-weighted bound of log p(x), `[N]` nats.

    Burda et al. 2016, with joint samples of n and z, under the final prior.

    Args:
      images: `[N, H, W]` uint8, or float32 in [0, 1].
      iteration: at which the presence floor is read.
      num_samples: K, samples per image.
      seed: of the noise.
      batch_size: images at a time, on which the noise depends.
      progress: see `evaluate`.
    """
    key = tf.constant([seed, _IWAE_STREAM])
    bounds = []
    for start in progress(range(0, len(images), batch_size)):
      batch = tf.constant(images[start : start + batch_size])
      batch_key = noise.fold_in(key, start)
      log_weights = [
        self._log_weights(
          batch,
          noise.fold_in(batch_key, k),
          tf.constant(iteration, tf.int64),
        )
        for k in range(num_samples)
      ]
      bounds.append(
        tf.reduce_logsumexp(tf.stack(log_weights), axis=0)
        - math.log(num_samples)
      )
    return np.concatenate(bounds)

  def _log_weights_of_batch(self, images, key, iteration) -> tf.Tensor:
    output = self._infer_batch(images, key, iteration)
    return self._model.log_importance_weights(
      output, self._model.final_priors()
    )


def summarize(
  image_metrics: ImageMetrics, counts: np.ndarray | None, max_steps: int
) -> dict[str, Any]:
  """Returns the means over the images, ready for JSON.

  Args:
    image_metrics: of N images.
    counts: `[N]` integer, the true counts; None: leaves out what needs them.
    max_steps: T.
  """
  means = {
    name: float(np.mean(getattr(image_metrics, name)))
    for name in (
      "elbo",
      "reconstruction",
      "kl_num_steps",
      "kl_what",
      "kl_where",
    )
  }
  if image_metrics.kl_background.any():
    means["kl_background"] = float(np.mean(image_metrics.kl_background))
  summary: dict[str, Any] = {"num_images": len(image_metrics.elbo), **means}
  summary["mean_num_steps"] = float(np.mean(image_metrics.num_steps))
  if counts is None:
    return summary
  for suffix, inferred in (
    ("", image_metrics.num_steps),
    ("_mode", image_metrics.num_steps_mode),
  ):
    confusion = metrics.count_confusion(counts, inferred, max_steps)
    summary[f"count_accuracy{suffix}"] = metrics.count_accuracy(
      counts, inferred
    )
    summary[f"count_confusion{suffix}"] = confusion.tolist()
    summary[f"count_accuracy_per_count{suffix}"] = {
      str(count): accuracy
      for count, accuracy in metrics.accuracy_per_count(confusion).items()
    }
  return summary
