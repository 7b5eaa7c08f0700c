r"""Compares the objects of characters with the strokes that a pen drew them of.

  python -m experiments.train --run_dir=runs/omniglot \
    --flagfile=experiments/configs/omniglot.flags --omniglot=OMNIGLOT
  python -m experiments.paper.omniglot --run_dirs=runs/omniglot \
    --strokes=OMNIGLOT

The runs are of single characters, and OMNIGLOT is a folder with Omniglot's
drawings and strokes, see data/omniglot.py. The characters are all drawings of
alphabets that no run was trained on, as far as their strokes are known, each
alone on a canvas. Of each image the model infers n, the most probable number of
objects, and a sample of what they look like.

correlation  Pearson's, of n and the number of strokes
error        the mean of |n - strokes|; beside it that of the best constant
painted      intersection over union of what an object paints and of a stroke's
             ink: the mean over the pairs that make it largest. An object or
             stroke in no pair counts 0. Ink is brighter than half of
             white; a pixel of it is of the stroke that is nearest
ink          the same, where each object has those pixels of the image's ink
             that it paints brighter than others do
k-means      the same for n clusters of the coordinates of the image's ink

Prints a table for each run. For one run, writes RUN_DIR/figures/omniglot.png,
characters stroke by stroke, and RUN_DIR/analysis/omniglot.json. For several,
writes both to their common parent folder, with a figure of the first run.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import flags
from etils import epy

import air
from air.storage import files, run_folder
from data import omniglot
from experiments.common import launcher, runs, trained
from experiments.common.launcher import UsageError
from experiments.common.outputs import Outputs
from experiments.common.progress import Task

with epy.lazy_imports():
  from matplotlib import colors

  from air.viz import figures, style
  from experiments.paper import strokes as strokes_lib

_NUM_DRAWN = 12
_MANY = 6  # strokes, of the table's last row: these or more
_CHECKED = 100  # images whose strokes are looked at first
_LEAST_PEN_IOU = 0.5
_OUTPUTS = Outputs("omniglot")
_IOUS = ("iou_painted", "iou_ink", "iou_k_means")
# Of the record.
_DEFINITIONS = {
  "n": "most probable number of objects, given a sample of their latents",
  "strokes": "pen strokes that Omniglot records",
  "confusion": "images with as many strokes as the row's number, and with as"
  " many objects as the column's, both from 0 on",
  "best_constant": "that has the smallest mean absolute error",
  "iou_painted": "intersection over union of what an object paints and of a"
  " stroke's ink, with pairs that make the sum largest; what has no pair counts"
  " 0; mean over images. Ink is brighter than 0.5, and a pixel of it is of the"
  " nearest stroke",
  "iou_ink": "the same, with pixels of the image's ink given to the object that"
  " paints them the brightest",
  "iou_k_means": "the same, with n clusters of the image's ink by its place",
  "iou_pen": "intersection over union of the image's ink and of all its strokes"
  " drawn on the canvas: a check of where they lie",
}


class Found(NamedTuple):
  """What is found in N images.

  Attributes:
    strokes: int `[N]`, how many there are.
    n: int `[N]`, the number of objects.
    ious: name to `[N]`, see `_DEFINITIONS`.
  """

  strokes: np.ndarray
  n: np.ndarray
  ious: dict[str, np.ndarray]

  def only(self, chosen: np.ndarray) -> Found:
    """Returns those that are chosen, bool `[N]`."""
    ious = {name: values[chosen] for name, values in self.ious.items()}
    return Found(self.strokes[chosen], self.n[chosen], ious)


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  options = {"flag_values": flag_values, "module_name": "run"}
  runs.define_run_dirs_flag(flag_values)
  flags.DEFINE_string(
    "strokes",
    None,
    "the pen's strokes: a folder or zip file of Omniglot's public layout,"
    " ALPHABET/characterNN/NNNN_MM.txt",
    required=True,
    **options,
  )
  _OUTPUTS.define_flags(flag_values)
  flags.DEFINE_enum(
    "split",
    "test",
    ["test", "validation"],
    "whose alphabets, of those held out",
    **options,
  )
  trained.define_dataset_flags(flag_values)


def measure(
  model: air.TrainedModel, canvases: strokes_lib.Canvases, task: Task
) -> Found:
  """Returns what a model finds in images, and how alike that is to strokes.

  Args:
    model: trained.
    canvases: the images.
    task: is told of every image.
  """
  n = []
  ious: dict[str, list[float]] = {name: [] for name in (*_IOUS, "iou_pen")}
  for batch in model.infer_batches(canvases.images):
    for count, objects in zip(batch.count, batch.objects, strict=True):
      ink, strokes = canvases.ink[len(n)], canvases.strokes[len(n)]
      ious["iou_pen"].append(_iou_pen(canvases, len(n)))
      of_strokes = strokes_lib.of_strokes(ink, strokes)
      objects = objects[:count]
      parts = (
        objects > strokes_lib.THRESHOLD,
        strokes_lib.of_objects(ink, objects),
        strokes_lib.of_clusters(ink, count),
      )
      for name, of_parts in zip(_IOUS, parts, strict=True):
        ious[name].append(strokes_lib.matched_iou(of_parts, of_strokes))
      n.append(count)
      task.advance()
  return Found(
    np.array([len(strokes) for strokes in canvases.strokes]),
    np.array(n),
    {name: np.array(values) for name, values in ious.items()},
  )


def describe(found: Found, num_steps: int) -> dict[str, Any]:
  """Returns the numbers of a run, ready for JSON, see `_DEFINITIONS`.

  Args:
    found: in at least one image.
    num_steps: T.
  """
  strokes, n = found.strokes, found.n
  confusion = np.zeros([strokes.max() + 1, num_steps + 1], np.int64)
  np.add.at(confusion, (strokes, n), 1)
  correlation = None
  if strokes.std() and n.std():
    correlation = float(np.corrcoef(strokes, n)[0, 1])
  constant = int(np.median(strokes))
  groups = {str(i): strokes == i for i in range(1, _MANY)}
  groups[f"{_MANY}+"] = strokes >= _MANY
  return {
    "num_images": len(n),
    "correlation": correlation,
    "mean_absolute_error": float(np.mean(abs(n - strokes))),
    "best_constant": {
      "n": constant,
      "mean_absolute_error": float(np.mean(abs(constant - strokes))),
    },
    "confusion": confusion.tolist(),
    **_means(found),
    "by_strokes": {
      name: {"num_images": int(chosen.sum()), **_means(found.only(chosen))}
      for name, chosen in groups.items()
      if chosen.any()
    },
  }


def _means(found: Found) -> dict[str, float]:
  means = {name: float(values.mean()) for name, values in found.ious.items()}
  return {"mean_n": float(found.n.mean()), **means}


def table(name: str, result: Mapping[str, Any]) -> str:
  """Returns the numbers of a run as lines of text.

  Args:
    name: of the run.
    result: what `describe` returns, with where it is from.
  """
  correlation, constant = result["correlation"], result["best_constant"]
  confusion = np.array(result["confusion"])
  steps = "".join(f"{i:6}" for i in range(confusion.shape[1]))
  lines = [
    f"{name}: seed {result['seed']}, {result['iterations']:,} iterations;"
    f" {result['num_images']:,} drawings of {', '.join(result['alphabets'])}",
    "  correlation"
    f" {'-' if correlation is None else f'{correlation:.2f}'}, error"
    f" {result['mean_absolute_error']:.2f} (always {constant['n']}:"
    f" {constant['mean_absolute_error']:.2f})",
    f"  {'':12}n, %{'':{len(steps) - 2}}intersection over union",
    f"  strokes images{steps}  mean  painted    ink  k-means",
  ]
  for group, row in {**result["by_strokes"], "all": result}.items():
    if group == "all":
      counts = confusion.sum(axis=0)
    elif group.endswith("+"):
      counts = confusion[_MANY:].sum(axis=0)
    else:
      counts = confusion[int(group)]
    shares = "".join(f"{100 * share:6.1f}" for share in counts / counts.sum())
    ious = [row[iou] for iou in _IOUS]
    lines.append(
      f"  {group:7}{row['num_images']:7}{shares}{row['mean_n']:6.2f}"
      f"{ious[0]:9.3f}{ious[1]:7.3f}{ious[2]:9.3f}"
    )
  return "\n".join(lines)


def draw(
  model: air.TrainedModel, canvases: strokes_lib.Canvases
) -> figures.Figure:
  """Returns some characters, and their canvases stroke by stroke.

  Args:
    model: trained.
    canvases: of which twelve different characters are drawn by chance.
  """
  rng = np.random.default_rng(0)
  order = rng.permutation(len(canvases.labels))
  _, first = np.unique(canvases.labels[order], return_index=True)
  chosen = rng.permutation(order[first])[:_NUM_DRAWN].tolist()
  chosen.sort(key=lambda i: len(canvases.strokes[i]))
  scenes = model.infer(canvases.images[chosen])
  colours = np.array([colors.to_rgb(colour) for colour in style.STEPS])
  columns, labels = [], []
  for i, n, objects in zip(chosen, scenes.count, scenes.objects, strict=True):
    ink, strokes = canvases.ink[i], canvases.strokes[i]
    image = np.repeat(canvases.images[i][..., None] / 255.0, 3, axis=-1)
    owners = np.arange(len(strokes)) % len(colours)
    pen = np.einsum(
      "shw,sc->hwc", strokes_lib.of_strokes(ink, strokes), colours[owners]
    )
    owners = np.arange(len(objects)) % len(colours)
    painted = np.cumsum(
      objects[..., None] * colours[owners, None, None], axis=0
    )
    painted[n:] = colors.to_rgb(style.ABSENT)
    columns.append([image, pen * image, *painted])
    labels.append(f"{len(strokes)} | {n}")
  steps = [f"step {i + 1}" for i in range(model.num_steps)]
  return figures.sheet(
    np.array(columns).swapaxes(0, 1),
    row_labels=["image", "strokes of the pen", *steps],
    column_labels=labels,
    title="Characters of held-out alphabets. Above them: the numbers of pen"
    " strokes | of objects. Below: what is painted after each step, each object"
    " in its colour.",
  )


def _canvases(
  run: runs.Run,
  flag_values: flags.FlagValues,
  strokes: Mapping[str, Sequence[np.ndarray]],
) -> tuple[strokes_lib.Canvases, dict[str, Any]]:
  """Returns a run's images of held-out characters, and what they are of."""
  if run.data.data or run.data.dataset != "omniglot" or run.data.counts != (1,):
    raise UsageError(
      f"run_dirs holds {run.folder}, which is not of single characters;"
      " expected runs with --dataset=omniglot --counts=1"
    )
  trained.load_dataset_of(run, flag_values)  # They must be the same.
  source = flag_values.omniglot or run.data.omniglot
  held_out = getattr(omniglot.split(source), flag_values.split)
  known = np.array([bool(strokes.get(name)) for name in held_out.names])
  if not known.any():
    raise UsageError(
      f"strokes is {flag_values.strokes}, without strokes of"
      f" {', '.join(held_out.alphabets())}; expected some of these, the"
      f" alphabets for {flag_values.split}"
    )
  held_out = held_out.only(known)
  return (
    strokes_lib.on_canvases(
      held_out, strokes, run.data, np.random.default_rng(0)
    ),
    {
      "alphabets": held_out.alphabets(),
      "without_strokes": int(np.sum(~known)),
    },
  )


