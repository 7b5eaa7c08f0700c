r"""Draws the images that a model counts wrongly, sorted by kind of mistake.

  python -m experiments.analysis.mistakes --run_dir=runs/default

A kind of mistake is a pair of counts, such as 2 counted as 1. Frequent kinds
get more pictures. Within a kind, the first are those whose true count is the
least probable under q(n|z). A picture shows the image, with a box around each
object found (step 1 red, 2 green, 3 blue), beside the model's reconstruction.

Where a count is too small, an object counts as painted if the canvas holds at
least half of the brightness within its box. If all objects are painted, one
window explains several of them; otherwise one was left out. The gap is the
distance between the boxes of an image's two nearest objects, in pixels.

Writes RUN_DIR/figures/mistakes.png, and RUN_DIR/analysis/mistakes.json with the
numbers of all wrong images.
"""

from __future__ import annotations

import itertools
import statistics
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags
from etils import epy

import air
from air.storage import files
from data.dataset import Split
from experiments.common import launcher, runs, trained
from experiments.common.launcher import UsageError
from experiments.common.outputs import Outputs
from experiments.common.progress import Task

with epy.lazy_imports():
  from air.viz import figures

# Of an object's brightness, from which on it is painted.
_PAINTED = 0.5
_OUTPUTS = Outputs("mistakes")


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  options = {"flag_values": flag_values, "module_name": "run"}
  flags.DEFINE_string(
    "run_dir", None, "the run's folder", required=True, **options
  )
  _OUTPUTS.define_flags(flag_values)
  flags.DEFINE_integer(
    "num_shown", 12, "images in the figure, at most", lower_bound=1, **options
  )
  trained.define_split_flags(flag_values)


def gap(boxes: np.ndarray) -> float | None:
  """Returns the distance between the nearest two of an image's boxes.

  Args:
    boxes: `[K, 4]`, (y0, x0, y1, x1) in pixels.

  Returns:
    Pixels, 0 if they touch or overlap; None if there are fewer than two.
  """
  distances = []
  for a, b in itertools.combinations(boxes.astype(float), 2):
    between = np.maximum(a[:2], b[:2]) - np.minimum(a[2:], b[2:])
    distances.append(float(np.hypot(*np.maximum(between, 0.0))))
  return min(distances, default=None)


def painted(
  image: np.ndarray, canvas: np.ndarray, boxes: np.ndarray
) -> list[float]:
  """Returns the share of each object's brightness that the canvas holds.

  Args:
    image: `[H, W]` in [0, 1].
    canvas: `[H, W]`, the model's.
    boxes: `[K, 4]`, (y0, x0, y1, x1) in whole pixels.
  """
  common = np.minimum(image, np.clip(canvas, 0.0, 1.0))
  return [
    float(common[y0:y1, x0:x1].sum() / max(image[y0:y1, x0:x1].sum(), 1e-6))
    for y0, x0, y1, x1 in boxes
  ]


def find(
  model: air.TrainedModel, split: Split, seed: int
) -> tuple[list[dict[str, Any]], list[tuple[np.ndarray, np.ndarray]]]:
  """Returns the images that are counted wrongly, the worst first.

  Args:
    model: trained.
    split: images with their counts.
    seed: of the samples of z.

  Returns:
    What is known of each, ready for JSON, and what was inferred: the canvas
    `[H, W]` and the boxes `[n, 4]`.
  """
  counts = split.counts
  assert counts is not None
  found = []
  start = 0
  with Task("looking for mistakes", len(split.images)) as task:
    for scenes in model.infer_batches(split.images, seed):
      size = len(scenes.count)
      true = counts[start : start + size]
      for i in np.flatnonzero(scenes.count != true):
        index, count = start + int(i), int(scenes.count[i])
        probs = scenes.count_probs[i].astype(float)
        mistake: dict[str, Any] = {
          "index": index,
          "true": int(true[i]),
          "inferred": count,
          "count_probs": np.round(probs, 6).tolist(),
          # More objects than the model has steps cannot be right.
          "true_prob": float(probs[true[i]]) if true[i] < len(probs) else 0.0,
        }
        image = split.images[index]
        if split.boxes is not None and split.labels is not None:
          boxes = split.boxes[index, : true[i]]
          mistake["labels"] = split.labels[index, : true[i]].tolist()
          mistake["gap"] = gap(boxes)
          mistake["painted"] = painted(image / 255.0, scenes.canvas[i], boxes)
        inferred = scenes.canvas[i].copy(), scenes.boxes[i, :count].copy()
        found.append((mistake, inferred))
      start += size
      task.advance(size)
  found.sort(key=lambda pair: pair[0]["true_prob"])
  return [mistake for mistake, _ in found], [inferred for _, inferred in found]


