"""The page in `demo/`: which models it shows, on which digits.

models/models.json    the models, each with what its surprise is measured by
models/*.safetensors  their weights, see air/storage/weights.py
models/digits.png     test digits, a column for each class
"""

from __future__ import annotations

import functools
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags
from etils import epy
from PIL import Image

import air
from air.storage import files, run_folder
from data import mnist
from experiments.common import runs, trained
from experiments.common.launcher import UsageError

with epy.lazy_imports():
  import tensorflow as tf

  from air import model as model_lib
  from air import surprise
  from air.storage import weights

FOLDER = pathlib.Path(__file__).parents[2] / "demo"
_FILES = ("index.html", "style.css", "demo.js", "icon.svg")
_MODELS = "models"
_LIST = "models.json"

# Of each class, in digits.png.
_DIGITS = 4
_DIGIT_SIDE = 28
_BATCH_SIZE = 100
# The shares of images at which distances are given fall by this factor.
_FACTOR = 10**-0.1


def write(
  folder: pathlib.Path,
  folders: Sequence[pathlib.Path],
  flag_values: flags.FlagValues,
) -> None:
  """Writes the page with the models of runs.

  Args:
    folder: for the page; of what is there only `models` is replaced.
    folders: of the runs; the images of all of them are of one size.
    flag_values: parsed, see `trained.define_dataset_flags`.

  Raises:
    UsageError: if the runs cannot be on one page, if their images are not those
      they were trained on, or if `models` in the folder is something else.
    RunError: if there is no run, or no checkpoint.
    OSError: if it cannot be written.
  """
  # Names are checked, but not used: they may be paths.
  shown = [runs.load(path) for path in runs.names("run_dirs", folders).values()]
  sizes = {run.air.model.image_size for run in shown}
  if len(sizes) > 1:
    raise UsageError(
      f"run_dirs holds runs on images of {' and '.join(map(str, sizes))},"
      " expected images of one size"
    )
  if any(run.air.model.background_model != "none" for run in shown):
    raise UsageError(
      "run_dirs holds a run with --background_model, which the page does not"
      " draw; expected runs without"
    )
  models = folder / _MODELS
  if models.exists() and not (models / _LIST).is_file():
    raise UsageError(
      f"out is {folder}, where {_MODELS} exists and is no part of the page"
    )
  loaded = [
    (
      run,
      trained.load_dataset_of(run, flag_values),
      *run_folder.restore_model(run.folder, run.air, run.id),
    )
    for run in shown
  ]
  digits = mnist.load_digits(flag_values.mnist or shown[0].data.mnist)
  sides = shown[0].data.digit_size
  with files.new_folder(models, replace=True) as temporary:
    entries: list[dict[str, Any]] = []
    for run, dataset, model, iteration in loaded:
      name = _name(run, [entry["name"] for entry in entries])
      file = f"{name.lower().replace(' ', '-')}.safetensors"
      counts = dataset.train.distinct_counts()
      weights.write(temporary / file, model, iteration=iteration, counts=counts)
      as_shown, _ = weights.read(temporary / file)  # rounded
      ordinary = reference(as_shown, dataset.validation.images)
      entries.append({"name": name, "file": file, "reference": ordinary})
    digit_sheet(digits.test).save(temporary / "digits.png", optimize=True)
    page = {"digit_size": round(sum(sides) / len(sides)), "models": entries}
    files.write_json(temporary / _LIST, page)
  if folder.resolve() != FOLDER:
    for name in _FILES:
      shutil.copyfile(FOLDER / name, folder / name)


def _name(run: runs.Run, taken: Sequence[str]) -> str:
  """Returns what the page calls the model of a run: AIR, DAIR, AIR 2..."""
  kind = "DAIR" if run.air.model.step_input == "difference" else "AIR"
  number = sum(name.split()[0] == kind for name in taken) + 1
  return kind if number == 1 else f"{kind} {number}"


def digit_sheet(digits: mnist.DigitSet) -> Image.Image:
  """Returns the first digits of each class, a column for each."""
  columns = [digits.images[digits.labels == k][:_DIGITS] for k in range(10)]
  rows = np.stack(columns, axis=1)  # [R, 10, 28, 28]
  return Image.fromarray(
    rows.transpose(0, 2, 1, 3).reshape(-1, 10 * _DIGIT_SIDE)
  )


def reference(model: air.AIRModel, images: np.ndarray) -> dict[str, Any]:
  """Returns what it takes to say how surprising an image is, ready for JSON.

  An image's distance is that of Mahalanobis, of its ELBO and its norm from
  those of images of the same inferred count. z_what and z_where are the means
  of q(z|x), as on the page.

  Args:
    model: that infers.
    images: `[N, H, W]`, like those that the model was trained on.

  Returns:
    by_count: for each count that occurs, the `mean` of (ELBO, norm), and the
      inverse of their covariance, `precision`.
    distances: `values` that all images, `factor` of them, `factor`^2 of them
      and so on reach.
  """
  score = tf.function(functools.partial(_score, model), autograph=False)
  parts = [
    score(tf.constant(images[start : start + _BATCH_SIZE]))
    for start in range(0, len(images), _BATCH_SIZE)
  ]
  scores = surprise.Scores(*map(np.concatenate, zip(*parts, strict=True)))
  by_count = {
    str(count): {
      "mean": mean.tolist(),
      "precision": np.linalg.inv(covariance).tolist(),
    }
    for count, (mean, covariance) in surprise.normals(scores).items()
  }
  distances = surprise.distances(scores, scores)
  shares = _FACTOR ** np.arange(1 + np.log(len(images)) // -np.log(_FACTOR))
  values = np.quantile(distances[np.isfinite(distances)], 1 - shares)
  return {
    "by_count": by_count,
    "distances": {"factor": _FACTOR, "values": values.tolist()},
  }


def _score(model: air.AIRModel, images: tf.Tensor) -> surprise.Scores:
  """Returns the scores of a batch at the means of the latents, as tensors."""
  noise = model.zero_noise(images.shape[0])
  return surprise.score(model, model(model_lib.as_floats(images), noise))