def main(flag_values: flags.FlagValues) -> None:
  """Measures the runs; prints, draws and writes what comes out."""
  folders = [launcher.expanded("run_dirs", f) for f in flag_values.run_dirs]
  by_name = runs.names("run_dirs", folders)
  figure, numbers = _OUTPUTS.files(flag_values, folders)
  strokes = omniglot.read_strokes(flag_values.strokes)
  results: list[dict[str, Any]] = []
  for name, folder in by_name.items():
    run = runs.load(folder)
    canvases, of = _canvases(run, flag_values, strokes)
    _check(flag_values.strokes, canvases)
    model = air.TrainedModel(
      *run_folder.restore_model(run.folder, run.air, run.id)
    )
    with Task(
      f"looking for strokes with {folder}", len(canvases.images)
    ) as task:
      found = measure(model, canvases, task)
    results.append(
      {
        "run": name,
        "seed": run.air.training.seed,
        "iterations": model.iteration,
        **of,
        **describe(found, model.num_steps),
      }
    )
    print(table(name, results[-1]))
    if len(results) == 1:
      figures.save(draw(model, canvases), figure)
  record = {
    "split": flag_values.split, "definitions": _DEFINITIONS, "runs": results,
  }  # fmt: skip
  files.write_json(numbers, record)
  print(f"figure:  {figure}\nnumbers: {numbers}")


def _iou_pen(canvases: strokes_lib.Canvases, i: int) -> float:
  """Returns `iou_pen` of an image, see `_DEFINITIONS`."""
  ink, radius = canvases.ink[i], canvases.pen_radius[i]
  pen = strokes_lib.drawn(canvases.strokes[i], ink.shape, radius)
  return strokes_lib.iou(pen, ink)


def _check(strokes: str, canvases: strokes_lib.Canvases) -> None:
  """Checks that the strokes are where the images' ink is, by the first ones."""
  number = min(len(canvases.images), _CHECKED)
  mean = np.mean([_iou_pen(canvases, i) for i in range(number)])
  if mean < _LEAST_PEN_IOU:
    raise UsageError(
      f"strokes is {strokes}, whose strokes do not cover the drawings' ink"
      f" (intersection over union {mean:.2f}); expected those of the same"
      " drawings"
    )


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
