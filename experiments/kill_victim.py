"""experiments.train, which says what it does, for experiments.kill_test.

  python -m experiments.kill_victim DESCRIPTOR --run_dir=...

Whenever it begins with something else, it writes a `MESSAGE` to the file
descriptor: a key of `PHASES` and when, by `time.monotonic`.
"""

import functools
import os
import struct
import sys
import time

from air import checkpoints
from experiments import launcher, runs, train

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


def main(descriptor: int, argv: list[str]) -> int:
  """Trains as experiments.train does; returns the exit status."""
  for owner, name, phase in (
    # Of a new run too, which has nothing to drop.
    (runs.Run, "drop_after", b"r"),
    (train.Recorder, "evaluate", b"e"),
    (train.Recorder, "draw", b"f"),
    (checkpoints, "save", b"c"),
  ):
    _mark(owner, name, phase, descriptor)
  return launcher.run(train.__doc__, train.define_flags, train.main, argv)


if __name__ == "__main__":
  sys.exit(main(int(sys.argv[1]), ["train", *sys.argv[2:]]))
