"""Configuration: frozen dataclasses, the one place of defaults.

Each field carries its help text and says where its default comes from: "post"
is the blog post "Implementing AIR", "code" the blog's original code where the
post is silent, "ours" a choice of this project (docs/differences.md).
The experiment binaries make one flag of the same name out of each field.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal, get_type_hints

from air.errors import ConfigError
from air.fields import (
  AT_LEAST_1,
  DEVIATION,
  NOT_NEGATIVE,
  POSITIVE,
  PROBABILITY,
  WEIGHT,
  Checked,
  field,
  require,
)


@dataclasses.dataclass(frozen=True)
class ModelConfig(Checked):
  """The shape of the model. Sizes are in pixels or units."""

  image_size: tuple[int, ...] = field(
    (50, 50), "height and width of the images, pixels (code)"
  )
  num_steps: int = field(
    3, "N, the most objects in an image (code)", AT_LEAST_1
  )
  glimpse_size: tuple[int, ...] = field(
    (20, 20), "height and width of a glimpse, pixels (code)"
  )
  what_size: int = field(50, "Z, the size of z_what (code)", AT_LEAST_1)
  hidden_sizes: tuple[int, ...] = field(
    (256, 256), "hidden layers of every MLP, ELU between (post)", AT_LEAST_1
  )
  presence_hidden_sizes: tuple[int, ...] = field(
    (256, 256),
    "hidden layers of the presence head (post; code: 128,64)",
    AT_LEAST_1,
  )
  baseline_hidden_sizes: tuple[int, ...] = field(
    (256, 128), "hidden layers of the neural baseline (post)", AT_LEAST_1
  )
  step_input: Literal["image", "difference"] = field(
    "image",
    "what a step observes: the image (post), or the difference between it and"
    " what the steps before have painted (the paper's DAIR)",
    before="image",
  )
  glimpse_input: Literal["image", "difference"] = field(
    "image",
    "what a glimpse is cut out of: the image (post), or that difference",
    before="image",
  )
  memory: bool = field(
    True,
    "an LSTM remembers the steps before (post); without, a step knows of them"
    " what the difference shows, and an MLP of hidden_sizes is in the LSTM's"
    " place (the paper's DAIR)",
    before=True,
  )
  lstm_size: int = field(256, "units of the LSTM (post)", AT_LEAST_1)
  latent_feedback: bool = field(
    True,
    "feed z_what, z_where and z_pres of a step to the next one (post; the"
    " code does not)",
  )
  where_parametrization: Literal["4d", "3d"] = field(
    "4d", "z_where: 4d is sx, tx, sy, ty (code), 3d is s, tx, ty (paper)"
  )
  where_squash: Literal["samples", "locations", "none"] = field(
    "samples",
    "apply sigmoid to scales and tanh to shifts: of the sample, whose prior is"
    " then that of the raw value (ours), of the Gaussian's location (code), or"
    " not at all",
  )
  where_init: Literal["prior", "code"] = field(
    "prior",
    "what q(z_where) equals approximately when training starts: prior, its"
    " prior at that time (ours), or code, N(0, 1) with the scale set by"
    " where_scale_bias (code)",
  )
  where_scale_bias: float = field(
    0.5,
    "added to the raw scale of q(z_where) before softplus, with"
    " where_init=code (code)",
  )
  presence_bias: float = field(
    0.75, "added to the logit of every presence probability (code)"
  )
  decoder_init_scale: float = field(
    1.0,
    "the decoder's initial output is multiplied by this, by way of the last"
    " layer's weights (code)",
    NOT_NEGATIVE,
    before=1.0,
  )
  canvas_multiplier: float = field(
    0.5, "the sum of the painted objects is multiplied by this (code)"
  )
  output_std: float = field(
    0.3, "standard deviation of a pixel given the canvas (post)", DEVIATION
  )
  train_output_std: bool = field(
    False, "output_std is where it starts, and is trained (ours)", before=False
  )
  background_model: Literal["none", "constant", "network"] = field(
    "none",
    "what objects are painted on: none, black (post); constant, an image that"
    " is trained (ours); network, what a small decoder makes of z_bg ~ N(0, 1),"
    " which an encoder infers from the image (ours)",
    before="none",
  )

  @property
  def where_size(self) -> int:
    """The number of entries of z_where."""
    return 4 if self.where_parametrization == "4d" else 3

  def __post_init__(self):
    super().__post_init__()
    for name in ("image_size", "glimpse_size"):
      value = getattr(self, name)
      require(
        len(value) == 2 and all(size >= 2 for size in value),
        name, value, "a height and a width of at least 2",
      )  # fmt: skip
    require(
      len(self.hidden_sizes) > 0,
      "hidden_sizes", self.hidden_sizes, "at least one layer",
    )  # fmt: skip
    require(
      all(
        g <= i for g, i in zip(self.glimpse_size, self.image_size, strict=True)
      ),
      "glimpse_size",
      self.glimpse_size,
      f"no more than the image's {self.image_size}",
    )
    require(
      self.memory or self.step_input == "difference",
      "memory", self.memory,
      "True with step_input=image, where all steps would be the same",
    )  # fmt: skip
    require(
      self.memory or not self.latent_feedback,
      "latent_feedback", self.latent_feedback, "False without memory",
    )  # fmt: skip
    require(
      self.where_init == "code" or self.where_squash != "locations",
      "where_init", repr(self.where_init),
      "code, for locations that are squashed",
    )  # fmt: skip
    default = type(self).where_scale_bias
    require(
      self.where_init == "code" or self.where_scale_bias == default,
      "where_scale_bias", self.where_scale_bias,
      f"{default} with where_init=prior, which sets q(z_where) to its prior",
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class PriorConfig(Checked):
  """Priors on z_where and on the number of steps; z_what has N(0, 1)."""

  where_scale_prior_mean_initial: float = field(
    -1.0,
    "mean of the Gaussian prior on the scales of z_where at the start, before"
    " any squash of samples: small windows (ours; post: 0)",
  )
  where_scale_prior_std_initial: float = field(
    0.15,
    "standard deviation of the prior on the scales of z_where at the start"
    " (ours; post: 1)",
    POSITIVE,
  )
  where_scale_prior_mean: float = field(
    0.0,
    "mean of the prior on the scales of z_where once it is annealed (post, of"
    " squashed scales)",
  )
  where_scale_prior_std: float = field(
    1.0,
    "standard deviation of the prior on the scales of z_where once it is"
    " annealed (post, of squashed scales)",
    POSITIVE,
  )
  where_scale_prior_hold: int = field(
    1_000,
    "iterations before the prior on the scales of z_where begins to change"
    " (ours)",
    NOT_NEGATIVE,
  )
  where_scale_prior_anneal: int = field(
    3_000,
    "iterations over which the prior on the scales of z_where changes (ours)",
    NOT_NEGATIVE,
  )
  steps_prior_initial: float = field(
    1e-5,
    "success probability of the geometric prior at the start (ours: that of"
    " the end; post: close to 1)",
    PROBABILITY,
  )
  steps_prior_final: float = field(
    1e-5,
    "success probability of the geometric prior at the end (post)",
    PROBABILITY,
  )
  steps_prior_hold: int = field(
    0,
    "iterations before the success probability begins to change (ours; code:"
    " 1000)",
    NOT_NEGATIVE,
  )
  steps_prior_anneal: int = field(
    0,
    "iterations over which the success probability changes (ours; post:"
    " 100,000)",
    NOT_NEGATIVE,
  )
  steps_prior_normalize: bool = field(
    True,
    "divide p(n) by its sum over 0..N, a proper distribution (ours; the code"
    " does not, which moves the ELBO but no gradient)",
  )


@dataclasses.dataclass(frozen=True)
class TrainingConfig(Checked):
  """How the model is trained."""

  estimator: str = field(
    "marginal",
    "gradient estimator of the discrete number of steps n: marginal sums over"
    " n exactly (ours), reinforce is REINFORCE with a neural baseline (post,"
    " but for the baseline's inputs); for others see docs/estimators.md",
  )
  num_samples: int = field(
    0,
    "K, samples of (z, n) for each image in a batch; 0: 5 for vimco, whose"
    " bound is that of K samples, and 1 for all others (ours)",
    NOT_NEGATIVE,
    before=0,
  )
  batch_size: int = field(64, "images in a batch (code)", AT_LEAST_1)
  learning_rate: float = field(
    5e-5,
    "learning rate of the model at the start (ours; code: 1e-4)",
    POSITIVE,
  )
  learning_rate_final_ratio: float = field(
    0.1,
    "both learning rates at the end over those at the start, from which they"
    " fall exponentially (ours; code: 1)",
    POSITIVE,
    before=1.0,
  )
  learning_rate_hold: int = field(
    60_000,
    "iterations before the learning rates begin to fall (ours)",
    NOT_NEGATIVE,
    before=0,
  )
  learning_rate_anneal: int = field(
    40_000,
    "iterations over which the learning rates fall (ours)",
    NOT_NEGATIVE,
    before=0,
  )
  normalize_signal: bool = field(
    False,
    "centre the learning signal by its moving mean, and divide what goes by way"
    " of q(n|z) by its moving standard deviation if above one; for estimators"
    " with a baseline (NVIL; ours, the post: no)",
    before=False,
  )
  presence_warmup: int = field(
    0,
    "iterations in which every presence probability is that of"
    " presence_floor_coin, while the decoder learns to paint (code)",
    NOT_NEGATIVE,
  )
  presence_floor_initial: float = field(
    0.3,
    "weight at the start of the coin that each presence probability is mixed"
    " with (ours; code: 1e-3 throughout)",
    WEIGHT,
  )
  presence_floor_final: float = field(
    1e-3,
    "weight at the end of the coin that each presence probability is mixed with"
    " (code)",
    WEIGHT,
  )
  presence_floor_anneal: int = field(
    3_000,
    "iterations over which the coin's weight falls linearly (ours)",
    NOT_NEGATIVE,
  )
  presence_floor_coin: Literal["fair", "uniform"] = field(
    "fair",
    "what presence probabilities are mixed with: a fair coin (code), or"
    " uniform: one for each step, with which all n would be as probable; for"
    " many steps (ours)",
    before="fair",
  )
  presence_limit: float = field(
    8.0,
    "L: training also minimises (|logit| - L)^2 for each presence logit beyond"
    " L or -L, so that its gradient does not vanish (ours); it is no part of"
    " the reported loss, and takes the logit before exploration; 0: no limit"
    " (code)",
    NOT_NEGATIVE,
    before=0.0,
  )
  init_from: str = field(
    "",
    "whose weights training starts from: the name of a model that ships, or the"
    " folder of a run; empty: random weights (ours)",
    before="",
  )
  seed: int = field(
    0, "seed of weights, noise and order of the images", NOT_NEGATIVE
  )


def _check_names(what: str, given: Iterable[str], expected: list[str]) -> None:
  wrong = sorted(set(given) ^ set(expected))
  if wrong:
    raise ConfigError(
      f"{what} of another version: missing or unknown are {', '.join(wrong)}"
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
