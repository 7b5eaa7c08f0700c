"""Training from Python: `air.fit`."""

import dataclasses
import difflib
from collections.abc import Callable
from typing import Any, get_type_hints

from air import images as images_lib
from air.api import TrainedModel
from air.config import AIRConfig
from air.errors import ConfigError, DivergedError
from air.images import Reading
from air.storage import inputs, pretrained
from air.training import StepMetrics, Trainer

Callback = Callable[[TrainedModel, StepMetrics], None]


def fit(
  images: Any,
  iterations: int = 10_000,
  *,
  callback: Callback | None = None,
  callback_every: int = 500,
  invert: bool = False,
  max_value: float = 0,
  jit_compile: bool = True,
  **settings: Any,
) -> TrainedModel:
  """Returns a model trained on images; nothing is written to disk.

  With the settings of the default configuration, and the numbers of
  `experiments.train` on the same images. An interrupt (Ctrl-C, or a notebook's
  stop button) ends training early: the model is returned as it is.

      >>> model = air.fit(images, iterations=2, num_steps=2, batch_size=8)
      >>> model
      TrainedModel(iteration 2, 50x50, up to 2 objects)

  Args:
    images: as `TrainedModel` takes them, at least `batch_size`, all of a size.
    iterations: of training.
    callback: called every `callback_every` iterations and at the end with the
      model as it is, and the means of the metrics over the iterations since its
      last call.
    callback_every: iterations between two calls, a multiple of 50.
    invert: whether objects are dark on a bright ground.
    max_value: of a pixel, where the type does not say it.
    jit_compile: compile with XLA, which takes some 10 s at the start and makes
      each iteration faster.
    **settings: fields of `ModelConfig`, `PriorConfig` and `TrainingConfig`.

  Raises:
    air.InputError: if the images or an argument cannot work.
    air.ConfigError: if a setting cannot.
    air.DivergedError: if a term of the loss is not finite.
  """
  pixels = images_lib.read(
    "images", images, Reading(invert, max_value), rounded=True
  )
  images_lib.check_sets({"images": pixels})
  iterations = inputs.integer("iterations", iterations, lowest=1)
  every = inputs.integer("callback_every", callback_every, lowest=1)
  config = _config(pixels.shape[1:], settings)
  trainer = Trainer(config, pixels, jit_compile=jit_compile)
  if config.training.init_from:
    pretrained.initialize(trainer.model, config.training.init_from, "init_from")
  iteration = 0
  since: list[tuple[int, StepMetrics]] = []
  try:
    while iteration < iterations:
      target = min(iterations, (iteration // every + 1) * every)
      count = min(target - iteration, trainer.iterations_per_call)
      metrics = trainer.train(count)
      iteration = int(trainer.iteration.numpy())
      if broken := metrics.not_finite():
        raise DivergedError(
          f"training stopped, for {', '.join(broken)} at iteration {iteration};"
          " try a lower learning_rate"
        )
      since.append((count, metrics))
      if callback and (iteration % every == 0 or iteration == iterations):
        callback(TrainedModel(trainer.model, iteration), _mean(since))
        since = []
  except KeyboardInterrupt:
    iteration = int(trainer.iteration.numpy())
  return TrainedModel(trainer.model, iteration)


def _config(image_size: tuple[int, ...], settings: dict[str, Any]) -> AIRConfig:
  """Returns the default configuration with some fields set."""
  if "image_size" in settings:
    raise ConfigError("image_size is that of the images, expected no setting")
  parts, known = {}, []
  rest = {**settings, "image_size": tuple(map(int, image_size))}
  for name, part in get_type_hints(AIRConfig).items():
    fields = [field.name for field in dataclasses.fields(part)]
    parts[name] = part(**{f: rest.pop(f) for f in fields if f in rest})
    known += fields
  if rest:
    name = next(iter(rest))
    close = difflib.get_close_matches(name, known, 1)
    hint = f"; perhaps {close[0]}" if close else ""
    raise ConfigError(
      f"{name} is no setting, expected a field of ModelConfig, PriorConfig or"
      f" TrainingConfig{hint}"
    )
  return AIRConfig(**parts)


def _mean(calls: list[tuple[int, StepMetrics]]) -> StepMetrics:
  """Returns the means over all iterations of some calls."""
  total = sum(count for count, _ in calls)
  fields = zip(*(metrics for _, metrics in calls), strict=True)
  counts = [count for count, _ in calls]
  return StepMetrics(
    *(
      sum(c * v for c, v in zip(counts, values, strict=True)) / total
      for values in fields
    )
  )
