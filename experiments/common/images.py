"""Reading a user's images from picture files, folders of them, or an npz."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data import pictures
from data.mnist import read_array, read_npz
from experiments.common import launcher
from experiments.common.launcher import UsageError

_KEYS = ("images", "test_images")


class NamedImages(NamedTuple):
  """Images, and the file that each is from.

  Attributes:
    names: N paths.
    images: as `pictures.read` returns them; or whatever an npz holds.
  """

  names: list[str]
  images: np.ndarray


def read(sources: Sequence[str], image_size: tuple[int, ...]) -> NamedImages:
  """Returns images, in the order of the sources, folders by name.

  Args:
    sources: one file, an npz with `images` or `test_images`; or PNG and JPEG
      files and folders of them.
    image_size: (H, W) in pixels, that pictures must have.

  Raises:
    UsageError: if an npz is not there or has no images.
    DataError: if it is damaged, or a picture not one of this size.
  """
  if len(sources) == 1:
    path = launcher.expanded("images", sources[0])
    if path.is_file() and path.suffix.lower() not in pictures.SUFFIXES:
      return _read_npz(path, sources[0])
  paths = [path for s in sources for path in pictures.find("images", s)]
  if not paths:
    raise UsageError("images is empty, expected files or a folder")
  return NamedImages(
    [str(path) for path in paths], pictures.read("images", paths, image_size)
  )


def _read_npz(path: pathlib.Path, name: str) -> NamedImages:
  with read_npz(path, name) as npz:
    key = next((key for key in _KEYS if key in npz.files), None)
    if key is None:
      raise UsageError(
        f"images is {name}, expected an npz with {' or '.join(_KEYS)}, found"
        f" {', '.join(npz.files) or 'nothing'}"
      )
    images = read_array(npz, key, name)
  return NamedImages([name] * images.shape[0] if images.ndim else [], images)
