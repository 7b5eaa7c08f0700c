r"""Turns a checkpoint of the blog's original code into a run of this code.

  python -m experiments.analysis.import_blog_checkpoint \
    --checkpoint=original/model.ckpt-300000 --run_dir=runs/original
  python -m experiments.evaluate --run_dir=runs/original

Reads a checkpoint of TensorFlow 1. It takes the flags of experiments.train,
with the defaults of configs/blog_code.flags. Give the settings that the
original run changed, and its images. The state of the original's optimizers is
left out.
"""

import math
import pathlib
import sys

import numpy as np
from absl import flags
from etils import epy

from air.errors import CheckpointError
from experiments.common import configuration, launcher, opening, runs
from experiments.common.launcher import UsageError
from experiments.sweeps import plan

with epy.lazy_imports():
  import tensorflow as tf

  from air import training
  from air.storage import blog_code, checkpoints, files


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  runs.define_run_dir_flag(flag_values)
  configuration.define_training_flags(flag_values)
  blog = flags.FlagValues()
  configuration.define_training_flags(blog)
  blog(["", *plan.flags_of("blog_code", [])])
  for name in blog:
    if blog[name].present:
      flag_values.set_default(name, blog[name].value)
  options = {"flag_values": flag_values, "module_name": "run"}
  flags.DEFINE_string(
    "checkpoint",
    None,
    "the prefix of the checkpoint's files, or their folder for the newest",
    required=True,
    **options,
  )
  flags.DEFINE_integer(
    "checkpoint_iteration",
    None,
    "its iteration, if it does not hold it",
    lower_bound=0,
    **options,
  )


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Returns the variables of a TensorFlow checkpoint by name.

  Args:
    path: the prefix of its files, or their folder.

  Raises:
    CheckpointError: if there is none, or if it is damaged.
  """
  try:
    with files.restorable(path.parent) as folder:
      reader = tf.train.load_checkpoint(str(folder / path.name))
    names = reader.get_variable_to_shape_map()
    return {name: reader.get_tensor(name) for name in names}
  except (ValueError, IndexError, tf.errors.OpError) as error:
    raise CheckpointError(
      f"checkpoint is {path}, which cannot be read as TensorFlow's: {error}"
    ) from error


def main(flag_values: flags.FlagValues) -> None:
  """Writes the run."""
  path = launcher.expanded("checkpoint", flag_values.checkpoint)
  variables = read(path)
  iteration = flag_values.checkpoint_iteration
  if iteration is None:
    iteration = blog_code.iteration(variables)
  if iteration is None:
    raise UsageError(
      f"checkpoint is {path}, which holds no {blog_code.ITERATION}; expected"
      " its iteration as --checkpoint_iteration"
    )
  for name, value in blog_code.settings(variables).items():
    if not math.isclose(flag_values[name].value, value, rel_tol=1e-6):
      raise UsageError(
        f"{name} is {flag_values[name].value}, expected {value:g}, with which"
        f" {path} was trained"
      )
  dataset = runs.load_dataset(
    configuration.data_config(flag_values), flag_values.data_cache
  )
  run = runs.describe(flag_values, dataset)
  if checkpoints.find(run.checkpoints):
    raise UsageError(
      f"run_dir is {run.folder}, in which there are checkpoints; expected a new"
      " folder"
    )
  trainer = training.Trainer(run.air, dataset.train.images)
  blog_code.assign(trainer.model, variables)
  trainer.iteration.assign(iteration)
  # The run's flagfile is for experiments.train, which does not have these.
  del flag_values.checkpoint, flag_values.checkpoint_iteration
  with opening.opened(run, flag_values) as folder:
    saved = folder.save(trainer)
  print(f"wrote {saved}")
  print(f"next: python -m experiments.evaluate --run_dir={run.folder}")


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
