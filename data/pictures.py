"""Pictures: PNG and JPEG files, and folders of them, as arrays of pixels.

What their pixels mean, `air.images.read` decides.
"""

import pathlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from data.errors import DataError, expanded

SUFFIXES = (".png", ".jpg", ".jpeg")
_FORMATS = ("PNG", "JPEG")
_MAX_PIXELS = 1 << 24
# Pillow's modes that are read, each of which holds all before it; and 16 bits
# of grey, which are for themselves.
_MODES = ("1", "L", "RGB", "RGBA")
_DEEP = "I;16"


def find(flag: str, source: str | pathlib.Path) -> list[pathlib.Path]:
  """Returns the picture files that a path means, folders in order of names.

  Args:
    flag: that names the path, which messages begin with.
    source: a PNG or JPEG file, or a folder of them; what else is in it, and
      what is in folders in it, is passed over.

  Raises:
    DataError: if it is something else, or a folder without pictures.
  """
  path = expanded(flag, str(source))
  if path.is_dir():
    found = [
      entry
      for entry in path.iterdir()
      if entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".")
    ]
    if not found:
      raise DataError(
        f"{flag} holds the folder {source}, in which there is no"
        f" {', '.join(SUFFIXES)}"
      )
    return sorted(found)
  if not path.exists():
    raise DataError(f"{flag} holds {str(source)!r}, which does not exist")
  if path.suffix.lower() not in SUFFIXES:
    raise DataError(
      f"{flag} holds {source}, expected {', '.join(SUFFIXES)} or a folder"
    )
  return [path]


def read(
  flag: str,
  paths: Sequence[pathlib.Path],
  size: tuple[int, ...] | None = None,
) -> np.ndarray:
  """Returns pictures as `air.images.read` understands them.

  They are turned as the camera was held. Palettes are looked up, and grey
  pictures among coloured ones are coloured.

  Args:
    flag: that names the pictures, which messages begin with.
    paths: of the pictures, at least one.
    size: (H, W), pixels, that they must have; None: that of the first.

  Returns:
    `[N, H, W]`: bool of pictures of 1 bit, uint16 of grey ones of 16 bits, else
    uint8; or uint8 `[N, H, W, C]` with C = 3 (RGB), or 4 (RGB and opacity) if
    one of them may be transparent.

  Raises:
    DataError: if a picture is damaged, too large, or of another size or depth.
    MemoryError: if there are too many.
  """
  mode = _common_mode(flag, paths, [_mode(flag, p, size) for p in paths])
  result = None
  for i, path in enumerate(paths):
    with _opened(flag, path) as picture:
      pixels = np.asarray(ImageOps.exif_transpose(picture).convert(mode))
    if result is None:
      size = size or pixels.shape[:2]
      result = np.empty((len(paths), *size, *pixels.shape[2:]), pixels.dtype)
    if pixels.shape[:2] != tuple(size or ()):
      raise _of_size(flag, path, pixels.shape[:2], size)
    result[i] = pixels
  assert result is not None
  return result


@contextmanager
def _opened(flag: str, path: pathlib.Path) -> Iterator[ImageFile.ImageFile]:
  """Opens a picture; whatever then fails is said in a line."""
  if not path.is_file():  # a pipe would be waited for
    raise DataError(f"{flag} holds {path}, which is not a file")
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("error", Image.DecompressionBombWarning)
      with Image.open(path, formats=_FORMATS) as picture:
        yield picture
  except (DataError, MemoryError):
    raise
  except UnidentifiedImageError as error:
    raise DataError(
      f"{flag} holds {path}, which is damaged or no picture, expected PNG or"
      " JPEG"
    ) from error
  except (
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
  ) as error:
    raise DataError(
      f"{flag} holds {path} of far too many pixels, expected no more than"
      f" {_MAX_PIXELS} in all"
    ) from error
  except Exception as error:  # a damaged picture fails in many ways
    raise DataError(
      f"{flag} holds {path}, which cannot be read: {error}"
    ) from error


def _mode(flag: str, path: pathlib.Path, size: tuple[int, ...] | None) -> str:
  """Returns a picture's mode, one of those above, without decoding it."""
  with _opened(flag, path) as picture:
    width, height = picture.size
    # Its camera may have been turned.
    if size is not None and sorted(size) != sorted(picture.size):
      raise _of_size(flag, path, (height, width), size)
    if width * height > _MAX_PIXELS:
      raise DataError(
        f"{flag} holds {path} of {height}x{width} pixels (height x width),"
        f" expected no more than {_MAX_PIXELS} in all"
      )
    has_opacity = picture.has_transparency_data
    stored = str(picture.tile[0][3])  # as "L", "I;16B" or "('RGB', '')"
    if "16" in stored:
      if has_opacity or not stored.startswith("I"):
        raise DataError(
          f"{flag} holds {path} of 16 bits in colour or with opacity, expected"
          " 8 bits, or 16 bits of grey alone"
        )
      return _DEEP
    if has_opacity:
      return "RGBA"
    return picture.mode if picture.mode in _MODES else "RGB"


def _common_mode(
  flag: str, paths: Sequence[pathlib.Path], modes: Sequence[str]
) -> str:
  """Returns the mode that holds all pictures."""
  if _DEEP not in modes:
    return max(modes, key=_MODES.index)
  other = next((i for i, mode in enumerate(modes) if mode != _DEEP), None)
  if other is not None:
    deep = paths[modes.index(_DEEP)]
    raise DataError(
      f"{flag} holds {deep} of 16 bits and {paths[other]} of 8, expected the"
      " same in all pictures"
    )
  return _DEEP


def _of_size(
  flag: str,
  path: pathlib.Path,
  found: tuple[int, ...],
  expected: tuple[int, ...] | None,
) -> DataError:
  there, needed = (f"{h}x{w}" for h, w in (found, expected or ()))
  return DataError(
    f"{flag} holds {path} of {there} pixels (height x width), expected {needed}"
  )
