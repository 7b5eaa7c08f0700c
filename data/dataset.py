"""Data sets of three splits: generated and cached, or a user's own."""

import dataclasses
import difflib
import hashlib
import logging
import os
import pathlib
import re
import stat
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from air import images
from air.images import Reading
from data import backgrounds, files, multi_mnist, pictures, sprites
from data.counts import MAX_COUNT
from data.errors import DataError, expanded, require
from data.mnist import Digits, DigitSet, read_array, read_npz
from data.multi_mnist import MAX_IMAGES, MultiMNISTSpec
from data.sprites import SpritesSpec

Spec = MultiMNISTSpec | SpritesSpec

# Raise it whenever a generator makes other arrays of the same arguments.
_VERSION = 3
_SPLITS = ("train", "validation", "test")
_MAX_HELD_OUT = 10_000
# What may stand for a split, or for what is known of it, in a misspelt name.
_ALIASES = {
  "train": ("train", "training", "tr"),
  "validation": ("validation", "val", "valid", "dev"),
  "test": ("test", "testing"),
  "images": ("images", "img", "pictures", "x"),
  "counts": ("counts", "num", "n"),
}
_SIMILAR = 0.8
_CHUNK = 1 << 20  # bytes
_DIGEST_BYTES = hashlib.sha256().digest_size


class Split(NamedTuple):
  """Images, and what is known about them; M is the most objects in one.

  Attributes:
    images: uint8 `[N, H, W]`.
    counts: int32 `[N]`, the number of objects, or None.
    labels: int32 `[N, M]`, the classes, -1 where there is no object, or None.
    boxes: int32 `[N, M, 4]`, (y0, x0, y1, x1) in pixels, or None.
    factors: float32 `[N, M, F]`, see `sprites.Sprites`, or None.
  """

  images: np.ndarray
  counts: np.ndarray | None = None
  labels: np.ndarray | None = None
  boxes: np.ndarray | None = None
  factors: np.ndarray | None = None

  def first(self, num_images: int) -> "Split":
    """Returns the first images, or all if there are fewer."""
    known = {k: v for k, v in self._asdict().items() if v is not None}
    return self._replace(**{k: v[:num_images] for k, v in known.items()})

  def distinct_counts(self) -> list[int]:
    """Returns the counts that occur, in order; empty: none is known."""
    return [] if self.counts is None else np.unique(self.counts).tolist()


class Dataset(NamedTuple):
  """Three splits, and where what they show comes from in a few words."""

  train: Split
  validation: Split
  test: Split
  digit_source: str


def default_cache_dir() -> pathlib.Path:
  """Returns the folder for generated data sets; it need not exist."""
  base = os.environ.get("XDG_CACHE_HOME", "")
  if not os.path.isabs(base):  # the XDG specification ignores relative paths
    base = os.path.expanduser("~/.cache")
  return pathlib.Path(base, "attend-infer-repeat")


def load_or_generate(
  spec: Spec,
  glyphs: Digits | None = None,
  *,
  cache_dir: pathlib.Path | None,
  background: str = "none",
  validation_size: int = 10_000,
  test_size: int = 10_000,
  seed: int = 0,
) -> Dataset:
  """Makes a data set, or reads it if it was made before.

  Args:
    spec: of the training images. The other splits differ in their number of
      images, and in the glyphs, which no two splits share.
    glyphs: digits or characters to draw; None for sprites.
    cache_dir: where data sets are kept, `default_cache_dir()` for example;
      None keeps none.
    background: one of `backgrounds.NAMES`.
    validation_size: number of validation images.
    test_size: number of test images.
    seed: of all the randomness.

  Raises:
    DataError: if a value cannot work.
  """
  sizes = {"validation_size": validation_size, "test_size": test_size}
  for name, size in sizes.items():
    require(1 <= size <= MAX_IMAGES, name, size, f"1 to {MAX_IMAGES}")
  require(seed >= 0, "seed", seed, "at least 0")
  source = glyphs.source if glyphs else "made up"
  path = None
  if cache_dir is not None:
    digest = glyphs.digest if glyphs else None
    key = repr((_VERSION, spec, background, sizes, seed, digest))
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    path = cache_dir / f"images-{name}.npz"
    cached = _read_cache(path, source)
    if cached is not None:
      return cached
  splits = {}
  sizes = {"num_images": spec.num_images, **sizes}
  for index, (name, flag) in enumerate(zip(_SPLITS, sizes, strict=True)):
    split_spec = dataclasses.replace(spec, num_images=sizes[flag])
    try:
      made = _make(
        split_spec,
        getattr(glyphs, name) if glyphs else None,
        np.random.default_rng([seed, index]),
      )
      behind = np.random.default_rng([seed, index, 1])
      splits[name] = made._replace(
        images=backgrounds.add(made.images, background, behind)
      )
    except MemoryError as error:
      raise DataError(
        f"{flag} is {sizes[flag]}, expected images that fit into memory:"
        f" {error}"
      ) from error
  dataset = Dataset(**splits, digit_source=source)
  if path is not None:
    _write_cache(path, dataset)
  return dataset


