"""A model's weights and configuration in one small file.

The format is safetensors, which other languages read in a few lines: a header
in JSON says where each array lies. Arrays are float16, a quarter of what a
checkpoint takes, which also holds the optimizer's state. The configuration is
in the header's metadata, under the one key `model`: of several, the order would
be another each time.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import tensorflow as tf

from air.config import AIRConfig
from air.errors import CheckpointError, ConfigError
from air.model import AIRModel
from air.storage import files

# Of the file; one of another format is refused.
_FORMAT = 2
_KEY = "model"


def names(model: AIRModel, variables: Iterable[tf.Variable]) -> list[str]:
  """Returns the names of variables of a model, such as `cell/lstm/w_i`."""
  prefix = f"{model.name}/"
  return [v.name.removeprefix(prefix).removesuffix(":0") for v in variables]


def write(path: pathlib.Path, model: AIRModel, **others: Any) -> None:
  """Writes the model's variables, without the baseline's.

  Args:
    path: of the file.
    model: trained.
    **others: what else describes it, ready for JSON.

  Raises:
    CheckpointError: if float16 cannot hold a weight.
    OSError: if it cannot be written.
  """
  variables = model.model_variables
  arrays = {}
  for name, variable in zip(names(model, variables), variables, strict=True):
    with np.errstate(over="ignore"):  # what does not fit is infinite
      arrays[name] = variable.numpy().astype(np.float16)
    if not np.isfinite(arrays[name]).all():
      raise CheckpointError(f"{name} has a weight that float16 cannot hold")
  described = {
    "format": _FORMAT, "air": dataclasses.asdict(model.config), **others
  }  # fmt: skip
  content = safetensors.numpy.save(arrays, {_KEY: json.dumps(described)})
  with files.replacing(path) as temporary:
    temporary.write_bytes(content)


def read(path: pathlib.Path) -> tuple[AIRModel, dict[str, Any]]:
  """Returns a model of these weights, and what else describes it.

  A baseline, if its estimator has one, is as at the start of training.

  Args:
    path: of a file that `write` has written.

  Raises:
    CheckpointError: if the file is damaged, or of another version.
    ConfigError: if its configuration is of another version.
    OSError: if it cannot be read.
  """
  content = path.read_bytes()
  try:
    arrays = safetensors.numpy.load(content)
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    others = files.parse_json(header["__metadata__"].get(_KEY, "{}"))
  except (safetensors.SafetensorError, KeyError, ValueError) as error:
    raise CheckpointError(f"{path} is damaged: {error!r}") from error
  if others.pop("format", None) != _FORMAT:
    raise CheckpointError(
      f"{path} is of another version, expected one with format {_FORMAT}"
    )
  try:
    model = AIRModel(AIRConfig.from_dict(others.pop("air")))
  except (KeyError, TypeError, AttributeError) as error:
    raise ConfigError(f"{path} has no configuration: {error!r}") from error
  variables = model.model_variables
  expected = dict(zip(names(model, variables), variables, strict=True))
  shapes = {name: tuple(v.shape) for name, v in expected.items()}
  if shapes != {name: array.shape for name, array in arrays.items()}:
    raise CheckpointError(f"{path} holds the weights of another model")
  for name, variable in expected.items():
    variable.assign(arrays[name].astype(np.float32))
  return model, others
