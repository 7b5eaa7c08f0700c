"""Evaluating a model on a split: what goes into a file, and its table."""

from typing import Any

from air import evaluation
from air.evaluation import Evaluator
from data.dataset import Split
from experiments.common import runs, wording
from experiments.common.progress import Task

_KLS = ("kl_num_steps", "kl_what", "kl_where", "kl_background")


def evaluate_split(
  run: runs.Run,
  evaluator: Evaluator,
  split: Split,
  split_name: str,
  iteration: int,
  seed: int,
  iwae_samples: int = 0,
) -> dict[str, Any]:
  """Evaluates a model on images; returns what goes into a file of it.

  Args:
    run: that the model is of.
    evaluator: of the model.
    split: the images.
    split_name: "test", "validation" or "train".
    iteration: of the model.
    seed: of the noise.
    iwae_samples: samples per image of the importance-weighted bound; 0:
      without it.
  """
  images = wording.number_of(len(split.images), f"{split_name} image")
  with Task(f"evaluating {images} in batches") as task:
    image_metrics = evaluator.evaluate(split.images, iteration, seed, task.over)
  result = {
    "iteration": iteration,
    "split": split_name,
    **evaluation.summarize(
      image_metrics, split.counts, run.air.model.num_steps
    ),
  }
  if iwae_samples:
    samples = wording.number_of(iwae_samples, "sample")
    with Task(f"IWAE bound of {images}, {samples} each, in batches") as task:
      bounds = evaluator.iwae(
        split.images, iteration, iwae_samples, seed, progress=task.over
      )
    result["iwae"] = float(bounds.mean())
    result["iwae_samples"] = iwae_samples
  result["seed"] = seed
  result["digit_source"] = run.digit_source
  return result


def format_table(result: dict[str, Any]) -> str:
  """Returns an evaluation as lines of text."""
  lines = [
    f"{result['split']} images: {result['num_images']}"
    f" ({result['digit_source']}), iteration {result['iteration']}"
  ]

  def add(label, text):
    lines.append(f"  {label:<40s}{text}")

  if "count_accuracy" in result:
    for label, suffix in (("sampled n", ""), ("most probable n", "_mode")):
      accuracy = result[f"count_accuracy{suffix}"]
      add(f"counting accuracy, {label}", f"{accuracy:.2%}")
      per_count = result[f"count_accuracy_per_count{suffix}"]
      for count, accuracy in per_count.items():
        objects = wording.number_of(int(count), "object")
        add(f"  images with {objects}", f"{accuracy:.2%}")
    lines.append("  confusion (row: true count, column: sampled n)")
    for count, row in enumerate(result["count_confusion"]):
      cells = "".join(f"{cell:>8d}" for cell in row)
      lines.append(f"    {count}{cells}")
  add("ELBO", f"{result['elbo']:.2f} nats")
  for name in ("reconstruction", *_KLS):
    if name in result:
      add(f"  {name}", f"{result[name]:.2f}")
  if "iwae" in result:
    samples = wording.number_of(result["iwae_samples"], "sample")
    add(f"IWAE bound, {samples}", f"{result['iwae']:.2f} nats")
  return "\n".join(lines)
