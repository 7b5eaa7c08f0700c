"""Evaluates, draws and logs a run while it trains."""

import json
import time
from collections.abc import Collection
from typing import Any

import tensorflow as tf

import experiments
from air import evaluation
from air.evaluation import Evaluator, ImageMetrics
from air.training import Trainer
from air.viz import projector, summaries
from data.dataset import Dataset, Split
from experiments.common import configuration, runs

# The training images on which `<tag>/train` is evaluated, and the validation
# images of an early evaluation.
_FEW_IMAGES = 2_000
_DRAWN_IMAGES = 8  # of those that the figure of progress shows


class Recorder:
  """Evaluates, draws and logs a run while it trains."""

  def __init__(
    self,
    run: runs.Run,
    trainer: Trainer,
    dataset: Dataset,
    seconds_before: float,
    hparams: Collection[str],
  ):
    """Opens the run's log, to go on from the trainer's iteration.

    Args:
      run: to be recorded.
      trainer: of the run.
      dataset: of the run.
      seconds_before: how long earlier processes trained up to here.
      hparams: see the flag.
    """
    self._seconds_before = seconds_before
    self._run = run
    self._trainer = trainer
    self._dataset = dataset
    self._train_split = dataset.train.first(_FEW_IMAGES)
    self.evaluator = Evaluator(trainer.model)
    self._validated: tuple[tuple[int, int], ImageMetrics] | None = None
    self.evaluations = run.read_metrics()
    described = summaries.has_hparams(run.folder)
    self._writer = summaries.SummaryWriter(run.folder)
    if not described:
      settings = run.settings()
      text = json.dumps(settings, indent=2)
      self._writer.text("configuration", f"```\n{text}\n```", 0)
      self._writer.hparams(configuration.hparams(settings, hparams))
      self._writer.layout()

  def seconds(self) -> float:
    """Returns how long the run has trained, start of the process included."""
    elapsed = time.monotonic() - experiments.STARTED
    return round(self._seconds_before + elapsed, 3)

  def _validation_metrics(self, split: Split) -> ImageMetrics:
    """Returns the metrics of validation images, evaluated only once.

    Args:
      split: the validation images, or the first of them.
    """
    iteration = int(self._trainer.iteration.numpy())
    evaluated = (iteration, len(split.images))
    if self._validated is None or self._validated[0] != evaluated:
      image_metrics = self.evaluator.evaluate(
        split.images, iteration, self._run.air.training.seed
      )
      self._validated = (evaluated, image_metrics)
    return self._validated[1]

  def evaluate(self, early: bool = False) -> dict[str, Any]:
    """Evaluates on validation and training images and logs the results.

    Args:
      early: on the first validation images only, in less than half the time.
    """
    trainer = self._trainer
    iteration = int(trainer.iteration.numpy())
    validation = self._dataset.validation
    if early:
      validation = validation.first(_FEW_IMAGES)
    train_metrics = self.evaluator.evaluate(
      self._train_split.images, iteration, self._run.air.training.seed
    )
    results = {}
    for name, split, image_metrics in (
      ("test", validation, self._validation_metrics(validation)),
      ("train", self._train_split, train_metrics),
    ):
      results[name] = evaluation.summarize(
        image_metrics, split.counts, self._run.air.model.num_steps
      )
      scalars = summaries.evaluation_scalars(
        image_metrics, results[name], trainer.model.baseline is not None
      )
      self._writer.scalars(
        {f"{tag}/{name}": value for tag, value in scalars.items()}, iteration
      )
    self._writer.scalars(summaries.schedule_scalars(trainer), iteration)
    self._log_gradients(iteration)
    self._writer.flush()
    result = {
      "iteration": iteration,
      "split": "validation",
      "seconds": self.seconds(),
      **results["test"],
    }
    self.evaluations.append(result)
    self._run.write_metrics(self.evaluations)
    return result

  def _log_gradients(self, iteration: int) -> None:
    model = self._trainer.model
    _, *gradients = self._trainer.next_gradients()
    norm = tf.linalg.global_norm(gradients[0])
    self._writer.scalars({"diagnostics/gradient_norm": float(norm)}, iteration)
    variables = (model.model_variables, model.baseline_variables)
    for pair in zip(variables, gradients, strict=True):
      self._writer.gradients(*pair, iteration)

  def log_speed(self, iterations_per_second: float) -> None:
    """Logs the speed of training."""
    self._writer.scalars(
      {summaries.SPEED: iterations_per_second},
      int(self._trainer.iteration.numpy()),
    )

  def draw(self) -> None:
    """Draws the figures, and writes objects for TensorBoard's projector."""
    from air.viz import (  # now: a run needs no matplotlib to start
      charts,
      figures,
    )

    iteration = int(self._trainer.iteration.numpy())
    seed = self._run.air.training.seed
    folder = self._run.figures
    split = self._dataset.validation.first(evaluation.BATCH_SIZE)
    output = self.evaluator.infer(split.images, iteration, seed)
    projector.write(self._run.folder, output, split.labels, split.boxes)
    progress = figures.progress(
      output, self._run.air.model.canvas_multiplier, _DRAWN_IMAGES
    )
    rgb = figures.save(progress, self._run.progress(iteration))
    self._writer.image("progress", rgb, iteration)
    self._writer.flush()
    image_metrics = self._validation_metrics(self._dataset.validation)
    scan_policy = figures.scan_policy(
      image_metrics.windows, image_metrics.num_steps
    )
    figures.save(scan_policy, folder / "scan_policy.png")
    counted = [e for e in self.evaluations if "count_accuracy" in e]
    if counted:
      curve = charts.accuracy_curve(counted)
      figures.save(curve, folder / "accuracy.png")

  def close(self) -> None:
    """Closes the event file."""
    self._writer.close()
