"""Measures the speed of the default training step.

  python -m experiments.benchmark --json=results/benchmark.json

Compares the training step as `experiments.train` runs it, compiled with many
iterations in one call, with the same computation in plain graph mode, one
iteration in a call: in turn, A B A B, in one process.
"""

import os
import pathlib
import platform
import resource
import statistics
import sys
import time

from absl import flags

from air import files
from air.evaluation import Evaluator
from air.training import Trainer
from experiments import configuration, evaluate, launcher, runs


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  options = {"flag_values": flag_values, "module_name": "run"}
  flags.DEFINE_integer(
    "repetitions", 7, "of each measurement", lower_bound=1, **options
  )
  flags.DEFINE_integer(
    "iterations_per_repetition", 100, "of training", lower_bound=1, **options
  )
  flags.DEFINE_string("json", "", "also write the numbers to a file", **options)
  evaluate.define_data_cache_flag(flag_values)
  configuration.define_flags(flag_values)


def seconds_per_iteration(trainer: Trainer, iterations: int) -> float:
  """Returns the mean time of an iteration, seconds."""
  started = time.perf_counter()
  remaining = iterations
  while remaining:
    count = min(remaining, trainer.iterations_per_call)
    trainer.train(count)
    remaining -= count
  return (time.perf_counter() - started) / iterations


def main(flag_values: flags.FlagValues) -> None:
  """Measures and prints a table."""
  dataset = runs.load_dataset(
    configuration.data_config(flag_values), flag_values.data_cache
  )
  image_size = tuple(int(s) for s in dataset.train.images.shape[1:])
  config = configuration.air_config_for(flag_values, image_size)
  images = dataset.train.images
  trainers = {
    "compiled, many iterations a call": Trainer(config, images),
    "plain graph, one iteration a call": Trainer(
      config, images, jit_compile=False, iterations_per_call=1
    ),
  }
  compile_seconds = {}
  for name, trainer in trainers.items():
    started = time.perf_counter()
    trainer.train(1)
    compile_seconds[name] = time.perf_counter() - started
    seconds_per_iteration(trainer, 20)
  times: dict[str, list[float]] = {name: [] for name in trainers}
  for _ in range(flag_values.repetitions):
    for name, trainer in trainers.items():
      times[name].append(
        1e3
        * seconds_per_iteration(trainer, flag_values.iterations_per_repetition)
      )
  fast, plain = times.values()
  ratios = [b / a for a, b in zip(fast, plain, strict=True)]

  evaluator = Evaluator(next(iter(trainers.values())).model)
  evaluator.evaluate(dataset.validation.images, 0, 0)
  started = time.perf_counter()
  evaluator.evaluate(dataset.validation.images, 0, 0)
  evaluation_seconds = time.perf_counter() - started

  print(f"{os.cpu_count()} processors, {platform.processor() or 'cpu'}")
  print(
    f"{'milliseconds per iteration':<36s}{'min':>8s}{'median':>8s}{'max':>8s}"
  )
  for name, values in times.items():
    print(
      f"  {name:<34s}{min(values):8.1f}{statistics.median(values):8.1f}"
      f"{max(values):8.1f}"
    )
  print(
    f"  {'ratio, pair by pair':<34s}{min(ratios):8.2f}"
    f"{statistics.median(ratios):8.2f}{max(ratios):8.2f}"
  )
  for name, seconds in compile_seconds.items():
    print(f"first call, {name}: {seconds:.1f} s")
  print(
    f"evaluation of {len(dataset.validation.images)} images:"
    f" {evaluation_seconds:.2f} s"
  )
  # Both trainers and their traces: more than a training run needs.
  memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  print(f"peak resident memory of this process: {memory:.0f} MiB")
  if flag_values.json:
    files.write_json(
      pathlib.Path(flag_values.json),
      {
        "processors": os.cpu_count(),
        "milliseconds_per_iteration": times,
        "ratios": ratios,
        "median_ratio": statistics.median(ratios),
        "first_call_seconds": compile_seconds,
        "evaluation_seconds": evaluation_seconds,
        "evaluation_images": len(dataset.validation.images),
        "peak_memory_mib": memory,
      },
    )


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
