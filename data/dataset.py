"""Data sets of three splits: multi-MNIST, cached, or a user's own arrays."""

import dataclasses
import hashlib
import logging
import os
import pathlib
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from data import files
from data.mnist import (
  DataError,
  expanded,
  load_digits,
  read_array,
  read_npz,
)
from data.multi_mnist import (
  MAX_COUNT,
  MAX_IMAGES,
  MultiMNISTSpec,
  generate,
  require,
)

# Raise it whenever the generator makes other arrays of the same arguments.
_VERSION = 2
_SPLITS = ("train", "validation", "test")
_MAX_HELD_OUT = 10_000
_CHUNK = 1 << 20  # bytes
_DIGEST_BYTES = hashlib.sha256().digest_size


class Split(NamedTuple):
  """Images, and what is known about them (see `multi_mnist.MultiMNIST`).

  Attributes:
    images: uint8 `[N, H, W]`.
    counts: int32 `[N]`, the number of objects, or None.
    labels: int32 `[N, M]`, -1 where there is no digit, or None.
    boxes: int32 `[N, M, 4]`, (y0, x0, y1, x1) in pixels, or None.
  """

  images: np.ndarray
  counts: np.ndarray | None = None
  labels: np.ndarray | None = None
  boxes: np.ndarray | None = None

  def first(self, num_images: int) -> "Split":
    """Returns the first images, or all if there are fewer."""
    known = {k: v for k, v in self._asdict().items() if v is not None}
    return self._replace(**{k: v[:num_images] for k, v in known.items()})


class Dataset(NamedTuple):
  """Three splits, and where their digits come from in a few words."""

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
  spec: MultiMNISTSpec,
  *,
  cache_dir: pathlib.Path | None,
  validation_size: int = 10_000,
  test_size: int = 10_000,
  seed: int = 0,
  mnist: str = "auto",
) -> Dataset:
  """Makes a multi-MNIST data set, or reads it if it was made before.

  Args:
    spec: of the training images. The other splits differ in their number of
      images, and in the digits, which no two splits share.
    cache_dir: where data sets are kept, `default_cache_dir()` for example;
      None keeps none.
    validation_size: number of validation images.
    test_size: number of test images.
    seed: of all the randomness.
    mnist: where digits come from, as of `load_digits`.

  Returns:
    The data set.

  Raises:
    DataError: if a value cannot work, or if there are no digits.
  """
  sizes = {"validation_size": validation_size, "test_size": test_size}
  for name, size in sizes.items():
    require(1 <= size <= MAX_IMAGES, name, size, f"1 to {MAX_IMAGES}")
  require(seed >= 0, "seed", seed, "at least 0")
  digits = load_digits(mnist)
  path = None
  if cache_dir is not None:
    key = repr((_VERSION, spec, sizes, seed, digits.digest))
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    path = cache_dir / f"multi_mnist-{name}.npz"
    cached = _read_cache(path, digits.source)
    if cached is not None:
      return cached
  splits = {}
  sizes = {"num_images": spec.num_images, **sizes}
  for index, (name, flag) in enumerate(zip(_SPLITS, sizes, strict=True)):
    split_spec = dataclasses.replace(spec, num_images=sizes[flag])
    rng = np.random.default_rng([seed, index])
    try:
      made = generate(split_spec, getattr(digits, name), rng)
    except MemoryError as error:
      raise DataError(
        f"{flag} is {sizes[flag]}, expected images that fit into memory:"
        f" {error}"
      ) from error
    splits[name] = Split(*made)
  dataset = Dataset(**splits, digit_source=digits.source)
  if path is not None:
    _write_cache(path, dataset)
  return dataset


def to_arrays(dataset: Dataset) -> dict[str, Any]:
  """Returns the arrays of a data set under the names of `load_arrays`."""
  return {
    f"{name}_{field}": array
    for name in _SPLITS
    for field, array in getattr(dataset, name)._asdict().items()
    if array is not None
  }


