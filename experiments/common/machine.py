"""The machine and the code that a run is trained with."""

import os
import pathlib
import platform
import subprocess
from typing import Any


def describe() -> dict[str, Any]:
  """Returns what a run's speed, and perhaps its last bits, depend on."""
  # Here, for `threads` is asked for before TensorFlow may be imported.
  import tensorflow as tf

  cpuinfo = pathlib.Path("/proc/cpuinfo")
  models = [
    line.partition(":")[2].strip()
    for line in (cpuinfo.read_text().splitlines() if cpuinfo.exists() else [])
    if line.startswith("model name")
  ]
  gpus = tf.config.list_physical_devices("GPU")
  return {
    "processor": models[0] if models else platform.processor(),
    "processors": os.cpu_count(),
    "threads": threads(),
    "gpus": [
      tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
      for gpu in gpus
    ],
    "tensorflow": tf.__version__,
    "commit": _commit(),
  }


def threads() -> int:
  """Returns how many threads TensorFlow computes with."""
  try:
    asked = int(os.environ.get("TF_NUM_INTRAOP_THREADS", 0))
  except ValueError:  # which TensorFlow does not heed either
    asked = 0
  return asked or processors()


def processors() -> int:
  """Returns how many processors this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def _commit() -> str | None:
  """Returns the commit of this code, "-dirty" if changed; None: not known."""
  try:
    return subprocess.run(
      ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
      cwd=pathlib.Path(__file__).parent,
      capture_output=True,
      check=True,
      text=True,
    ).stdout.strip()
  except (OSError, subprocess.CalledProcessError):
    return None
