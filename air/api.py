"""A trained model, to be used on images: `air.load`."""

import functools
import math
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from air import scenes, surprise
from air.errors import InputError
from air.evaluation import Evaluator
from air.images import Reading
from air.model import AIRModel
from air.scenes import BATCH_SIZE, Scenes
from air.storage import inputs, memory, pretrained
from air.surprise import Surprise


class TrainedModel:
  """A trained model: what it sees in images, and scenes that it makes up.

  Images are numpy arrays of the size that the model was trained on, `[N, H, W]`
  or `[N, H, W, C]` with 1 (grey), 3 (RGB) or 4 (RGB and opacity) channels. They
  are bool, uint8, or floats in [0, 1]. Objects are bright on black; a pixel is
  as bright as its brightest channel. Two arguments say where images are
  otherwise: `invert`, that objects are dark on a bright ground, and
  `max_value`, what the brightest possible pixel is stored as, for example 65535
  of uint16. What could be read in two ways is refused.

  Results are numpy arrays and a function of the arguments alone, noise
  included: an image and its place in the sequence, but not the other images,
  decide what is inferred of it. All methods raise `air.InputError` if an
  argument cannot work.

  Attributes:
    network: what was trained.
    iteration: of training, at which the model stands.
    source: what it was read from, as `air.load` was told it, if it was.
  """

  def __init__(
    self,
    network: AIRModel,
    iteration: int,
    reference: surprise.Scores | None = None,
    source: str | os.PathLike[str] | None = None,
  ):
    """Makes it of a network; `air.load` reads one.

    Args:
      network: trained.
      iteration: of training, at which it stands.
      reference: scores of images like the training images, which `surprise`
        compares with.
      source: where it is from.
    """
    self.network = network
    self.iteration = iteration
    self.source = source
    self._reference = reference
    self._scorer = surprise.Scorer(network)
    self._evaluator = Evaluator(network)
    # Nothing here needs AutoGraph, and without it tracing takes two thirds.
    function = functools.partial(tf.function, autograph=False)
    self._infer = function(functools.partial(scenes.infer, network))
    self._sample = function(functools.partial(scenes.sample, network))

  def __repr__(self) -> str:
    source = "" if self.source is None else f"{os.fspath(self.source)}, "
    height, width = self.image_size
    objects = "object" if self.num_steps == 1 else "objects"
    return (
      f"TrainedModel({source}iteration {self.iteration}, {height}x{width}, up"
      f" to {self.num_steps} {objects})"
    )

  @property
  def image_size(self) -> tuple[int, ...]:
    """(H, W) of the images, pixels."""
    return self.network.config.model.image_size

  @property
  def num_steps(self) -> int:
    """T, the most objects in an image."""
    return self.network.config.model.num_steps

  def infer(
    self,
    images: Any,
    seed: int = 0,
    *,
    invert: bool = False,
    max_value: float = 0,
  ) -> Scenes:
    """Returns how many objects are in each image, where, and what they are.

    The latents are samples of their posterior; the count is the most probable
    one given these.

        >>> scenes = model.infer(images)
        >>> scenes.count.shape, scenes.boxes.shape, scenes.canvas.shape
        ((16,), (16, 3, 4), (16, 50, 50))
        >>> scenes.boxes[scenes.presence].shape == (scenes.count.sum(), 4)
        True

    Args:
      images: at least one. Scenes take some T + 1 times the memory of the
        images as floats; see `infer_batches`.
      seed: of the samples.
      invert: whether objects are dark on a bright ground.
      max_value: of a pixel, where the type does not say it.
    """
    batches = self.infer_batches(
      images, seed, invert=invert, max_value=max_value
    )
    return _join(batches)

  def infer_batches(
    self,
    images: Any,
    seed: int = 0,
    *,
    invert: bool = False,
    max_value: float = 0,
  ) -> Iterator[Scenes]:
    """Yields what `infer` returns, some images at a time, in order.

        >>> sum(len(scenes.count) for scenes in model.infer_batches(images))
        16

    Args:
      images: at least one.
      seed: of the samples.
      invert: see `infer`.
      max_value: see `infer`.
    """
    reading = Reading(invert, max_value)
    images = inputs.images(images, self.image_size, reading)
    seed = inputs.integer("seed", seed)

    def infer(seed: tf.Tensor, start: tf.Tensor) -> Scenes:
      return self._infer(
        scenes.padded(images[start : start + BATCH_SIZE]), seed, start
      )

    return _batches(infer, len(images), seed)

  def reconstruct(
    self,
    images: Any,
    seed: int = 0,
    *,
    invert: bool = False,
    max_value: float = 0,
  ) -> np.ndarray:
    """Returns the images as the model paints them, `[N, H, W]` float32.

        >>> canvas = model.reconstruct(images)
        >>> bool(np.all(canvas == model.infer(images).canvas))
        True

    Args:
      images: at least one.
      seed: of the samples of the latents.
      invert: see `infer`.
      max_value: see `infer`.
    """
    batches = self.infer_batches(
      images, seed, invert=invert, max_value=max_value
    )
    return np.concatenate([scenes.canvas for scenes in batches])

  def log_prob(
    self,
    images: Any,
    iwae_samples: int = 100,
    seed: int = 0,
    *,
    invert: bool = False,
    max_value: float = 0,
  ) -> np.ndarray:
    """Returns a lower bound of log p(x) of each image, `[N]` float32, nats.

    The importance-weighted bound (Burda et al. 2016) under the final priors: of
    densities of pixels, so that it may be positive. More samples come closer.

        >>> model.log_prob(images, iwae_samples=2).shape
        (16,)

    Args:
      images: at least one.
      iwae_samples: samples of the latents per image, at most 100,000.
      seed: of the samples.
      invert: see `infer`.
      max_value: see `infer`.
    """
    reading = Reading(invert, max_value)
    images = inputs.images(images, self.image_size, reading)
    bounds = self._evaluator.iwae(
      scenes.padded(images),
      self.iteration,
      inputs.integer("iwae_samples", iwae_samples, 1, inputs.MOST_SAMPLES),
      inputs.integer("seed", seed),
      BATCH_SIZE,
    )
    return bounds[: len(images)]

  def surprise(
    self,
    images: Any,
    seed: int = 0,
    *,
    invert: bool = False,
    max_value: float = 0,
  ) -> Surprise:
    """Returns how unlike the training images each image is.

        >>> surprise = model.surprise(images)
        >>> surprise.elbo.shape, surprise.p_value.shape
        ((16,), (16,))
        >>> unlike = surprise.p_value < 0.01  # more than 99 % of those

    Args:
      images: at least one.
      seed: of the latents: those of `infer`.
      invert: see `infer`.
      max_value: see `infer`.
    """
    reading = Reading(invert, max_value)
    images = inputs.images(images, self.image_size, reading)
    scores = self._scorer(images, inputs.integer("seed", seed))
    if self._reference is None:
      return Surprise(scores.elbo, None)
    return Surprise(scores.elbo, surprise.p_values(scores, self._reference))

  def sample(self, n: int, seed: int = 0, count_probs: Any = None) -> Scenes:
    """Returns scenes drawn from the generative model.

    The canvas is the mean of p(x|scene), without the noise of pixels.

        >>> scenes = model.sample(5, count_probs=[0, 0.5, 0.5, 0])
        >>> scenes.canvas.shape
        (5, 50, 50)
        >>> set(scenes.count.tolist()) <= {1, 2}
        True

    Args:
      n: number of scenes, at least 1.
      seed: of the samples.
      count_probs: `[T + 1]`, probabilities of 0..T objects. None: the model's
        prior, which prices objects; where its success probability is small, as
        by default, nearly all of its scenes are empty.

    Raises:
      MemoryError: if so many scenes cannot fit into memory.
    """
    probs = scenes.count_probs_for(self.network, count_probs)
    n = inputs.integer("n", n, lowest=1)
    seed = inputs.integer("seed", seed)
    # Their objects and canvases.
    memory.require(4 * n * (self.num_steps + 1) * math.prod(self.image_size))
    return _join(_batches(functools.partial(self._sample, probs), n, seed))

  def paint(self, z_what: Any, z_where: Any) -> np.ndarray:
    """Returns what objects of these latents look like, `[N, H, W]` float32.

        >>> scenes = model.infer(images)
        >>> painted = model.paint(scenes.z_what[:, 0], scenes.z_where[:, 0])
        >>> bool(np.allclose(painted, scenes.objects[:, 0], atol=1e-5))
        True

    Args:
      z_what: `[N, Z]`, at least one, see `Scenes`.
      z_where: `[N, D]`.

    Raises:
      InputError: also if what they look like is not finite.
    """
    config = self.network.config.model
    what = inputs.latents("z_what", z_what, config.what_size)
    where = inputs.latents("z_where", z_where, config.where_size)
    if len(what) != len(where):
      raise InputError(
        f"z_where has {len(where)} entries, expected the {len(what)} of z_what"
      )
    painted = self.network.paint(what[:, None], where[:, None])[:, 0].numpy()
    if not np.isfinite(painted).all():
      raise InputError(
        "z_what or z_where is so large that what it looks like is not finite,"
        " expected latents nearer to 0"
      )
    return painted