def load_arrays(path: pathlib.Path | str) -> Dataset:
  """Reads a user's own images.

  The npz file holds `train_images` and `test_images`, `[N, H, W]` or
  `[N, H, W, 1]`, uint8 or floating point in [0, 1] (rounded to 0..255), and
  may hold `validation_images`, and `train_counts`, `validation_counts` and
  `test_counts`, integer `[N]`, 0 to 100. Other arrays are ignored. Without
  `validation_images`, the last tenth of the training images is held out for
  validation, at least 1 and at most 10,000 of them.

  Args:
    path: of the npz file.

  Returns:
    The data set, without labels and boxes.

  Raises:
    DataError: if the file or what it holds is not as above.
  """
  path = expanded("data", str(path))
  if not path.is_file():
    what = "is a folder" if path.is_dir() else "does not exist"
    raise DataError(f'data is "{path}", which {what}; expected an npz file')
  splits = {}
  required = ("train_images", "test_images")
  with read_npz(path, str(path), required) as npz:
    for name in _SPLITS:
      if f"{name}_images" in npz.files:
        splits[name] = _read_split(npz, name, str(path))
      elif f"{name}_counts" in npz.files:
        raise DataError(f"{path} has {name}_counts but no {name}_images")
  if "validation" not in splits:
    splits["train"], splits["validation"] = _hold_out(splits["train"], path)
  sizes = {name: splits[name].images.shape[1:] for name in _SPLITS}
  if len(set(sizes.values())) > 1:
    raise DataError(
      f"{path} has images of different sizes, expected the same height and"
      " width in all splits: "
      + ", ".join(f"{name} {h}x{w}" for name, (h, w) in sizes.items())
    )
  return Dataset(**splits, digit_source=path.name)


def _hold_out(split: Split, path: pathlib.Path) -> tuple[Split, Split]:
  """Splits off the last images, for validation."""
  total = len(split.images)
  if total < 2:
    raise DataError(
      f"{path} has one training image and no validation_images, expected at"
      " least 2 training images to hold one out"
    )
  kept = total - min(_MAX_HELD_OUT, max(1, total // 10))
  counts = split.counts
  return (
    Split(split.images[:kept], None if counts is None else counts[:kept]),
    Split(split.images[kept:], None if counts is None else counts[kept:]),
  )


def _read_split(npz: np.lib.npyio.NpzFile, split: str, name: str) -> Split:
  key = f"{split}_images"
  images = _to_uint8(read_array(npz, key, name), f"{key} of {name}")
  key = f"{split}_counts"
  if key not in npz.files:
    return Split(images)
  counts = read_array(npz, key, name)
  if counts.shape != (len(images),) or counts.dtype.kind not in "iu":
    raise DataError(
      f"{key} of {name} is {counts.dtype} {list(counts.shape)}, expected"
      f" integers [{len(images)}], one for each image"
    )
  if counts.min() < 0 or counts.max() > MAX_COUNT:
    raise DataError(
      f"{key} of {name} are in {counts.min()}..{counts.max()}, expected"
      f" numbers of objects in 0..{MAX_COUNT}"
    )
  return Split(images, counts.astype(np.int32))


def _to_uint8(images: np.ndarray, name: str) -> np.ndarray:
  """Returns images as uint8 `[N, H, W]`, a bounded part at a time."""
  if images.ndim == 4 and images.shape[-1] == 1:
    images = images[..., 0]
  is_float = images.dtype.kind == "f"
  if (
    images.ndim != 3
    or images.size == 0
    or not (is_float or images.dtype == np.uint8)
  ):
    raise DataError(
      f"{name} is {images.dtype} {list(images.shape)}, expected uint8 or"
      " floats in [0, 1], [N, H, W] or [N, H, W, 1], at least one of each"
    )
  if not is_float:
    return np.ascontiguousarray(images)
  result = np.empty(images.shape, np.uint8)
  for start in range(0, len(images), 1000):
    part = images[start : start + 1000]
    if np.isnan(part).any():
      raise DataError(f"{name} has NaN, expected floats in [0, 1]")
    if part.min() < 0 or part.max() > 1:
      raise DataError(
        f"{name} has {part.min():g} to {part.max():g}, expected floats in"
        " [0, 1], or uint8"
      )
    result[start : start + 1000] = np.round(part.astype(np.float32) * 255)
  return result


# A cache file is an npz, which ends where its own directory says, followed by
# the SHA-256 of all before it: the two can only appear together.


def _read_cache(path: pathlib.Path, digit_source: str) -> Dataset | None:
  """Returns the data set of a cache file, or None if it is of no use."""
  try:
    with open(path, "rb") as file:
      size = os.fstat(file.fileno()).st_size - _DIGEST_BYTES
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
    with files.replacing(path) as file:
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
