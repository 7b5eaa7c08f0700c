"""The runs of a sweep, configurations times seeds, and how far they are."""

import dataclasses
import pathlib
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from air.errors import ConfigError, InputError
from data.config import DataConfig
from data.dataset import Dataset
from experiments.common import configuration, launcher, opening, runs
from experiments.common.launcher import UsageError

_FLAGFILES = pathlib.Path(__file__).parents[1] / "configs"


class SeedsParser(flags.ArgumentParser):
  """Parses `0-19` or `0,3,7-9`."""

  syntactic_help = "numbers and ranges separated by commas, like 0,3,7-9"

  def parse(self, argument: str) -> list[int]:
    """See base class."""
    seeds: set[int] = set()
    for part in argument.split(","):
      match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
      first, last = (match[1], match[2] or match[1]) if match else (1, 0)
      numbers = range(int(first), int(last) + 1)
      if not numbers:
        raise ValueError(f"expected {self.syntactic_help}")
      seeds.update(numbers)
    return sorted(seeds)


class ConfigsParser(flags.ArgumentParser):
  """Parses `default,blog:learning_rate=1e-3,hidden_sizes=256,256,paper`."""

  syntactic_help = "names separated by commas, like default,blog"

  def parse(self, argument: str) -> list[str]:
    """See base class."""
    # A setting or a number after a comma belongs to the name before it.
    names = re.split(r",(?!\w+=|[-+.\d]+(?:e[-+\d]+)?(?:,|$))", argument)
    return list(dict.fromkeys(names))


@dataclasses.dataclass
class SweepRun:
  """A run and how far it is.

  Attributes:
    config: the name of its configuration.
    seed: of the run.
    folder: of the run.
    flags: of `experiments.train`.
    iterations: after which it is done.
    settings: all flags with their values, as in flags.txt.
    state: waiting, running, done, failed, stopped, or busy: another process,
      perhaps of another sweep, is training it.
    error: why it failed.
    iteration: that it has come to.
    accuracy: of the sampled counts at the last evaluation on the validation
      images; None: not known.
    accuracy_mode: the same of the most probable counts.
    seconds: that it has trained.
  """

  config: str
  seed: int
  folder: pathlib.Path
  flags: list[str]
  iterations: int
  settings: list[str] = dataclasses.field(default_factory=list)
  state: str = "waiting"
  error: str | None = None
  iteration: int = 0
  accuracy: float | None = None
  accuracy_mode: float | None = None
  seconds: float = 0.0
  _log_size: int | None = None
  _clock_offset: float = 0.0

  @property
  def log(self) -> pathlib.Path:
    """The file with what training prints."""
    return self.folder / runs.LOG

  def submitted(self) -> None:
    """Notes that the next to write to the log is the worker that takes it."""
    self.folder.mkdir(parents=True, exist_ok=True)
    self._log_size = self.log.stat().st_size if self.log.exists() else 0

  def look(self) -> None:
    """Reads from the folder how far the run is."""
    printed = self.log.read_bytes() if self.log.exists() else b""
    if (
      self.state == "waiting"
      and self._log_size is not None
      and len(printed) > self._log_size
    ):
      self.state = "running"
      self._clock_offset = time.monotonic() - self.seconds
    if runs.exists(self.folder):
      for last in runs.load(self.folder).read_metrics()[-1:]:
        self.iteration = last["iteration"]
        self.accuracy = last.get("count_accuracy")
        self.accuracy_mode = last.get("count_accuracy_mode")
        self.seconds = last.get("seconds", 0.0)
    if self.state == "running":
      self.seconds = time.monotonic() - self._clock_offset
      for iteration in re.findall(rb"^iteration (\d+)", printed, re.M)[-1:]:
        self.iteration = int(iteration)

  def settle(self) -> None:
    """Finds out from the folder whether the run is done, or diverged."""
    if not runs.exists(self.folder):
      return
    run = runs.load(self.folder)
    if run.diverged.exists():
      self.state = "failed"
      self.error = run.diverged.read_text(encoding="utf-8").strip()
    else:
      end = run.read_evaluation()
      if (end.get("split"), end.get("iteration")) == ("test", self.iterations):
        self.state = "done"


