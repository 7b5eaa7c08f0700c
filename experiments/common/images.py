"""Reading a user's images from picture files, folders of them, or an npz."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from data.mnist import read_array, read_npz
from experiments.common import launcher
from experiments.common.launcher import UsageError

_SUFFIXES = (".png", ".jpg", ".jpeg")
_KEYS = ("images", "test_images")
# What Pillow calls more than 8 bits per channel, which it converts by clipping.
_DEEP_MODES = ("I", "F")


class NamedImages(NamedTuple):
  """Images, and the file that each is from.

  Attributes:
    names: N paths.
    images: `[N, H, W]` uint8; or whatever an npz holds.
  """

  names: list[str]
  images: np.ndarray


def read(sources: Sequence[str], image_size: tuple[int, ...]) -> NamedImages:
  """Returns images, in the order of the sources, folders by name.

  Args:
    sources: an npz file with `images` or `test_images`; or PNG and JPEG files
      and folders of them, which are turned to grey, on black where they are
      transparent.
    image_size: (H, W) in pixels, that pictures must have.

  Raises:
    UsageError: if something is not there or not an image of this size.
    DataError: if an npz is damaged or has no images.
  """
  if len(sources) == 1 and sources[0].lower().endswith(".npz"):
    return _read_npz(sources[0])
  paths = [path for source in sources for path in _pictures(source)]
  if not paths:
    raise UsageError("images is empty, expected files or a folder")
  return NamedImages(
    [str(path) for path in paths],
    np.stack([_read_picture(path, image_size) for path in paths]),
  )


def _read_npz(name: str) -> NamedImages:
  path = launcher.expanded("images", name)
  if not path.is_file():
    raise UsageError(f"images is {name}, which does not exist")
  with read_npz(path, name) as npz:
    key = next((key for key in _KEYS if key in npz.files), None)
    if key is None:
      raise UsageError(
        f"images is {name}, expected an npz with {' or '.join(_KEYS)}, found"
        f" {', '.join(npz.files) or 'nothing'}"
      )
    images = read_array(npz, key, name)
  return NamedImages([name] * images.shape[0] if images.ndim else [], images)


def _pictures(source: str) -> list[pathlib.Path]:
  """Returns the picture files that a path means."""
  path = launcher.expanded("images", source)
  if path.is_dir():
    found = [p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES]
    if not found:
      raise UsageError(
        f"images holds the folder {source}, in which there is no"
        f" {', '.join(_SUFFIXES)}"
      )
    return sorted(found)
  if not path.is_file():
    raise UsageError(f"images holds {source!r}, which does not exist")
  if path.suffix.lower() not in _SUFFIXES:
    raise UsageError(
      f"images holds {source}, expected {', '.join(_SUFFIXES)}, or one .npz"
      " alone"
    )
  return [path]


def _read_picture(path: pathlib.Path, size: tuple[int, ...]) -> np.ndarray:
  """Returns a picture as uint8 `[H, W]`."""
  try:
    with Image.open(path) as picture:
      # Of another size it may be huge, and need not be decoded.
      if sorted(picture.size) == sorted(size):
        picture = ImageOps.exif_transpose(picture)
  except Exception as error:  # a damaged picture fails in many ways
    raise UsageError(
      f"images holds {path}, which cannot be read: {error}"
    ) from error
  if picture.mode.startswith(_DEEP_MODES):
    raise UsageError(
      f"images holds {path} of mode {picture.mode}, expected 8 bits"
    )
  if picture.size != (size[1], size[0]):
    found, expected = (
      f"{height}x{width}" for height, width in (picture.size[::-1], size)
    )
    raise UsageError(
      f"images holds {path} of {found} pixels (height x width), expected"
      f" {expected}, as the model was trained on"
    )
  return _to_grey(picture)


def _to_grey(picture: Image.Image) -> np.ndarray:
  black = Image.new("RGBA", picture.size, "black")
  return np.array(
    Image.alpha_composite(black, picture.convert("RGBA")).convert("L")
  )
