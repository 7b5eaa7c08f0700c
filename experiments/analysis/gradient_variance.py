r"""Measures the variance of each estimator's gradient at a run's checkpoints.

  python -m experiments.train --run_dir=runs/r --estimator=reinforce \
    --iterations=10000 --checkpoint_every=1000 --keep_checkpoints=10
  python -m experiments.analysis.gradient_variance --run_dir=runs/r \
    --iterations=0,1000,10000

All estimators see the same weights, minibatches and noise. There are two
measurements. In the first, each draw has its own minibatch and noise. In the
second, all draws share the first minibatch, and only the noise differs.

Gradients are those of training, without --presence_limit: the mean over a
minibatch, at the checkpoint's price of a step and presence floor.

Baselines: the checkpoints of a run hold the baseline that it was trained with.
All other baselines are fitted here, with the model's weights held fixed. So are
that of iteration 0, and one that was trained with --normalize_signal.

Bias: the mean of `marginal` minus that of `backpropagation` is what a score
function contributes. Half of the draws estimate its direction. The other half
estimate how far an estimator's mean lies from that of `marginal` along this
direction. The unit is the score function's contribution: 0 means unbiased, and
`backpropagation` has -1.

A run of DAIR has one more row, `through_canvas`: `marginal` with the part of
the gradient that training leaves out, which flows through the canvas that a
step observes.

Prints tables. Writes RUN_DIR/figures/gradient_variance.png, and a record for
each estimator and measurement to RUN_DIR/analysis/gradient_variance.jsonl.
Fails if the mean gradient of an unbiased estimator differs from that of
`marginal`. This is not checked where a trained model is so certain of n that
hardly any draw has another n: rare draws then dominate the mean. Takes minutes
of CPU time per checkpoint, and about 3 GB of memory.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from absl import flags
from etils import epy

import air
from air.storage import files
from experiments.common import launcher, runs, trained, wording
from experiments.common.outputs import Outputs
from experiments.common.progress import Task
from experiments.reports import variances

with epy.lazy_imports():
  import tensorflow as tf

  from air import estimators, noise
  from air import gradients as gradients_lib
  from air import training as training_lib
  from air.viz import charts, figures

# Streams of random numbers, the second entry of a seed (see air/training.py).
_DRAW_STREAM = 5
_FIT_STREAM = 6
_OUTPUTS = Outputs("gradient_variance", ".jsonl")


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  options = {"flag_values": flag_values, "module_name": "run"}
  trained.define_checkpoints_flags(flag_values)
  flags.DEFINE_integer(
    "draws", 200, "gradients of each kind; a hundred or more, for the check of"
    " the means to mean something", lower_bound=4, **options,
  )  # fmt: skip
  flags.DEFINE_integer(
    "baseline_iterations", 2_000, "iterations for which a baseline is fitted",
    lower_bound=0, **options,
  )  # fmt: skip
  _OUTPUTS.define_flags(flag_values)
  trained.define_dataset_flags(flag_values)


def _own_baseline(run: runs.Run, path: pathlib.Path | None) -> str | None:
  """Returns the estimator whose baseline a checkpoint has, if any."""
  if path is None or run.air.training.normalize_signal:
    return None
  return run.air.training.estimator


def _trainers(
  run: runs.Run, images: np.ndarray, path: pathlib.Path | None
) -> dict[str, training_lib.Trainer]:
  """Returns one for each estimator, all with the weights of a checkpoint."""
  restored = trained.model_at(run, path)
  trainers = {
    name: _trainer(
      run, images, restored, name, name == _own_baseline(run, path)
    )
    for name in estimators.ESTIMATORS
  }
  model = run.air.model
  if "difference" in (model.step_input, model.glimpse_input):
    trainer = _trainer(run, images, restored, variances.REFERENCE)
    trainer.model.cell.through_canvas = tf.identity
    trainers[variances.THROUGH_CANVAS] = trainer
  return trainers


def _trainer(
  run: runs.Run,
  images: np.ndarray,
  restored: air.AIRModel,
  estimator: str,
  has_baseline: bool = False,
) -> training_lib.Trainer:
  """Returns a trainer with the weights of a model.

  Args:
    run: that the model is of.
    images: of training.
    restored: the model.
    estimator: of the trainer.
    has_baseline: whether the model's baseline is that of the estimator.
  """
  # The gradient of the ELBO alone, as it is; samples as the estimator has.
  training = dataclasses.replace(
    run.air.training,
    estimator=estimator,
    normalize_signal=False,
    presence_limit=0.0,
    num_samples=0,
  )
  trainer = training_lib.Trainer(
    dataclasses.replace(run.air, training=training), images, jit_compile=False
  )
  values = [*restored.model_variables]
  variables = [*trainer.model.model_variables]
  if has_baseline:
    values += restored.baseline_variables
    variables += trainer.model.baseline_variables
  for variable, value in zip(variables, values, strict=True):
    variable.assign(value)
  return trainer


def _batch(
  trainer: training_lib.Trainer, images: np.ndarray, index: int
) -> tf.Tensor:
  return tf.constant(images[trainer.batch_indices(index)])


def _fit_baseline(
  trainer: training_lib.Trainer,
  images: np.ndarray,
  iteration: int,
  num_iterations: int,
) -> None:
  """Trains the baseline alone, with the model as it is at an iteration."""

  @tf.function(autograph=False)
  def step(batch, seed):
    *_, gradients = trainer.gradients(
      *trainer.batch(batch, seed), tf.constant(iteration, tf.int64)
    )
    trainer.baseline_optimizer.apply(gradients)

  key = tf.constant([trainer.config.training.seed, _FIT_STREAM])
  estimator = trainer.config.training.estimator
  with Task(f"fitting the baseline of {estimator}") as task:
    for i in task.over(range(num_iterations)):
      step(_batch(trainer, images, i), noise.fold_in(key, i))


def _gradient_function(trainer: training_lib.Trainer, iteration: int):
  """Returns a function of a batch and a seed to the gradient, `[P]`."""

  @tf.function(autograph=False)
  def gradient(batch, seed):
    _, gradients, _ = trainer.gradients(
      *trainer.batch(batch, seed), tf.constant(iteration, tf.int64)
    )
    return tf.concat([tf.reshape(g, [-1]) for g in gradients], axis=0)

  return gradient


def _along(
  vector: tf.Tensor, direction: tf.Tensor, masks: Iterable[np.ndarray]
) -> np.ndarray:
  """Returns the products of two vectors `[P]`, one for each mask `[P]`."""
  products = (tf.cast(vector, tf.float64) * direction).numpy()
  return np.array([np.sum(products[mask]) for mask in masks])


def _surprise_function(trainer: training_lib.Trainer, iteration: int):
  """Returns a function of a batch and a seed to the number of surprises, `[]`.

  That is how many of the images are expected to have another n, in training,
  than the most probable one.
  """

  @tf.function(autograph=False)
  def surprises(batch, seed):
    floor = trainer.model.presence_floor(tf.constant(iteration, tf.int64))
    output = trainer.model(*trainer.batch(batch, seed), floor)
    probs = output.num_steps_posterior().probs()
    return tf.reduce_sum(1.0 - tf.reduce_max(probs, axis=-1))

  return surprises


def _measure(
  trainers: dict[str, training_lib.Trainer],
  images: np.ndarray,
  iteration: int,
  draws: int,
) -> Iterator[dict[str, Any]]:
  """Yields a record for each way of drawing and each estimator.

  Args:
    trainers: of the estimators, with the weights of the checkpoint.
    images: `[N, H, W]` uint8, of training.
    iteration: of the checkpoint.
    draws: gradients of each kind.
  """
  reference = trainers[variances.REFERENCE]
  surprises_in = _surprise_function(reference, iteration)
  groups = gradients_lib.parameter_groups(reference.model)
  masks = [groups[group] for group in variances.WITH_SCORE]
  size = len(groups["rest"])
  functions = {
    name: _gradient_function(trainer, iteration)
    for name, trainer in trainers.items()
  }
  key = tf.constant([reference.config.training.seed, _DRAW_STREAM])
  for minibatch in ("drawn", "fixed"):
    moments = {name: gradients_lib.RunningMoments(size) for name in functions}
    distances = {name: gradients_lib.RunningMoments(size) for name in functions}
    along = {
      name: gradients_lib.RunningMoments(len(masks)) for name in functions
    }
    norms: dict[str, list[float]] = {name: [] for name in functions}
    direction = tf.zeros([size], tf.float64)
    surprises = 0.0
    doing = f"iteration {iteration}, minibatch {minibatch}: drawing gradients"
    with Task(doing) as task:
      for draw in task.over(range(draws)):
        batch = _batch(reference, images, draw if minibatch == "drawn" else 0)
        seed = noise.fold_in(key, draw)
        gradients = {name: f(batch, seed) for name, f in functions.items()}
        surprises += float(surprises_in(batch, seed))
        if draw == draws // 2:
          direction = tf.constant(-distances[variances.WITHOUT_SCORE].mean())
        for name, gradient in gradients.items():
          distance = gradient - gradients[variances.REFERENCE]
          moments[name].add(gradient)
          norms[name].append(float(tf.norm(gradient)))
          distances[name].add(distance)
          if draw >= draws // 2:
            along[name].add(_along(distance, direction, masks))
    reference_mean = moments[variances.REFERENCE].mean()
    unit = -along[variances.WITHOUT_SCORE].mean()
    unit_error = np.sqrt(along[variances.WITHOUT_SCORE].squared_error())
    told = unit > variances.MOST_ERRORS * unit_error
    for name in functions:
      variance = moments[name].variance()
      distance = distances[name].mean()
      squared_error = distances[name].squared_error()
      bias = along[name].mean()
      bias_error = np.sqrt(along[name].squared_error())
      yield {
        "iteration": iteration,
        "minibatch": minibatch,
        "estimator": name,
        "num_samples": trainers[name].model.num_samples,
        "draws": draws,
        "surprises": surprises,
        "norm_median": float(np.median(norms[name])),
        "norm_max": max(norms[name]),
        "groups": {
          group: {
            "parameters": int(mask.sum()),
            "variance_mean": float(np.mean(variance[mask])),
            "variance_median": float(np.median(variance[mask])),
            "variance_max": float(np.max(variance[mask])),
            # Norms: of the mean gradient of the reference, of this one's
            # distance from it, and what that would be by chance.
            "reference": float(np.linalg.norm(reference_mean[mask])),
            "distance": float(np.linalg.norm(distance[mask])),
            "distance_by_chance": float(np.sqrt(np.sum(squared_error[mask]))),
          }
          for group, mask in groups.items()
        },
        # None if the score function's part is lost in the noise.
        "bias": {
          group: {"bias": float(value / one), "error": float(error / one)}
          if can_tell
          else None
          for group, value, error, one, can_tell in zip(
            variances.WITH_SCORE, bias, bias_error, unit, told, strict=True
          )
        },
      }


def main(flag_values: flags.FlagValues) -> int:
  """Measures, writes records and figure, prints tables, checks the means."""
  # It takes functions of different estimators for one that is traced again.
  tf.get_logger().setLevel("ERROR")
  run = runs.load(runs.folder_of(flag_values))
  figure, numbers = _OUTPUTS.files(flag_values, [run.folder])
  paths = trained.checkpoints_at(run, flag_values.iterations)
  images = trained.load_dataset_of(run, flag_values).train.images
  records = []
  for iteration, path in paths.items():
    trainers = _trainers(run, images, path)
    baselines = {}
    for name, trainer in trainers.items():
      if trainer.model.baseline is None:
        baselines[name] = None
      elif name == _own_baseline(run, path):
        baselines[name] = "of the run"
      else:
        num_iterations = flag_values.baseline_iterations
        _fit_baseline(trainer, images, iteration, num_iterations)
        iterations = wording.number_of(num_iterations, "iteration")
        baselines[name] = f"fitted for {iterations}"
    for record in _measure(trainers, images, iteration, flag_values.draws):
      records.append(
        {
          "trained_with": run.air.training.estimator,
          "seed": run.air.training.seed,
          **record,
          "baseline": baselines[record["estimator"]],
        }
      )
  print(variances.format_tables(records))
  files.write_text(
    numbers, "".join(json.dumps(record) + "\n" for record in records)
  )
  figures.save(charts.gradient_variances(records), figure)
  wrong = variances.disagreements(records)
  if wrong:
    print(
      "gradient_variance: mean gradients differ from that of"
      f" {variances.REFERENCE}, expected a bias of at most"
      f" {variances.MOST_ERRORS:.0f} standard errors: {'; '.join(wrong)}",
      file=sys.stderr,
    )
    return 1
  print(variances.format_checks(records))
  return 0


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
