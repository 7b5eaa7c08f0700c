r"""Trains configurations with many seeds, each run in a process of its own.

  python -m experiments.sweep --configs=default,blog --seeds=0-19 \
    --out=runs/sweep --jobs=2
  python -m experiments.sweep --seeds=0,3,7-9 --out=runs/ablation \
    --configs=default,default:latent_feedback=false --iterations=5000

A configuration is the name of a flagfile in experiments/configs, or the path of
another one, and perhaps settings of its own after a colon. Flags of
experiments.train hold for all runs, unless such a setting says otherwise.

Started again, it goes on where it stopped. Finished runs are not repeated, nor
those that diverged (remove their folders to repeat them); interrupted ones go
on from their last checkpoints. A run that fails does not stop the others, nor
does one in whose folder another process is training; the exit status is then 1.

A run's folder is OUT/CONFIGURATION/seed-N, and what it prints is in train.log
there. Its record is a line of --results (see experiments/sweeps/records.py).

It runs on Ray, by default on this machine alone. For --ray_address, all
machines of the cluster must have this folder, the Python environment and --out
at the same paths.
"""

import sys

from absl import flags

from experiments.common import launcher
from experiments.sweeps import plan, runner


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  flags.DEFINE(
    plan.ConfigsParser(),
    "configs",
    "default",
    "names of flagfiles in experiments/configs, or paths of .flags files,"
    " separated by commas; each may have settings of its own:"
    " default:steps_prior_anneal=5000,learning_rate=2e-4",
    serializer=flags.ListSerializer(","),
    flag_values=flag_values,
    module_name=runner.GROUP,
  )
  runner.define_sweep_flags(flag_values)


def main(flag_values: flags.FlagValues) -> int:
  """Trains the configurations; returns the exit status."""
  return runner.run(flag_values.configs, flag_values)


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
