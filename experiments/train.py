r"""Trains AIR and evaluates it on held-out test images.

  python -m experiments.train --run_dir=runs/default
  python -m experiments.train --run_dir=runs/blog \
    --flagfile=experiments/configs/blog.flags

Run again with the same --run_dir, it resumes where it stopped.
"""

import sys

from absl import flags
from etils import epy

from experiments.common import configuration, launcher, runs

with epy.lazy_imports():
  from experiments.common import training


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  runs.define_run_dir_flag(flag_values)
  configuration.define_training_flags(flag_values)
  flags.DEFINE_bool(
    "restart", False, "begin anew; an old run there is moved to RUN_DIR.old-N",
    flag_values=flag_values, module_name="training",
  )  # fmt: skip


def main(flag_values: flags.FlagValues) -> int:
  """Trains, or goes on; evaluates on the test images; says where to look."""
  return training.run(flag_values)


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
