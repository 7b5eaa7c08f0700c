"""Flags <-> configuration: one flag for each field of the config dataclasses.

Flags live in groups: "run" (each binary's own, which --help shows), "data",
"model", "prior" and "training". A flagfile in `configs/` names the values of a
published setting.
"""

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any, get_type_hints

from absl import flags
from etils import epy

from air import config as air_config
from air.errors import ConfigError
from air.images import Reading
from data import command_line
from data.config import DataConfig
from data.dataset import Dataset, default_cache_dir
from data.errors import DataError

with epy.lazy_imports():
  from air import estimators

_PARTS = {
  "model": air_config.ModelConfig,
  "prior": air_config.PriorConfig,
  "training": air_config.TrainingConfig,
}
# The image's size is that of the data.
_NOT_FLAGS = {"image_size"}


def _fields() -> Iterator[tuple[str, dataclasses.Field, Any]]:
  """Yields (group, field, annotation) of every flag of the configuration."""
  for group, part in {"data": DataConfig, **_PARTS}.items():
    annotations = get_type_hints(part)
    for own in dataclasses.fields(part):
      if own.name not in _NOT_FLAGS:
        yield group, own, annotations[own.name]


def defaults() -> dict[str, Any]:
  """Returns the configuration by default, by flag."""
  return {own.name: own.default for _, own, _ in _fields()}


def hparams(
  settings: Mapping[str, Any], named: Collection[str]
) -> dict[str, Any]:
  """Returns what TensorBoard's HParams dashboard has of a run.

  Those that differ from the default, so that an empty cell is the default, and
  some others: of a flag in which the runs of a sweep differ no cell is empty.

  Args:
    settings: of the run, by flag.
    named: flags that it has in any case.
  """
  always, default = {"seed", "estimator", *named}, defaults()
  return {
    flag: value
    for flag, value in settings.items()
    if flag in always or value != default.get(flag, value)
  }


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines the flags of the whole configuration."""
  command_line.define_fields(flag_values, _fields())


def define_reading_flags(flag_values: flags.FlagValues) -> None:
  """Defines --invert and --max_value, which `reading` reads."""
  names = [own.name for own in dataclasses.fields(Reading)]
  command_line.define_fields(
    flag_values,
    (("run", own, kind) for _, own, kind in _fields() if own.name in names),
  )


def reading(flag_values: flags.FlagValues) -> Reading:
  """Returns how the flags say that images are to be read."""
  return _from_flags(Reading, flag_values)


def define_training_flags(flag_values: flags.FlagValues) -> None:
  """Defines the flags of a run, wherever its folder is."""
  define_flags(flag_values)
  define_data_cache_flag(flag_values)
  for group, name, default, help_text in (
    ("run", "iterations", 10_000, "iterations in all"),
    (
      "training",
      "eval_every",
      1_000,
      "iterations between evaluations; before the first of them ten times as"
      " often, but at least 100 apart, on 2,000 of the validation images",
    ),
    ("training", "figure_every", 2_500, "iterations between figures"),
    ("training", "checkpoint_every", 1_000, "iterations between checkpoints"),
    ("training", "keep_checkpoints", 3, "how many checkpoints are kept"),
  ):
    flags.DEFINE_integer(
      name, default, help_text, lower_bound=1, upper_bound=2**31 - 1,
      flag_values=flag_values, module_name=group,
    )  # fmt: skip
  flags.DEFINE_bool(
    "jit_compile", True, "compile the training step with XLA",
    flag_values=flag_values, module_name="training",
  )  # fmt: skip
  flags.DEFINE_list(
    "hparams",
    [],
    "flags that TensorBoard's HParams dashboard has of this run, besides seed,"
    " estimator and those that differ from their defaults; experiments.sweep"
    " names all in which its runs differ",
    flag_values=flag_values,
    module_name="training",
  )
  flags.register_validator(
    "hparams",
    lambda names: set(names) <= defaults().keys(),
    "expected names of flags of data, model, prior or training",
    flag_values,
  )


def define_data_cache_flag(flag_values: flags.FlagValues) -> None:
  """Defines --data_cache, which every binary that needs images has."""
  flags.DEFINE_string(
    "data_cache",
    str(default_cache_dir()),
    "folder in which generated images are kept; empty: not kept",
    flag_values=flag_values,
    module_name="data",
  )


def _from_flags(part: Any, flag_values: flags.FlagValues, **others: Any):
  names = {own.name for own in dataclasses.fields(part)} - _NOT_FLAGS
  return part(**{name: flag_values[name].value for name in names}, **others)


def data_config(flag_values: flags.FlagValues) -> DataConfig:
  """Returns the data configuration that the flags say."""
  return _from_flags(DataConfig, flag_values)


def air_config_for(
  flag_values: flags.FlagValues, image_size: tuple[int, ...]
) -> air_config.AIRConfig:
  """Returns the configuration that the flags say, for images of this size.

  Args:
    flag_values: parsed.
    image_size: (H, W), pixels.

  Raises:
    ConfigError: if a value cannot work.
  """
  if min(image_size) < 2:
    height, width = image_size
    raise ConfigError(
      f"data or --canvas_size gives images of {height}x{width} pixels, expected"
      " at least 2x2"
    )
  return air_config.AIRConfig(
    model=_from_flags(_PARTS["model"], flag_values, image_size=image_size),
    prior=_from_flags(_PARTS["prior"], flag_values),
    training=_training_config(flag_values),
  )


def _training_config(
  flag_values: flags.FlagValues,
) -> air_config.TrainingConfig:
  config = _from_flags(_PARTS["training"], flag_values)
  estimators.configured(config)
  return config


def check_without_images(flag_values: flags.FlagValues) -> None:
  """Checks the flags as far as that needs no images.

  Args:
    flag_values: parsed.

  Raises:
    ConfigError: if a value cannot work.
    DataError: if images cannot be generated as they say.
  """
  data = data_config(flag_values)
  if data.data:  # the images' size is not known
    _training_config(flag_values)
  else:
    data.spec()
    air_config_for(flag_values, data.canvas_size)


def check_steps(
  flag_values: flags.FlagValues, dataset: Dataset | None = None
) -> None:
  """Checks that the model of a new run has a step for each object.

  Args:
    flag_values: parsed.
    dataset: the run's images; None: checks only what is to be generated.

  Raises:
    DataError: if it has not.
  """
  data, steps = flag_values.data, flag_values.num_steps
  if not data and (most := max(flag_values.counts)) > steps:
    raise DataError(
      f"counts holds {most}, more than --num_steps={steps}: raise --num_steps"
      f" or leave out counts above {steps}"
    )
  if not data or dataset is None:
    return
  splits = (dataset.train, dataset.validation, dataset.test)
  counts = [split.counts for split in splits if split.counts is not None]
  if (most := max((int(c.max()) for c in counts), default=0)) > steps:
    raise DataError(
      f"data is {data}, whose largest count is {most}, more than"
      f" --num_steps={steps}: raise --num_steps or leave out images with more"
      " objects"
    )
