"""Omniglot's characters (Lake et al. 2015), from a user's copy.

The public layout: ALPHABET/characterNN/NNNN_MM.png, 105x105 pixels, black ink
on white, in a folder or a zip file, perhaps in a folder of that.
"""

import io
import re
import zipfile
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from data.errors import DataError, expanded
from data.mnist import Digits, DigitSet

SIDE = 105
_WHERE = (
  "images_background.zip and images_evaluation.zip of"
  " https://github.com/brendenlake/omniglot, unpacked or not"
)
_WHERE_STROKES = (
  "strokes_background.zip and strokes_evaluation.zip of"
  " https://github.com/brendenlake/omniglot, unpacked or not"
)
# The ends of the paths of drawings, and of their strokes.
_DRAWING = re.compile(r"(?:.*/)?([^/]+)/(character\d+)/(\d+_\d+)\.png")
_STROKES = re.compile(r"(?:.*/)?([^/]+)/(character\d+)/(\d+_\d+)\.txt")
# Of the alphabets, in order, so many of ten are for training, for validation
# and for test.
_TRAIN, _VALIDATION = 6, 8
_MAX_BYTES = 1 << 20  # of one file


class Characters(NamedTuple):
  """Drawings of characters, and what they are of.

  Attributes:
    images: uint8 `[N, 105, 105]`, bright ink on black.
    labels: int32 `[N]`, the characters, counted over all alphabets.
    names: `N` of "ALPHABET/characterNN/NNNN_MM".
  """

  images: np.ndarray
  labels: np.ndarray
  names: list[str]

  def only(self, chosen: np.ndarray) -> "Characters":
    """Returns those that are chosen, bool `[N]`."""
    names = [
      name for name, kept in zip(self.names, chosen, strict=True) if kept
    ]
    return Characters(self.images[chosen], self.labels[chosen], names)

  def alphabets(self) -> list[str]:
    """Returns the names of their alphabets, in order."""
    return sorted({_alphabet(name) for name in self.names})


class Alphabets(NamedTuple):
  """Characters for three purposes; no two of these share an alphabet."""

  train: Characters
  validation: Characters
  test: Characters


def load(source: str) -> Digits:
  """Loads characters for training, validation and test, see `split`.

  Args:
    source: path of a folder or a zip file in the public layout.

  Returns:
    The characters, uint8 `[N, 105, 105]`, bright ink on black. Labels count the
    characters over all alphabets.

  Raises:
    DataError: if there is none, or if there are fewer than three alphabets.
  """
  alphabets = split(source)
  train, validation, test = (
    DigitSet(part.images, part.labels) for part in alphabets
  )
  number = sum(len(part.alphabets()) for part in alphabets)
  return Digits(train, validation, test, f"Omniglot ({number} alphabets)")


def split(source: str) -> Alphabets:
  """Reads characters for training, validation and test.

  Of ten alphabets, in the order of their names, the first six are for training,
  the next two for validation, the rest for test.

  Args:
    source: see `load`.

  Raises:
    DataError: if there is none, or if there are fewer than three alphabets.
  """
  found = read(source)
  alphabets = [_alphabet(name) for name in found.names]
  different = found.alphabets()
  if len(different) < 3:
    raise DataError(
      f'omniglot is "{source}" with {len(different)} alphabets, expected three'
      f" or more, to hold some out: {_WHERE}"
    )
  place = {name: i for i, name in enumerate(different)}
  tenths = np.array([10 * place[name] // len(different) for name in alphabets])
  return Alphabets(
    *(
      found.only(part)
      for part in (
        tenths < _TRAIN,
        (tenths >= _TRAIN) & (tenths < _VALIDATION),
        tenths >= _VALIDATION,
      )
    )
  )


def _alphabet(name: str) -> str:
  return name.split("/")[0]


def read(source: str) -> Characters:
  """Returns all drawings, in the order of their names.

  Args:
    source: see `load`.

  Raises:
    DataError: if there is none, or if one is not a drawing.
  """
  drawings = {}
  for name, content in _files("omniglot", source, _DRAWING, _WHERE):
    try:
      with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
        if picture.size != (SIDE, SIDE):
          raise DataError(
            f"{name} has {picture.width}x{picture.height} pixels, expected"
            f" Omniglot's {SIDE}x{SIDE}"
          )
        drawings[name] = 255 - np.array(picture.convert("L"))
    except OSError as error:
      raise DataError(f"{name} cannot be read: {error}") from error
  if not drawings:
    raise DataError(
      f'omniglot is "{source}", without ALPHABET/characterNN/NNNN_MM.png;'
      f" expected {_WHERE}"
    )
  names = sorted(drawings)
  characters = [name.rpartition("/")[0] for name in names]
  _, labels = np.unique(characters, return_inverse=True)
  images = np.stack([drawings[name] for name in names])
  return Characters(images, labels.astype(np.int32), names)


def read_strokes(source: str) -> dict[str, list[np.ndarray]]:
  """Returns the pen's strokes of drawings, by name.

  Args:
    source: path of a folder or a zip file of the public layout,
      ALPHABET/characterNN/NNNN_MM.txt.

  Returns:
    Of each drawing the strokes in order, float32 `[P, 2]`, points (y, x) in
    pixels of the drawing.

  Raises:
    DataError: if there is none, or if one is damaged.
  """
  strokes = {}
  for name, content in _files("strokes", source, _STROKES, _WHERE_STROKES):
    parts = content.decode("ascii", "replace").split("BREAK")
    try:
      points = [
        np.array(
          [[-float(y), float(x)] for x, y, _ in _lines(part)], np.float32
        )
        for part in parts
      ]
    except ValueError as error:
      raise DataError(f"{name} holds no strokes: {error}") from error
    strokes[name] = [stroke for stroke in points if len(stroke)]
  if not strokes:
    raise DataError(
      f'strokes is "{source}", without ALPHABET/characterNN/NNNN_MM.txt;'
      f" expected {_WHERE_STROKES}"
    )
  return strokes


def _lines(part: str) -> Iterator[list[str]]:
  """Yields x, y and the time of a stroke's points."""
  for line in part.split():
    if line != "START":
      yield line.split(",")


def _files(
  argument: str, source: str, pattern: re.Pattern[str], expected: str
) -> Iterator[tuple[str, bytes]]:
  """Yields ALPHABET/characterNN/NNNN_MM and content of files that match.

  Args:
    argument: that names the source, for messages.
    source: path of a folder or a zip file.
    pattern: of the files' paths.
    expected: what the source should be.
  """
  path = expanded(argument, source)
  try:
    if path.is_dir():
      for file in path.rglob("*"):
        if match := pattern.fullmatch(file.relative_to(path).as_posix()):
          with open(file, "rb") as opened:
            yield "/".join(match.groups()), opened.read(_MAX_BYTES)
    elif path.is_file():
      with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
          match = pattern.fullmatch(member.filename)
          if match and not member.filename.startswith("__MACOSX"):
            with archive.open(member) as opened:
              yield "/".join(match.groups()), opened.read(_MAX_BYTES)
    else:
      raise DataError(
        f'{argument} is "{source}", which does not exist; expected {expected}'
      )
  except (OSError, zipfile.BadZipFile) as error:
    raise DataError(
      f'{argument} is "{source}", which cannot be read: {error}'
    ) from error
