"""Training: the step, compiled with many iterations in one call."""

import functools
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tree

from air import config as config_lib
from air import noise, prior
from air.errors import ConfigError
from air.model import AIRModel, as_floats
from air.optimizers import RMSProp
from air.storage import memory

# The baseline's learning rate over the model's (post).
BASELINE_RATE_RATIO = 10.0
# Streams of random numbers, the second entry of a seed (0: the weights).
_NOISE_STREAM = 1
_ORDER_STREAM = 2


class StepMetrics(NamedTuple):
  """Means over a batch, `[]`, in nats; the KL terms under the annealed prior.

  Attributes:
    loss: reconstruction plus the KL terms, the negative ELBO.
    reconstruction: -log p(x|canvas) as the estimator sees it.
    kl_num_steps: KL(q(n|z) || p(n)).
    kl_what: sum_i q(n>=i|z) KL(z_what_i).
    kl_where: sum_i q(n>=i|z) KL(z_where_i).
    kl_background: KL(q(z_bg|x) || p(z_bg)); zero without z_bg.
    reinforce_loss: of the score function; zero without one.
    baseline_loss: of the baseline; zero without one.
    learning_signal: the mean of what multiplies the score, not centred; zero
      without one.
    signal_variance: its variance, nats squared; zero without one.
  """

  loss: tf.Tensor
  reconstruction: tf.Tensor
  kl_num_steps: tf.Tensor
  kl_what: tf.Tensor
  kl_where: tf.Tensor
  kl_background: tf.Tensor
  reinforce_loss: tf.Tensor
  baseline_loss: tf.Tensor
  learning_signal: tf.Tensor
  signal_variance: tf.Tensor

  def not_finite(self) -> list[str]:
    """Returns what is not finite, in words, of metrics as numbers."""
    broken = [
      f"{name} is {value}"
      for name, value in self._asdict().items()
      if not math.isfinite(value)
    ]
    # The loss is the sum of its terms; one of them says more.
    terms = [text for text in broken if not text.startswith("loss ")]
    return terms or broken


@functools.lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, num_images: int) -> np.ndarray:
  """Returns the order of the images in an epoch, `[num_images]`."""
  rng = np.random.default_rng([seed, _ORDER_STREAM, epoch])
  return rng.permutation(num_images)


