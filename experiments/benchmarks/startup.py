"""Measures the start of training, up to the first iteration.

  python -m experiments.benchmarks.startup

Prints one line of JSON. For the end of each phase it has the seconds since the
process began and the peak memory so far, MiB. A second start finds the images
that the first one cached in --data_cache. `experiments.benchmarks.speed` runs
this command.
"""

import json
import pathlib
import resource
import sys
import time

from absl import flags
from etils import epy

import experiments
from experiments.common import configuration, launcher, runs, xla_cache

with epy.lazy_imports():
  from air import evaluation, training


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  flags.DEFINE_float(
    "started",
    0.0,
    "when the process was started, by this machine's monotonic clock; 0: when"
    " it imported its first module",
    flag_values=flag_values,
    module_name="run",
  )
  configuration.define_data_cache_flag(flag_values)
  configuration.define_flags(flag_values)


def _peak_memory_mib() -> float:
  """Returns the most memory that this process has had resident."""
  status = pathlib.Path("/proc/self/status")
  if status.exists():
    for line in status.read_text().splitlines():
      if line.startswith("VmHWM:"):
        return int(line.split()[1]) / 1024
  # Linux lets this number begin with that of the process that started this one.
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main(flag_values: flags.FlagValues) -> None:
  """Starts as training does, and prints how long it took."""
  started = flag_values.started or experiments.STARTED
  phases = {}
  peak = 0.0

  def ends(phase: str) -> None:
    nonlocal peak
    # The kernel's number is off by a few pages, and may fall by them.
    peak = max(peak, _peak_memory_mib())
    phases[phase] = {
      "seconds": time.monotonic() - started,
      "peak_memory_mib": peak,
    }

  trainer_of = training.Trainer  # which imports TensorFlow
  ends("import")
  dataset = runs.load_dataset(
    configuration.data_config(flag_values), flag_values.data_cache
  )
  ends("data")
  config = configuration.air_config_for(
    flag_values, dataset.train.images.shape[1:]
  )
  trainer = trainer_of(config, dataset.train.images)
  ends("model")
  trainer.compile()
  xla_cache.seal()
  ends("compile")
  trainer.train(1)
  ends("first iteration")
  evaluation.Evaluator(trainer.model).evaluate(dataset.validation.images, 0, 0)
  ends("evaluation")
  print(json.dumps(phases))


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
