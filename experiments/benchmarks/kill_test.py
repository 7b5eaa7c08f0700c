"""Kills a training run again and again, and compares it with one left alone.

  python -m experiments.benchmarks.kill_test --out=runs/kill_test

SIGKILL comes at random moments. They lie in turn within a checkpoint, an
evaluation, a figure, the resumption after the previous kill, and anywhere in
the process's life. After each kill all files must be intact, and no log entry
up to the newest checkpoint may be lost. In the end all files must equal those
of the uninterrupted run bit for bit, except for times: weights, optimizer
state, evaluations, TensorBoard events and figures. If not, it prints what
differs, and the exit status is 1.

The flags of experiments.train apply to both runs, except --iterations: the runs
end at the first checkpoint after the last kill. With a flagfile that sets
--iterations, add --undefok=iterations.
"""

import contextlib
import dataclasses
import io
import math
import os
import pathlib
import random
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from absl import flags
from etils import epy

from air.storage import files
from experiments.benchmarks import kill_victim
from experiments.common import configuration, launcher, machine, wording
from experiments.common.launcher import UsageError

with epy.lazy_imports():
  from air.storage import checkpoints
  from experiments.benchmarks import integrity

# What a kill is to fall into; "any": whatever happens then.
_MOMENTS = ("checkpoint", "evaluation", "figure", "resumption", "any")
# They come again and again in a process's life.
_RECURRENT = ("checkpoint", "evaluation", "figure")
# So many checkpoints come before one of these is cut off, at most.
_MAX_CHECKPOINTS = 2
# With these, lives are short.
_CADENCES = {"eval_every": 40, "figure_every": 100, "checkpoint_every": 50}
# Of a phase that never came to its end.
_GUESSED_SECONDS = 0.05
_ENDLESS = 10**9  # iterations
_PYTHON = (sys.executable, "-m")


class _EndedError(Exception):
  """Training ended by itself.

  Attributes:
    status: with which it did.
  """

  def __init__(self, status: int, log: pathlib.Path):
    last = log.read_text("utf-8", "replace").strip().split("\n")[-1]
    super().__init__(f"the run ended by itself, with status {status}: {last}")
    self.status = status


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  options = {"flag_values": flag_values, "module_name": "run"}
  flags.DEFINE_string(
    "out", None, "folder of the two runs, not there yet", required=True,
    **options,
  )  # fmt: skip
  flags.DEFINE_integer(
    "kills", 30, "how often the run is killed", lower_bound=1, **options
  )
  flags.DEFINE_integer("kill_seed", 0, "of the moments", **options)
  flags.DEFINE_string("json", "", "also write the result to a file", **options)
  configuration.define_training_flags(flag_values)
  del flag_values.iterations
  for name, iterations in _CADENCES.items():
    flag_values.set_default(name, iterations)


def _arguments(
  flag_values: flags.FlagValues, folder: pathlib.Path, iterations: int
) -> list[str]:
  """Returns experiments.train's arguments to train in the folder."""
  known = flags.FlagValues()
  configuration.define_training_flags(known)
  given = [
    flag_values[name].serialize()
    for name in known
    if name in _CADENCES or (name in flag_values and flag_values[name].present)
  ]
  return [f"--run_dir={folder}", f"--iterations={iterations}", *given]


@contextlib.contextmanager
def _process(
  module: list[str], log: pathlib.Path, **options: Any
) -> Iterator[subprocess.Popen]:
  """Yields a process that does not outlive the body.

  Args:
    module: of Python, and its arguments.
    log: the file for what it prints.
    **options: of Popen.
  """
  with open(log, "w", encoding="utf-8") as output:
    process = subprocess.Popen(
      [*_PYTHON, *module],
      stdout=output,
      stderr=subprocess.STDOUT,
      **options,
    )
  try:
    yield process
  finally:
    process.kill()
    process.wait()


@dataclasses.dataclass
class _Durations:
  """How long things took, seconds.

  Attributes:
    last: of each phase that came to its end, and whether it was not the first
      of its kind in its process, which takes longer: when it last did.
    life: the longest of a process.
  """

  last: dict[tuple[str, bool], float] = dataclasses.field(default_factory=dict)
  life: float = _GUESSED_SECONDS


