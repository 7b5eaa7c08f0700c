"""The methods of the downstream tasks: what is read of images, and by what.

`experiments.paper.downstream` says what each of them is.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

import air
from data.dataset import Split
from experiments.common import codes as codes_lib
from experiments.common import runs, trained
from experiments.paper import classifiers, tasks
from experiments.paper.classifiers import Settings

FROZEN, SAMPLED, TUNED = "", "-sampled", "-tuned"
PIXELS, AUTOENCODER, TRUE_BOXES = "pixels", "autoencoder", "true-boxes"
# Chosen on validation images, see docs/reproduce.md; so far of `FROZEN` only.
_SETTINGS = {
  FROZEN: Settings(0.25, 1e-2),
  SAMPLED: Settings(0.25, 1e-2),
  TUNED: Settings(0.25, 3e-4),
  PIXELS: Settings(0.25, 3e-3),
  AUTOENCODER: Settings(0.25, 3e-3),
  TRUE_BOXES: Settings(0.25, 3e-3),
}
# What they were chosen from: dropouts and learning rates. The weights of a
# model, which are trained already, are trained on at a tenth of the rate.
_SPACE = tuple(
  itertools.starmap(
    Settings, itertools.product((0.0, 0.25, 0.5), (1e-3, 3e-3, 1e-2))
  )
)
_TUNED_RATE = 0.1
NUM_TRIALS = len(_SPACE)


class Model(NamedTuple):
  """A trained model.

  Attributes:
    run: that it is of.
    iteration: of the checkpoint.
  """

  run: runs.Run
  iteration: int

  def restore(self) -> air.AIRModel:
    """Returns the model itself, with the weights of the checkpoint."""
    paths = trained.checkpoints_at(self.run, [self.iteration])
    return trained.model_at(self.run, paths[self.iteration])


class Method(NamedTuple):
  """A method.

  Attributes:
    model: the name of the model whose codes are read; empty: none.
    kind: what is done with the codes, or what is read in their stead.
  """

  model: str
  kind: str

  @property
  def name(self) -> str:
    """What it is called."""
    return self.model + self.kind


def of_models(models: Sequence[str]) -> dict[str, Method]:
  """Returns all methods by name.

  Args:
    models: names of models.
  """
  methods = [
    *itertools.starmap(
      Method, itertools.product(models, (FROZEN, SAMPLED, TUNED))
    ),
    *(Method("", kind) for kind in (PIXELS, AUTOENCODER, TRUE_BOXES)),
  ]
  return {method.name: method for method in methods}


def settings_of(kind: str, trial: int) -> Settings:
  """Returns the settings of a method.

  Args:
    kind: of the method.
    trial: 0: those chosen; 1 to `NUM_TRIALS`: those that they were chosen from.
  """
  if not trial:
    return _SETTINGS[kind]
  dropout, learning_rate = _SPACE[trial - 1]
  if kind == TUNED:
    learning_rate *= _TUNED_RATE
  return Settings(dropout, learning_rate)


class Methods:
  """Trains and tests classifiers.

  Attributes:
    models: by name, of each at least one; a seed has one of them.
  """

  def __init__(
    self,
    models: Mapping[str, Sequence[Model]],
    labelled: Split,
    held_out: Split,
  ):
    """Makes it.

    Args:
      models: see above.
      labelled: images to train on.
      held_out: images to test on.
    """
    self.models = models
    self._splits = (labelled, held_out)
    first = next(iter(models.values()))[0].run.air.model
    self._glimpse_size = first.glimpse_size
    self._code_size = tasks.NUM_OBJECTS * (first.what_size + first.where_size)
    # What comes next reads the same, or another method codes of the same run.
    self._read = functools.lru_cache(1)(self._read_by)
    self._codes = functools.lru_cache(len(models))(self._infer)

  def model_of(self, method: Method, seed: int) -> Model | None:
    """Returns the model whose codes a method reads; None: it reads none."""
    group = self.models.get(method.model, ())
    return group[seed % len(group)] if group else None

  def most_frequent(self, task: str) -> float:
    """Returns the share of the images to test on with the same answer.

    Args:
      task: one of `tasks.NUM_ANSWERS`.
    """
    answers = tasks.answers(task, self._splits[1])
    return float(np.max(np.bincount(answers)) / len(answers))

  def accuracy(
    self, method: Method, task: str, labels: int, seed: int, settings: Settings
  ) -> float:
    """Trains a classifier; returns the share of its answers that are right.

    Args:
      method: that it is of.
      task: one of `tasks.NUM_ANSWERS`.
      labels: how many of the labelled images it is trained on.
      seed: of their choice, and of all else.
      settings: of the training.
    """
    answers, right = (tasks.answers(task, split) for split in self._splits)
    order = np.random.default_rng(seed).permutation(len(answers))
    chosen = order[:labels]
    kind = FROZEN if method.kind == TUNED else method.kind
    read, read_in_test = self._read(method._replace(kind=kind), seed)
    classifiers.seed_all(seed)
    make = {
      PIXELS: classifiers.of_images, AUTOENCODER: classifiers.of_vectors,
    }.get(kind, classifiers.of_objects)  # fmt: skip
    network = make(read.shape[1:], tasks.NUM_ANSWERS[task], settings.dropout)
    rate = settings.learning_rate
    if method.kind == TUNED:
      rate = _SETTINGS[FROZEN].learning_rate
    classifiers.train(network, read[chosen], answers[chosen], rate)
    if method.kind == TUNED:
      model = self.model_of(method, seed)
      assert model is not None
      network = classifiers.with_encoder(network, model.restore())
      read, read_in_test = (split.images for split in self._splits)
      classifiers.train(
        network, read[chosen], answers[chosen], settings.learning_rate,
        tuned=True,
      )  # fmt: skip
    found = classifiers.outputs(network, read_in_test).argmax(axis=-1)
    return float(np.mean(found == right))

  def _read_by(self, method: Method, seed: int) -> list[np.ndarray]:
    """Returns what a method reads of the images of both splits."""
    if method.kind == PIXELS:
      return [split.images for split in self._splits]
    if method.kind == AUTOENCODER:
      _, encoder = classifiers.autoencoder(
        self._splits[0].images, self._code_size, seed
      )
      return [
        classifiers.outputs(encoder, split.images) for split in self._splits
      ]
    if method.kind == TRUE_BOXES:
      return [
        tasks.true_objects(split, self._glimpse_size) for split in self._splits
      ]
    model = self.model_of(method, seed)
    assert model is not None
    rng = np.random.default_rng(seed)
    features = []
    for codes in self._codes(model):
      count = codes.count
      if method.kind == SAMPLED:
        count = sampled(codes.count_probs, rng)
      features.append(classifiers.object_features(codes, count).numpy())
    return features

  def _infer(self, model: Model) -> list[codes_lib.Codes]:
    """Returns a model's codes of both splits, of the first two steps."""
    network = model.restore()
    found = []
    for split in self._splits:
      *fields, count_probs = codes_lib.infer(network, split.images)
      first = (field[:, : tasks.NUM_OBJECTS] for field in fields)
      found.append(codes_lib.Codes(*first, count_probs))
    return found


def sampled(probs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Returns a number for each row of probabilities.

  Args:
    probs: `[N, T + 1]`, of 0..T.
    rng: the source of randomness.

  Returns:
    int `[N]`.
  """
  above = rng.random([len(probs), 1]) >= np.cumsum(probs, axis=-1)[:, :-1]
  return above.sum(axis=-1)
