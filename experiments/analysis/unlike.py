r"""Measures which images a model tells from those that it was trained on.

  python -m experiments.analysis.unlike --run_dir=runs/default

An image is unlike the training images if its p-value is at most 0.01, see
`TrainedModel.surprise`. Prints the share of such images, in per cent, among the
run's test images, among the same with a change, and among others; and how many
images it takes, in the median, for `experiments.infer` to warn of them.

Writes RUN_DIR/analysis/unlike.json.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Iterator

import numpy as np
from absl import flags
from etils import epy
from PIL import Image, ImageDraw, ImageFont

import air
from air.storage import files
from data import config as data_config
from experiments.common import launcher, runs, trained
from experiments.common.launcher import UsageError

with epy.lazy_imports():
  import matplotlib

  from air import surprise

# Of a set, those that are shown one after the other.
_SEQUENCES = 20


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  runs.define_run_dir_flag(flag_values)
  trained.define_split_flags(flag_values)


def changed(
  images: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[str, np.ndarray]]:
  """Yields changes, and the images with them, `[N, H, W]` uint8.

  Args:
    images: `[N, H, W]` uint8.
    rng: of what is random.
  """
  bright = images.astype(np.float32)
  for std in (0.05, 0.1, 0.2):
    noise = rng.normal(0, 255 * std, images.shape)
    yield f"noise, std {std}", _to_bytes(bright + noise)
  for factor in (0.5, 0.75, 1.5):
    yield f"brightness x {factor}", _to_bytes(bright * factor)
  for factor in (0.5, 1.5):
    yield f"zoom x {factor}", np.stack([_zoomed(i, factor) for i in images])
  yield "upside down", images[:, ::-1]
  height, width = (side * 3 // 10 for side in images.shape[1:])
  patched = images.copy()
  for image in patched:
    y = rng.integers(0, len(image) - height + 1)
    x = rng.integers(0, image.shape[1] - width + 1)
    image[y : y + height, x : x + width] ^= 255
  yield "a patch inverted", patched


def drawn(
  num_images: int, size: tuple[int, ...], rng: np.random.Generator
) -> Iterator[tuple[str, np.ndarray]]:
  """Yields names and images of other things, `[N, H, W]` uint8.

  Args:
    num_images: N.
    size: (H, W), pixels.
    rng: of what is drawn.
  """
  yield "nothing", np.zeros((num_images, *size), np.uint8)
  fonts = pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf")
  side = min(size) * 2 // 5
  font = ImageFont.truetype(str(fonts / "DejaVuSans-Bold.ttf"), side)

  def point(margin: int) -> tuple[int, int]:
    y, x = (int(rng.integers(0, s - margin)) for s in size)
    return x, y

  letters, lines = [], []
  for _ in range(num_images):
    picture = Image.new("L", size[::-1])
    for _ in range(rng.integers(1, 3)):
      letter = chr(ord("A") + rng.integers(26))
      draw = ImageDraw.Draw(picture)
      draw.text(point(side), letter, fill=255, font=font, anchor="lt")
    letters.append(np.asarray(picture))
    picture = Image.new("L", size[::-1])
    for _ in range(4):
      ends = [point(0), point(0)]
      ImageDraw.Draw(picture).line(ends, fill=255, width=2)
    lines.append(np.asarray(picture))
  yield "one or two letters", np.stack(letters)
  yield "four lines", np.stack(lines)


def generated(
  run: runs.Run, num_images: int
) -> Iterator[tuple[str, np.ndarray]]:
  """Yields names and images of digits, of a run on multi-MNIST.

  Args:
    run: whose images are of digits.
    num_images: of each kind.
  """
  data = run.data
  more = max(data.counts) + 1
  kinds = {
    f"{number} digits": {"counts": (number,), "overlap": True}
    for number in (more, more + 1)
  }
  kinds["digits that may overlap"] = {"overlap": True}
  for factor, counts in ((0.5, data.counts), (1.5, (0, 1))):
    sides = tuple(round(factor * side) for side in data.digit_size)
    # Others would not fit.
    kinds[f"digits x {factor}"] = {"digit_size": sides, "counts": counts}
  for name, values in kinds.items():
    others = dataclasses.replace(
      data,
      count_probs=(),
      num_images=1,
      validation_size=1,
      test_size=num_images,
      data_seed=data.data_seed + 1,
      **values,
    )
    yield name, data_config.load(others, cache_dir=None).test.images


def _to_bytes(images: np.ndarray) -> np.ndarray:
  return np.clip(np.round(images), 0, 255).astype(np.uint8)


def _zoomed(image: np.ndarray, factor: float) -> np.ndarray:
  """Returns an image `[H, W]` with everything smaller or larger."""
  height, width = image.shape
  scaled = Image.fromarray(image).resize(
    (round(width * factor), round(height * factor)), Image.Resampling.BILINEAR
  )
  left, top = (scaled.width - width) // 2, (scaled.height - height) // 2
  return np.asarray(scaled.crop((left, top, left + width, top + height)))


def images_needed(p_value: np.ndarray) -> int | None:
  """Returns how many images it takes for a warning; None: all are not enough.

  Args:
    p_value: `[N]`, see `air.Surprise`.
  """
  needed = []
  for part in np.array_split(p_value, min(_SEQUENCES, len(p_value))):
    warned = (
      n for n in range(1, len(part) + 1) if surprise.are_unlike(part[:n])
    )
    needed.append(next(warned, np.inf))
  median = np.median(needed)
  return None if np.isinf(median) else int(median)


def main(flag_values: flags.FlagValues) -> None:
  """Compares all kinds of images, prints and writes what is found."""
  folder = runs.folder_of(flag_values)
  split = trained.load(folder, flag_values).split
  run, model = runs.load(folder), air.load(folder)
  images, seed = split.images, run.air.training.seed
  if model.surprise(images[:1]).p_value is None:
    raise UsageError(
      f"run_dir is {folder}, expected a run whose training has ended, on at"
      f" least {surprise.FEWEST} validation images"
    )
  rng = np.random.default_rng([run.data.data_seed, 1])
  kinds = {
    f"{flag_values.split} images": images,
    **dict(changed(images, rng)),
    **dict(drawn(len(images), model.image_size, rng)),
  }
  of_digits = run.data.dataset == "multi_mnist" and not run.data.data
  if of_digits and run.data.placement == "apart":
    kinds |= dict(generated(run, len(images)))
  rows = []
  print("unlike, %   to warn   images")
  for name, kind in kinds.items():
    p_value = model.surprise(kind, seed).p_value
    share = float(np.mean(p_value <= surprise.LEVEL))
    needed = images_needed(p_value)
    rows.append({"images": name, "unlike": share, "needed": needed})
    print(f"{share:9.1%}   {needed or '-':>7}   {name}")
  path = folder / "analysis" / "unlike.json"
  values = {"iteration": model.iteration, "num_images": len(images)}
  files.write_json(path, {**values, "level": surprise.LEVEL, "kinds": rows})
  print(f"numbers: {path}")


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
