"""A run's folder, as far as it holds a trained model.

config.json    the configuration of the model, and what else describes the run
checkpoints/   see air/storage/checkpoints.py
surprise.json  what images are compared with, see air/surprise.py
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import pathlib
from typing import Any

import numpy as np
from etils import epy

from air.config import AIRConfig
from air.errors import RunError
from air.storage import files

with epy.lazy_imports():
  from air import model as model_lib
  from air import surprise
  from air.storage import checkpoints as checkpoints_lib

# Of the files in a run's folder; a run of another format is refused.
_FORMAT = 1
_CONFIG = "config.json"
REFERENCE = "surprise.json"


def checkpoints(folder: pathlib.Path) -> pathlib.Path:
  """Returns the folder of the checkpoints of the run in a folder."""
  return folder / "checkpoints"


def exists(folder: pathlib.Path) -> bool:
  """Returns whether a run was begun in a folder."""
  return os.path.exists(folder / _CONFIG)  # False, too, if it cannot be known


def write_config(
  folder: pathlib.Path, config: AIRConfig, **others: Any
) -> None:
  """Writes what `read_config` reads.

  Args:
    folder: of the run.
    config: of model, priors and training.
    **others: what else describes the run, ready for JSON.
  """
  values = {"format": _FORMAT, "air": dataclasses.asdict(config), **others}
  files.write_json(folder / _CONFIG, values)


def read_config(
  folder: pathlib.Path, argument: str = "run_dir"
) -> tuple[AIRConfig, dict[str, Any]]:
  """Returns the configuration of a run's model, and what else describes it.

  Args:
    folder: of the run.
    argument: that names it, for messages.

  Raises:
    RunError: if the folder holds no run.
    ConfigError: if the run is of another version, or its model cannot work.
  """
  path = folder / _CONFIG
  try:
    others = files.read_json(path)
  except OSError as error:
    raise RunError(
      f"{argument} is {folder}, expected the folder of a run, with {_CONFIG}:"
      f" {error.strerror}"
    ) from error
  except ValueError as error:
    raise RunError(f"{path} is damaged: {error}") from error
  if others.pop("format", None) != _FORMAT:
    raise RunError(
      f"{path} is of another version, expected one with format {_FORMAT}"
    )
  try:
    return AIRConfig.from_dict(others.pop("air")), others
  except (KeyError, TypeError, AttributeError) as error:
    raise damaged(folder, error) from error


def damaged(folder: pathlib.Path, error: Exception) -> RunError:
  """Returns what to raise when the configuration is not what was written."""
  return RunError(f"{folder / _CONFIG} is damaged: {error!r}")


def restore_model(
  folder: pathlib.Path,
  config: AIRConfig,
  run_id: str,
  argument: str = "run_dir",
) -> tuple[model_lib.AIRModel, int]:
  """Returns the model of the newest good checkpoint, and its iteration.

  A damaged checkpoint is passed over with a warning in the log.

  Args:
    folder: of the run.
    config: of its model.
    run_id: of the run, see `checkpoints.restore_newest`.
    argument: that names the folder, for messages.

  Raises:
    RunError: if there is no checkpoint yet.
    CheckpointError: if there are checkpoints but none of them is good.
  """
  model = model_lib.AIRModel(config)
  iteration = checkpoints_lib.restore_newest(
    checkpoints(folder), model, logging.warning, run_id
  )
  if iteration is None:
    raise RunError(f"{argument} is {folder}, which has no checkpoint yet")
  return model, iteration


def write_reference(
  folder: pathlib.Path, iteration: int, scores: surprise.Scores
) -> None:
  """Writes what `read_reference` reads.

  Args:
    folder: of the run.
    iteration: of the model that scored.
    scores: of images like the training images.
  """
  # As many digits as float32 has.
  fields = {
    name: [float(f"{number:.8g}") for number in field.tolist()]
    for name, field in scores._asdict().items()
  }
  values = {"iteration": iteration, **fields}
  files.write_text(folder / REFERENCE, json.dumps(values) + "\n")


def read_reference(
  folder: pathlib.Path, iteration: int
) -> surprise.Scores | None:
  """Returns scores of images like the training images, for `air.surprise`.

  Args:
    folder: of the run.
    iteration: of the model that is to be compared by them.

  Returns:
    The scores; None: there are none of this iteration, which is not that at
    which training ended, or the file is damaged.
  """
  try:
    values = files.read_json(folder / REFERENCE)
    if values["iteration"] != iteration:
      return None
    scores = surprise.Scores(
      *(np.array(values[name], float) for name in surprise.Scores._fields)
    )
    shapes = {field.shape for field in scores}
    if (
      shapes != {(scores.norm.size,)} or not np.isfinite(np.stack(scores)).all()
    ):
      return None
  except (OSError, ValueError, TypeError, KeyError):
    return None
  return scores
