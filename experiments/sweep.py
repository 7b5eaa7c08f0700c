r"""Trains configurations with many seeds, each run in its own process.

  python -m experiments.sweep --configs=default,blog --seeds=0-19 \
    --out=runs/sweep --jobs=2
  python -m experiments.sweep --seeds=0,3,7-9 --out=runs/ablation \
    --configs=default,default:latent_feedback=false --iterations=5000

A configuration is the name of a flagfile in experiments/configs, or the path of
another flagfile. Settings after a colon change it. The flags of
experiments.train apply to all runs; settings after a colon override them.

The same command resumes an interrupted sweep: interrupted runs continue from
their last checkpoints. Finished and diverged runs are not repeated; to repeat
one, remove its folder. If a run fails, the others continue, and the exit status
is 1. So it is if another process is training in a run's folder.

A run's folder is OUT/CONFIGURATION/seed-N. Its output is in train.log there.
Its record is a line of --results (see experiments/sweeps/records.py).

Sweeps run on Ray, by default on this machine alone. With --ray_address, all
machines of the cluster need this folder, the Python environment and --out at
the same paths.
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
