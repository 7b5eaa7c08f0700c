"""What the binaries that use a trained model share: flags, and their output."""

import contextlib
import pathlib
from collections.abc import Iterator

from absl import flags

from air import TrainedModel, files
from experiments import launcher
from experiments.launcher import UsageError


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines --run_dir and --out."""
  for name, help_text in (
    ("run_dir", "the run's folder"),
    ("out", "where to write, a new folder or an empty one"),
  ):
    flags.DEFINE_string(
      name, None, help_text, required=True, flag_values=flag_values,
      module_name="run",
    )  # fmt: skip


def define_seed_flag(flag_values: flags.FlagValues) -> None:
  """Defines --seed."""
  flags.DEFINE_integer(
    "seed", 0, "of what is random", lower_bound=0, upper_bound=2**31 - 1,
    flag_values=flag_values, module_name="run",
  )  # fmt: skip


def define_count_probs_flag(
  flag_values: flags.FlagValues, default: str
) -> None:
  """Defines --count_probs, which `count_probs` reads."""
  flags.DEFINE_string(
    "count_probs",
    default,
    "probabilities of 0, 1, ... objects in a sampled scene, separated by"
    " commas; equal: all the same; prior: the model's, which prices objects, so"
    " that nearly all scenes are empty where its success probability is small",
    flag_values=flag_values,
    module_name="run",
  )


def count_probs(
  flag_values: flags.FlagValues, model: TrainedModel
) -> list[float] | None:
  """Returns what --count_probs says, for `TrainedModel.sample`.

  Args:
    flag_values: parsed.
    model: that the probabilities are for, which checks them.

  Raises:
    UsageError: if it does not say numbers.
  """
  text = flag_values.count_probs
  if text == "prior":
    return None
  if text == "equal":
    return [1.0 / (model.num_steps + 1)] * (model.num_steps + 1)
  try:
    return [float(number) for number in text.split(",")]
  except ValueError:
    raise UsageError(
      f"count_probs is {text!r}, expected numbers separated by commas, equal or"
      " prior"
    ) from None


@contextlib.contextmanager
def new_output(flag_values: flags.FlagValues) -> Iterator[pathlib.Path]:
  """Yields a folder to write to, which becomes --out if the body succeeds.

  Raises:
    UsageError: if there is something in --out already, or if it is a folder
      that no other can take the place of.
  """
  out = launcher.output_folder("out", flag_values.out)
  if out.exists() and any(out.iterdir()):
    raise UsageError(
      f"out is {out}, which exists; expected a new folder or an empty one"
    )
  out = out.resolve()
  if out == pathlib.Path.cwd() or out.is_mount():
    raise UsageError(
      f"out is {flag_values.out}, the current folder or a mount point, which"
      " cannot be replaced; expected a new folder, perhaps in it"
    )
  with files.new_folder(out) as folder:
    yield folder
