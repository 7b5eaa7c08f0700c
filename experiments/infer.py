"""Finds the objects in images with a trained model.

  python -m experiments.infer --run_dir=runs/default --images=FOLDER --out=OUT
  python -m experiments.infer --model=multi_mnist --images=FOLDER --out=OUT

Writes a picture for each image to OUT/pictures. It shows a box around each
object (step 1 red, 2 green, 3 blue) beside the model's reconstruction.

Also writes a line for each image to OUT/scenes.jsonl, with these keys:

  index, file, picture
  count        the most probable number of objects
  count_probs  the probabilities of 0, 1, ... objects
  boxes        (y0, x0, y1, x1) of each object in pixels; pixel i covers
               [i, i + 1)
  z_where      of each object
  elbo         a lower bound of log p(x) from one sample, nats
  p_value      the share of validation images that are as surprising or more;
               null: training has not ended, or had fewer than 100 of these

An image with a p-value of at most 0.01 is unlike those that the model was
trained on. If there are more of them than chance explains, a line says so.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import sys
from typing import Any

import numpy as np
from absl import flags
from etils import epy

import air
from air.storage import inputs, run_folder
from data.files import note
from experiments.common import (
  configuration,
  images,
  launcher,
  trained,
  wording,
)
from experiments.common.progress import Task

with epy.lazy_imports():
  from air import surprise
  from air.viz import figures

_PICTURES = "pictures"
_SCENES = "scenes.jsonl"
# Of a name in a folder there are 255, of which a number takes some.
_MOST_BYTES = 200


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  trained.define_flags(flag_values)
  flags.DEFINE_list(
    "images",
    None,
    "bright objects on black, of the size that the model was trained on: PNG or"
    " JPEG files and folders of them, separated by commas, or one npz with"
    " images or test_images",
    required=True,
    flag_values=flag_values,
    module_name="run",
  )
  configuration.define_reading_flags(flag_values)
  trained.define_seed_flag(flag_values)


def _rounded(values: np.ndarray) -> Any:
  return np.round(values.astype(np.float64), 6).tolist()


def _line(scenes: air.Scenes, i: int) -> dict[str, Any]:
  """Returns what `scenes.jsonl` says of the i-th scene."""
  count = int(scenes.count[i])
  return {
    "count": count,
    "count_probs": _rounded(scenes.count_probs[i]),
    "boxes": _rounded(scenes.boxes[i, :count]),
    "z_where": _rounded(scenes.z_where[i, :count]),
  }


def _verdict(model: air.TrainedModel, p_value: np.ndarray | None) -> str:
  """Returns what to say of images as a whole; empty: nothing."""
  if p_value is None:
    return (
      f"{model} cannot say whether images are like the training images: it has"
      f" no {run_folder.REFERENCE} of this iteration, which training writes at"
      f" its end with at least {surprise.FEWEST} validation images"
    )
  if not surprise.are_unlike(p_value):
    return ""
  number = np.sum(p_value <= surprise.LEVEL)
  are = "image is" if len(p_value) == 1 else "images are"
  return (
    f"{number} of {len(p_value)} {are} unlike the training images (p_value at"
    f" most {surprise.LEVEL} in {_SCENES}): do not trust what is found in them"
  )


def _shortened(stem: str) -> str:
  """Returns as much of a file's name as fits into that of its picture."""
  return (
    os.fsdecode(os.fsencode(stem)[:_MOST_BYTES])
    .encode("utf-8", "ignore")
    .decode()
  )


def main(flag_values: flags.FlagValues) -> None:
  """Infers all images, then shows --out."""
  with trained.new_output(flag_values) as out:
    model = trained.load_model(flag_values)
    names, array = images.read(flag_values.images, model.image_size)
    reading = configuration.reading(flag_values)
    options = {"seed": flag_values.seed, **dataclasses.asdict(reading)}
    with Task("comparing with the training images"):
      elbo, p_value = model.surprise(array, **options)
    batches = model.infer_batches(array, **options)
    shown = inputs.images(array, model.image_size, reading)
    in_turn = (
      (scenes, i) for scenes in batches for i in range(len(scenes.count))
    )
    counts = np.zeros(model.num_steps + 1, int)
    (out / _PICTURES).mkdir()
    with (
      open(out / _SCENES, "w", encoding="utf-8") as lines,
      Task("inferring and drawing", len(array)) as task,
    ):
      for index, (scenes, i) in enumerate(in_turn):
        stem = _shortened(pathlib.Path(names[index]).stem)
        name = f"{_PICTURES}/{index:06d}-{stem}.png"
        line = {
          **{"index": index, "file": names[index], "picture": name},
          **_line(scenes, i),
          "elbo": _rounded(elbo[index]),
          "p_value": None if p_value is None else _rounded(p_value[index]),
        }
        lines.write(json.dumps(line) + "\n")
        count = scenes.count[i]
        picture = figures.annotated(
          shown[index], scenes.canvas[i], scenes.boxes[i, :count]
        )
        figures.captioned(picture, model.num_steps).save(out / name)
        counts[count] += 1
        task.advance()
  for count, num_images in enumerate(counts):
    objects = wording.number_of(count, "object")
    print(f"images with {objects}: {num_images}")
  print(f"{flag_values.out}: {_SCENES}, {_PICTURES}/")
  if verdict := _verdict(model, p_value):
    note(f"infer: {verdict}")


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
