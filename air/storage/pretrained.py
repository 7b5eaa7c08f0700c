"""Trained models, by the name of one that ships or the folder of a run.

Of a model that ships, air/pretrained/NAME/ has these files:

weights.safetensors  see air/storage/weights.py
surprise.json        what images are compared with, see air/surprise.py
card.json            what it was trained on, and what it measures
"""

from __future__ import annotations

import os
import pathlib
from typing import NamedTuple

from etils import epy

from air.errors import ConfigError, RunError
from air.storage import run_folder

with epy.lazy_imports():
  from air import model as model_lib
  from air import surprise
  from air.storage import weights

FOLDER = pathlib.Path(__file__).parents[1] / "pretrained"
WEIGHTS = "weights.safetensors"
CARD = "card.json"


class Pretrained(NamedTuple):
  """A trained model.

  Attributes:
    network: the model.
    iteration: of training, at which it stands.
    reference: scores of images like the training images; None: not known.
  """

  network: model_lib.AIRModel
  iteration: int
  reference: surprise.Scores | None


def names() -> list[str]:
  """Returns the names of the models that ship."""
  return sorted(path.parent.name for path in FOLDER.glob(f"*/{WEIGHTS}"))


def read(source: str | os.PathLike[str], argument: str) -> Pretrained:
  """Returns a trained model.

  Args:
    source: the name of a model that ships, or the folder of a run; a path
      object, or a name with a / in it, is always a folder.
    argument: that names it, for messages.

  Raises:
    RunError: if there is no such model, if the folder of a run has the name of
      one that ships, or if the run has no checkpoint yet.
    ConfigError: if it is of another version.
    CheckpointError: if it is damaged.
    OSError: if it cannot be read.
  """
  try:
    folder = pathlib.Path(source).expanduser()
  except RuntimeError as error:  # of a user who is not known
    raise RunError(
      f"{argument} is {source}, expected the folder of a run: {error}"
    ) from error
  is_run = run_folder.exists(folder)
  if isinstance(source, str) and source in names():
    if is_run:
      raise RunError(
        f"{argument} is {source}, which is a run's folder here and a model that"
        f" ships; expected ./{source} for the run, or another current folder"
      )
    return _shipped(FOLDER / source)
  if not is_run and folder.parent == pathlib.Path():
    raise RunError(
      f"{argument} is {source}, expected the folder of a run, with config.json,"
      f" or a model that ships: {', '.join(names())}"
    )
  config, others = run_folder.read_config(folder, argument)
  network, iteration = run_folder.restore_model(
    folder, config, others.get("id", ""), argument
  )
  reference = run_folder.read_reference(folder, iteration)
  return Pretrained(network, iteration, reference)


def _shipped(folder: pathlib.Path) -> Pretrained:
  network, others = weights.read(folder / WEIGHTS)
  iteration = others["iteration"]
  reference = run_folder.read_reference(folder, iteration)
  return Pretrained(network, iteration, reference)


def initialize(model: model_lib.AIRModel, source: str, argument: str) -> None:
  """Gives a model the weights of a trained one.

  A baseline and the optimizer begin anew.

  Args:
    model: to be trained.
    source: see `read`.
    argument: see `read`.

  Raises:
    ConfigError: if the trained model has weights of other names or shapes.
    RunError: see `read`; or CheckpointError, or OSError.
  """
  trained = read(source, argument).network
  own, others = (
    dict(
      zip(
        weights.names(network, network.model_variables),
        network.model_variables,
        strict=True,
      )
    )
    for network in (model, trained)
  )
  shapes, expected = (
    {name: tuple(variable.shape) for name, variable in variables.items()}
    for variables in (own, others)
  )
  if shapes != expected:
    ours, theirs = (vars(m.config.model) for m in (model, trained))
    differ = [
      f"{name} {theirs[name]} (here {ours[name]})"
      for name in ours
      if ours[name] != theirs[name]
    ]
    raise ConfigError(
      f"{argument} is {source}, whose weights have other shapes; expected the"
      f" same settings of the model, but it has {', '.join(differ)}"
    )
  for name, variable in own.items():
    variable.assign(others[name])
