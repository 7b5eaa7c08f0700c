"""Configuration: frozen dataclasses, the one place of defaults.

Each field carries its help text and says where its default comes from: "post"
is the blog post "Implementing AIR", "code" the blog's original code where the
post is silent, "ours" a choice of this project (docs/differences.md).
The experiment binaries make one flag of the same name out of each field.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

from air.errors import ConfigError

_LARGEST_FLOAT = 3.4e38  # of 32 bits, but for its last digits


class _Range(NamedTuple):
  """What the numbers of a field must be; of a tuple, each of its entries."""

  expected: str
  holds: Callable[[Any], bool]


_NOT_NEGATIVE = _Range("at least 0", lambda v: v >= 0)
_AT_LEAST_1 = _Range("at least 1", lambda v: v >= 1)
_POSITIVE = _Range("more than 0", lambda v: v > 0)
_WEIGHT = _Range("in [0, 1)", lambda v: 0 <= v < 1)
# Smaller numbers have no logarithm where float64 has no subnormals.
_PROBABILITY = _Range("in [1e-300, 1]", lambda v: 1e-300 <= v <= 1)
# Its square, and what that divides, can then be told from 0 and infinity.
_DEVIATION = _Range("in [1e-15, 1e15]", lambda v: 1e-15 <= v <= 1e15)


def _field(
  default: Any, help_text: str, within: _Range | None = None, **metadata: Any
) -> Any:
  """Returns a field.

  Args:
    default: its value by default, of the type that it must have.
    help_text: what it means, and where the default comes from.
    within: what its numbers must be; None: anything finite.
    **metadata: `before=...`, its value in runs older than the field.
  """
  return dataclasses.field(
    default=default,
    metadata={"help": help_text, "within": within, **metadata},
  )


def _require(condition: bool, name: str, value: Any, expected: str) -> None:
  if not condition:
    raise ConfigError(f"{name} is {value}, expected {expected}")


def _check_names(what: str, given: Iterable[str], expected: list[str]) -> None:
  wrong = sorted(set(given) ^ set(expected))
  if wrong:
    raise ConfigError(
      f"{what} of another version: missing or unknown are {', '.join(wrong)}"
    )


def _check_type(name: str, value: Any, default: Any) -> None:
  """Requires the type of the default."""
  if isinstance(default, tuple):
    _require(
      isinstance(value, tuple) and all(type(v) is int for v in value),
      name, value, "a tuple of integers",
    )  # fmt: skip
  elif type(default) is float:
    _require(type(value) in (int, float), name, repr(value), "a number")
  else:
    kind = type(default)
    _require(type(value) is kind, name, repr(value), f"of type {kind.__name__}")


def _check_number(
  name: str, value: Any, number: Any, within: _Range | None
) -> None:
  """Requires a number that TensorFlow can hold, and within its range.

  Args:
    name: of the field.
    value: of the field.
    number: the value, or one of its entries.
    within: its range; None: any.
  """
  if isinstance(number, float):
    fits = abs(number) <= _LARGEST_FLOAT
    _require(fits, name, value, "a finite number of 32 bits")
  elif isinstance(number, int):
    _require(abs(number) < 2**31, name, value, "less than 2^31")
  if within is not None:
    _require(within.holds(number), name, value, within.expected)


class _Checked:
  """A part of the configuration whose fields say what they must be."""

  def __post_init__(self):
    annotations = get_type_hints(type(self))
    for field in dataclasses.fields(self):  # type: ignore[arg-type]
      name, value = field.name, getattr(self, field.name)
      _check_type(name, value, field.default)
      choices = get_args(annotations[name])
      if choices and all(isinstance(choice, str) for choice in choices):
        expected = "one of " + ", ".join(choices)
        _require(value in choices, name, repr(value), expected)
      for number in value if isinstance(value, tuple) else (value,):
        _check_number(name, value, number, field.metadata["within"])


@dataclasses.dataclass(frozen=True)
class ModelConfig(_Checked):
  """The shape of the model. Sizes are in pixels or units."""

  image_size: tuple[int, ...] = _field(
    (50, 50), "height and width of the images, pixels (code)"
  )
  num_steps: int = _field(
    3, "N, the most objects in an image (code)", _AT_LEAST_1
  )
  glimpse_size: tuple[int, ...] = _field(
    (20, 20), "height and width of a glimpse, pixels (code)"
  )
  what_size: int = _field(50, "Z, the size of z_what (code)", _AT_LEAST_1)
  hidden_sizes: tuple[int, ...] = _field(
    (256, 256), "hidden layers of every MLP, ELU between (post)", _AT_LEAST_1
  )
  presence_hidden_sizes: tuple[int, ...] = _field(
    (256, 256),
    "hidden layers of the presence head (post; code: 128,64)",
    _AT_LEAST_1,
  )
  baseline_hidden_sizes: tuple[int, ...] = _field(
    (256, 128), "hidden layers of the neural baseline (post)", _AT_LEAST_1
  )
  step_input: Literal["image", "difference"] = _field(
    "image",
    "what a step observes: the image (post), or the difference between it and"
    " what the steps before have painted (the paper's DAIR)",
    before="image",
  )
  glimpse_input: Literal["image", "difference"] = _field(
    "image",
    "what a glimpse is cut out of: the image (post), or that difference",
    before="image",
  )
  memory: bool = _field(
    True,
    "an LSTM remembers the steps before (post); without, a step knows of them"
    " what the difference shows, and an MLP of hidden_sizes is in the LSTM's"
    " place (the paper's DAIR)",
    before=True,
  )
  lstm_size: int = _field(256, "units of the LSTM (post)", _AT_LEAST_1)
  latent_feedback: bool = _field(
    True,
    "feed z_what, z_where and z_pres of a step to the next one (post; the"
    " code does not)",
  )
  where_parametrization: Literal["4d", "3d"] = _field(
    "4d", "z_where: 4d is sx, tx, sy, ty (code), 3d is s, tx, ty (paper)"
  )
  where_squash: Literal["samples", "locations", "none"] = _field(
    "samples",
    "apply sigmoid to scales and tanh to shifts: of the sample, whose prior is"
    " then that of the raw value (ours), of the Gaussian's location (code), or"
    " not at all",
  )
  where_init: Literal["prior", "code"] = _field(
    "prior",
    "what q(z_where) is about when training starts: its prior at that time"
    " (ours), or N(0, 1) by way of where_scale_bias (code)",
  )
  where_scale_bias: float = _field(
    0.5,
    "added to the raw scale of q(z_where) before softplus, with"
    " where_init=code (code)",
  )
  presence_bias: float = _field(
    0.75, "added to the logit of every presence probability (code)"
  )
  decoder_init_scale: float = _field(
    1.0,
    "the decoder's initial output is multiplied by this, by way of the last"
    " layer's weights (code)",
    _NOT_NEGATIVE,
    before=1.0,
  )
  canvas_multiplier: float = _field(
    0.5, "the sum of the painted objects is multiplied by this (code)"
  )
  output_std: float = _field(
    0.3, "standard deviation of a pixel given the canvas (post)", _DEVIATION
  )

  @property
  def where_size(self) -> int:
    """The number of entries of z_where."""
    return 4 if self.where_parametrization == "4d" else 3

  def __post_init__(self):
    super().__post_init__()
    for name in ("image_size", "glimpse_size"):
      value = getattr(self, name)
      _require(
        len(value) == 2 and all(size >= 2 for size in value),
        name, value, "a height and a width of at least 2",
      )  # fmt: skip
    _require(
      len(self.hidden_sizes) > 0,
      "hidden_sizes", self.hidden_sizes, "at least one layer",
    )  # fmt: skip
    _require(
      all(
        g <= i for g, i in zip(self.glimpse_size, self.image_size, strict=True)
      ),
      "glimpse_size",
      self.glimpse_size,
      f"no more than the image's {self.image_size}",
    )
    _require(
      self.memory or self.step_input == "difference",
      "memory", self.memory,
      "True with step_input=image, where all steps would be the same",
    )  # fmt: skip
    _require(
      self.memory or not self.latent_feedback,
      "latent_feedback", self.latent_feedback, "False without memory",
    )  # fmt: skip
    _require(
      self.where_init == "code" or self.where_squash != "locations",
      "where_init", repr(self.where_init),
      "code, for locations that are squashed",
    )  # fmt: skip
    default = type(self).where_scale_bias
    _require(
      self.where_init == "code" or self.where_scale_bias == default,
      "where_scale_bias", self.where_scale_bias,
      f"{default} with where_init=prior, which sets q(z_where) to its prior",
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class PriorConfig(_Checked):
  """Priors on z_where and on the number of steps; z_what has N(0, 1)."""

  where_scale_prior_mean_initial: float = _field(
    -1.0,
    "mean of the Gaussian prior on the scales of z_where at the start, before"
    " any squash of samples: small windows (ours; post: 0)",
  )
  where_scale_prior_std_initial: float = _field(
    0.15,
    "standard deviation of the prior on the scales of z_where at the start"
    " (ours; post: 1)",
    _POSITIVE,
  )
  where_scale_prior_mean: float = _field(
    0.0,
    "mean of the prior on the scales of z_where once it is annealed (post, of"
    " squashed scales)",
  )
  where_scale_prior_std: float = _field(
    1.0,
    "standard deviation of the prior on the scales of z_where once it is"
    " annealed (post, of squashed scales)",
    _POSITIVE,
  )
  where_scale_prior_hold: int = _field(
    1_000,
    "iterations before the prior on the scales of z_where begins to change"
    " (ours)",
    _NOT_NEGATIVE,
  )
  where_scale_prior_anneal: int = _field(
    3_000,
    "iterations over which the prior on the scales of z_where changes (ours)",
    _NOT_NEGATIVE,
  )
  steps_prior_initial: float = _field(
    1e-5,
    "success probability of the geometric prior at the start (ours: that of"
    " the end; post: close to 1)",
    _PROBABILITY,
  )
  steps_prior_final: float = _field(
    1e-5,
    "success probability of the geometric prior at the end (post)",
    _PROBABILITY,
  )
  steps_prior_hold: int = _field(
    0,
    "iterations before the success probability begins to change (ours; code:"
    " 1000)",
    _NOT_NEGATIVE,
  )
  steps_prior_anneal: int = _field(
    0,
    "iterations over which the success probability changes (ours; post:"
    " 100,000)",
    _NOT_NEGATIVE,
  )
  steps_prior_normalize: bool = _field(
    True,
    "divide p(n) by its sum over 0..N, a proper distribution (ours; the code"
    " does not, which moves the ELBO but no gradient)",
  )


@dataclasses.dataclass(frozen=True)
class TrainingConfig(_Checked):
  """How the model is trained."""

  estimator: str = _field(
    "marginal",
    "how the gradient in the discrete number of steps is estimated: summed"
    " over exactly (marginal, ours), or REINFORCE with a neural baseline"
    " (reinforce, post but for what the baseline sees); the others:"
    " docs/estimators.md",
  )
  num_samples: int = _field(
    0,
    "K, samples of (z, n) for each image in a batch; 0: 5 for vimco, whose"
    " bound is that of K samples, and 1 for all others (ours)",
    _NOT_NEGATIVE,
    before=0,
  )
  batch_size: int = _field(64, "images in a batch (code)", _AT_LEAST_1)
  learning_rate: float = _field(
    5e-5,
    "learning rate of the model at the start (ours; code: 1e-4)",
    _POSITIVE,
  )
  learning_rate_final_ratio: float = _field(
    0.1,
    "both learning rates at the end over those at the start, from which they"
    " fall exponentially (ours; code: 1)",
    _POSITIVE,
    before=1.0,
  )
  learning_rate_hold: int = _field(
    60_000,
    "iterations before the learning rates begin to fall (ours)",
    _NOT_NEGATIVE,
    before=0,
  )
  learning_rate_anneal: int = _field(
    40_000,
    "iterations over which the learning rates fall (ours)",
    _NOT_NEGATIVE,
    before=0,
  )
  normalize_signal: bool = _field(
    False,
    "centre the learning signal by its moving mean, and divide what goes by way"
    " of q(n|z) by its moving standard deviation if above one; for estimators"
    " with a baseline (NVIL; ours, the post: no)",
    before=False,
  )
  presence_warmup: int = _field(
    0,
    "iterations in which every presence probability is that of"
    " presence_floor_coin, while the decoder learns to paint (code)",
    _NOT_NEGATIVE,
  )
  presence_floor_initial: float = _field(
    0.3,
    "weight at the start of the coin that each presence probability is mixed"
    " with (ours; code: 1e-3 throughout)",
    _WEIGHT,
  )
  presence_floor_final: float = _field(
    1e-3,
    "weight at the end of the coin that each presence probability is mixed with"
    " (code)",
    _WEIGHT,
  )
  presence_floor_anneal: int = _field(
    3_000,
    "iterations over which the coin's weight falls linearly (ours)",
    _NOT_NEGATIVE,
  )
  presence_floor_coin: Literal["fair", "uniform"] = _field(
    "fair",
    "what presence probabilities are mixed with: a fair coin (code), or"
    " uniform: one for each step, with which all n would be as probable; for"
    " many steps (ours)",
    before="fair",
  )
  presence_limit: float = _field(
    8.0,
    "L: (|logit| - L)^2 is added to what training minimises, and not to the"
    " loss it reports, for each presence whose logit, before exploration, is"
    " beyond L or -L, so that its gradient does not vanish (ours); 0: nothing"
    " is (code)",
    _NOT_NEGATIVE,
    before=0.0,
  )
  seed: int = _field(
    0, "seed of weights, noise and order of the images", _NOT_NEGATIVE
  )


# Settings that older runs have, by part, with the value that has become fixed.
_FIXED: dict[str, dict[str, Any]] = {
  "model": {"presence_bound": 0.0, "what_scale_bias": 0.5},
  "prior": {
    "where_shift_prior_mean": 0.0,
    "where_shift_prior_std": 1.0,
    "steps_prior_schedule": "exponential",
  },
  "training": {
    "baseline_learning_rate_ratio": 10.0,
    "baseline_scale": 1.0,
    "relaxation_temperature": 1.0,
    "rmsprop_decay": 0.9,
    "rmsprop_epsilon": 1e-10,
    "rmsprop_momentum": 0.9,
  },
}


@dataclasses.dataclass(frozen=True)
class AIRConfig:
  """Everything that changes the numbers of a run, but for the data."""

  model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
  prior: PriorConfig = dataclasses.field(default_factory=PriorConfig)
  training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)

  @classmethod
  def from_dict(cls, values: dict[str, dict[str, Any]]) -> "AIRConfig":
    """Returns the configuration that `dataclasses.asdict` made `values` of.

    Also after a round trip through JSON, which makes lists of tuples, of runs
    older than a field whose value they had is known (`before`), and of runs
    that could still choose what is fixed by now, if they chose the same.

    Args:
      values: field name to value, for each of the three parts.

    Raises:
      ConfigError: if a part or a field is missing or unknown, as in a run of
        another version, or if a value cannot work.
    """
    _check_names(
      "configuration", values, [f.name for f in dataclasses.fields(cls)]
    )
    parts = {}
    for part in dataclasses.fields(cls):
      part_class = get_type_hints(cls)[part.name]
      given = {
        **{
          field.name: field.metadata["before"]
          for field in dataclasses.fields(part_class)
          if "before" in field.metadata
        },
        **values[part.name],
      }
      for name, value in _FIXED.get(part.name, {}).items():
        if given.get(name) == value:
          del given[name]
      _check_names(
        part.name, given, [f.name for f in dataclasses.fields(part_class)]
      )
      parts[part.name] = part_class(
        **{
          name: tuple(value) if isinstance(value, list) else value
          for name, value in given.items()
        }
      )
    return cls(**parts)
