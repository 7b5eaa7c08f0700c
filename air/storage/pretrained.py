"""Trained models, by the name of one that ships or the folder of a run.

Of a model that ships, air/pretrained/NAME/ has these files:

weights.safetensors  see air/storage/weights.py
surprise.json        what images are compared with, see air/surprise.py
card.json            what it was trained on, and what it measures
"""

from __future__ import annotations

import os
import pathlib
from typing import Any, NamedTuple

from etils import epy

from air.config import AIRConfig
from air.errors import ConfigError, RunError
from air.storage import run_folder

with epy.lazy_imports():
  from air import model as model_lib
  from air import surprise
  from air.storage import weights

FOLDER = pathlib.Path(__file__).parents[1] / "pretrained"
WEIGHTS = "weights.safetensors"
CARD = "card.json"
# Settings of the model that may change under its weights.
_FREE = {
  "num_steps",
  "output_std",
  "decoder_init_scale",
  "baseline_hidden_sizes",
}
_INITIAL = ("where_scale_prior_mean_initial", "where_scale_prior_std_initial")


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


def locate(source: str | os.PathLike[str], argument: str) -> pathlib.Path:
  """Returns the folder of a trained model: of a run, or in `FOLDER`.

  Args:
    source: the name of a model that ships, or the folder of a run; a path
      object, or a name with a / in it, is always a folder.
    argument: that names it, for messages.

  Raises:
    RunError: if there is no such model, or if the folder of a run has the name
      of one that ships.
    ConfigError: if it is of another version.
  """
  try:
    folder = pathlib.Path(source).expanduser()
  except RuntimeError as error:  # of a user who is not known
    raise RunError(
      f"{argument} is {source}, expected the folder of a run: {error}"
    ) from error
  is_run = run_folder.exists(folder)
  ships = isinstance(source, str) and source in names()
  if ships and is_run:
    raise RunError(
      f"{argument} is {source}, which is a run's folder here and a model that"
      f" ships; expected ./{source} for the run, or another current folder"
    )
  if not ships and not is_run and folder.parent == pathlib.Path():
    if folder.name in names():
      raise RunError(
        f"{argument} is {source}, where there is no run; expected the folder of"
        f' one, or the name of the model that ships, "{folder.name}": --model'
        " or --init_from, in Python a string without a /"
      )
    raise RunError(
      f"{argument} is {source}, expected the folder of a run, with config.json,"
      f" or a model that ships: {', '.join(names())}"
    )
  if ships:
    return FOLDER / source
  run_folder.read_config(folder, argument)  # says so if it cannot
  return folder


def read(source: str | os.PathLike[str], argument: str) -> Pretrained:
  """Returns a trained model.

  Args:
    source: see `locate`.
    argument: see `locate`.

  Raises:
    RunError: see `locate`; or if the run has no checkpoint yet.
    ConfigError: see `locate`.
    CheckpointError: if it is damaged.
    OSError: if it cannot be read.
  """
  folder = locate(source, argument)
  if folder.parent == FOLDER:
    network, others = weights.read(folder / WEIGHTS)
    iteration = others["iteration"]
  else:
    config, others = run_folder.read_config(folder, argument)
    network, iteration = run_folder.restore_model(
      folder, config, others.get("id", ""), argument
    )
  reference = run_folder.read_reference(folder, iteration)
  return Pretrained(network, iteration, reference)


def initialize(model: model_lib.AIRModel, source: str, argument: str) -> None:
  """Gives a model the weights of a trained one.

  A baseline and the optimizer begin anew.

  Args:
    model: to be trained.
    source: see `locate`.
    argument: see `locate`.

  Raises:
    ConfigError: if the weights would mean something else in this model.
    RunError: see `read`; or CheckpointError, or OSError.
  """
  trained = read(source, argument).network
  ours, theirs = (_meaning(m.config) for m in (model, trained))
  differ = [
    f"{name} {theirs[name]} (here {ours[name]})"
    for name in ours
    if ours[name] != theirs[name]
  ]
  if differ:
    raise ConfigError(
      f"{argument} is {source}, which was trained with {', '.join(differ)};"
      " expected the same settings of the model, but for num_steps"
    )
  for variable, other in zip(
    model.model_variables, trained.model_variables, strict=True
  ):
    variable.assign(other)


def _meaning(config: AIRConfig) -> dict[str, Any]:
  """Returns the settings that say what a model's weights mean, by name."""
  settings = {k: v for k, v in vars(config.model).items() if k not in _FREE}
  if config.model.where_init == "prior":  # which is added to what is inferred
    settings |= {name: getattr(config.prior, name) for name in _INITIAL}
  return settings