class _Victim:
  """A training process until it is killed.

  Attributes:
    phase: what it does, or was doing when it was killed: "start", or one of
      `kill_victim.PHASES`.
    seconds: how long it had been doing that when it was killed.
  """

  def __init__(
    self,
    process: subprocess.Popen,
    log: pathlib.Path,
    messages: io.FileIO,
    durations: _Durations,
  ):
    """Makes it.

    Args:
      process: experiments.benchmarks.kill_victim, just started.
      log: the file with what it prints.
      messages: what it says.
      durations: of earlier ones; kept up to date.
    """
    self.phase = "start"
    self.seconds = 0.0
    self._process = process
    self._log = log
    self._messages = messages
    self._durations = durations
    self._born = self._since = time.monotonic()
    self._passed: list[str] = []
    self._ended = False

  def kill(self, moment: str, num_saved: int, fraction: float) -> None:
    """Waits and kills.

    Args:
      moment: of `_MOMENTS`.
      num_saved: how many checkpoints it saves before, if the moment recurs.
      fraction: of the moment's duration, or of the longest life, at which the
        kill comes; or at the moment's end, if that comes before.

    Raises:
      _EndedError: if it has ended by itself.
    """
    if moment == "any":
      self._follow(lambda: False, self._born + fraction * self._durations.life)
    else:
      if moment in _RECURRENT:
        self._follow(lambda: self._passed.count("checkpoint") >= num_saved)
      self._follow(lambda: self.phase == moment)
      begun = self._since
      duration = self._durations.last.get(self._key(), _GUESSED_SECONDS)
      self._follow(lambda: self._since > begun, begun + fraction * duration)
    if not self._ended:
      self._process.kill()
    killed = time.monotonic()
    status = self._process.wait()
    if self._ended or status != -signal.SIGKILL:
      raise _EndedError(status, self._log)
    self._follow(lambda: False)  # what it said last
    self.seconds = killed - self._since
    self._durations.life = max(self._durations.life, killed - self._born)

  def _key(self) -> tuple[str, bool]:
    return self.phase, self.phase in self._passed

  def _follow(
    self, condition: Callable[[], bool], until: float = math.inf
  ) -> None:
    """Follows its phases up to a condition, a time, or its end.

    Args:
      condition: looked at whenever a phase begins.
      until: by `time.monotonic`.
    """
    while not condition():
      left = max(0.0, until - time.monotonic())
      timeout = left if left < math.inf else None
      if not select.select([self._messages], [], [], timeout)[0]:
        return
      message = self._messages.read(kill_victim.MESSAGE.size)
      if not message:
        self._ended = True
        return
      phase, now = kill_victim.MESSAGE.unpack(message)
      self._durations.last[self._key()] = now - self._since
      self._passed.append(self.phase)
      self.phase, self._since = kill_victim.PHASES[phase], now


@contextlib.contextmanager
def _victim(
  arguments: list[str], log: pathlib.Path, durations: _Durations
) -> Iterator[_Victim]:
  """Yields a victim, which does not outlive the body.

  Args:
    arguments: of experiments.train.
    log: the file for what it prints.
    durations: of earlier ones.
  """
  reader, writer = os.pipe()
  module = ["experiments.benchmarks.kill_victim", str(writer), *arguments]
  with (
    open(reader, "rb", buffering=0) as messages,
    _process(module, log, pass_fds=[writer]) as process,
  ):
    os.close(writer)
    yield _Victim(process, log, messages, durations)


