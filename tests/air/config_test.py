"""Configuration: what it refuses, and its way through JSON."""

import dataclasses
import json
import math

import pytest

from air.config import (
  AIRConfig,
  ConfigError,
  ModelConfig,
  PriorConfig,
  TrainingConfig,
)
from air.model import AIRModel

PARTS = (ModelConfig, PriorConfig, TrainingConfig)

REFUSED = [
  *[
    (ModelConfig, name, value)
    for name in ("image_size", "glimpse_size")
    for value in [(), (9,), (9, 9, 9), (0, 9), (9, -1), (1, 4), (4, 1)]
  ],
  (ModelConfig, "glimpse_size", (51, 20)),
  (ModelConfig, "glimpse_size", (20, 51)),
  *[
    (ModelConfig, name, value)
    for name in ("num_steps", "what_size", "lstm_size")
    for value in (0, -3)
  ],
  *[
    (ModelConfig, name, value)
    for name in (
      "hidden_sizes",
      "presence_hidden_sizes",
      "baseline_hidden_sizes",
    )
    for value in [(0,), (8, 0), (-1, 8), 8, ("8",), (8.0,)]
  ],
  (ModelConfig, "image_size", 50),
  (ModelConfig, "num_steps", 2.5),
  (ModelConfig, "num_steps", "3"),
  (ModelConfig, "latent_feedback", 1),
  (ModelConfig, "output_std", "0.3"),
  (ModelConfig, "where_parametrization", "5d"),
  (ModelConfig, "where_squash", "sample"),
  (ModelConfig, "where_init", "post"),
  (ModelConfig, "where_squash", None),
  (ModelConfig, "where_scale_bias", -2.0),  # with where_init=prior
  (ModelConfig, "output_std", 0.0),
  (ModelConfig, "decoder_init_scale", -1.0),
  (TrainingConfig, "presence_warmup", -1),
  (ModelConfig, "output_std", -0.3),
  (ModelConfig, "output_std", 1e-200),
  (ModelConfig, "output_std", 1e200),
  (TrainingConfig, "learning_rate", 1e39),
  *[
    (PriorConfig, name, value)
    for name in (
      "where_scale_prior_std_initial",
      "where_scale_prior_std",
    )
    for value in (0.0, -1.0)
  ],
  *[
    (PriorConfig, name, value)
    for name in ("steps_prior_initial", "steps_prior_final")
    for value in (0.0, -0.1, 1.0 + 1e-9)
  ],
  (PriorConfig, "steps_prior_hold", -1),
  (PriorConfig, "steps_prior_anneal", -1),
  (TrainingConfig, "batch_size", 0),
  *[
    (TrainingConfig, name, value)
    for name in ("learning_rate", "learning_rate_final_ratio")
    for value in (0.0, -1e-4)
  ],
  *[
    (TrainingConfig, name, value)
    for name in (
      "presence_floor_initial",
      "presence_floor_final",
    )
    for value in (-0.1, 1.0, 2.0)
  ],
  (TrainingConfig, "presence_floor_anneal", -1),
  (TrainingConfig, "presence_floor_coin", "coin"),
  (TrainingConfig, "presence_limit", -1.0),
  (TrainingConfig, "num_samples", -1),
  (TrainingConfig, "seed", -1),
  (TrainingConfig, "seed", 2**31),
  (ModelConfig, "lstm_size", 2**31),
  (ModelConfig, "hidden_sizes", (8, 10**20)),
  *[
    (part, field.name, value)
    for part in PARTS
    for field in dataclasses.fields(part)
    if isinstance(field.default, float)
    for value in (math.nan, math.inf, -math.inf)
  ],
]

ACCEPTED = [
  (ModelConfig, "image_size", (20, 20)),
  (ModelConfig, "glimpse_size", (50, 50)),
  (ModelConfig, "num_steps", 1),
  (ModelConfig, "where_parametrization", "3d"),
  (ModelConfig, "where_squash", "none"),
  (ModelConfig, "presence_bias", -3.0),
  (PriorConfig, "steps_prior_initial", 1.0 - 1e-15),
  (PriorConfig, "steps_prior_final", 1.0),
  (PriorConfig, "steps_prior_anneal", 0),
  (TrainingConfig, "presence_floor_initial", 0.0),
  (TrainingConfig, "presence_floor_anneal", 0),
  (TrainingConfig, "seed", 2**31 - 1),
]


@pytest.mark.parametrize(("part", "name", "value"), REFUSED)
def test_refuses(part, name, value):
  with pytest.raises(ConfigError, match=rf"^{name} is .*, expected "):
    part(**{name: value})


@pytest.mark.parametrize(("part", "name", "value"), ACCEPTED)
def test_accepts(part, name, value):
  assert getattr(part(**{name: value}), name) == value


def test_refuses_an_unknown_estimator():
  config = AIRConfig(training=TrainingConfig(estimator="magic"))
  with pytest.raises(
    ConfigError, match=r"^estimator is 'magic', expected one of marginal"
  ):
    AIRModel(config)


@pytest.mark.parametrize("num_samples", [1, 5])
def test_vimco_needs_two_samples(small_config, num_samples):
  config = small_config(estimator="vimco", num_samples=num_samples)
  if num_samples == 1:
    with pytest.raises(
      ConfigError, match=r"^num_samples is 1, expected at least 2 for "
    ):
      AIRModel(config)
  else:
    assert AIRModel(config).num_samples == 5


