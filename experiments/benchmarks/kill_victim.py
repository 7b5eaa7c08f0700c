"""experiments.train, which says what it does, for the kill test.

  python -m experiments.benchmarks.kill_victim DESCRIPTOR --run_dir=...

Whenever it begins with something else, it writes a `MESSAGE` to the file
descriptor: a key of `PHASES` and when, by `time.monotonic`.
"""

import functools
import os
import runpy
import struct
import sys
import time

from etils import epy

from experiments.common import runs

with epy.lazy_imports():
  from air.storage import checkpoints
  from experiments.common import recorder

PHASES = {
  b"t": "training",
  b"r": "resumption",
  b"e": "evaluation",
  b"f": "figure",
  b"c": "checkpoint",
}
MESSAGE = struct.Struct("=cd")


def _mark(owner: object, name: str, phase: bytes, descriptor: int) -> None:
  """Has a function say when it begins, and that training goes on after it."""
  function = getattr(owner, name)

  @functools.wraps(function)
  def marked(*args, **kwargs):
    os.write(descriptor, MESSAGE.pack(phase, time.monotonic()))
    result = function(*args, **kwargs)
    os.write(descriptor, MESSAGE.pack(b"t", time.monotonic()))
    return result

  setattr(owner, name, marked)


def main(descriptor: int) -> None:
  """Trains as `python -m experiments.train` does, with the same arguments."""
  for owner, name, phase in (
    # Of a new run too, which has nothing to drop.
    (runs.Run, "drop_after", b"r"),
    (recorder.Recorder, "evaluate", b"e"),
    (recorder.Recorder, "draw", b"f"),
    (checkpoints, "save", b"c"),
  ):
    _mark(owner, name, phase, descriptor)
  runpy.run_module("experiments.train", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
  if not "".join(sys.argv[1:2]).isdecimal():
    sys.exit(__doc__)
  main(int(sys.argv.pop(1)))