def load(run_dir: str | os.PathLike[str]) -> TrainedModel:
  """Returns a trained model: one that ships, or that of a run.

      >>> import air
      >>> air.load("multi_mnist")
      TrainedModel(multi_mnist, iteration 10000, 50x50, up to 3 objects)
      >>> model = air.load("runs/default")
      >>> model
      TrainedModel(runs/default, iteration 20, 50x50, up to 3 objects)
      >>> model.image_size
      (50, 50)

  air/pretrained/README.md describes the models that ship. A run's model is that
  of its newest good checkpoint; a damaged one is passed over with a warning in
  the log.

  Args:
    run_dir: the name of a model that ships; or the folder of a run, as
      `experiments.train` leaves it, finished or not. A path object, or a name
      with a / in it, is always a folder.

  Raises:
    air.RunError: if there is no such model, if the folder of a run has the name
      of one that ships, or if a run has no checkpoint yet.
    air.ConfigError: if it is of another version.
    air.CheckpointError: if none of a run's checkpoints is good.
    OSError: if it cannot be read.
  """
  return TrainedModel(*pretrained.read(run_dir, "run_dir"), source=run_dir)


def _batches(
  scenes_from: Callable[[tf.Tensor, tf.Tensor], Any], num: int, seed: int
) -> Iterator[Scenes]:
  """Yields scenes as numpy arrays.

  Args:
    scenes_from: (seed, start) to a batch of scenes, as tensors.
    num: of scenes in all.
    seed: of all of them.
  """
  for start in range(0, num, BATCH_SIZE):
    batch = scenes_from(tf.constant(seed), tf.constant(start))
    yield Scenes(*(field.numpy()[: num - start] for field in batch))


def _join(batches: Iterable[Scenes]) -> Scenes:
  return Scenes(
    *(np.concatenate(field) for field in zip(*batches, strict=True))
  )
