"""Experiment binaries: `python -m experiments.NAME`."""

import time

# When the process started, but for Python itself, by `time.monotonic`.
STARTED = time.monotonic()

from data import interrupt  # noqa: E402

interrupt.end_at_once()

import importlib.metadata  # noqa: E402
import os  # noqa: E402

from air import tensorflow_import  # noqa: E402

# Other versions of TensorFlow may not know it, and would end the process.
_XLA_FLAG = "--xla_cpu_copy_insertion_use_region_analysis"


def _prepare_tensorflow() -> None:
  """Sets what TensorFlow reads from the environment when it is imported."""
  # It imports Keras 3, and with it scikit-learn and matplotlib: a quarter of a
  # binary's start. It then takes what TensorFlow Probability needs anyway.
  os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
  # XLA otherwise copies every weight in every iteration: a tenth of a step. A
  # process that this one starts has the flag already.
  xla_flags = os.environ.get("XLA_FLAGS", "")
  if (
    importlib.metadata.version("tensorflow").startswith("2.21.")
    and _XLA_FLAG not in xla_flags
  ):
    os.environ["XLA_FLAGS"] = f"{_XLA_FLAG}=true {xla_flags}".strip()
  # Not for --help: it reads all programs that are kept.
  from experiments.common import xla_cache

  xla_cache.enable()


tensorflow_import.before(_prepare_tensorflow)