def _make(
  spec: Spec, glyphs: DigitSet | None, rng: np.random.Generator
) -> Split:
  """Returns generated images on black."""
  if isinstance(spec, SpritesSpec):
    return Split(*sprites.generate(spec, rng))
  assert glyphs is not None
  return Split(*multi_mnist.generate(spec, glyphs, rng))


def to_arrays(dataset: Dataset) -> dict[str, Any]:
  """Returns the arrays of a data set under the names of `load_arrays`."""
  return {
    f"{name}_{field}": array
    for name in _SPLITS
    for field, array in getattr(dataset, name)._asdict().items()
    if array is not None
  }


def load_arrays(
  path: pathlib.Path | str, reading: Reading = Reading(), seed: int = 0
) -> Dataset:
  """Reads a user's own images, rounded to 0..255.

  An npz file holds `train_images` and `test_images`, and may hold
  `validation_images`, of all that `air.images.read` takes. It also may hold
  `train_counts`, `validation_counts` and `test_counts`, integer `[N]`, 0 to
  100. Other arrays are ignored, unless their names look like one of these. A
  folder has the subfolders `train` and `test`, and perhaps `validation`, of
  pictures as `pictures.read` takes them, and no counts. Without images for
  validation, a tenth of the training images, drawn at random, is held out for
  it, at least 1 and at most 10,000 of them.

  Args:
    path: of the file or folder.
    reading: how to read the images.
    seed: of what is held out.

  Returns:
    The data set, without labels and boxes.

  Raises:
    DataError: if the file or what it holds is not as above; or InputError.
    MemoryError: if there are too many pictures.
  """
  path = expanded("data", str(path))
  if path.is_dir():
    splits = _read_folder(path, reading)
  elif path.is_file():
    splits = _read_file(path, reading)
  else:
    what = "is neither" if path.exists() else "does not exist"
    raise DataError(
      f'data is "{path}", which {what}; expected an npz file or a folder'
    )
  sizes = {name: split.images.shape[1:] for name, split in splits.items()}
  if len(set(sizes.values())) > 1:
    raise DataError(
      f"{path} has images of different sizes, expected the same height and"
      " width in all splits: "
      + ", ".join(f"{name} {h}x{w}" for name, (h, w) in sizes.items())
    )
  images.check_sets(
    {f"{name} of {path}": split.images for name, split in splits.items()}
  )
  if "validation" not in splits:
    splits["train"], splits["validation"] = _hold_out(
      splits["train"], path, seed
    )
  return Dataset(**splits, digit_source=path.absolute().name)


def _read_file(path: pathlib.Path, reading: Reading) -> dict[str, Split]:
  splits = {}
  required = ("train_images", "test_images")
  with read_npz(path, str(path), required) as npz:
    _check_names(npz.files, path)
    for name in _SPLITS:
      if f"{name}_images" in npz.files:
        splits[name] = _read_split(npz, name, str(path), reading)
      elif f"{name}_counts" in npz.files:
        raise DataError(f"{path} has {name}_counts but no {name}_images")
  return splits


def _read_folder(folder: pathlib.Path, reading: Reading) -> dict[str, Split]:
  there = {path.name for path in folder.iterdir() if path.is_dir()}
  missing = [name for name in ("train", "test") if name not in there]
  if missing:
    raise DataError(
      f'data is "{folder}", a folder without {" and ".join(missing)}; expected'
      " train, test and perhaps validation, folders of pictures"
    )
  others = [name for name in there - {*_SPLITS} if not name.startswith(".")]
  if "validation" not in there and others:  # one of them may be meant
    raise DataError(
      f"{folder} has the folder {min(others)}, expected validation, or nothing"
      " beside train and test"
    )
  splits = {}
  for name in _SPLITS:
    if name in there:
      pixels = pictures.read("data", pictures.find("data", folder / name))
      splits[name] = Split(
        images.read(f"{name} of {folder}", pixels, reading, rounded=True)
      )
  return splits


