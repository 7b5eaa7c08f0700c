r"""Kills a training run again and again, and compares it with one left alone.

  python -m experiments.kill_test --out=runs/kill_test --kills=30 \
    --iterations=12000 --eval_every=40 --figure_every=100 --checkpoint_every=50

SIGKILL comes at random moments, in turn while a checkpoint, an evaluation or a
figure is being written, and at any time. After each of them every file must be
whole; in the end weights, optimizer, evaluations and TensorBoard's events must
be those of the run that nobody disturbed, bit for bit. If not, it says what
differs, and the exit status is 1.

All flags of experiments.train hold for both runs.
"""

import json
import pathlib
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags
from PIL import Image

from air import checkpoints, files, summaries
from air.checkpoints import CheckpointError
from experiments import launcher, machine, runs, train
from experiments.launcher import UsageError

# While a file is written in this folder of the run; None: at any time.
_MOMENTS = {
  "checkpoint": "checkpoints",
  "evaluation": ".",
  "figure": "figures",
  "any": None,
}
# Up to so many new checkpoints before a kill.
_MAX_CHECKPOINTS = 2
_SECONDS_BETWEEN_LOOKS = 5e-4
_LONGEST_DELAY = 0.05  # seconds from the moment to the kill


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
  train.define_training_flags(flag_values)


def _command(flag_values: flags.FlagValues, folder: pathlib.Path) -> list[str]:
  """Returns the command that trains in the folder."""
  known = flags.FlagValues()
  train.define_flags(known)
  given = [
    flag_values[name].serialize()
    for name in known
    if name != "run_dir" and name in flag_values and flag_values[name].present
  ]
  module = [sys.executable, "-m", "experiments.train"]
  return [*module, f"--run_dir={folder}", *given]


def _partial(folder: pathlib.Path) -> set[pathlib.Path]:
  return set(folder.glob(f"{files.PARTIAL}*"))


class _Victim:
  """A training process that is killed at a moment of its life."""

  def __init__(self, command: list[str], folder: pathlib.Path):
    self._folder = folder
    self._log = folder.with_suffix(".log")
    with open(self._log, "w", encoding="utf-8") as log:
      self._process = subprocess.Popen(
        command, stdout=log, stderr=subprocess.STDOUT
      )

  def _wait(self, condition) -> None:
    while not condition():
      status = self._process.poll()
      if status is not None:
        last = self._log.read_text(encoding="utf-8").strip().split("\n")[-1]
        raise UsageError(
          f"the run ended by itself, with status {status}: {last}"
          if status
          else "iterations is too small: the run ended before it was killed"
        )
      time.sleep(_SECONDS_BETWEEN_LOOKS)

  def kill(self, moment: str, num_checkpoints: int, delay: float) -> None:
    """Waits and kills.

    Args:
      moment: of `_MOMENTS`.
      num_checkpoints: how many new checkpoints must be there before.
      delay: from the moment to the kill, seconds.
    """
    folder = self._folder
    before = set(checkpoints.find(folder / "checkpoints"))
    newest = max((p.name for p in before), default="")

    def has_new_checkpoints() -> bool:
      found = checkpoints.find(folder / "checkpoints")
      return sum(p.name > newest for p in found) >= num_checkpoints

    self._wait(lambda: (folder / "metrics.jsonl").exists())
    self._wait(has_new_checkpoints)
    if (place := _MOMENTS[moment]) is not None:
      leftovers = _partial(folder / place)
      self._wait(lambda: _partial(folder / place) - leftovers)
    time.sleep(delay)
    if self._process.poll() is not None:
      self._wait(lambda: False)  # which says how it ended
    self._process.send_signal(signal.SIGKILL)
    self._process.wait()


def _broken_files(folder: pathlib.Path) -> Iterator[str]:
  """Yields what is wrong with the files that claim to be whole."""
  for path in checkpoints.find(folder / "checkpoints"):
    try:
      checkpoints.verify(path)
    except CheckpointError as error:
      yield str(error)
  for path in [*folder.glob("*.json*"), *folder.glob("figures/*")]:
    if path.name.startswith(files.PARTIAL):
      continue
    try:
      if path.suffix == ".png":
        with Image.open(path) as image:
          image.load()
      elif path.suffix == ".jsonl":
        for line in path.read_text(encoding="utf-8").splitlines():
          json.loads(line)
      else:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError) as error:
      yield f"{path} is broken: {error}"


