"""What the binaries that use a trained model share: flags, input and output."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from absl import flags
from etils import epy

import air
from air.storage import files, pretrained, run_folder
from data import command_line
from data.dataset import Dataset, Split
from experiments.common import configuration, launcher, opening, runs
from experiments.common.launcher import UsageError

with epy.lazy_imports():
  from air import evaluation, outputs
  from air.storage import checkpoints


def define_model_flags(flag_values: flags.FlagValues) -> None:
  """Defines --run_dir and --model, which `load_model` reads."""
  runs.define_run_dir_flag(flag_values, required=False)
  flags.DEFINE_string(
    "model",
    None,
    "instead of --run_dir: the name of a model that ships"
    f" ({', '.join(pretrained.names())}), or a run's folder",
    flag_values=flag_values,
    module_name="run",
  )


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines --run_dir, --model and --out."""
  define_model_flags(flag_values)
  flags.DEFINE_string(
    "out", None, "where to write, a new folder or an empty one", required=True,
    flag_values=flag_values, module_name="run",
  )  # fmt: skip


def load_model(flag_values: flags.FlagValues) -> air.TrainedModel:
  """Returns the model that --run_dir or --model names.

  Raises:
    UsageError: if not exactly one of them does.
    RunError: see `air.load`; or another of its errors.
  """
  given = {
    name: flag_values[name].value
    for name in ("run_dir", "model")
    if flag_values[name].value is not None
  }
  if len(given) != 1:
    raise UsageError(
      f"expected --run_dir or --model, {'not both' if given else 'one of them'}"
    )
  if flag_values.model is None:
    return air.load(runs.folder_of(flag_values))
  network = pretrained.read(flag_values.model, "model")
  return air.TrainedModel(*network, source=flag_values.model)


def define_seed_flag(flag_values: flags.FlagValues) -> None:
  """Defines --seed."""
  flags.DEFINE_integer(
    "seed", 0, "seed of the sampling", lower_bound=0, upper_bound=2**31 - 1,
    flag_values=flag_values, module_name="run",
  )  # fmt: skip


def define_count_probs_flag(
  flag_values: flags.FlagValues, default: str
) -> None:
  """Defines --count_probs, which `count_probs` reads."""
  flags.DEFINE_string(
    "count_probs",
    default,
    "probabilities of 0, 1, ... objects in a sampled scene, separated by"
    " commas; equal: no scene is empty, and 1, 2, ... are equally probable;"
    " prior: the model's, which prices objects, so that nearly all scenes are"
    " empty where its success probability is small",
    flag_values=flag_values,
    module_name="run",
  )


def count_probs(
  flag_values: flags.FlagValues, model: air.TrainedModel
) -> list[float] | None:
  """Returns what --count_probs says, for `TrainedModel.sample`.

  Args:
    flag_values: parsed.
    model: that the probabilities are for, which checks them.

  Raises:
    UsageError: if it does not say numbers.
  """
  text = flag_values.count_probs
  if text == "prior":
    return None
  if text == "equal":
    return [0.0] + [1.0 / model.num_steps] * model.num_steps
  try:
    return [float(number) for number in text.split(",")]
  except ValueError:
    raise UsageError(
      f"count_probs is {text!r}, expected numbers separated by commas, equal or"
      " prior"
    ) from None


@contextlib.contextmanager
def new_output(flag_values: flags.FlagValues) -> Iterator[pathlib.Path]:
  """Yields a folder to write to, which becomes --out if the body succeeds.

  Raises:
    UsageError: if there is something in --out already, or if it is a folder
      that no other can take the place of.
  """
  out = launcher.output_folder("out", flag_values.out)
  if out.exists() and any(out.iterdir()):
    raise UsageError(
      f"out is {out}, which exists; expected a new folder or an empty one"
    )
  out = out.resolve()
  if out == pathlib.Path.cwd() or out.is_mount():
    raise UsageError(
      f"out is {flag_values.out}, the current folder or a mount point, which"
      " cannot be replaced; expected a new folder, perhaps in it"
    )
  with files.new_folder(out) as folder:
    yield folder


