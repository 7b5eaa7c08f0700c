r"""Measures what a trained model costs to use, in time and memory.

  python -m experiments.benchmarks.use --model=multi_mnist

Measures these in turn, in one process, on images that the model makes up:

- `air.load`, and the first `infer`
- `infer` with 1, 64 and 1,024 images at a time
- the evaluation of 10,000 images, as after training
- a bound of log p(x) of 64 images, with 5,000 samples each

Memory is the most that the process has held up to then. It takes about two
minutes.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags
from etils import epy

from air.storage import files
from experiments.common import launcher, machine, trained
from experiments.common.progress import Task

with epy.lazy_imports():
  from air import evaluation

_AT_A_TIME = (1, 64, 1024)
_EVALUATED = 10_000
_BOUND_IMAGES, _BOUND_SAMPLES = 64, 5_000


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  trained.define_model_flags(flag_values)
  options = {"flag_values": flag_values, "module_name": "run"}
  flags.DEFINE_integer(
    "repetitions", 5, "of each measurement, of which the median counts",
    lower_bound=1, **options,
  )  # fmt: skip
  flags.DEFINE_string("json", "", "also write the numbers to a file", **options)


def _megabytes() -> int:
  """Returns the most memory that this process has held."""
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return round(peak / (1e6 if sys.platform == "darwin" else 1e3))


class _Table:
  """What is measured, a row each, printed as it comes."""

  def __init__(self):
    self.rows: list[dict[str, Any]] = []
    print(f"{'':42s}{'seconds':>10s}{'images/s':>10s}{'MB':>8s}")

  def add(self, what: str, images: int, seconds: list[float]) -> None:
    """Adds a row.

    Args:
      what: was measured.
      images: at a time; 0: none.
      seconds: each time.
    """
    median = statistics.median(seconds)
    rate = f"{images / median:.0f}" if images else ""
    row = {"what": what, "images": images, "seconds": seconds}
    self.rows.append({**row, "megabytes": _megabytes()})
    print(f"{what:42s}{median:10.3f}{rate:>10s}{_megabytes():8d}", flush=True)


def _seconds(function: Callable[[], Any]) -> float:
  started = time.perf_counter()
  function()
  return time.perf_counter() - started


def main(flag_values: flags.FlagValues) -> None:
  """Measures, prints as it goes, and writes --json."""
  path = None
  if flag_values.json:
    path = launcher.output_file("json", flag_values.json)
  import tensorflow as tf  # noqa: F401  # its import is not what is measured

  started = time.perf_counter()
  model = trained.load_model(flag_values)
  loading = time.perf_counter() - started
  table = _Table()
  table.add("load", 0, [loading])
  probs = np.ones(model.num_steps + 1) / (model.num_steps + 1)
  most = max(*_AT_A_TIME, _BOUND_IMAGES)
  drawn = np.clip(model.sample(most, count_probs=probs).canvas, 0, 1)
  table.add("first infer", 1, [_seconds(lambda: model.infer(drawn[:1]))])
  for number in _AT_A_TIME:
    times = [
      _seconds(lambda n=number: model.infer(drawn[:n]))
      for _ in range(flag_values.repetitions)
    ]
    table.add(f"infer, {number:,} at a time", number, times)
  repeated = np.resize(drawn, (_EVALUATED, *model.image_size))
  evaluator = evaluation.Evaluator(model.network)
  with Task(f"evaluating {_EVALUATED:,} images"):
    evaluator.evaluate(repeated[: evaluation.BATCH_SIZE], model.iteration, 0)
    times = [
      _seconds(lambda: evaluator.evaluate(repeated, model.iteration, 0))
      for _ in range(min(3, flag_values.repetitions))
    ]
  table.add(f"evaluation of {_EVALUATED:,}", _EVALUATED, times)
  images = drawn[:_BOUND_IMAGES]
  with Task(f"log p(x) with {_BOUND_SAMPLES:,} samples"):
    model.log_prob(images, 2)
    times = [_seconds(lambda: model.log_prob(images, _BOUND_SAMPLES))]
  what = f"log p(x), {_BOUND_SAMPLES:,} samples of each of {len(images)}"
  table.add(what, len(images), times)
  if path:
    result = {
      "model": repr(model), "machine": machine.describe(), "rows": table.rows
    }  # fmt: skip
    files.write_json(path, result)
    print(f"numbers: {path}")


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
