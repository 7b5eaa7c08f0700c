"""Multi-MNIST: images of several digits, with the truth about each of them.

`python -m data.generate --out=FILE.npz` writes such a data set.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from PIL import Image

from data import counts as counts_lib
from data import placement
from data.errors import DataError, all_ints, require
from data.mnist import DigitSet

_DIGIT_SIDE = 28
PLACEMENTS = ("apart", "observations")
# Of the recipe `observations`: a digit's side is 28 over a normal number.
_SCALE_MEAN, _SCALE_STD = 1.3, 0.1
_OBSERVATIONS_SIDE = 40  # pixels, of the smallest canvas with room to move
_MAX_TRIES = 1000
_MAX_SIDE = 1 << 15  # pixels
MAX_IMAGES = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class MultiMNISTSpec:
  """What the images look like. The defaults are those of the blog's code.

  Attributes:
    canvas_size: (H, W), pixels.
    counts: the numbers of digits that an image can have.
    count_probs: their probabilities; empty: equal.
    digit_size: side of the frame that a 28x28 digit is resized to before it is
      cropped to its ink, pixels. Two numbers are a range, both ends included,
      from which each digit draws its side.
    overlap: whether the digits' bounding boxes may overlap.
    single_on_diagonal: whether a digit alone in its image lies on the diagonal,
      as the blog's code has it (one random number for both coordinates).
    placement: "apart", as above; or "observations", the recipe of the package
      of this name, on whose images Pyro, genjax, SuPAIR and others report: a
      digit's frame, not cropped, has a side of 28 / s pixels, rounded down, for
      s ~ N(1.3, .1^2), and lies anywhere. An image is drawn anew, but for its
      count, while ink adds up to more than 255.
    num_images: how many to make.

  Raises:
    DataError: if a value cannot work; the message starts with its name.
  """

  canvas_size: tuple[int, ...] = (50, 50)
  counts: tuple[int, ...] = (0, 1, 2)
  count_probs: tuple[float, ...] = ()
  digit_size: tuple[int, ...] = (28,)
  overlap: bool = False
  single_on_diagonal: bool = False
  placement: str = "apart"
  num_images: int = 60_000

  def __post_init__(self):
    require(
      len(self.canvas_size) == 2 and all_ints(self.canvas_size, 1, _MAX_SIDE),
      "canvas_size",
      self.canvas_size,
      f"a height and a width of 1 to {_MAX_SIDE}",
    )
    counts_lib.check(self.counts, self.count_probs)
    require(
      len(self.digit_size) in (1, 2)
      and all_ints(self.digit_size, 1)
      and self.digit_size[0] <= self.digit_size[-1],
      "digit_size",
      self.digit_size,
      "one side of at least 1 pixel, or a range from low to high",
    )
    # A digit is resized by digit_size / 28, and has one pixel at least.
    largest = _DIGIT_SIDE * max(self.canvas_size)
    require(
      self.digit_size[-1] <= largest,
      "digit_size",
      self.digit_size,
      f"no more than {largest}, where not a pixel fits on the canvas",
    )
    require(
      self.placement in PLACEMENTS,
      "placement",
      f'"{self.placement}"',
      " or ".join(PLACEMENTS),
    )
    if self.placement == "observations":
      default = type(self)()
      for name in ("digit_size", "overlap", "single_on_diagonal"):
        value = getattr(self, name)
        require(
          value == getattr(default, name),
          name,
          value,
          f"{getattr(default, name)} with placement observations",
        )
      require(
        min(self.canvas_size) >= _OBSERVATIONS_SIDE,
        "canvas_size",
        self.canvas_size,
        f"sides of at least {_OBSERVATIONS_SIDE} with placement observations",
      )
    require(
      all_ints([self.num_images], 1, MAX_IMAGES),
      "num_images",
      self.num_images,
      f"1 to {MAX_IMAGES}",
    )


class MultiMNIST(NamedTuple):
  """Images and the truth about them; M is the largest of the counts.

  Attributes:
    images: uint8 `[N, H, W]`.
    counts: int32 `[N]`, the number of digits.
    labels: int32 `[N, M]`, the digits' classes; -1 where there is no digit.
    boxes: int32 `[N, M, 4]`, the bounding boxes of the digits' ink (y0, x0, y1,
      x1), pixels, ends exclusive; zeros where there is no digit.
  """

  images: np.ndarray
  counts: np.ndarray
  labels: np.ndarray
  boxes: np.ndarray


def generate(
  spec: MultiMNISTSpec, digits: DigitSet, rng: np.random.Generator
) -> MultiMNIST:
  """Draws images.

  An image's count, its digits and their sizes are drawn first, and never again.
  A single digit lies uniformly over all the positions where it fits, or, with
  `spec.single_on_diagonal`, over those on the canvas's diagonal. Several lie
  uniformly over their joint placements without overlap (crowded images in
  another way, see `placement.place`), or, with `spec.overlap`, independently of
  each other. Overlapping ink adds, up to 255.

  Args:
    spec: of the images.
    digits: to draw from, with replacement.
    rng: the source of all randomness.

  Returns:
    The images and the truth about them.

  Raises:
    DataError: if the digits drawn do not fit on the canvas.
  """
  if spec.placement == "observations":
    return _generate_observations(spec, digits, rng)
  num_images, max_count = spec.num_images, max(spec.counts)
  counts = counts_lib.draw(spec.counts, spec.count_probs, num_images, rng)
  slots = (num_images, max_count)
  indices = rng.integers(len(digits.images), size=slots)
  sides = rng.integers(spec.digit_size[0], spec.digit_size[-1] + 1, size=slots)

  used = np.arange(max_count) < counts[:, None]  # [N, M]
  glyphs, glyph_ids = _glyphs(spec, digits.images, indices[used], sides[used])
  sizes = np.zeros((*slots, 2), np.int64)
  sizes[used] = np.array([g.shape for g in glyphs]).reshape(-1, 2)[glyph_ids]
  origins = np.zeros_like(sizes)
  for count in range(1, max_count + 1):
    rows = np.flatnonzero(counts == count)
    origins[rows, :count] = placement.place(
      sizes[rows, :count],
      spec.canvas_size,
      spec.overlap,
      rng,
      spec.single_on_diagonal,
    )

  boxes = np.concatenate([origins, origins + sizes], axis=-1)  # [N, M, 4]
  images = np.zeros((num_images, *spec.canvas_size), np.uint8)
  rows = np.nonzero(used)[0]
  for row, glyph_id, (y0, x0, y1, x1) in zip(
    rows.tolist(), glyph_ids.tolist(), boxes[used].tolist(), strict=True
  ):
    region = images[row, y0:y1, x0:x1]
    region += np.minimum(glyphs[glyph_id], 255 - region)
  return MultiMNIST(
    images=images,
    counts=counts,
    labels=np.where(used, digits.labels.astype(np.int32)[indices], -1),
    boxes=boxes.astype(np.int32),
  )


def _generate_observations(
  spec: MultiMNISTSpec, digits: DigitSet, rng: np.random.Generator
) -> MultiMNIST:
  """Draws images by the recipe `observations`, see `MultiMNISTSpec`."""
  slots = (spec.num_images, max(spec.counts))
  made = MultiMNIST(
    images=np.zeros((spec.num_images, *spec.canvas_size), np.uint8),
    counts=counts_lib.draw(spec.counts, spec.count_probs, spec.num_images, rng),
    labels=np.full(slots, -1, np.int32),
    boxes=np.zeros((*slots, 4), np.int32),
  )
  for i, count in enumerate(made.counts.tolist()):
    for _ in range(_MAX_TRIES):
      canvas = np.zeros(spec.canvas_size, np.int32)
      for k in range(count):
        index = rng.integers(len(digits.images))
        made.labels[i, k] = digits.labels[index]
        made.boxes[i, k] = _add_frame(canvas, digits.images[index], rng)
      if canvas.max() <= 255:
        break
    else:
      raise DataError(
        f"counts is {spec.counts}, expected numbers of digits that find places"
        f" on {spec.canvas_size} pixels"
      )
    made.images[i] = canvas
  return made


def _add_frame(
  canvas: np.ndarray, digit: np.ndarray, rng: np.random.Generator
) -> tuple[int, ...]:
  """Adds a digit to a canvas `[H, W]`; returns its ink's box."""
  side = int(_DIGIT_SIDE / rng.normal(_SCALE_MEAN, _SCALE_STD))
  y, x = (int(rng.integers(length - side)) for length in canvas.shape)
  frame = framed(digit, side)
  canvas[y : y + side, x : x + side] += np.asarray(frame)
  x0, y0, x1, y1 = frame.getbbox() or (0, 0, 0, 0)
  return y + y0, x + x0, y + y1, x + x1


