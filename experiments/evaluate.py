"""Evaluates a trained run on held-out images, or on those it was trained on.

  python -m experiments.evaluate --run_dir=runs/default --split=test

Prints a table and writes RUN_DIR/evaluation-SPLIT.json.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from absl import flags

from air import checkpoints, evaluation, files, run_folder
from air.evaluation import Evaluator
from air.model import AIRModel
from data.dataset import Dataset, Split, default_cache_dir
from experiments import configuration, launcher, runs
from experiments.launcher import UsageError


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  options = {"flag_values": flag_values, "module_name": "run"}
  flags.DEFINE_string(
    "run_dir", None, "the run's folder", required=True, **options
  )
  flags.DEFINE_integer(
    "iwae_samples",
    0,
    "also the importance-weighted bound with this many samples per image; 0:"
    " without",
    lower_bound=0,
    **options,
  )
  flags.DEFINE_integer(
    "seed", None, "of the evaluation's noise; by default the run's",
    lower_bound=0, upper_bound=2**31 - 1, **options,
  )  # fmt: skip
  define_split_flags(flag_values)


def define_split_flags(flag_values: flags.FlagValues) -> None:
  """Defines the flags of `load`, which say what images it returns."""
  options = {"flag_values": flag_values, "module_name": "run"}
  flags.DEFINE_enum(
    "split",
    "test",
    ["test", "validation", "train"],
    "which images; train: how much is learned by heart",
    **options,
  )
  flags.DEFINE_integer(
    "num_images", 0, "only the first so many images; 0: all", lower_bound=0,
    **options,
  )  # fmt: skip
  define_dataset_flags(flag_values)


def define_dataset_flags(flag_values: flags.FlagValues) -> None:
  """Defines the flags of every binary that works on the images of a run."""
  for name in ("mnist", "data"):
    flags.DEFINE_string(
      name, None, f"where the run's images are now, if not at its --{name}",
      flag_values=flag_values, module_name="run",
    )  # fmt: skip
  define_data_cache_flag(flag_values)


def define_checkpoints_flags(flag_values: flags.FlagValues) -> None:
  """Defines --run_dir and --iterations, see `checkpoints_at`."""
  options = {"flag_values": flag_values, "module_name": "run"}
  flags.DEFINE_string(
    "run_dir", None, "the run's folder", required=True, **options
  )
  configuration.define_tuple_flag(
    int,
    name="iterations",
    default=(),
    help="the checkpoints; 0: the weights before training; empty: these and"
    " all that are kept",
    **options,
  )


def checkpoints_at(
  run: runs.Run, iterations: Sequence[int]
) -> dict[int, pathlib.Path | None]:
  """Returns checkpoints by iteration; None: the weights before training.

  Args:
    run: that they are of.
    iterations: of the checkpoints; empty: 0 and all that are kept.

  Raises:
    UsageError: if one of them is not there.
  """
  found: dict[int, pathlib.Path | None] = {0: None}
  for path in reversed(checkpoints.find(run.checkpoints)):
    found[checkpoints.iteration_of(path)] = path
  missing = [str(i) for i in iterations if i not in found]
  if missing:
    raise UsageError(
      f"iterations holds {', '.join(missing)}, expected some of"
      f" {', '.join(map(str, found))}, the checkpoints in {run.folder}"
    )
  return {i: found[i] for i in iterations or found}


def model_at(run: runs.Run, path: pathlib.Path | None) -> AIRModel:
  """Returns a run's model at a checkpoint.

  Args:
    run: that it is of.
    path: see `checkpoints_at`.
  """
  model = AIRModel(run.air)
  if path is not None:
    checkpoints.restore(path, model)
  return model


def load_dataset_of(run: runs.Run, flag_values: flags.FlagValues) -> Dataset:
  """Returns the images of a run, which must be those it was trained on."""
  moved = {
    name: flag_values[name].value
    for name in ("mnist", "data")
    if flag_values[name].value is not None
  }
  dataset = runs.load_dataset(
    dataclasses.replace(run.data, **moved), flag_values.data_cache
  )
  runs.check_images(run, dataset)
  return dataset


def define_data_cache_flag(flag_values: flags.FlagValues) -> None:
  """Defines --data_cache, which every binary that needs images has."""
  flags.DEFINE_string(
    "data_cache",
    str(default_cache_dir()),
    "folder in which generated images are kept; empty: not kept",
    flag_values=flag_values,
    module_name="run",
  )


class Trained(NamedTuple):
  """A trained model and images.

  Attributes:
    run: that the model is of.
    model: as in the run's newest good checkpoint.
    iteration: of that checkpoint.
    split: the images, of the run's data set.
  """

  run: runs.Run
  model: AIRModel
  iteration: int
  split: Split


def load(folder: pathlib.Path, flag_values: flags.FlagValues) -> Trained:
  """Returns the newest good checkpoint of a run, and its images.

  Args:
    folder: of the run.
    flag_values: parsed, see `define_split_flags`.

  Raises:
    UsageError: if these are other images.
    run_folder.RunError: if there is no run, or no checkpoint.
  """
  run = runs.load(folder)
  dataset = load_dataset_of(run, flag_values)
  split = getattr(dataset, flag_values.split)
  if flag_values.num_images:
    split = split.first(flag_values.num_images)
  model, iteration = run_folder.restore_model(run.folder, run.air)
  return Trained(run, model, iteration, split)


def evaluate_split(
  run: runs.Run,
  evaluator: Evaluator,
  split: Split,
  split_name: str,
  iteration: int,
  seed: int,
  iwae_samples: int = 0,
) -> dict[str, Any]:
  """Evaluates a model on images; returns what goes into a file of it.

  Args:
    run: that the model is of.
    evaluator: of the model.
    split: the images.
    split_name: "test", "validation" or "train".
    iteration: of the model.
    seed: of the noise.
    iwae_samples: samples per image of the importance-weighted bound; 0:
      without it.
  """
  image_metrics = evaluator.evaluate(split.images, iteration, seed)
  result = {
    "iteration": iteration,
    "split": split_name,
    **evaluation.summarize(
      image_metrics, split.counts, run.air.model.num_steps
    ),
  }
  if iwae_samples:
    bounds = evaluator.iwae(split.images, iteration, iwae_samples, seed)
    result["iwae"] = float(bounds.mean())
    result["iwae_samples"] = iwae_samples
  result["seed"] = seed
  result["digit_source"] = run.digit_source
  return result


def format_table(result: dict[str, Any]) -> str:
  """Returns an evaluation as lines of text."""
  lines = [
    f"{result['split']} images: {result['num_images']}"
    f" ({result['digit_source']}), iteration {result['iteration']}"
  ]

  def add(label, text):
    lines.append(f"  {label:<40s}{text}")

  if "count_accuracy" in result:
    for label, suffix in (("sampled n", ""), ("most probable n", "_mode")):
      accuracy = result[f"count_accuracy{suffix}"]
      add(f"counting accuracy, {label}", f"{accuracy:.2%}")
      per_count = result[f"count_accuracy_per_count{suffix}"]
      for count, accuracy in per_count.items():
        add(f"  images with {count} objects", f"{accuracy:.2%}")
    lines.append("  confusion (row: true count, column: sampled n)")
    for count, row in enumerate(result["count_confusion"]):
      cells = "".join(f"{cell:>8d}" for cell in row)
      lines.append(f"    {count}{cells}")
  add("ELBO", f"{result['elbo']:.2f} nats")
  for name in ("reconstruction", "kl_num_steps", "kl_what", "kl_where"):
    add(f"  {name}", f"{result[name]:.2f}")
  if "iwae" in result:
    samples = result["iwae_samples"]
    add(f"IWAE bound, {samples} samples", f"{result['iwae']:.2f} nats")
  return "\n".join(lines)


def main(flag_values: flags.FlagValues) -> None:
  """Evaluates the newest good checkpoint of a run."""
  run, model, iteration, split = load(runs.folder_of(flag_values), flag_values)
  result = evaluate_split(
    run,
    Evaluator(model),
    split,
    flag_values.split,
    iteration,
    run.air.training.seed if flag_values.seed is None else flag_values.seed,
    flag_values.iwae_samples,
  )
  print(format_table(result))
  files.write_json(run.evaluation_of(flag_values.split), result)


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
