"""Pictures, as arrays of pixels."""

import os
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from air import images
from data import pictures
from data.errors import DataError

SIZE = (12, 10)
GREY = np.zeros(SIZE, np.uint8)
GREY[2:9, 3:8] = np.random.default_rng(0).integers(1, 256, (7, 5))
COLOUR = np.stack([GREY // 3, GREY // 2, GREY], -1)


def read(*sources, size=None):
  paths = [p for s in sources for p in pictures.find("images", s)]
  return pictures.read("images", paths, size)


def save(path, array, mode=None, **options):
  picture = Image.fromarray(array)
  (picture.convert(mode) if mode else picture).save(path, **options)
  return path


@pytest.mark.parametrize(
  ("mode", "shape"),
  [
    ("L", ()),
    ("RGB", (3,)),
    ("RGBA", (4,)),
    ("LA", (4,)),
    ("P", (3,)),
  ],
)
def test_png_of_any_mode(mode, shape, tmp_path):
  array = read(save(tmp_path / "a.png", GREY, mode))
  assert array.dtype == np.uint8
  assert array.shape == (1, *SIZE, *shape)
  np.testing.assert_array_equal(images.read("images", array), GREY[None])


def test_one_bit_is_bool(tmp_path):
  array = read(save(tmp_path / "a.png", GREY > 100))
  assert array.dtype == bool
  np.testing.assert_array_equal(array, [GREY > 100])


def test_16_bits_of_grey_keep_their_values(tmp_path):
  array = read(save(tmp_path / "a.png", GREY.astype(np.uint16) * 200))
  assert array.dtype == np.uint16
  np.testing.assert_array_equal(array, [GREY.astype(np.uint16) * 200])


def test_the_palette_is_looked_up(tmp_path):
  classes = Image.fromarray((GREY > 100).astype(np.uint8), "P")
  classes.putpalette([0, 0, 0, 0, 0, 200])
  classes.save(tmp_path / "a.png")
  np.testing.assert_array_equal(
    read(tmp_path / "a.png")[..., 2], [(GREY > 100) * 200]
  )


def test_colours_and_opacity_are_as_stored(tmp_path):
  opacity = np.arange(120, dtype=np.uint8).reshape(*SIZE, 1)
  stored = np.concatenate([COLOUR, opacity], -1)
  np.testing.assert_array_equal(
    read(save(tmp_path / "a.png", stored)), [stored]
  )


def test_one_colour_may_be_transparent(tmp_path):
  path = save(tmp_path / "a.png", 255 - GREY, transparency=255)
  array = read(path)
  np.testing.assert_array_equal(array[0, ..., 3], 255 * (GREY > 0))


def test_jpeg_as_the_camera_was_held(tmp_path):
  lying = np.zeros([10, 12], np.uint8)
  lying[:, 6:] = 200
  exif = Image.Exif()
  exif[0x0112] = 6  # to be turned clockwise
  path = save(tmp_path / "a.jpg", lying, quality=95, exif=exif)
  for size in (None, SIZE):
    array = read(path, size=size)
    assert array.shape == (1, *SIZE)
    assert np.all(array[0, :5] < 20)
    assert np.all(array[0, 7:] > 180)


def test_jpeg_for_print_is_rgb(tmp_path):
  path = save(tmp_path / "a.jpg", COLOUR, "CMYK", quality=100)
  assert read(path).shape == (1, *SIZE, 3)
  np.testing.assert_allclose(read(path)[0].astype(int), COLOUR, atol=60)


def test_folders_and_files_in_order(tmp_path):
  folder = tmp_path / "folder"
  (folder / "deeper").mkdir(parents=True)
  for i, name in enumerate(["c.PNG", "a.png", "b.jpeg", "deeper/d.png"]):
    save(folder / name, GREY // (i + 1))
  (folder / "notes.txt").write_text("not a picture")
  (folder / "._a.png").write_text("of a file system that cannot have it")
  paths = pictures.find("images", folder)
  assert paths == [folder / name for name in ["a.png", "b.jpeg", "c.PNG"]]
  array = read(folder / "c.PNG", folder)
  np.testing.assert_array_equal(array[[0, 1, 3]], [GREY, GREY // 2, GREY])


def test_grey_among_colours_is_coloured(tmp_path):
  save(tmp_path / "a.png", GREY > 100)
  save(tmp_path / "b.png", GREY)
  np.testing.assert_array_equal(read(tmp_path), [255 * (GREY > 100), GREY])
  save(tmp_path / "c.png", COLOUR)
  np.testing.assert_array_equal(
    read(tmp_path),
    [np.stack([255 * (GREY > 100)] * 3, -1), np.stack([GREY] * 3, -1), COLOUR],
  )
  save(tmp_path / "d.png", GREY, "LA")
  array = read(tmp_path)
  assert array.shape == (4, *SIZE, 4)
  assert np.all(array[..., 3] == 255)
  np.testing.assert_array_equal(array[2, ..., :3], COLOUR)


def corrupt(path):
  save(path, GREY)
  path.write_bytes(path.read_bytes()[:-30])


def long_text(path):
  text = PngImagePlugin.PngInfo()
  text.add_text("a", "b" * (1 << 24), zip=True)
  save(path, GREY, pnginfo=text)


BAD = {
  "missing.png": (lambda path: None, "'.*missing.png', which does not exist"),
  "empty_folder": (lambda path: path.mkdir(), "in which there is no .png"),
  "text.txt": (lambda path: path.write_text("x"), "expected .png, .jpg, .jpeg"),
  "text.png": (
    lambda path: path.write_text("x"),
    "text.png, which is damaged or",
  ),
  "empty.jpg": (lambda path: path.touch(), "empty.jpg, which is damaged"),
  "corrupt.png": (corrupt, "corrupt.png, which cannot be read"),
  "text_chunk.png": (long_text, "text_chunk.png, which cannot be read"),
  "tiff.png": (
    lambda path: save(path, GREY, format="TIFF"),
    "tiff.png, which is damaged or no picture, expected PNG or JPEG",
  ),
  "pipe.png": (os.mkfifo, "pipe.png, which is not a file"),
  "large.png": (
    lambda path: Image.new("L", (30, 20)).save(path),
    r"of 20x30 pixels \(height x width\), expected 12x10",
  ),
  "huge.png": (
    lambda path: Image.new("1", (5000, 5000)).save(path),
    "of 5000x5000 pixels",
  ),
  "bomb.png": (
    lambda path: Image.new("1", (10_000, 10_000)).save(path),
    "of far too many pixels, expected no more than",
  ),
  "deep.png": (
    lambda path: save(path, GREY.astype(np.uint16), transparency=3),
    "of 16 bits in colour or with opacity",
  ),
}


@pytest.mark.parametrize("name", BAD)
def test_anything_else_is_refused(name, tmp_path):
  make, message = BAD[name]
  make(tmp_path / name)
  with pytest.raises(DataError, match=f"^images holds .*{message}"):
    read(tmp_path / name, size=SIZE)


def test_16_bits_in_colour_would_be_cut(tmp_path):
  # Pillow reads them, but does not write them.
  path = save(tmp_path / "a.png", COLOUR)
  chunk = PngImagePlugin.putchunk
  with open(path, "wb") as file:
    file.write(b"\x89PNG\r\n\x1a\n")
    size = (1).to_bytes(4, "big")
    chunk(file, b"IHDR", size + size + bytes([16, 2, 0, 0, 0]))
    chunk(file, b"IDAT", zlib.compress(bytes(7)))
    chunk(file, b"IEND")
  with pytest.raises(DataError, match="16 bits in colour"):
    read(path)


def test_depths_are_not_mixed(tmp_path):
  save(tmp_path / "a.png", GREY)
  save(tmp_path / "b.png", GREY.astype(np.uint16))
  with pytest.raises(DataError, match=r"b\.png of 16 bits and .*a\.png of 8"):
    read(tmp_path)


def test_sizes_are_those_of_the_first(tmp_path):
  save(tmp_path / "a.png", GREY)
  save(tmp_path / "b.png", GREY.T)
  with pytest.raises(DataError, match=r"b\.png of 10x12 .* expected 12x10"):
    read(tmp_path)


def test_what_is_refused_is_not_decoded(tmp_path, monkeypatch):
  Image.new("L", (30, 20)).save(tmp_path / "large.png")
  Image.new("1", (5000, 5000)).save(tmp_path / "huge.png")
  monkeypatch.setattr(ImageFile.ImageFile, "load", pytest.fail)
  with pytest.raises(DataError, match="of 20x30 pixels"):
    read(tmp_path / "large.png", size=SIZE)
  with pytest.raises(DataError, match="of 5000x5000 pixels"):
    read(tmp_path / "huge.png")


def test_more_than_fits_into_memory(tmp_path):
  path = save(tmp_path / "a.png", np.zeros((4000, 4000), np.uint8))
  with pytest.raises(MemoryError, match="Unable to allocate"):
    pictures.read("images", [path] * (1 << 15))