def test_without_memory_a_step_observes_the_difference_alone():
  dair = {"step_input": "difference", "latent_feedback": False}
  assert not ModelConfig(memory=False, **dair).memory
  with pytest.raises(ConfigError, match=r"^memory is False, expected True "):
    ModelConfig(memory=False, latent_feedback=False)
  with pytest.raises(
    ConfigError, match=r"^latent_feedback is True, expected False "
  ):
    ModelConfig(memory=False, step_input="difference")


def test_where_size():
  assert ModelConfig(where_parametrization="4d").where_size == 4
  assert ModelConfig(where_parametrization="3d").where_size == 3


def test_is_frozen():
  config = AIRConfig()
  with pytest.raises(dataclasses.FrozenInstanceError):
    config.training.seed = 1
  with pytest.raises(dataclasses.FrozenInstanceError):
    config.model = ModelConfig()
  assert hash(config) == hash(AIRConfig())


@pytest.mark.parametrize("part", PARTS)
def test_every_field_has_help_that_says_its_origin(part):
  for field in dataclasses.fields(part):
    help_text = field.metadata["help"]
    assert any(origin in help_text for origin in ("post", "code", "ours")) or (
      field.name in ("where_parametrization", "seed")
    ), field.name


def changed_config():
  """A configuration with no field at its default."""
  values = {
    "init_from": "multi_mnist",
    "where_parametrization": "3d",
    "where_squash": "none",
    "where_init": "code",
    "presence_floor_coin": "uniform",
    "step_input": "difference",
    "glimpse_input": "difference",
    "background_model": "network",
    "estimator": "reinforce",
  }

  def changed(name, default):
    if name in values:
      return values[name]
    if isinstance(default, bool):
      return not default
    if isinstance(default, tuple):
      return tuple(v - 1 for v in default)
    return default + 1 if isinstance(default, int) else default * 0.5 + 0.01

  parts = [
    part(
      **{f.name: changed(f.name, f.default) for f in dataclasses.fields(part)}
    )
    for part in PARTS
  ]
  return AIRConfig(*parts)


def test_the_changed_configuration_differs_everywhere():
  changed = dataclasses.asdict(changed_config())
  for part, defaults in dataclasses.asdict(AIRConfig()).items():
    for name, default in defaults.items():
      assert changed[part][name] != default, name


@pytest.mark.parametrize("make", [AIRConfig, changed_config])
def test_round_trip(make):
  config = make()
  values = dataclasses.asdict(config)
  assert AIRConfig.from_dict(values) == config
  assert AIRConfig.from_dict(json.loads(json.dumps(values))) == config


@pytest.mark.parametrize(
  ("part", "field", "before"),
  [
    ("model", "decoder_init_scale", 1.0),
    ("model", "step_input", "image"),
    ("model", "glimpse_input", "image"),
    ("model", "memory", True),
    ("training", "presence_floor_coin", "fair"),
    ("training", "presence_limit", 0.0),
    ("training", "learning_rate_final_ratio", 1.0),
  ],
)
def test_from_dict_of_a_run_older_than_a_field(part, field, before):
  values = dataclasses.asdict(AIRConfig())
  del values[part][field]
  config = AIRConfig.from_dict(values)
  assert getattr(getattr(config, part), field) == before


def test_from_dict_of_a_run_that_chose_what_is_fixed_by_now():
  values = dataclasses.asdict(AIRConfig())
  values["training"]["baseline_scale"] = 1.0
  values["model"]["presence_bound"] = 0.0
  values["prior"]["steps_prior_schedule"] = "exponential"
  assert AIRConfig.from_dict(values) == AIRConfig()
  values["training"]["baseline_scale"] = 100.0
  with pytest.raises(ConfigError, match=r"^training .*baseline_scale$"):
    AIRConfig.from_dict(values)


@pytest.mark.parametrize("part", ["model", "prior", "training"])
class TestFromDict:
  def test_missing_field(self, part):
    values = dataclasses.asdict(AIRConfig())
    name = next(iter(values[part]))
    del values[part][name]
    with pytest.raises(ConfigError, match=f"^{part} .*{name}$"):
      AIRConfig.from_dict(values)

  def test_unknown_field(self, part):
    values = dataclasses.asdict(AIRConfig())
    values[part]["dropout"] = 0.5
    with pytest.raises(ConfigError, match=f"^{part} .*dropout$"):
      AIRConfig.from_dict(values)

  def test_missing_part(self, part):
    values = dataclasses.asdict(AIRConfig())
    del values[part]
    with pytest.raises(ConfigError, match=f"^configuration .*{part}$"):
      AIRConfig.from_dict(values)


def test_unknown_part():
  values = dataclasses.asdict(AIRConfig())
  values["decoder"] = {"sizes": [1, 2]}
  with pytest.raises(ConfigError, match="decoder"):
    AIRConfig.from_dict(values)


def test_from_dict_checks_the_values():
  values = dataclasses.asdict(AIRConfig())
  values["training"]["batch_size"] = 0
  with pytest.raises(ConfigError, match=r"^batch_size is 0"):
    AIRConfig.from_dict(values)


def test_squashed_locations_start_as_in_the_code():
  with pytest.raises(ConfigError, match=r"^where_init is 'prior', expected "):
    ModelConfig(where_squash="locations")
  config = ModelConfig(where_squash="locations", where_init="code")
  assert config.where_squash == "locations"
