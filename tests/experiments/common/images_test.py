"""Reading a user's images."""

import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image

from data.errors import DataError
from experiments.common import images
from experiments.common.launcher import UsageError

SIZE = (12, 10)


@pytest.fixture
def grey():
  return np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)


def read(*sources):
  return images.read([str(source) for source in sources], SIZE)


def test_pictures_keep_their_names(grey, tmp_path):
  folder = tmp_path / "folder"
  folder.mkdir()
  for i, name in enumerate(["b.png", "a.png"]):
    Image.fromarray(grey // (i + 1)).save(folder / name)
  names, array = read(folder / "b.png", folder)
  assert names == [str(folder / name) for name in ("b.png", "a.png", "b.png")]
  np.testing.assert_array_equal(array, [grey, grey // 2, grey])


@pytest.mark.parametrize("key", ["images", "test_images"])
def test_npz(grey, key, tmp_path):
  path = tmp_path / "a.npz"
  np.savez(path, train_images=np.zeros(3), **{key: np.stack([grey, 1 - grey])})
  names, array = read(path)
  assert names == [str(path)] * 2
  np.testing.assert_array_equal(array, [grey, 1 - grey])


def test_nothing():
  with pytest.raises(UsageError, match="images is empty"):
    read()


def pickled(path):
  np.savez(path, images=np.array([Evil()], object))


class Evil:
  """Says so if it is ever unpickled."""

  def __reduce__(self):
    return (pytest.fail, ("unpickled",))


def pickle_alone(path):
  path.write_bytes(pickle.dumps(Evil()))


def broken_array(path):
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("images.npy", b"\x93NUMPY")


BAD = {
  "missing.npz": (lambda path: None, "missing.npz', which does not exist"),
  "text.npz": (lambda path: path.write_text("x"), "it starts with 0x78"),
  "text.txt": (lambda path: path.write_text("x"), "it starts with 0x78"),
  "array.npy": (
    lambda path: np.save(path, np.zeros(3)),
    r"is a single array \(\.npy\), expected an npz file: python -m data\.conv",
  ),
  "no_keys.npz": (
    lambda path: np.savez(path, x=np.zeros(3)),
    "expected an npz with images or test_images, found x",
  ),
  "nothing.npz": (lambda path: np.savez(path), "found nothing"),
  "pickled.npz": (pickled, "images of .*pickled.npz cannot be read"),
  "pickle.npz": (pickle_alone, "is a pickle, .* expected an npz file"),
  "broken.npz": (broken_array, "images of .*broken.npz cannot be read"),
  "large.png": (
    lambda path: Image.new("L", (30, 20)).save(path),
    "of 20x30 pixels",
  ),
}


@pytest.mark.parametrize("name", BAD)
def test_anything_else_is_refused(name, tmp_path):
  make, message = BAD[name]
  make(tmp_path / name)
  with pytest.raises((UsageError, DataError), match=message):
    read(tmp_path / name)


def test_an_npz_stands_alone(grey, tmp_path):
  Image.fromarray(grey).save(tmp_path / "a.png")
  np.savez(tmp_path / "a.npz", images=grey[None])
  with pytest.raises(DataError, match=r"a\.npz, expected"):
    read(tmp_path / "a.png", tmp_path / "a.npz")
