"""The variables of the blog's original code, as ours.

The original is Sonnet 1 on TensorFlow 1: its linear layers are named otherwise,
and its LSTM has the gates (i, j, f, o) on one matrix for input and state, with
a constant 1 added to the forget gate. Everything else is alike, `blog_code`
being the configuration.
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np

from air.errors import CheckpointError
from air.model import AIRModel
from air.storage import weights as weights_lib

_MLPS = {
  "cell": "AIRCell/MLP",  # which takes the place of the LSTM, unlike there
  "cell/image_encoder": "AIRCell/Encoder/MLP",
  "cell/glimpse_encoder": "AIRCell/Encoder_1/MLP",
  "cell/what_head": "AIRCell/ParametrisedGaussian",
  "cell/where_head": "AIRCell/StochasticTransformParam/MLP",
  "presence_head": "AIRCell/StepsPredictor/MLP",
  "decoder": "AIRCell/Decoder/MLP",
  "baseline": "BaselineMLP/MLP",
}
_OTHERS = {
  "cell/lstm/w_i": "lstm/w_gates",
  "cell/lstm/w_h": "lstm/w_gates",
  "cell/lstm/b": "lstm/b_gates",
  "cell/initial_lstm_state/hidden": "lstm_initial_state_hidden/w",
  "cell/initial_lstm_state/cell": "lstm_initial_state_cell/w",
}
# Within the scope of the original's model, which is named after its class.
_SCOPED = re.compile(r"AIRCell/|lstm_initial_state_")
_SCOPE = re.compile(r"(.+/)AIRCell/")
# What the optimizers keep for a variable, in whatever scope they ran.
_SLOT = re.compile(r"/RMSProp(_\d+)?$")
_BASELINE = "BaselineMLP/"
# Settings that the original saves along with its weights, by the last part of
# their names, and ours; the others are of training alone.
_SETTINGS = {
  "canvas_multiplier": "canvas_multiplier",
  "explore_eps": "presence_floor_final",
  "transform_var_bias": "where_scale_bias",
  "step_bias": "presence_bias",
}

ITERATION = "global_step"


def _last(name: str) -> str:
  return name.rsplit("/", 1)[-1]


def iteration(original: Mapping[str, np.ndarray]) -> int | None:
  """Returns the iteration, of variables of the original; None: it is not there.

  Args:
    original: its names to arrays.
  """
  found = (int(v) for name, v in original.items() if _last(name) == ITERATION)
  return max(found, default=None)


def settings(original: Mapping[str, np.ndarray]) -> dict[str, float]:
  """Returns the settings that variables of the original hold, by our names.

  Args:
    original: its names to arrays.
  """
  return {
    _SETTINGS[_last(name)]: float(value)
    for name, value in original.items()
    if _last(name) in _SETTINGS and np.ndim(value) == 0
  }


def _original_name(name: str) -> str:
  """Returns the original's name, without the scope, of our variable's."""
  if name in _OTHERS:
    return _OTHERS[name]
  module, layer = name.split("/mlp/linear_")
  number, kind = layer.split("/")
  return f"{_MLPS[module]}/linear{'' if number == '0' else f'_{number}'}/{kind}"


def _to_ours(name: str, array: np.ndarray, forget_bias: float) -> np.ndarray:
  if not name.startswith("cell/lstm/"):
    return array
  i, j, f, o = np.split(array, 4, axis=-1)
  if name == "cell/lstm/b":
    f = f + np.float32(forget_bias)
  gates = np.concatenate([i, f, j, o], axis=-1)
  units = array.shape[-1] // 4
  return {
    "cell/lstm/b": gates,
    "cell/lstm/w_i": gates[:-units],
    "cell/lstm/w_h": gates[-units:],
  }[name]


def convert(
  original: Mapping[str, np.ndarray],
  wanted: Iterable[str],
  forget_bias: float = 1.0,
) -> dict[str, np.ndarray]:
  """Returns variables of the original, or gradients in them, as ours.

  Args:
    original: its names to arrays. Besides weights, it may have all else that a
      TensorFlow 1 Saver finds there: numbers, such as the iteration, the
      learning rate and those of `settings`, and what optimizers keep.
    wanted: names of ours, see `names`.
    forget_bias: what the original adds to the forget gate and we keep in the
      bias; 0 for gradients.

  Returns:
    Each name that is wanted to its array.

  Raises:
    CheckpointError: if a variable is missing, or if there is one that is not
      of this model.
  """
  found = [match[1] for name in original if (match := _SCOPE.match(name))]
  scope = min(found, key=len, default="")
  theirs = {name: _original_name(name) for name in wanted}
  theirs = {
    name: scope + other if _SCOPED.match(other) else other
    for name, other in theirs.items()
  }
  needed = set(theirs.values())
  if missing := sorted(needed - set(original)):
    raise CheckpointError(
      f"checkpoint lacks {', '.join(missing)}; expected one of the blog's"
      " original code"
    )
  unknown = sorted(
    name
    for name, value in original.items()
    if name not in needed
    and np.ndim(value)  # a weight has axes
    and not _SLOT.search(name)
    and not name.startswith(_BASELINE)  # a model may do without
  )
  if unknown:
    raise CheckpointError(
      f"checkpoint holds {', '.join(unknown)}, which the blog's original code"
      " does not have"
    )
  return {
    name: _to_ours(name, original[other], forget_bias)
    for name, other in theirs.items()
  }


def assign(model: AIRModel, original: Mapping[str, np.ndarray]) -> None:
  """Gives the model the weights of the original.

  Args:
    model: of the configuration `blog_code`, at the original's sizes.
    original: see `convert`.

  Raises:
    CheckpointError: as `convert`, or if a shape is another; the model is then
      as it was.
  """
  trainable = model.trainable_variables
  variables = dict(
    zip(weights_lib.names(model, trainable), trainable, strict=True)
  )
  weights = convert(original, variables)
  wrong = [
    f"{_original_name(name)} of shape {list(weights[name].shape)}, expected"
    f" {list(variable.shape)} (our {name})"
    for name, variable in variables.items()
    if weights[name].shape != tuple(variable.shape)
  ]
  if wrong:
    raise CheckpointError(
      f"checkpoint holds {'; '.join(wrong)}; see the flags of the model's sizes"
    )
  for name, variable in variables.items():
    variable.assign(weights[name])