def _state(folder: pathlib.Path) -> dict[str, bytes]:
  """Returns every tensor of the newest checkpoint, as bytes."""
  newest = checkpoints.find(folder / "checkpoints")[0]
  reader = tf.train.load_checkpoint(str(newest / "state"))
  return {
    name: np.asarray(reader.get_tensor(name)).tobytes()
    for name in reader.get_variable_to_shape_map()
    # A description of the Python objects, not part of the state.
    if name != "_CHECKPOINTABLE_OBJECT_GRAPH"
  }


def _evaluations(folder: pathlib.Path) -> list[dict[str, Any]]:
  lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
  return [{**json.loads(line), "seconds": None} for line in lines]


def _events(folder: pathlib.Path) -> list[tuple[int, str]]:
  """Returns step and tag of every event, in order."""
  events = []
  for path in folder.glob(summaries.EVENT_FILES):
    for event in tf.compat.v1.train.summary_iterator(str(path)):
      events += [(event.step, value.tag) for value in event.summary.value]
  return sorted(events)


def differences(run: pathlib.Path, other: pathlib.Path) -> list[str]:
  """Returns in what two finished runs of the same flags differ.

  Args:
    run: its folder.
    other: the other's.
  """
  found = []
  a, b = _state(run), _state(other)
  for name in sorted(a.keys() | b.keys()):
    if a.get(name) != b.get(name):
      found.append(f"{name} of the last checkpoint")
  if _evaluations(run) != _evaluations(other):
    found.append("the evaluations")
  if _events(run) != _events(other):
    found.append("the events")
  ends = [(f / "evaluation.json").read_bytes() for f in (run, other)]
  if ends[0] != ends[1]:
    found.append("the evaluation on test images")
  return found


def main(flag_values: flags.FlagValues) -> int:
  """Trains twice, kills once more and again, and compares."""
  if flag_values.json:
    launcher.output_file("json", flag_values.json)
  kills = flag_values.kills
  longest = max(
    flag_values.eval_every,
    flag_values.figure_every,
    flag_values.checkpoint_every,
  )
  # What a life takes at most, and the end.
  life = _MAX_CHECKPOINTS * flag_values.checkpoint_every + longest
  least = (kills + 1) * life
  if flag_values.iterations < least:
    raise UsageError(
      f"iterations is {flag_values.iterations}, expected at least {least} for"
      f" {kills} kills with these cadences"
    )
  if flag_values.keep_checkpoints < _MAX_CHECKPOINTS:
    raise UsageError(
      f"keep_checkpoints is {flag_values.keep_checkpoints}, expected at least"
      f" {_MAX_CHECKPOINTS}"
    )
  out = launcher.output_folder("out", flag_values.out)
  if out.exists():
    raise UsageError(f"out is {out}, which exists; expected a new folder")
  out.mkdir(parents=True)
  undisturbed, killed = out / "undisturbed", out / "killed"
  rng = random.Random(flag_values.kill_seed)
  events: list[dict[str, Any]] = []
  broken: list[str] = []
  for number in range(kills):
    moment = list(_MOMENTS)[number % len(_MOMENTS)]
    victim = _Victim(_command(flag_values, killed), killed)
    victim.kill(
      moment,
      rng.randint(0, _MAX_CHECKPOINTS),
      rng.uniform(0.0, _LONGEST_DELAY),
    )
    interrupted = sorted(
      str(path.parent.relative_to(killed))
      for path in killed.rglob(f"{files.PARTIAL}*")
      if files.PARTIAL not in str(path.parent)
    )
    found = checkpoints.find(killed / "checkpoints")
    events.append(
      {
        "moment": moment,
        "iteration": checkpoints.iteration_of(found[0]) if found else 0,
        "interrupted_files_in": interrupted,
      }
    )
    broken += _broken_files(killed)
    print(
      f"kill {number + 1} of {kills} ({moment}), newest checkpoint:"
      f" {events[-1]['iteration']}, incomplete files in:"
      f" {', '.join(interrupted) or '-'}",
      flush=True,
    )
  for folder in (killed, undisturbed):
    print(f"training to the end in {folder}", flush=True)
    with open(folder.with_suffix(".log"), "w", encoding="utf-8") as log:
      subprocess.run(
        _command(flag_values, folder),
        check=True,
        stdout=log,
        stderr=subprocess.STDOUT,
      )
  different = differences(killed, undisturbed)
  places = Counter(p for e in events for p in e["interrupted_files_in"])
  print(
    f"{kills} kills, files cut off: "
    + (", ".join(f"{n} in {p}" for p, n in sorted(places.items())) or "none")
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
      pathlib.Path(flag_values.json),
      {
        "flags": runs.flags_text(flag_values).splitlines(),
        "kills": events,
        "broken_files": broken,
        "differences": different,
        "machine": machine.describe(),
      },
    )
  return 1 if broken or different else 0


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
