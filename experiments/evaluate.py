"""Evaluates a trained run on test, validation or training images.

  python -m experiments.evaluate --run_dir=runs/default --split=test

Prints a table and writes RUN_DIR/evaluation-SPLIT.json.
"""

import sys

from absl import flags
from etils import epy

from air.storage import files, inputs
from experiments.common import launcher, runs, trained

with epy.lazy_imports():
  from air import evaluation
  from experiments.common import evaluations


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  options = {"flag_values": flag_values, "module_name": "run"}
  runs.define_run_dir_flag(flag_values)
  flags.DEFINE_integer(
    "iwae_samples",
    0,
    "also the importance-weighted bound with this many samples per image; 0:"
    " without",
    lower_bound=0,
    upper_bound=inputs.MOST_SAMPLES,
    **options,
  )
  flags.DEFINE_integer(
    "seed", None, "of the evaluation's noise; by default the run's",
    lower_bound=0, upper_bound=2**31 - 1, **options,
  )  # fmt: skip
  trained.define_split_flags(flag_values)


def main(flag_values: flags.FlagValues) -> None:
  """Evaluates the newest good checkpoint of a run."""
  run, model, iteration, split = trained.load(
    runs.folder_of(flag_values), flag_values
  )
  result = evaluations.evaluate_split(
    run,
    evaluation.Evaluator(model),
    split,
    flag_values.split,
    iteration,
    run.air.training.seed if flag_values.seed is None else flag_values.seed,
    flag_values.iwae_samples,
  )
  print(evaluations.format_table(result))
  files.write_json(run.evaluation_of(flag_values.split), result)


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
