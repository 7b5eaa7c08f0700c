"""Experiment binaries: `python -m experiments.NAME`."""

import contextlib
import importlib.metadata
import os
import sys
import tempfile
import time
from collections.abc import Iterator

# When the process started, but for Python itself, by `time.monotonic`.
STARTED = time.monotonic()

from experiments.common import xla_cache  # noqa: E402


@contextlib.contextmanager
def _stderr_only_on_failure() -> Iterator[None]:
  """Holds back what native code writes to stderr, unless the body raises."""
  sys.stderr.flush()
  stderr = os.dup(2)
  with tempfile.TemporaryFile() as held_back:
    os.dup2(held_back.fileno(), 2)
    try:
      yield
    except BaseException:
      held_back.seek(0)
      os.write(stderr, held_back.read())
      raise
    finally:
      os.dup2(stderr, 2)
      os.close(stderr)


# TensorFlow reports its build on stderr before its own log level applies. A
# binary's stderr is for what the user has to know.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow imports Keras 3, and with it scikit-learn and matplotlib: a quarter
# of a binary's start. It then takes what TensorFlow Probability needs anyway.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
# XLA otherwise copies every weight in every iteration: a tenth of a step. Other
# versions of TensorFlow may not know the flag, and would end the process. A
# process that this one starts has it already.
_XLA_FLAG = "--xla_cpu_copy_insertion_use_region_analysis"
_xla_flags = os.environ.get("XLA_FLAGS", "")
if (
  importlib.metadata.version("tensorflow").startswith("2.21.")
  and _XLA_FLAG not in _xla_flags
):
  os.environ["XLA_FLAGS"] = f"{_XLA_FLAG}=true {_xla_flags}".strip()
xla_cache.enable()
with _stderr_only_on_failure():
  import tensorflow  # noqa: F401
