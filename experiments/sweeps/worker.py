"""What a Ray worker does: one process, from its start to its end.

Sent to the workers whole: it imports nothing of this project, and with it
TensorFlow, which only the process that it starts needs.
"""

import ctypes
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

# Statuses with which a process has said all: its end, and bad input or
# divergence. After any other, as that of SIGTERM, it is worth another try.
_FINAL = (0, 2)
_PR_SET_PDEATHSIG = 1


def run(
  command: Sequence[str],
  folder: str,
  log: str,
  environment: Mapping[str, str],
  umask: int,
) -> int:
  """Runs a process to its end.

  Interrupted (`ray.cancel`), it sends SIGTERM to the process and waits. If the
  worker is killed, the process gets SIGTERM too (on Linux), but Ray may not
  leave it the time to save a checkpoint.

  Args:
    command: of the process.
    folder: that it runs in.
    log: the file to which what it prints is added.
    environment: what is added to the worker's.
    umask: of the process; Ray's own lets nobody else read a file.

  Returns:
    Its exit status: 0 or 2.

  Raises:
    subprocess.CalledProcessError: if it ended with another status.
  """
  # A sweep that was started in the background ignores interrupts, and so would
  # its workers, which could then not be cancelled.
  signal.signal(signal.SIGINT, signal.default_int_handler)
  os.umask(umask)
  with open(log, "a", encoding="utf-8") as output:
    print(
      f"== {time.ctime()}, {socket.gethostname()}: {shlex.join(command)}",
      file=output,
      flush=True,
    )
    process = subprocess.Popen(
      command,
      cwd=folder,
      env={**os.environ, **environment},
      stdin=subprocess.DEVNULL,
      stdout=output,
      stderr=subprocess.STDOUT,
      preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )
    try:
      # Not `wait`, which an interrupt would not get through to.
      while process.poll() is None:
        time.sleep(0.1)
    finally:
      process.terminate()
      process.wait()
  if process.returncode not in _FINAL:
    raise subprocess.CalledProcessError(process.returncode, command)
  return process.returncode


def _end_with_parent() -> None:
  ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
