r"""Draws what a model does with the same images at several checkpoints.

  python -m experiments.analysis.stages --run_dir=runs/default \
    --iterations=0,8000,10000

The figure shows the inputs, and for each checkpoint a row of canvases with the
window of each step. Training writes a checkpoint every --checkpoint_every
iterations and keeps the last --keep_checkpoints. Iteration 0 is the model
before training.

Writes RUN_DIR/figures/stages.png, and the counting accuracies to
RUN_DIR/analysis/stages.json.
"""

import sys

from absl import flags
from etils import epy

from air import metrics
from air.storage import files
from experiments.common import launcher, runs, trained
from experiments.common.outputs import Outputs
from experiments.common.progress import Task

with epy.lazy_imports():
  from air import evaluation
  from air.viz import figures

_OUTPUTS = Outputs("stages")


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  options = {"flag_values": flag_values, "module_name": "run"}
  trained.define_checkpoints_flags(flag_values)
  _OUTPUTS.define_flags(flag_values)
  flags.DEFINE_integer(
    "num_images", 8, "in the figure", lower_bound=1, upper_bound=100,
    **options,
  )  # fmt: skip
  trained.define_dataset_flags(flag_values)


def main(flag_values: flags.FlagValues) -> None:
  """Draws the first validation images at each checkpoint."""
  run = runs.load(runs.folder_of(flag_values))
  figure, numbers = _OUTPUTS.files(flag_values, [run.folder])
  paths = trained.checkpoints_at(run, flag_values.iterations)
  split = trained.load_dataset_of(run, flag_values).validation
  split = split.first(evaluation.BATCH_SIZE)
  outputs = {}
  stages = []
  with Task("inferring at each checkpoint"):
    for iteration, output in trained.inferred_at(run, paths, split):
      title = f"iteration {iteration:,}"
      accuracy = None
      if split.counts is not None:
        accuracy = metrics.count_accuracy(split.counts, output.num_steps)
        title += f": counts {accuracy:.1%} right"
      stages.append({"iteration": iteration, "count_accuracy": accuracy})
      outputs[title] = output
  print("\n".join(outputs))
  figures.save(figures.stages(outputs, flag_values.num_images), figure)
  files.write_json(
    numbers,
    {"split": "validation", "num_images": len(split.images), "stages": stages},
  )
  print(f"figure:  {figure}\nnumbers: {numbers}")


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
