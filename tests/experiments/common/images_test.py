"""Reading a user's images."""

import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageFile

from data.mnist import DataError
from experiments.common import images
from experiments.common.launcher import UsageError

SIZE = (12, 10)


@pytest.fixture
def grey():
  return np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)


def read(*sources):
  return images.read([str(source) for source in sources], SIZE)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
def test_png_of_any_mode(grey, mode, tmp_path):
  Image.fromarray(grey).convert(mode).save(tmp_path / "a.png")
  names, array = read(tmp_path / "a.png")
  assert names == [str(tmp_path / "a.png")]
  assert array.dtype == np.uint8
  np.testing.assert_array_equal(array, grey[None])


def test_transparent_is_black(grey, tmp_path):
  picture = Image.fromarray(grey).convert("LA")
  alpha = np.full(SIZE, 255, np.uint8)
  alpha[:6] = 0
  picture.putalpha(Image.fromarray(alpha))
  picture.save(tmp_path / "a.png")
  _, array = read(tmp_path / "a.png")
  assert not np.any(array[0, :6])
  np.testing.assert_array_equal(array[0, 6:], grey[6:])


def test_jpeg_as_the_camera_was_held(tmp_path):
  lying = np.zeros([10, 12], np.uint8)
  lying[:, 6:] = 200
  exif = Image.Exif()
  exif[0x0112] = 6  # to be turned clockwise
  Image.fromarray(lying).save(tmp_path / "a.jpg", quality=95, exif=exif)
  _, array = read(tmp_path / "a.jpg")
  assert array.shape == (1, *SIZE)
  assert np.all(array[0, :5] < 20)
  assert np.all(array[0, 7:] > 180)


def test_folders_and_files_in_order(grey, tmp_path):
  folder = tmp_path / "folder"
  (folder / "deeper").mkdir(parents=True)
  for i, name in enumerate(["c.PNG", "a.png", "b.jpeg", "deeper/d.png"]):
    Image.fromarray(grey // (i + 1)).save(folder / name)
  (folder / "notes.txt").write_text("not a picture")
  names, array = read(folder / "c.PNG", folder)
  expected = ["c.PNG", "a.png", "b.jpeg", "c.PNG"]
  assert names == [str(folder / name) for name in expected]
  np.testing.assert_array_equal(array[[0, 1, 3]], [grey, grey // 2, grey])


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


def corrupt(path):
  Image.fromarray(np.zeros(SIZE, np.uint8)).save(path)
  path.write_bytes(path.read_bytes()[:-30])


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
  "missing.png": (lambda path: None, "'.*missing.png', which does not exist"),
  "missing.npz": (lambda path: None, "missing.npz, which does not exist"),
  "empty_folder": (lambda path: path.mkdir(), "in which there is no .png"),
  "text.txt": (lambda path: path.write_text("x"), "expected .png, .jpg, .jpeg"),
  "text.png": (lambda path: path.write_text("x"), "text.png, which cannot be"),
  "empty.jpg": (lambda path: path.touch(), "empty.jpg, which cannot be read"),
  "corrupt.png": (corrupt, "corrupt.png, which cannot be read"),
  "large.png": (
    lambda path: Image.new("L", (30, 20)).save(path),
    r"of 20x30 pixels \(height x width\), expected 12x10",
  ),
  "deep.png": (
    lambda path: Image.new("I;16", SIZE[::-1]).save(path),
    "of mode I;16, expected 8 bits",
  ),
  "text.npz": (lambda path: path.write_text("x"), "not a readable npz"),
  "no_keys.npz": (
    lambda path: np.savez(path, x=np.zeros(3)),
    "expected an npz with images or test_images, found x",
  ),
  "nothing.npz": (lambda path: np.savez(path), "found nothing"),
  "pickled.npz": (pickled, "images of .*pickled.npz cannot be read"),
  "pickle.npz": (pickle_alone, "not a readable npz"),
  "broken.npz": (broken_array, "images of .*broken.npz cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_anything_else_is_refused(name, tmp_path):
  make, message = BAD[name]
  make(tmp_path / name)
  with pytest.raises((UsageError, DataError), match=message):
    read(tmp_path / name)


def test_a_picture_of_another_size_is_not_decoded(tmp_path, monkeypatch):
  path = tmp_path / "large.png"
  Image.new("L", (30, 20)).save(path)
  monkeypatch.setattr(ImageFile.ImageFile, "load", pytest.fail)
  with pytest.raises(UsageError, match="of 20x30 pixels"):
    read(path)


def test_an_npz_stands_alone(grey, tmp_path):
  Image.fromarray(grey).save(tmp_path / "a.png")
  np.savez(tmp_path / "a.npz", images=grey[None])
  with pytest.raises(UsageError, match=r"or one \.npz alone$"):
    read(tmp_path / "a.png", tmp_path / "a.npz")