def define_split_flags(flag_values: flags.FlagValues) -> None:
  """Defines the flags of `load`, which say what images it returns."""
  options = {"flag_values": flag_values, "module_name": "run"}
  flags.DEFINE_enum(
    "split",
    "test",
    ["test", "validation", "train"],
    "which images to use",
    **options,
  )
  flags.DEFINE_integer(
    "num_images", 0, "only the first so many images; 0: all", lower_bound=0,
    **options,
  )  # fmt: skip
  define_dataset_flags(flag_values)


def define_dataset_flags(flag_values: flags.FlagValues) -> None:
  """Defines the flags of every binary that works on the images of a run."""
  for name in runs.PLACES:
    flags.DEFINE_string(
      name, None, f"where the run's images are now, if not at its --{name}",
      flag_values=flag_values, module_name="run",
    )  # fmt: skip
  configuration.define_data_cache_flag(flag_values)


def define_checkpoints_flags(flag_values: flags.FlagValues) -> None:
  """Defines --run_dir and --iterations, see `checkpoints_at`."""
  options = {"flag_values": flag_values, "module_name": "run"}
  runs.define_run_dir_flag(flag_values)
  command_line.define_tuple_flag(
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


def model_at(run: runs.Run, path: pathlib.Path | None) -> air.AIRModel:
  """Returns a run's model at a checkpoint.

  Args:
    run: that it is of.
    path: see `checkpoints_at`.
  """
  model = air.AIRModel(run.air)
  if path is not None:
    checkpoints.restore(path, model, run.id)
  return model


def inferred_at(
  run: runs.Run, paths: Mapping[int, pathlib.Path | None], split: Split
) -> Iterator[tuple[int, outputs.AIROutput]]:
  """Yields what a run's model infers at checkpoints, as training drew it.

  Args:
    run: that they are of.
    paths: see `checkpoints_at`.
    split: the images, at most `evaluation.BATCH_SIZE` of them.

  Yields:
    The iteration, and the output as numpy arrays.
  """
  for iteration, path in paths.items():
    evaluator = evaluation.Evaluator(model_at(run, path))
    yield (
      iteration,
      evaluator.infer(split.images, iteration, run.air.training.seed),
    )


def inferred(run: runs.Run, images: np.ndarray) -> outputs.AIROutput:
  """Returns what a run's newest good checkpoint makes of images, as arrays.

  Args:
    run: that it is of.
    images: at most `evaluation.BATCH_SIZE` of them.

  Raises:
    RunError: if there is no checkpoint.
  """
  model, iteration = run_folder.restore_model(run.folder, run.air, run.id)
  return evaluation.Evaluator(model).infer(
    images, iteration, run.air.training.seed
  )


def load_dataset_of(run: runs.Run, flag_values: flags.FlagValues) -> Dataset:
  """Returns the images of a run, which must be those it was trained on."""
  moved = {
    name: flag_values[name].value
    for name in runs.PLACES
    if flag_values[name].value is not None
  }
  dataset = runs.load_dataset(
    dataclasses.replace(run.data, **moved),
    flag_values.data_cache,
    run.digit_source,
  )
  opening.check_images(run, dataset)
  return dataset


class Trained(NamedTuple):
  """A trained model and images.

  Attributes:
    run: that the model is of.
    model: as in the run's newest good checkpoint.
    iteration: of that checkpoint.
    split: the images, of the run's data set.
  """

  run: runs.Run
  model: air.AIRModel
  iteration: int
  split: Split


def load(folder: pathlib.Path, flag_values: flags.FlagValues) -> Trained:
  """Returns the newest good checkpoint of a run, and its images.

  Args:
    folder: of the run.
    flag_values: parsed, see `define_split_flags`.

  Raises:
    UsageError: if these are other images.
    RunError: if there is no run, or no checkpoint.
  """
  run = runs.load(folder)
  dataset = load_dataset_of(run, flag_values)
  split = getattr(dataset, flag_values.split)
  if flag_values.num_images:
    split = split.first(flag_values.num_images)
  model, iteration = run_folder.restore_model(run.folder, run.air, run.id)
  return Trained(run, model, iteration, split)
