"""Times training, evaluation, the bound and the start of training.

What experiments/benchmarks/speed.py measures; it says what that is.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags
from etils import epy

from air import config
from experiments.common import configuration, runs
from experiments.common.launcher import UsageError
from experiments.common.progress import Task

with epy.lazy_imports():
  import tensorflow as tf

  from air import estimators
  from air import evaluation as evaluation_lib
  from air import training as training_lib
  from experiments.benchmarks import bound

# Flags with sizes of the problem, and what each varies.
SCALES = {
  "batch_sizes": "images in a batch",
  "steps": "steps",
  "image_sizes": "side of the images, pixels",
}
# The products of a step, by XLA and by NumPy; the faster ones are the bound.
PRODUCTS = ("products", "products, NumPy")


def train(trainer: training_lib.Trainer, iterations: int) -> None:
  """Trains, in as few calls as possible."""
  while iterations:
    count = min(iterations, trainer.iterations_per_call)
    trainer.train(count)
    iterations -= count


def milliseconds(
  measured: Mapping[str, Callable[[int], Any]],
  repetitions: int,
  iterations: int,
) -> dict[str, list[float]]:
  """Times functions in turn, A B A B.

  Args:
    measured: what each is called, and the function of a number of iterations.
    repetitions: of each measurement.
    iterations: in a measurement.

  Returns:
    Milliseconds per iteration, `repetitions` of them for each function.
  """
  times: dict[str, list[float]] = {name: [] for name in measured}
  with Task("compiling") as task:
    for name in task.over(measured):
      task.doing = f"compiling {name}"
      measured[name](2)
  with Task("measuring", repetitions * len(measured)) as task:
    for _ in range(repetitions):
      for name, function in measured.items():
        task.doing = f"measuring {name}"
        started = time.perf_counter()
        function(iterations)
        elapsed = time.perf_counter() - started
        times[name].append(1e3 * elapsed / iterations)
        task.advance()
  return times


def _bound_functions(
  trainer: training_lib.Trainer,
) -> dict[str, Callable[[int], Any]]:
  needed = bound.products_of(trainer)
  products = bound.Products(needed)
  state_pass = bound.StatePass(trainer.optimizer, trainer.model.model_variables)
  return {
    "products": lambda n: products.run(tf.constant(n)),
    "products, NumPy": bound.NumPyProducts(needed).run,
    "state pass": lambda n: state_pass.run(tf.constant(n)),
  }


def bounds(times: Mapping[str, Sequence[float]]) -> list[float]:
  """Returns the lower bound of a step's time, of each repetition.

  Args:
    times: of all that `milliseconds` measured, see `bound`.
  """
  columns = (*(times[name] for name in PRODUCTS), times["state pass"])
  return [
    min(products) + state for *products, state in zip(*columns, strict=True)
  ]


def _efficiency(times: Mapping[str, Sequence[float]], step: str) -> float:
  """Returns the median of bound over step, repetition by repetition."""
  return statistics.median(
    bound / time for bound, time in zip(bounds(times), times[step], strict=True)
  )


def estimators_of(own: str, full: bool) -> list[str]:
  """Returns the estimators to be measured.

  Args:
    own: the one of the configuration, which comes first.
    full: all of them.
  """
  others = estimators.ESTIMATORS if full else ["reinforce"]
  return list(dict.fromkeys([own, *others]))


def measure(flag_values: flags.FlagValues) -> dict[str, Any]:
  """Measures training and evaluation in this process, with its threads."""
  dataset = runs.load_dataset(
    configuration.data_config(flag_values), flag_values.data_cache
  )
  images = dataset.train.images
  air_config = configuration.air_config_for(flag_values, images.shape[1:])
  own = air_config.training.estimator
  names = estimators_of(own, flag_values.full)
  measured: dict[str, Callable[[int], Any]] = {}
  for estimator in names:
    of_estimator = dataclasses.replace(
      air_config,
      training=dataclasses.replace(air_config.training, estimator=estimator),
    )
    for name, trainer in (
      ("compiled", training_lib.Trainer(of_estimator, images)),
      (
        "plain",
        training_lib.Trainer(
          of_estimator, images, jit_compile=False, iterations_per_call=1
        ),
      ),
    ):
      measured[f"{estimator}, {name}"] = lambda n, t=trainer: train(t, n)
  trainer = training_lib.Trainer(air_config, images)
  measured.update(_bound_functions(trainer))
  times = milliseconds(
    measured, flag_values.repetitions, flag_values.iterations_per_repetition
  )
  evaluator = evaluation_lib.Evaluator(trainer.model)
  validation = dataset.validation.images
  evaluation = milliseconds(
    {"evaluation": lambda n: evaluator.evaluate(validation, 0, 0)},
    flag_values.repetitions,
    1,
  )
  products = bound.products_of(trainer)
  return {
    "milliseconds_per_iteration": times,
    "gflop_of_products": sum(p.flops() for p in products) / 1e9,
    "speedup": {
      estimator: statistics.median(
        plain / compiled
        for plain, compiled in zip(
          times[f"{estimator}, plain"],
          times[f"{estimator}, compiled"],
          strict=True,
        )
      )
      for estimator in names
    },
    "evaluation_seconds": [1e-3 * t for t in evaluation["evaluation"]],
    "evaluation_images": len(validation),
    "efficiency": _efficiency(times, f"{own}, compiled"),
  }


def measure_scaling(flag_values: flags.FlagValues) -> list[dict[str, Any]]:
  """Measures the compiled step and its bound over sizes of the problem."""
  points = []
  configuration.data_config(flag_values).spec()  # says what is wrong with it
  for flag, what in SCALES.items():
    for value in values(flag_values, flag):
      side = value if flag == "image_sizes" else None
      canvas = (side, side) if side else flag_values.canvas_size
      air_config = configuration.air_config_for(flag_values, canvas)
      model, training = air_config.model, air_config.training
      if flag == "batch_sizes":
        training = dataclasses.replace(training, batch_size=value)
      elif flag == "steps":
        model = dataclasses.replace(model, num_steps=value)
      trainer = training_lib.Trainer(
        config.AIRConfig(model, air_config.prior, training),
        # What the images show takes no time.
        np.zeros([training.batch_size, *canvas], np.uint8),
      )
      times = milliseconds(
        {"step": lambda n, t=trainer: train(t, n), **_bound_functions(trainer)},
        flag_values.repetitions,
        flag_values.iterations_per_repetition,
      )
      points.append(
        {
          "varied": what,
          "value": value,
          "milliseconds_per_iteration": times,
          "efficiency": _efficiency(times, "step"),
        }
      )
  return points


def measure_starts(flag_values: flags.FlagValues) -> list[dict[str, Any]]:
  """Starts training in new processes, the first without any kept files."""
  settings = [
    flag_values[flag.name].serialize()
    for group in ("data", "model", "prior", "training")
    for flag in flag_values.flags_by_module_dict().get(group, [])
  ]
  with (
    tempfile.TemporaryDirectory() as cache,
    Task("starting training") as task,
  ):
    return [
      json.loads(
        run_module(
          "experiments.benchmarks.startup",
          *settings,
          f"--data_cache={cache}",
          f"--started={time.monotonic()}",
          stderr=subprocess.PIPE,
          XDG_CACHE_HOME=cache,  # of compiled programs
        )
      )
      for _ in task.over(range(1 + flag_values.starts))
    ]


def run_module(
  module: str, *arguments: str, stderr: int | None = None, **environment: str
) -> str:
  """Runs a module in a new process and returns what it printed.

  Args:
    module: a binary.
    *arguments: of its command line.
    stderr: where that of the process goes, as of `subprocess.run`.
    **environment: variables that differ from this process's.

  Raises:
    UsageError: if it fails.
  """
  process = subprocess.run(
    [sys.executable, "-m", module, *arguments],
    env={**os.environ, **environment},
    stdout=subprocess.PIPE,
    stderr=stderr,
    text=True,
    check=False,
  )
  if process.returncode:
    last = (process.stderr or "").strip().split("\n")[-1]
    raise UsageError(
      f"{module} ended with status {process.returncode}"
      + (f": {last}" if last else "")
    )
  return process.stdout


def values(flag_values: flags.FlagValues, name: str) -> tuple[int, ...]:
  """Returns the numbers that a flag holds.

  Args:
    flag_values: parsed.
    name: of the flag.

  Raises:
    UsageError: if one is below 1.
  """
  numbers = flag_values[name].value
  if any(number < 1 for number in numbers):
    raise UsageError(f"{name} is {numbers}, expected numbers from 1")
  return numbers