def _check_names(names: Sequence[str], path: pathlib.Path) -> None:
  """Checks that no array is ignored for a slip in its name."""
  for name in names:
    # Also of the case, as in trainImages.
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    meant = [_meant_by(part.lower()) for part in parts]
    if len(meant) != 2 or None in meant:
      continue
    first, second = sorted(map(str, meant), key=lambda m: m not in _SPLITS)
    expected = f"{first}_{second}"
    if name != expected and first in _SPLITS and second not in _SPLITS:
      raise DataError(f"{path} has {name}, expected {expected}")


def _meant_by(word: str) -> str | None:
  """Returns the word of our names that one stands for, if it does."""
  for own, aliases in _ALIASES.items():
    if difflib.get_close_matches(word, aliases, cutoff=_SIMILAR):
      return own
  return None


def _hold_out(
  split: Split, path: pathlib.Path, seed: int
) -> tuple[Split, Split]:
  """Splits off images drawn at random, for validation; both keep the order."""
  total = len(split.images)
  if total < 2:
    raise DataError(
      f"{path} has one training image and no validation_images, expected at"
      " least 2 training images to hold one out"
    )
  size = min(_MAX_HELD_OUT, max(1, total // 10))
  is_held_out = np.arange(total) < size
  np.random.default_rng(seed).shuffle(is_held_out)
  logging.warning(
    "%s has no images for validation: %s of its %s training images are held"
    " out (data_seed %s)",
    path, f"{size:,}", f"{total:,}", seed,
  )  # fmt: skip
  known = {k: v for k, v in split._asdict().items() if v is not None}
  kept, held_out = (
    Split(**{k: v[chosen] for k, v in known.items()})
    for chosen in (~is_held_out, is_held_out)
  )
  return kept, held_out


def _read_split(
  npz: np.lib.npyio.NpzFile, split: str, name: str, reading: Reading
) -> Split:
  key = f"{split}_images"
  pixels = images.read(
    f"{key} of {name}", read_array(npz, key, name), reading, rounded=True
  )
  key = f"{split}_counts"
  if key not in npz.files:
    return Split(pixels)
  counts = read_array(npz, key, name)
  if counts.shape != (len(pixels),) or counts.dtype.kind not in "iu":
    raise DataError(
      f"{key} of {name} is {counts.dtype} {list(counts.shape)}, expected"
      f" integers [{len(pixels)}], one for each image"
    )
  if counts.min() < 0 or counts.max() > MAX_COUNT:
    raise DataError(
      f"{key} of {name} are in {counts.min()}..{counts.max()}, expected"
      f" numbers of objects in 0..{MAX_COUNT}"
    )
  return Split(pixels, counts.astype(np.int32))


# A cache file is an npz, which ends where its own directory says, followed by
# the SHA-256 of all before it: the two can only appear together.


def _read_cache(path: pathlib.Path, digit_source: str) -> Dataset | None:
  """Returns the data set of a cache file, or None if it is of no use."""
  try:
    if not path.exists():
      return None
    files.own_folder(path.parent)
    with open(path, "rb") as file:
      status = os.fstat(file.fileno())
      if not files.is_ours(status):
        raise DataError("other users can write to it")
      size = status.st_size - _DIGEST_BYTES
      digest = _digest(file, size)
      if size < 0 or digest != file.read():
        raise DataError("its SHA-256 is not the recorded one")
      file.seek(0)
      with read_npz(file, str(path)) as npz:
        splits = {
          name: Split(
            **{
              field: read_array(npz, f"{name}_{field}", str(path))
              for field in Split._fields
              if f"{name}_{field}" in npz.files
            }
          )
          for name in _SPLITS
        }
  except (FileNotFoundError, NotADirectoryError):
    return None
  except (OSError, DataError) as error:
    logging.warning("%s cannot be used (%s): making it again", path, error)
    return None
  return Dataset(**splits, digit_source=digit_source)


def _write_cache(path: pathlib.Path, dataset: Dataset) -> None:
  try:
    files.own_folder(path.parent)
    with files.replacing(path) as file:
      os.fchmod(file.fileno(), stat.S_IRUSR | stat.S_IWUSR)
      np.savez(file, **to_arrays(dataset))
      file.write(_digest(file, file.seek(0, os.SEEK_END)))
  except OSError as error:
    logging.warning("%s cannot be kept (%s): going on without", path, error)


def _digest(file: BinaryIO, size: int) -> bytes:
  """Returns the SHA-256 of the first bytes of a file, and reads just those."""
  file.seek(0)
  sha256 = hashlib.sha256()
  while size > 0 and (chunk := file.read(min(size, _CHUNK))):
    sha256.update(chunk)
    size -= len(chunk)
  return sha256.digest()
