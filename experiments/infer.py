"""Finds the objects in images with a trained model.

  python -m experiments.infer --run_dir=runs/default --images=FOLDER --out=OUT

Writes a picture for each image to OUT/pictures. It shows a box around each
object (step 1 red, 2 green, 3 blue) beside the model's reconstruction.

Also writes a line for each image to OUT/scenes.jsonl, with these keys:

  index, file, picture
  count        the most probable number of objects
  count_probs  the probabilities of 0, 1, ... objects
  boxes        (y0, x0, y1, x1) of each object in pixels; pixel i covers
               [i, i + 1)
  z_where      of each object
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
from typing import Any

import numpy as np
from absl import flags
from etils import epy

import air
from air.storage import inputs
from experiments.common import (
  configuration,
  images,
  launcher,
  trained,
  wording,
)
from experiments.common.progress import Task

with epy.lazy_imports():
  from air.viz import figures

_PICTURES = "pictures"
_SCENES = "scenes.jsonl"


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


def _line(scenes: air.Scenes, i: int) -> dict[str, Any]:
  """Returns what `scenes.jsonl` says of the i-th scene."""

  def rounded(values: np.ndarray) -> list:
    return np.round(values.astype(np.float64), 6).tolist()

  count = int(scenes.count[i])
  return {
    "count": count,
    "count_probs": rounded(scenes.count_probs[i]),
    "boxes": rounded(scenes.boxes[i, :count]),
    "z_where": rounded(scenes.z_where[i, :count]),
  }


def main(flag_values: flags.FlagValues) -> None:
  """Infers all images, then shows --out."""
  with trained.new_output(flag_values) as out:
    model = air.load(flag_values.run_dir)
    names, array = images.read(flag_values.images, model.image_size)
    reading = configuration.reading(flag_values)
    batches = model.infer_batches(
      array, flag_values.seed, **dataclasses.asdict(reading)
    )
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
        name = f"{_PICTURES}/{index:06d}-{pathlib.Path(names[index]).stem}.png"
        line = {"index": index, "file": names[index], "picture": name}
        lines.write(json.dumps({**line, **_line(scenes, i)}) + "\n")
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


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