def framed(image: np.ndarray, side: int) -> Image.Image:
  """Returns a digit, uint8, in a frame of so many pixels."""
  frame = Image.fromarray(image)
  if frame.size != (side, side):
    frame = frame.resize((side, side), Image.Resampling.BILINEAR)
  return frame


def _glyphs(
  spec: MultiMNISTSpec,
  images: np.ndarray,
  indices: np.ndarray,
  sides: np.ndarray,
) -> tuple[list[np.ndarray], np.ndarray]:
  """Resizes digits and crops them to their ink, each (digit, side) once.

  Args:
    spec: of the images.
    images: uint8 `[K, 28, 28]`.
    indices: `[D]`, of the digits in `images`.
    sides: `[D]`, of the frames to resize to, pixels.

  Returns:
    The different glyphs, and `[D]` indices into them.
  """
  base = spec.digit_size[-1] + 1
  keys, glyph_ids = np.unique(indices * base + sides, return_inverse=True)
  glyphs = []
  for index, side in zip(
    (keys // base).tolist(), (keys % base).tolist(), strict=True
  ):
    frame = framed(images[index], side)
    ink = frame.getbbox()
    if ink is None:
      raise DataError(
        f"digit_size is {spec.digit_size}, expected sizes that show ink: digit"
        f" {index} is blank in a frame of {side} pixels"
      )
    glyph = np.asarray(frame.crop(ink))
    if any(g > c for g, c in zip(glyph.shape, spec.canvas_size, strict=True)):
      raise DataError(
        f"canvas_size is {spec.canvas_size}, expected room for a digit of"
        f" {glyph.shape[0]}x{glyph.shape[1]} pixels: enlarge canvas_size or"
        " reduce digit_size"
      )
    glyphs.append(glyph)
  return glyphs, glyph_ids