class Trainer(tf.Module):
  """Trains a model on images held in memory.

  The state of training is what `tf.train.Checkpoint(trainer=...)` saves: the
  model, the optimizers' slots and the iteration. Everything random is a
  function of the seed and the iteration, so training goes on from a saved
  state exactly as it would have.
  """

  def __init__(
    self,
    config: config_lib.AIRConfig,
    images: np.ndarray,
    jit_compile: bool = True,
    iterations_per_call: int = 50,
  ):
    """Makes the model, its optimizers and the iteration, zero.

    Args:
      config: of model, priors and training.
      images: `[N, H, W]` uint8.
      jit_compile: compile the iterations with XLA.
      iterations_per_call: the most iterations in one call of `train`.

    Raises:
      ConfigError: if there are fewer images than in a batch, or if
        its samples cannot fit into memory.
    """
    super().__init__(name="trainer")
    training = config.training
    if training.batch_size > len(images):
      raise ConfigError(
        f"batch_size is {training.batch_size}, expected no more than the"
        f" {len(images)} training images"
      )
    self.config = config
    self.iterations_per_call = iterations_per_call
    self.model = AIRModel(config)
    self._check_memory(images.shape[1:])

    self.optimizer = RMSProp(self.model.model_variables, training.learning_rate)
    self.baseline_optimizer = RMSProp(
      self.model.baseline_variables,
      training.learning_rate * BASELINE_RATE_RATIO,
    )
    self.iteration = tf.Variable(0, trainable=False, dtype=tf.int64)
    self._images = images
    self._seed = tf.constant([training.seed, _NOISE_STREAM])
    self._run = tf.function(
      self._iterate, jit_compile=jit_compile, autograph=False
    )
    self._gradients = tf.function(self._gradients_of_batch, autograph=False)

  def _check_memory(self, image_size: tuple[int, ...]) -> None:
    """Checks that the images and canvases of a batch can fit into memory."""
    samples = self.model.num_samples
    batch_size = self.config.training.batch_size
    images = samples * batch_size * (1 + self.config.model.num_steps)
    try:
      memory.require(4 * images * math.prod(image_size))
    except MemoryError as error:
      culprit = f"batch_size is {batch_size}"
      if samples > 1:
        culprit = f"num_samples is {samples}"
      raise ConfigError(
        f"{culprit}, expected a batch that fits into memory: {error}"
      ) from error

  def train(self, num_iterations: int) -> StepMetrics:
    """Runs iterations and returns the means of their metrics, as numbers.

    Args:
      num_iterations: 1..`iterations_per_call`. It stops early at an iteration
        where a metric is not finite, of which the means then tell.
    """
    if not 1 <= num_iterations <= self.iterations_per_call:
      raise ValueError(
        f"num_iterations is {num_iterations}, expected 1 to"
        f" {self.iterations_per_call}"
      )
    done, sums = self._call(num_iterations)
    self.iteration.assign_add(done)
    return StepMetrics(*(float(s) / done for s in sums))

  def compile(self) -> None:
    """Does what the first call of `train` would spend its time on."""
    self._call(0)

  def _call(self, num_iterations: int) -> tuple[int, StepMetrics]:
    first = int(self.iteration.numpy())
    # A call always gets the same shape, so that it is compiled only once.
    batches = np.zeros(
      [
        self.iterations_per_call,
        self.config.training.batch_size,
        *self._images.shape[1:],
      ],
      np.uint8,
    )
    for i in range(num_iterations):
      np.take(
        self._images, self.batch_indices(first + i), axis=0, out=batches[i]
      )
    done, sums = self._run(
      tf.constant(batches),
      tf.constant(first, tf.int64),
      tf.constant(num_iterations),
    )
    return int(done), sums

  def batch_indices(self, iteration: int) -> np.ndarray:
    """Returns the images of the iteration's batch, `[B]`.

    Every epoch goes through all images in an order of its own.
    """
    size, num_images = self.config.training.batch_size, len(self._images)
    first = iteration * size
    epoch, start = divmod(first, num_images)
    seed = self.config.training.seed
    indices = _epoch_order(seed, epoch, num_images)[start : start + size]
    if len(indices) < size:
      rest = _epoch_order(seed, epoch + 1, num_images)[: size - len(indices)]
      indices = np.concatenate([indices, rest])
    return indices

  def _iterate(
    self, batches: tf.Tensor, first: tf.Tensor, num_iterations: tf.Tensor
  ) -> tuple[tf.Tensor, StepMetrics]:
    """Returns how many iterations it did from `first` on, and metrics' sums.

    It ends after the first iteration with a metric that is not finite: that one
    alone then tells which.
    """

    def body(i, sums):
      iteration = first + tf.cast(i, tf.int64)
      metrics = self.step(*self._batch(batches[i], iteration), iteration)
      return i + 1, tree.map_structure(tf.add, sums, metrics)

    def goes_on(i, sums):
      return (i < num_iterations) & tf.math.is_finite(tf.add_n(list(sums)))

    zeros = StepMetrics(*[tf.zeros([])] * len(StepMetrics._fields))
    return tf.while_loop(goes_on, body, (tf.constant(0), zeros))

  def batch(
    self, images: tf.Tensor, seed: tf.Tensor
  ) -> tuple[tf.Tensor, noise.Noise]:
    """Returns what `gradients` takes, for K samples of each image.

    Args:
      images: `[B, H, W]` uint8.
      seed: `[2]`, of the noise.

    Returns:
      Images `[K B, H, W]` in [0, 1], and noise for them.
    """
    num_samples = self.model.num_samples
    step_noise = self.model.sample_noise(seed, num_samples * images.shape[0])
    return tf.tile(as_floats(images), [num_samples, 1, 1]), step_noise

  def _batch(
    self, images: tf.Tensor, iteration: tf.Tensor
  ) -> tuple[tf.Tensor, noise.Noise]:
    return self.batch(images, noise.fold_in(self._seed, iteration))

  def next_gradients(
    self,
  ) -> tuple[StepMetrics, list[tf.Tensor], list[tf.Tensor]]:
    """Returns what `gradients` does for the next iteration's batch."""
    iteration = int(self.iteration.numpy())
    images = self._images[self.batch_indices(iteration)]
    return self._gradients(
      tf.constant(images), tf.constant(iteration, tf.int64)
    )

  def _gradients_of_batch(self, images, iteration):
    return self.gradients(*self._batch(images, iteration), iteration)

  def step(
    self, images: tf.Tensor, step_noise: noise.Noise, iteration: tf.Tensor
  ) -> StepMetrics:
    """Takes one step of both optimizers and returns what it saw.

    Args:
      images: `[K B, H, W]` float in [0, 1], see `batch`.
      step_noise: for them.
      iteration: `[]` int64, at which the schedules are read.
    """
    metrics, gradients, baseline_gradients = self.gradients(
      images, step_noise, iteration
    )
    factor = rate_factor(self.config.training, iteration)
    self.optimizer.apply(gradients, factor)
    self.baseline_optimizer.apply(baseline_gradients, factor)
    if self.model.signal_moments is not None:
      self.model.signal_moments.update(
        metrics.learning_signal, metrics.signal_variance
      )
    return metrics

  def gradients(
    self, images: tf.Tensor, step_noise: noise.Noise, iteration: tf.Tensor
  ) -> tuple[StepMetrics, list[tf.Tensor], list[tf.Tensor]]:
    """Returns metrics and gradients in the model's and baseline's variables.

    Args:
      images: `[K B, H, W]` float in [0, 1], see `batch`.
      step_noise: for them.
      iteration: `[]` int64, at which the schedules are read.
    """
    model = self.model
    with tf.GradientTape() as tape:
      output = model(images, step_noise, model.presence_floor(iteration))
      terms = model.elbo_terms(output, model.priors(iteration))
      objective = model.objective(output, terms)
      # Neither part has a gradient in the other's variables.
      loss = objective.loss + objective.baseline_loss
    num_model_variables = len(model.model_variables)
    gradients = tape.gradient(
      loss,
      [*model.model_variables, *model.baseline_variables],
      unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    metrics = StepMetrics(
      loss=objective.reconstruction + tf.reduce_mean(terms.kl()),
      reconstruction=objective.reconstruction,
      kl_num_steps=tf.reduce_mean(terms.kl_num_steps),
      kl_what=tf.reduce_mean(terms.expected_kl_what()),
      kl_where=tf.reduce_mean(terms.expected_kl_where()),
      kl_background=tf.reduce_mean(terms.kl_background),
      reinforce_loss=objective.reinforce_loss,
      baseline_loss=objective.baseline_loss,
      learning_signal=objective.learning_signal,
      signal_variance=objective.signal_variance,
    )
    return (
      metrics,
      gradients[:num_model_variables],
      gradients[num_model_variables:],
    )


def rate_factor(
  training: config_lib.TrainingConfig, iteration: tf.Tensor | int
) -> tf.Tensor | float:
  """Returns the learning rates over those at the start, `[]`.

  Args:
    training: has the schedule.
    iteration: `[]` int64.
  """
  if training.learning_rate_final_ratio == 1.0:
    return 1.0
  fraction = prior.annealed_fraction(
    iteration, training.learning_rate_hold, training.learning_rate_anneal
  )
  log_ratio = math.log(training.learning_rate_final_ratio)
  return tf.cast(tf.exp(log_ratio * fraction), tf.float32)
