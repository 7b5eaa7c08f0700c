"""Arrays in files of other formats, read some images at a time."""

import contextlib
import math
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from air.storage import memory
from data.errors import DataError, expanded
from data.mnist import read_array, read_idx, read_npz, start_of

_NPZ = b"PK"
_NPY = b"\x93NUMPY"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_IDX = b"\x00\x00\x08"
_GZIP = b"\x1f\x8b"
_CHANNELS = (1, 3, 4)
_PART = 1 << 26  # bytes that are read at a time
_COPIES = 2  # of all images, that are in memory at a time
AXES = (
  *("auto", "NHW", "NHWC", "NCHW"),
  *("TNHW", "TNHWC", "TNCHW", "NTHW", "NTHWC", "NTCHW"),
)


def existing(flag: str, name: str) -> pathlib.Path:
  """Returns the file that a flag names.

  Raises:
    DataError: if there is none.
  """
  path = expanded(flag, name)
  if not path.exists():
    raise DataError(f'{flag} is "{name}", which does not exist')
  if not path.is_file():
    raise DataError(f'{flag} is "{name}", expected a file')
  return path


@contextlib.contextmanager
def opened(flag: str, name: str, key_flag: str, key: str) -> Iterator[Any]:
  """Opens an array of a file.

  Args:
    flag: that names the file, for messages.
    name: of the file: npz, npy, HDF5 or IDX.
    key_flag: that names the array.
    key: of the array in an npz or HDF5 file; empty: the only one that is there.

  Yields:
    What has a shape and a dtype, and returns arrays if it is indexed.

  Raises:
    DataError: if the file is of another format, is damaged, or has no such
      array, or if it holds Python objects, which are never read.
  """
  path = existing(flag, name)
  start = start_of(path)
  with contextlib.ExitStack() as stack:
    if start.startswith(_HDF5):
      array = stack.enter_context(_hdf5(path, key_flag, key))
    elif start.startswith((_NPY, _IDX, _GZIP)):
      if key:
        raise DataError(
          f'{key_flag} is "{key}", expected none: {path} is a single array'
        )
      array = _npy(path) if start.startswith(_NPY) else read_idx(path)
    else:  # an npz; of anything else it says what it is
      npz = stack.enter_context(read_npz(path, str(path)))
      array = read_array(npz, _key(path, key_flag, key, npz.files), str(path))
    # In HDF5 an array may also be without a shape.
    if array.dtype.kind not in "bfiu" or array.shape is None:
      raise DataError(f"{path} has {array.dtype}, expected an array of numbers")
    yield array


def has_keys(path: pathlib.Path) -> bool:
  """Returns whether a file holds arrays by name."""
  return start_of(path).startswith((_NPZ, _HDF5))


def _npy(path: pathlib.Path) -> np.ndarray:
  try:
    return np.load(path, mmap_mode="r", allow_pickle=False)
  except (ValueError, OSError) as error:
    reason = " ".join(str(error).split())
    if "allow_pickle" in reason or "Python objects" in reason:
      reason = "it holds Python objects, expected numbers"
    raise DataError(f"{path} cannot be read ({reason})") from error


@contextlib.contextmanager
def _hdf5(path: pathlib.Path, key_flag: str, key: str) -> Iterator[Any]:
  import h5py

  try:
    file = h5py.File(path, "r")
  except OSError as error:  # of what is in it
    raise DataError(f"{path} is not a readable HDF5 file ({error})") from None
  with file:
    found: list[str] = []
    file.visititems(
      lambda name, item: (
        found.append(name) if isinstance(item, h5py.Dataset) else None
      )
    )
    yield file[_key(path, key_flag, key, found)]


def _key(path: pathlib.Path, key_flag: str, key: str, found: list[str]) -> str:
  """Returns the name of an array; if none is given, of the only one."""
  if key in found:
    return key
  if not key and len(found) == 1:
    return found[0]
  names = ", ".join(found) or "nothing"
  wanted = f'"{key}"' if key else "empty"
  raise DataError(
    f"{key_flag} is {wanted}, expected the name of an array in {path}: {names}"
  )


