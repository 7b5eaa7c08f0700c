r"""Shows where the steps of trained models look, and how spatial this is.

  python -m experiments.analysis.scan_policy \
    --run_dirs=runs/sweep/default/seed-0,runs/sweep/default/seed-1

Draws the centres of the glimpses over the test images, as the blog post does.
Each run has a panel: step 1 red, step 2 green, step 3 blue.

A policy is spatial if the position of a glimpse predicts its step. This is
measured on images that take at least two steps. A nearest-neighbour classifier
predicts each glimpse's step from its centre (cross-validated over images).
Chance is the accuracy of always guessing the most frequent step. The interval
is over the runs, by Student's t.

For one run, writes RUN_DIR/figures/scan_policies.png and
RUN_DIR/analysis/scan_policies.json. For several, writes scan_policies.png and
scan_policies.json to their common parent folder.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags
from etils import epy

from air import policy
from air.storage import files
from experiments.common import launcher, runs, trained, wording
from experiments.common.outputs import Outputs
from experiments.common.progress import Task

with epy.lazy_imports():
  import tensorflow_probability as tfp

  from air import evaluation
  from air.viz import figures

# Training draws a scan_policy.png of its own, of the validation images.
_OUTPUTS = Outputs("scan_policies")


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  runs.define_run_dirs_flag(flag_values)
  _OUTPUTS.define_flags(flag_values)
  trained.define_split_flags(flag_values)


def describe(image_metrics: evaluation.ImageMetrics) -> dict[str, Any]:
  """Returns a run's scan policy in numbers, ready for JSON.

  Args:
    image_metrics: of the images.
  """
  windows, num_steps = image_metrics.windows, image_metrics.num_steps
  steps = []
  for step in range(windows.shape[1]):
    x, y = policy.centres(windows[num_steps > step, step]).T
    steps.append(
      {
        "glimpses": len(x),
        "left_half": float(np.mean(x < 0)) if len(x) else None,
        "upper_half": float(np.mean(y < 0)) if len(y) else None,
      }
    )
  prediction = policy.predict_steps(windows, num_steps)
  return {
    "num_images": len(num_steps),
    "steps": steps,
    "prediction": prediction and prediction._asdict(),
  }


def interval(values: Sequence[float]) -> dict[str, float | None]:
  """Returns the mean and its 95 % confidence interval, of Student's t.

  Args:
    values: at least one; of a single one there is no interval.
  """
  mean, half = statistics.fmean(values), None
  if len(values) > 1:
    student = tfp.distributions.StudentT(len(values) - 1.0, 0.0, 1.0)
    t = float(student.quantile(0.975))
    half = t * statistics.stdev(values) / math.sqrt(len(values))
  return {
    "mean": mean,
    "low": None if half is None else mean - half,
    "high": None if half is None else mean + half,
  }


def _lines(name: str, described: dict[str, Any]) -> list[str]:
  """Returns what is shown of a run."""
  lines = [name, f"  {_format_prediction(described['prediction'])}"]
  for number, step in enumerate(described["steps"], start=1):
    if step["glimpses"]:
      glimpses = wording.number_of(step["glimpses"], "glimpse")
      lines.append(
        f"  step {number}: {glimpses}, {step['left_half']:.1%} in the left"
        f" half, {step['upper_half']:.1%} in the upper half"
      )
  return lines


def _format_prediction(prediction: dict[str, Any] | None) -> str:
  if prediction is None:
    return "hardly any image takes two steps"
  return (
    f"place tells step: {prediction['accuracy']:.1%}"
    f" (chance {prediction['chance']:.1%})"
  )


def main(flag_values: flags.FlagValues) -> None:
  """Evaluates the runs, prints and writes their policies."""
  folders = [launcher.expanded("run_dirs", f) for f in flag_values.run_dirs]
  by_name = runs.names("run_dirs", folders)
  figure, numbers_file = _OUTPUTS.files(flag_values, folders)
  described: dict[str, dict[str, Any]] = {}
  panels = {}
  for name, folder in by_name.items():
    run, model, iteration, split = trained.load(folder, flag_values)
    doing = f"evaluating {name} at iteration {iteration} in batches"
    with Task(doing) as task:
      image_metrics = evaluation.Evaluator(model).evaluate(
        split.images, iteration, run.air.training.seed, task.over
      )
    with Task(f"guessing the steps of {name}"):
      described[name] = {
        "iteration": iteration,
        "seed": run.air.training.seed,
        **describe(image_metrics),
      }
    print("\n".join(_lines(name, described[name])))
    title = f"{name}\n{_format_prediction(described[name]['prediction'])}"
    panels[title] = (image_metrics.windows, image_metrics.num_steps)
  result = {"split": flag_values.split, "runs": described}
  predictions = [d["prediction"] for d in described.values() if d["prediction"]]
  if predictions:
    for key in ("accuracy", "chance"):
      result[key] = interval([p[key] for p in predictions])
  if len(predictions) > 1:
    mean, low, high = result["accuracy"].values()
    spread = f", 95 % interval {low:.1%} to {high:.1%}"
    print(
      f"all {len(predictions)} runs: place tells step: {mean:.1%}{spread}"
      f" (chance {result['chance']['mean']:.1%})"
    )
  figures.save(figures.scan_policies(panels), figure)
  files.write_json(numbers_file, result)
  print(f"figure:  {figure}\nnumbers: {numbers_file}")


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