def shown(mistakes: Sequence[dict[str, Any]], number: int) -> list[int]:
  """Returns which mistakes to show: the worst of each kind, in its proportion.

  Args:
    mistakes: see `find`.
    number: to show, at most.

  Returns:
    Indices into `mistakes`, those of the most frequent kind first.
  """
  groups = _kinds(mistakes)
  ranked = [
    ((rank + 0.5) / len(group), -len(group), i)
    for group in groups
    for rank, i in enumerate(group)
  ]
  chosen = {i for _, _, i in sorted(ranked)[:number]}
  return [i for group in groups for i in group if i in chosen]


def _kinds(mistakes: Sequence[dict[str, Any]]) -> list[list[int]]:
  """Returns the indices of each kind's mistakes, the most frequent first."""
  by_kind: dict[tuple[int, int], list[int]] = {}
  for i, mistake in enumerate(mistakes):
    by_kind.setdefault((mistake["true"], mistake["inferred"]), []).append(i)
  return sorted(by_kind.values(), key=len, reverse=True)


def describe(
  mistakes: Sequence[dict[str, Any]], split: Split
) -> list[dict[str, Any]]:
  """Returns a row for each kind of mistake, the most frequent first.

  Args:
    mistakes: see `find`.
    split: that they are in.
  """
  wrong = {mistake["index"] for mistake in mistakes}
  rows = []
  for kind in _kinds(mistakes):
    group = [mistakes[i] for i in kind]
    true, inferred = group[0]["true"], group[0]["inferred"]
    row: dict[str, Any] = {
      "true": true,
      "inferred": inferred,
      "images": len(group),
    }
    if inferred < true and "painted" in group[0]:
      row["one_window"] = sum(min(m["painted"]) >= _PAINTED for m in group)
      row["left_out"] = len(group) - row["one_window"]
    if true >= 2 and "gap" in group[0]:
      row["median_gap"] = statistics.median(m["gap"] for m in group)
      row["median_gap_where_right"] = _median_gap(split, true, wrong)
    rows.append(row)
  return rows


def _median_gap(split: Split, count: int, without: set[int]) -> float | None:
  """Returns the median gap in the images with so many objects."""
  assert split.counts is not None
  assert split.boxes is not None
  gaps = [
    gap(split.boxes[i, :count])
    for i in np.flatnonzero(split.counts == count)
    if i not in without
  ]
  return statistics.median(g for g in gaps if g is not None) if gaps else None


def format_row(row: dict[str, Any]) -> str:
  """Returns a kind of mistake as a line of text."""
  text = f"{row['true']} taken for {row['inferred']}: {row['images']}"
  if "one_window" in row:
    text += f"; one left out: {row['left_out']}, several in one window:"
    text += f" {row['one_window']}"
  if "median_gap" in row:
    text += f"; gap {row['median_gap']:.1f} pixels (median)"
    if row["median_gap_where_right"] is not None:
      text += f", where right {row['median_gap_where_right']:.1f}"
  return text


def main(flag_values: flags.FlagValues) -> None:
  """Finds the mistakes, prints their kinds, writes figure and numbers."""
  folder = runs.folder_of(flag_values)
  figure, numbers = _OUTPUTS.files(flag_values, [folder])
  run, network, iteration, split = trained.load(folder, flag_values)
  if split.counts is None:
    raise UsageError(
      f"run_dir is {folder}, whose {flag_values.split} images have no counts;"
      " expected a run on images with counts"
    )
  seed = run.air.training.seed
  mistakes, inferred = find(air.TrainedModel(network, iteration), split, seed)
  rows = describe(mistakes, split)
  share = 1.0 - len(mistakes) / len(split.counts)
  print(
    f"{flag_values.split} images: {len(split.counts)}, iteration {iteration}:"
    f" most probable n right {share:.2%}, wrong {len(mistakes)}"
  )
  for row in rows:
    print(f"  {format_row(row)}")
  files.write_json(
    numbers,
    {
      "iteration": iteration,
      "split": flag_values.split,
      "num_images": len(split.counts),
      "kinds": rows,
      "mistakes": mistakes,
    },
  )
  print(f"numbers: {numbers}")
  if not mistakes:
    figure.unlink(missing_ok=True)  # of an earlier iteration
    print("figure:  none, for nothing is wrong")
  else:
    indices = shown(mistakes, flag_values.num_shown)
    titles = [
      f"{m['true']} taken for {m['inferred']}, q({m['true']}) ="
      f" {m['true_prob']:.2g}"
      for m in (mistakes[i] for i in indices)
    ]
    pictures = [
      figures.annotated(split.images[mistakes[i]["index"]], *inferred[i])
      for i in indices
    ]
    num_steps = run.air.model.num_steps
    figures.save(figures.gallery(pictures, titles, num_steps), figure)
    print(f"figure:  {figure}")


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