def axes_of(name: str, shape: tuple[int, ...], axes: str) -> str:
  """Returns what the axes of an array of images are.

  Args:
    name: of the array, for messages.
    shape: of the array.
    axes: see `AXES`: T frames, N images or videos, H, W, C channels. By "auto",
      of two that could be T and N, the shorter is T.

  Raises:
    DataError: if these are not its axes, or if they could be others.
  """
  described = f"{name} is {list(shape)}"
  if axes != "auto":
    if len(axes) != len(shape):
      raise DataError(f"{described}, expected {len(axes)} axes, {axes}")
    return axes
  has_channels = len(shape) > 3 and shape[-1] in _CHANNELS
  inner = "HWC" if has_channels else "HW"
  outer = shape[: -len(inner)]
  if len(outer) == 1:
    return f"N{inner}"
  # So few before H and W may also be channels.
  if len(outer) == 2 and (has_channels or outer[1] not in _CHANNELS):
    if outer[0] < outer[1]:
      return f"TN{inner}"
    if outer[0] > outer[1]:
      return f"NT{inner}"
  raise DataError(
    f"{described}, which --axes does not tell: expected one of"
    f" {', '.join(AXES[1:])}"
  )


def parts(array: Any, axes: str, num_images: int = 0) -> Iterator[np.ndarray]:
  """Yields images, some at a time; those of a video follow one another.

  Args:
    array: see `opened`.
    axes: see `axes_of`.
    num_images: as many are wanted; 0: all. Of videos all frames are read.

  Yields:
    `[N, H, W]` or `[N, H, W, C]`, of the array's type.
  """
  shape = dict(zip(axes, array.shape, strict=True))
  frames = shape.get("T", 1)
  total = shape["N"]
  if num_images:
    total = min(total, math.ceil(num_images / frames))
  size = array.dtype.itemsize * math.prod(array.shape) // max(1, shape["N"])
  step = max(1, _PART // max(1, size))
  ordered = [axes.index(a) for a in "NTHWC" if a in axes]
  before = (slice(None),) * axes.index("N")
  for start in range(0, total, step):
    index = (*before, slice(start, min(start + step, total)))
    part = np.asarray(array[index])
    part = np.transpose(part, ordered)
    if "T" in axes:
      part = part.reshape(-1, *part.shape[2:])
    yield part


def joined(name: str, images: Iterator[np.ndarray]) -> np.ndarray:
  """Returns parts of images as one array.

  Args:
    name: of the images, for messages.
    images: `[N, H, W]` or `[N, H, W, C]`, N various. If some are coloured or
      have an opacity, the others get them.

  Raises:
    DataError: if there are none, if their sizes or types differ, or if they are
      so many that they can never fit into memory.
  """
  collected: list[np.ndarray] = []
  num_bytes = 0
  for part in images:
    collected.append(part)
    num_bytes += part.nbytes
    try:
      memory.require(_COPIES * num_bytes)
    except MemoryError as error:
      raise DataError(
        f"{name} does not fit into memory: {error}; expected fewer images"
        " (--num_images) or smaller ones (--resize)"
      ) from error
  if not collected:
    raise DataError(f"{name} has no images")
  for what, found in (
    ("sizes", {part.shape[1:3] for part in collected}),
    ("types", {str(part.dtype) for part in collected}),
  ):
    if len(found) > 1:
      some = " and ".join(map(str, sorted(found)[:2]))
      raise DataError(f"{name} has images of different {what}: {some}")
  channels = max(part.shape[3] if part.ndim == 4 else 0 for part in collected)
  if channels:
    collected = [_with_channels(part, channels) for part in collected]
  return np.concatenate(collected)


def _with_channels(part: np.ndarray, channels: int) -> np.ndarray:
  if part.ndim == 3:
    part = part[..., None]
  if part.shape[-1] == 1 and channels > 1:
    part = np.repeat(part, 3, axis=-1)
  if part.shape[-1] < channels:
    opaque = np.full((*part.shape[:3], 1), np.iinfo(part.dtype).max, part.dtype)
    part = np.concatenate([part, opaque], axis=-1)
  return part