def _kill_again_and_again(
  flag_values: flags.FlagValues, folder: pathlib.Path
) -> tuple[list[dict[str, Any]], list[str]]:
  """Returns what every kill interrupted, and the files that were broken."""
  rng = random.Random(flag_values.kill_seed)
  arguments = _arguments(flag_values, folder, _ENDLESS)
  durations = _Durations()
  kills: list[dict[str, Any]] = []
  broken: list[str] = []
  for number in range(flag_values.kills):
    moment = _MOMENTS[number % len(_MOMENTS)]
    with _victim(arguments, _log(folder), durations) as victim:
      victim.kill(moment, rng.randint(0, _MAX_CHECKPOINTS), rng.random())
    incomplete = [
      str(path.parent.relative_to(folder))
      for path in integrity.incomplete(folder)
    ]
    found = checkpoints.find(folder / "checkpoints")
    iteration = checkpoints.iteration_of(found[0]) if found else 0
    kills.append(
      {
        "aimed_at": moment,
        "interrupted": victim.phase,
        "after_seconds": round(victim.seconds, 4),
        "incomplete_files_in": incomplete,
        "newest_checkpoint": iteration,
      }
    )
    broken += integrity.broken_files(folder)
    print(
      f"kill {number + 1} of {flag_values.kills}, aimed at {moment}:"
      f" interrupted {victim.phase} after {victim.seconds:.3f} s; incomplete"
      f" files in {', '.join(incomplete) or '-'}; checkpoint {iteration}",
      flush=True,
    )
  return kills, broken


def _log(folder: pathlib.Path) -> pathlib.Path:
  """Returns the file for what training in a folder prints."""
  return folder.with_suffix(".log")


def _finish(
  flag_values: flags.FlagValues, folders: list[pathlib.Path], last: int
) -> None:
  """Trains in all folders at the same time, up to the last iteration."""
  with contextlib.ExitStack() as stack:
    processes = []
    for folder in folders:
      module = ["experiments.train", *_arguments(flag_values, folder, last)]
      process = _process(module, _log(folder))
      processes.append(stack.enter_context(process))
    for folder, process in zip(folders, processes, strict=True):
      if status := process.wait():
        raise _EndedError(status, _log(folder))


def _check_flags(flag_values: flags.FlagValues) -> pathlib.Path:
  """Returns --out; raises an error if a flag cannot work."""
  out = launcher.output_folder("out", flag_values.out)
  if out.exists():
    raise UsageError(f"out is {out}, which exists; expected a new folder")
  if flag_values.json:
    result = launcher.output_file("json", flag_values.json)
    if out.absolute().is_relative_to(result.absolute()):
      raise UsageError(
        f"json is {result}, where --out is a folder; expected another place"
      )
  # What needs no images; training looks at the rest.
  configuration.check_without_images(flag_values)
  configuration.check_steps(flag_values)
  return out


def _command(flag_values: flags.FlagValues) -> str:
  given = [
    flag_values[name].serialize()
    for name in flag_values
    if flag_values[name].present
  ]
  return shlex.join(
    ["python", "-m", "experiments.benchmarks.kill_test", *given]
  )


def main(flag_values: flags.FlagValues) -> int:
  """Trains twice, kills once more and again, and compares."""
  out = _check_flags(flag_values)
  out.mkdir(parents=True)
  killed, undisturbed = folders = [out / "killed", out / "undisturbed"]
  described = machine.describe()
  try:
    kills, broken = _kill_again_and_again(flag_values, killed)
    last = kills[-1]["newest_checkpoint"] + flag_values.checkpoint_every
    print(f"training to iteration {last}, and there undisturbed", flush=True)
    _finish(flag_values, folders, last)
  except _EndedError as error:
    print(f"kill_test: {error}", file=sys.stderr)
    if not killed.exists():
      shutil.rmtree(out)  # nothing was begun: another try may have the place
    return error.status if error.status == 2 else 1
  for folder in folders:
    broken += integrity.broken_files(folder, ended=True)
  different = integrity.differences(killed, undisturbed)
  interrupted = Counter(kill["interrupted"] for kill in kills)
  print(
    f"{wording.number_of(len(kills), 'kill')}, interrupted: "
    + ", ".join(f"{phase} {n}" for phase, n in sorted(interrupted.items()))
  )
  for text in broken:
    print(f"BROKEN: {text}")
  for text in different:
    print(f"DIFFERENT: {text}")
  if not broken and not different:
    print(
      "every file was whole after every kill, and the run ended bit for bit"
      " like the undisturbed one"
    )
  if flag_values.json:
    files.write_json(
      launcher.output_file("json", flag_values.json),
      {
        "command": _command(flag_values),
        "machine": described,
        "kills": kills,
        "interrupted": interrupted,
        "iterations": last,
        "broken_files": broken,
        "differences": different,
      },
    )
  return 1 if broken or different else 0


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
