r"""The blog post's figure at several stages of one run, side by side.

  python -m experiments.analysis.stages --run_dir=runs/default \
    --iterations=0,8000,10000

The same images at each of these checkpoints: inputs, canvases with glimpse
boxes, glimpses; and, as numbers, how many counts are right. Training keeps the
last --keep_checkpoints, every --checkpoint_every iterations; iteration 0 is the
weights before training.
"""

import sys

from absl import flags
from etils import epy

from air import metrics
from air.storage import files
from experiments.common import launcher, runs, trained

with epy.lazy_imports():
  from air import evaluation
  from air.viz import figures

_OUTPUTS = {"figure": "figures/stages.png", "json": "figures/stages.json"}


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  options = {"flag_values": flag_values, "module_name": "run"}
  trained.define_checkpoints_flags(flag_values)
  launcher.define_output_flags(flag_values, _OUTPUTS)
  flags.DEFINE_integer(
    "num_images", 5, "in the figure", lower_bound=1, upper_bound=100,
    **options,
  )  # fmt: skip
  trained.define_dataset_flags(flag_values)


def main(flag_values: flags.FlagValues) -> None:
  """Draws the first validation images at each checkpoint."""
  run = runs.load(runs.folder_of(flag_values))
  figure, numbers = launcher.output_files(flag_values, _OUTPUTS, run.folder)
  paths = trained.checkpoints_at(run, flag_values.iterations)
  split = trained.load_dataset_of(run, flag_values).validation
  split = split.first(evaluation.BATCH_SIZE)
  outputs = {}
  stages = []
  for iteration, path in paths.items():
    # As training drew them.
    output = evaluation.Evaluator(trained.model_at(run, path)).infer(
      split.images, iteration, run.air.training.seed
    )
    title = f"iteration {iteration:,}"
    accuracy = None
    if split.counts is not None:
      accuracy = metrics.count_accuracy(split.counts, output.num_steps)
      title += f": counts {accuracy:.1%} right"
    stages.append({"iteration": iteration, "count_accuracy": accuracy})
    outputs[title] = output
    print(title, file=sys.stderr)
  figures.save(
    figures.stages(
      outputs, run.air.model.canvas_multiplier, flag_values.num_images
    ),
    figure,
  )
  files.write_json(
    numbers,
    {"split": "validation", "num_images": len(split.images), "stages": stages},
  )
  print(f"figure:  {figure}\nnumbers: {numbers}")


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