def make(
  configs: Sequence[str],
  seeds: Sequence[int],
  out: pathlib.Path,
  given: Sequence[str],
) -> list[SweepRun]:
  """Returns the runs of a sweep, settled as far as they are; writes nothing.

  Args:
    configs: names of flagfiles, or paths of them, each perhaps with settings:
      `default:steps_prior_anneal=5000,learning_rate=2e-4`.
    seeds: of the runs of each configuration.
    out: the folder of their folders.
    given: flags of `experiments.train` for all runs; the settings of a
      configuration come after them.

  Raises:
    UsageError: if a configuration cannot work, or if a run's folder holds one
      that was started with other flags, or has come further.
  """
  sweep = []
  parsed = []
  datasets: dict[DataConfig, Dataset] = {}
  for config in configs:
    config_flags = flags_of(config, given)
    for seed in seeds:
      run_flags = [*config_flags, f"--seed={seed}"]
      run_folder = folder_of(config, seed, out)
      flag_values = _checked(config, run_flags, run_folder, datasets)
      parsed.append(flag_values)
      run = SweepRun(
        config,
        seed,
        run_folder,
        run_flags,
        flag_values.iterations,
        runs.flags_text(flag_values).splitlines(),
      )
      run.look()
      if run.iteration > run.iterations:
        raise UsageError(
          f"iterations is {run.iterations}, expected at least the"
          f" {run.iteration} that the run in {run.folder} has behind it"
        )
      run.settle()
      sweep.append(run)
  if len({run.folder for run in sweep}) < len(sweep):
    raise UsageError("configs holds two names of the same folder")
  differing = [
    name
    for name in configuration.defaults()
    if len({flag_values[name].serialize() for flag_values in parsed}) > 1
  ]
  for run, flag_values in zip(sweep, parsed, strict=True):
    compared = dict.fromkeys([*flag_values.hparams, *differing])
    if compared:
      run.flags.append(f"--hparams={','.join(compared)}")
  return sweep


def folder_of(config: str, seed: int, out: pathlib.Path) -> pathlib.Path:
  """Returns the folder of a run.

  Args:
    config: see `make`.
    seed: of the run.
    out: the folder of the runs' folders.
  """
  return out / re.sub(r"[^\w.,=+-]", "_", config) / f"seed-{seed}"


def with_settings(config: str, settings: Mapping[str, Any]) -> str:
  """Returns a configuration with further settings.

  Args:
    config: see `make`.
    settings: of flags, by name.
  """
  if not settings:
    return config
  separator = "," if ":" in config else ":"
  return config + separator + ",".join(f"{k}={v}" for k, v in settings.items())


def flags_of(
  config: str, given: Sequence[str], flag: str = "configs"
) -> list[str]:
  """Returns the flags of `experiments.train` of a configuration.

  Args:
    config: see `make`.
    given: flags that come before the configuration's own settings.
    flag: that it is from, for messages.

  Raises:
    UsageError: if there is no such flagfile, or a setting is none.
  """
  name, colon, settings = config.partition(":")
  path = _FLAGFILES / f"{name}.flags"
  if name.endswith(".flags"):
    path = launcher.expanded(flag, name)
  if not path.is_file():
    names = ", ".join(sorted(p.stem for p in _FLAGFILES.glob("*.flags")))
    raise UsageError(
      f"{flag} holds {config!r}, expected {names} or the path of a .flags"
      " file, then perhaps :NAME=VALUE,..."
    )
  own = re.split(r",(?=\w+=)", settings) if colon else []
  if not all(re.match(r"\w+=", setting) for setting in own):
    raise UsageError(
      f"{flag} holds {config!r}, expected NAME=VALUE,... after the colon"
    )
  return [
    f"--flagfile={path.resolve()}",
    *given,
    *(f"--{setting}" for setting in own),
  ]


def _checked(
  config: str,
  run_flags: Sequence[str],
  folder: pathlib.Path,
  datasets: dict[DataConfig, Dataset],
) -> flags.FlagValues:
  """Returns the parsed flags, if a run in the folder can have them.

  Args:
    config: see `make`.
    run_flags: of the run.
    folder: of the run.
    datasets: those that are loaded; one that is compared with a run's is added.
  """
  flag_values = flags.FlagValues()
  runs.define_run_dir_flag(flag_values)
  configuration.define_training_flags(flag_values)
  try:
    flag_values(["train", *run_flags, f"--run_dir={folder}"])
    data = configuration.data_config(flag_values)
    if runs.exists(folder):
      before = runs.load(folder)
      air = configuration.air_config_for(
        flag_values, before.air.model.image_size
      )
      now = dataclasses.replace(
        before, air=air, data=data, jit_compile=flag_values.jit_compile
      )
      opening.check_same(before, now)
      if (data.data, data.mnist) != (before.data.data, before.data.mnist):
        if data not in datasets:
          datasets[data] = runs.load_dataset(data, flag_values.data_cache)
        opening.check_images(before, datasets[data])
    else:
      configuration.check_without_images(flag_values)
      configuration.check_steps(flag_values)
  except (flags.Error, ConfigError, InputError, UnicodeDecodeError) as error:
    raise UsageError(f"configs holds {config!r}: {error}") from error
  return flag_values
