"""Omniglot: a user's copy in the public layout, here of a few drawings."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from data import omniglot
from data.errors import DataError

ALPHABETS = ("Angelic", "Balinese", "Cyrillic", "Greek", "Korean")


def _drawing(number, size=(105, 105)):
  ink = np.full(size, 255, np.uint8)
  ink[number : number + 5, 20:60] = 0
  content = io.BytesIO()
  Image.fromarray(ink).convert("1").save(content, "PNG")
  return content.getvalue()


def _files():
  """Yields names and contents: two drawings of two characters each."""
  number = 0
  for alphabet in ALPHABETS:
    for character in ("character01", "character02"):
      number += 1
      for drawer in (1, 2):
        name = f"{alphabet}/{character}/{number:04d}_{drawer:02d}"
        yield f"images_background/{name}.png", _drawing(number)
        strokes = f"START\n1.5,-{number},0\n3,-4.5,10\nBREAK\nSTART\n7,-8,30\n"
        yield f"strokes_background/{name}.txt", strokes.encode() + b"BREAK\n"
  yield "__MACOSX/images_background/Greek/character01/0007_01.png", b"no"
  yield "images_background/README.md", b"no drawing"


@pytest.fixture(params=["folder", "zip"])
def source(request, tmp_path):
  if request.param == "zip":
    with zipfile.ZipFile(tmp_path / "omniglot.zip", "w") as archive:
      for name, content in _files():
        archive.writestr(name, content)
    return str(tmp_path / "omniglot.zip")
  for name, content in _files():
    if not name.startswith("__MACOSX"):
      path = tmp_path / "omniglot" / name
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(content)
  return str(tmp_path / "omniglot")


def test_no_alphabet_is_in_two_splits(source):
  digits = omniglot.load(source)
  assert digits.source == "Omniglot (5 alphabets)"
  labels = [
    sorted(set(part.labels.tolist()))
    for part in (digits.train, digits.validation, digits.test)
  ]
  # Of five alphabets with two characters each: three, one and one.
  assert labels == [[0, 1, 2, 3, 4, 5], [6, 7], [8, 9]]
  assert len(digits.train.images) == 12
  # The names are those of the same drawings.
  alphabets = [part.alphabets() for part in omniglot.split(source)]
  assert alphabets == [list(ALPHABETS[:3]), ["Greek"], ["Korean"]]
  test = omniglot.split(source).test
  np.testing.assert_array_equal(test.images, digits.test.images)
  last = test.only(np.array([False, False, False, True]))
  assert last.names == ["Korean/character02/0010_02"]
  np.testing.assert_array_equal(last.images, test.images[3:])
  np.testing.assert_array_equal(last.labels, [9])


def test_ink_is_bright_on_black(source):
  found = omniglot.read(source)
  assert found.images.shape == (20, 105, 105)
  for image, label in zip(found.images, found.labels, strict=True):
    expected = np.zeros((105, 105), np.uint8)
    expected[label + 1 : label + 6, 20:60] = 255
    np.testing.assert_array_equal(image, expected)
  assert found.names[:3] == [
    "Angelic/character01/0001_01",
    "Angelic/character01/0001_02",
    "Angelic/character02/0002_01",
  ]


def test_strokes_are_points_in_order(source):
  strokes = omniglot.read_strokes(source)
  assert len(strokes) == 20
  first, second = strokes["Balinese/character01/0003_02"]
  np.testing.assert_array_equal(first, [[3, 1.5], [4.5, 3]])
  np.testing.assert_array_equal(second, [[8, 7]])


@pytest.mark.parametrize(
  ("files", "message"),
  [
    ({}, "github.com/brendenlake/omniglot"),
    ({"A/character01/0001_01.png": b"no picture"}, "cannot be read"),
    (
      {"A/character01/0001_01.png": _drawing(0, (28, 28))},
      "28x28 pixels, expected Omniglot's 105x105",
    ),
    (
      {"A/character01/0001_01.png": _drawing(0)},
      "1 alphabets, expected three or more",
    ),
  ],
)
def test_what_is_not_omniglot_is_refused(tmp_path, files, message):
  for name, content in files.items():
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
  with pytest.raises(DataError, match=message):
    omniglot.load(str(tmp_path))


@pytest.mark.parametrize("name", ["nowhere", "text.zip"])
def test_a_file_that_is_no_copy_is_refused(tmp_path, name):
  (tmp_path / "text.zip").write_text("no archive")
  with pytest.raises(DataError, match=r"^omniglot is .*(exist|cannot be read)"):
    omniglot.load(str(tmp_path / name))
  with pytest.raises(DataError, match=r"^strokes is .*(exist|cannot be read)"):
    omniglot.read_strokes(str(tmp_path / name))


def test_damaged_strokes_are_refused(tmp_path):
  path = tmp_path / "A" / "character01" / "0001_01.txt"
  path.parent.mkdir(parents=True)
  path.write_text("START\n1,2\n")
  with pytest.raises(DataError, match=r"^A/character01/0001_01 holds no"):
    omniglot.read_strokes(str(tmp_path))
  path.unlink()
  with pytest.raises(DataError, match=r"^strokes is"):
    omniglot.read_strokes(str(tmp_path))
