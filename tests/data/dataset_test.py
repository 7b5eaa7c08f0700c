import logging
import pathlib

import numpy as np
import pytest
from PIL import Image

from air.errors import InputError
from air.images import Reading
from data import dataset, multi_mnist
from data.dataset import load_arrays, load_or_generate
from data.errors import DataError
from data.mnist import Digits, DigitSet
from data.multi_mnist import MultiMNISTSpec, generate
from data.sprites import SpritesSpec

_SPEC = MultiMNISTSpec(num_images=30, canvas_size=(24, 26), digit_size=(10,))
_VALUES = {"train": 100, "validation": 150, "test": 200}


def _digit_set(value):
  images = np.zeros((5, 28, 28), np.uint8)
  images[:, 4:24, 6:20] = value
  return DigitSet(images, np.arange(5, dtype=np.uint8))


# Digits whose ink tells their split.
_DIGITS = Digits(*map(_digit_set, _VALUES.values()), source="rectangles")


@pytest.fixture
def calls(monkeypatch):
  """Records the calls of the generator."""
  made = []

  def counted(*args):
    made.append(args)
    return generate(*args)

  monkeypatch.setattr(multi_mnist, "generate", counted)
  return made


def _load(cache_dir, spec=_SPEC, digits=_DIGITS, **options):
  options = {"validation_size": 8, "test_size": 9, "seed": 3, **options}
  return load_or_generate(spec, digits, cache_dir=cache_dir, **options)


def _assert_equal(first, second):
  a, b = dataset.to_arrays(first), dataset.to_arrays(second)
  assert len(a) == 12
  assert a.keys() == b.keys()
  for key in a:
    assert a[key].dtype == b[key].dtype
    np.testing.assert_array_equal(a[key], b[key])
  assert first.digit_source == second.digit_source == "rectangles"


def _warnings(caplog):
  messages = [
    record.getMessage()
    for record in caplog.records
    if record.levelno == logging.WARNING
  ]
  assert not any("\n" in message for message in messages)
  return messages


def test_splits_use_different_digits_and_randomness():
  made = _load(None)
  assert made.digit_source == "rectangles"
  for (name, value), size in zip(_VALUES.items(), (30, 8, 9), strict=True):
    split = getattr(made, name)
    assert split.images.shape == (size, 24, 26)
    assert split.images.max() == value
  assert (made.validation.boxes != made.train.boxes[:8]).any()


def test_splits_are_those_of_the_generator():
  made = _load(None)
  expected = generate(_SPEC, _DIGITS.train, np.random.default_rng([3, 0]))
  for a, b in zip(made.train, expected, strict=False):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("asked", "given"), [(5, 5), (99, 30)])
def test_first_images_of_a_split(asked, given):
  train = _load(None).train
  for part, whole in zip(train.first(asked)[:4], train, strict=False):
    np.testing.assert_array_equal(part, whole[:given])
  assert dataset.Split(train.images).first(asked).counts is None


def test_second_load_is_from_the_cache(tmp_path, calls, caplog):
  first = _load(tmp_path / "new")
  assert len(calls) == 3
  second = _load(tmp_path / "new")
  assert len(calls) == 3
  _assert_equal(first, second)
  assert len(list((tmp_path / "new").iterdir())) == 1
  assert not caplog.records


@pytest.mark.parametrize(
  "change",
  [
    {"spec": MultiMNISTSpec(num_images=30)},
    {"validation_size": 9},
    {"test_size": 8},
    {"seed": 4},
    {"background": "grid"},
    {"digits": _DIGITS._replace(test=_DIGITS.train)},
  ],
)
def test_other_arguments_make_another_set(tmp_path, calls, change):
  _load(tmp_path)
  _load(tmp_path, **change)
  assert len(calls) == 6
  assert len(list(tmp_path.iterdir())) == 2


def test_a_background_is_of_all_splits_and_of_the_seed():
  plain, noisy = _load(None), _load(None, background="noise")
  for name in _VALUES:
    before, after = getattr(plain, name), getattr(noisy, name)
    np.testing.assert_array_equal(before.boxes, after.boxes)
    assert (before.images != after.images).mean() > 0.5
  again = _load(None, background="noise")
  np.testing.assert_array_equal(noisy.test.images, again.test.images)
  first = noisy.train.images[:8].astype(int) - plain.train.images[:8]
  other = noisy.validation.images.astype(int) - plain.validation.images
  assert (first != other).mean() > 0.5


def test_sprites_are_kept_with_their_factors(tmp_path):
  spec = SpritesSpec(num_images=20)
  made, read = (_load(tmp_path, spec, None) for _ in range(2))
  assert made.train.factors.shape == (20, 2, 3)
  for name in _VALUES:
    for a, b in zip(getattr(made, name), getattr(read, name), strict=True):
      np.testing.assert_array_equal(a, b)


def _flip(content, fraction):
  position = min(int(len(content) * fraction), len(content) - 1)
  changed = bytearray(content)
  changed[position] ^= 1
  return bytes(changed)


@pytest.mark.parametrize(
  "damage",
  [
    lambda content: b"",
    lambda content: content[:20],
    lambda content: content[: len(content) // 2],
    lambda content: content[:-1],
    lambda content: content + b"\0",
    *(
      lambda content, fraction=fraction: _flip(content, fraction)
      for fraction in (0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.9999, 1)
    ),
  ],
)
def test_damaged_cache_is_noticed_and_made_again(
  tmp_path, calls, caplog, damage
):
  first = _load(tmp_path)
  (path,) = tmp_path.iterdir()
  content = path.read_bytes()
  path.write_bytes(damage(content))
  second = _load(tmp_path)
  assert len(calls) == 6
  (message,) = _warnings(caplog)
  assert "making it again" in message
  _assert_equal(first, second)
  assert path.read_bytes() == content
  assert list(tmp_path.iterdir()) == [path]


def test_every_single_byte_counts(tmp_path, caplog):
  # Of a small file of the same making, all of them.
  path = tmp_path / "cache.npz"
  ones = np.ones((1, 2, 2), np.uint8)
  split = dataset.Split(ones, *[np.ones(1, np.int32)] * 3)
  small = dataset.Dataset(split, split, split, "rectangles")
  dataset._write_cache(path, small)
  content = path.read_bytes()
  _assert_equal(dataset._read_cache(path, "rectangles"), small)
  logging.disable()
  try:
    for position in range(len(content)):
      changed = bytearray(content)
      changed[position] ^= 0x10
      path.write_bytes(bytes(changed))
      assert dataset._read_cache(path, "rectangles") is None
  finally:
    logging.disable(logging.NOTSET)


def test_folder_that_cannot_be_written_is_done_without(tmp_path, calls, caplog):
  (tmp_path / "file").touch()
  made = _load(tmp_path / "file")
  (message,) = _warnings(caplog)
  assert "cannot be kept" in message
  _assert_equal(made, _load(None))


@pytest.mark.parametrize("what", ["folder", "parent", "file"])
def test_what_others_can_write_is_not_taken(tmp_path, calls, caplog, what):
  cache = tmp_path / "parent" / "cache"
  first = _load(cache)
  [file] = cache.iterdir()
  written = {"folder": cache, "parent": cache.parent, "file": file}[what]
  written.chmod(written.stat().st_mode | 0o002)
  content = file.read_bytes()
  _assert_equal(_load(cache), first)
  assert len(calls) == 6
  messages = _warnings(caplog)
  assert len(messages) == (1 if what == "file" else 2)
  assert all("other users can write" in message for message in messages)
  assert file.read_bytes() == content
  assert what != "file" or file.stat().st_mode & 0o022 == 0


def test_full_disk_leaves_nothing_behind(tmp_path, caplog, monkeypatch):
  def savez(file, **arrays):
    file.write(b"half")
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(dataset.np, "savez", savez)
  assert len(_load(tmp_path).train.images) == 30
  (message,) = _warnings(caplog)
  assert "No space left" in message
  assert not list(tmp_path.iterdir())


def test_default_cache_dir(monkeypatch):
  monkeypatch.setenv("HOME", "/somewhere")
  monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
  expected = pathlib.Path("/elsewhere/attend-infer-repeat")
  assert dataset.default_cache_dir() == expected
  for value in ("", "relative"):
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    expected = pathlib.Path("/somewhere/.cache/attend-infer-repeat")
    assert dataset.default_cache_dir() == expected


@pytest.mark.parametrize(
  "options", [{"validation_size": 0}, {"test_size": -1}, {"seed": -1}]
)
def test_bad_argument_is_named(options):
  (name,) = options
  with pytest.raises(DataError, match=f"^{name} is {options[name]}, expected"):
    _load(None, **options)


def _save(path, **arrays):
  path = path / "mine.npz"
  np.savez(path, **arrays)
  return path


def _images(count, value=70):
  return np.full((count, 4, 5), value, np.uint8)


def test_arrays_with_all_three_splits(tmp_path):
  path = _save(
    tmp_path,
    train_images=_images(3, 100),
    train_counts=np.array([0, 1, 2]),
    validation_images=_images(2, 101),
    validation_counts=np.array([5, 6], np.uint8),
    test_images=_images(1, 102),
    something_else=np.zeros(3),
  )
  made = load_arrays(path)
  assert made.digit_source == "mine.npz"
  assert made.train.counts.tolist() == [0, 1, 2]
  assert made.validation.counts.tolist() == [5, 6]
  assert made.validation.counts.dtype == np.int32
  assert made.test.counts is None
  for split, value in zip(made[:3], (100, 101, 102), strict=True):
    assert split.images.dtype == np.uint8
    assert np.unique(split.images).tolist() == [value]
    assert split.labels is split.boxes is None


@pytest.mark.parametrize(
  ("total", "held_out"), [(2, 1), (19, 1), (40, 4), (150_000, 10_000)]
)
def test_a_tenth_is_held_out_at_random(tmp_path, caplog, total, held_out):
  """Data in order of the count would else be validated on one count."""
  images = np.zeros((total, 3, 3), np.uint8)
  images[:, 1, 1] = 100 + np.arange(total) % 100
  path = _save(
    tmp_path,
    train_images=images,
    train_counts=np.arange(total) * 100 // total,
    test_images=images[:1],
  )
  made = load_arrays(str(path), seed=5)
  assert caplog.messages == [
    f"{path} has no images for validation: {held_out:,} of its {total:,}"
    " training images are held out (data_seed 5)"
  ]
  splits = (made.train, made.validation)
  assert [len(s.images) for s in splits] == [total - held_out, held_out]
  # Each with its count, all of them, and in order.
  found = sorted(
    (int(count), int(image[1, 1]))
    for split in splits
    for image, count in zip(split.images, split.counts, strict=True)
  )
  expected = zip(np.arange(total) * 100 // total, images[:, 1, 1], strict=True)
  assert found == sorted((int(c), int(i)) for c, i in expected)
  for split in splits:
    assert np.all(np.diff(split.counts) >= 0)
  if total > 100:
    assert np.mean(made.validation.counts) == pytest.approx(49.5, abs=2)
    again = load_arrays(path, seed=5).validation.counts
    np.testing.assert_array_equal(again, made.validation.counts)
    other = load_arrays(path, seed=6).validation.counts
    assert np.any(other != made.validation.counts)


@pytest.mark.parametrize(
  ("name", "meant"),
  [
    ("valid_images", "validation_images"),
    ("val_images", "validation_images"),
    ("validation_image", "validation_images"),
    ("valid_count", "validation_counts"),
    ("train_count", "train_counts"),
    ("Train_Counts", "train_counts"),
    ("testCounts", "test_counts"),
    ("train_image", "train_images"),
    ("trian_counts", "train_counts"),
    ("counts_test", "test_counts"),
    ("x_train", "train_images"),
    ("X_val", "validation_images"),
  ],
)
def test_names_that_look_misspelt_are_refused(tmp_path, name, meant):
  arrays = {"train_images": _images(20), "test_images": _images(2)}
  path = _save(tmp_path, **arrays, **{name: np.zeros(3)})
  with pytest.raises(DataError) as error:
    load_arrays(path)
  assert str(error.value) == f"{path} has {name}, expected {meant}"


@pytest.mark.parametrize(
  "name",
  [
    "labels",
    "boxes",
    "images",
    "counts",
    "train_labels",
    "validation_boxes",
    "test_labels",
    "train_masks",
    "test_points",
    "y_train",
    "train_images_mean",
    "training",
    "meta",
    "",
  ],
)
def test_other_names_are_ignored(tmp_path, name):
  arrays = {"train_images": _images(20), "test_images": _images(2)}
  load_arrays(_save(tmp_path, **arrays, **{name: np.zeros(3)}))


def _save_pictures(folder, arrays):
  for split, images in arrays.items():
    (folder / split).mkdir(parents=True)
    for i, image in enumerate(images):
      Image.fromarray(image).save(folder / split / f"{i:03d}.png")


def test_folders_of_pictures(tmp_path):
  arrays = {"train": _images(20), "test": _images(2, 80)}
  arrays["train"][-2:] = 90
  _save_pictures(tmp_path / "scenes", arrays)
  made = load_arrays(tmp_path / "scenes")
  assert made.digit_source == "scenes"
  assert made.train.counts is None
  found = np.concatenate([made.train.images, made.validation.images])
  assert len(made.validation.images) == 2
  np.testing.assert_array_equal(np.sort(found, axis=0), arrays["train"])
  np.testing.assert_array_equal(made.test.images, arrays["test"])
  _save_pictures(tmp_path / "scenes", {"validation": _images(3, 100)})
  made = load_arrays(tmp_path / "scenes")
  np.testing.assert_array_equal(made.train.images, arrays["train"])
  np.testing.assert_array_equal(made.validation.images, _images(3, 100))


@pytest.mark.parametrize(
  ("arrays", "message"),
  [
    ({"train": _images(2)}, '^data is ".*", a folder without test; expected'),
    ({}, "a folder without train and test; expected train, test and perhaps"),
    (
      {"train": _images(2), "test": _images(2), "val": []},
      "has the folder val, expected validation, or nothing beside",
    ),
    ({"train": [], "test": _images(2)}, "^data holds the folder .*train, in"),
    (
      {"train": _images(2), "test": 255 - _images(2)},
      "^test of .* bright border.* --invert",
    ),
    ({"train": _images(2), "test": _images(2)[:, 1:]}, "train 4x5, test 3x5"),
  ],
)
def test_bad_folders_are_refused(tmp_path, arrays, message):
  _save_pictures(tmp_path, arrays)
  with pytest.raises(InputError, match=message) as error:
    load_arrays(tmp_path)
  assert "\n" not in str(error.value)


def test_reading_is_of_all_splits(tmp_path):
  images = 1000 - 4 * _images(20).astype(np.uint16)
  path = _save(tmp_path, train_images=images, test_images=images[:2])
  made = load_arrays(path, Reading(invert=True, max_value=1000))
  for split in made[:3]:
    assert np.all(split.images == round(280 / 1000 * 255))


def test_floats_are_rounded(tmp_path):
  values = np.array([0, 0.4 / 255, 0.6 / 255, 1, 0.5], np.float32)
  images = np.tile(values, (2, 4, 1))[..., None]  # [N, H, W, 1]
  path = _save(tmp_path, train_images=images, test_images=_images(1))
  image = load_arrays(path).train.images[0]
  np.testing.assert_array_equal(image, [[0, 0, 1, 255, 128]] * 4)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"test_images": None}, "has no test_images; expected train_images, test"),
    ({"train_images": _images(1)}, "one training image and no validation"),
    ({"train_images": _images(0)}, r"train_images .* is uint8 \[0, 4, 5\]"),
    (
      {"train_images": _images(2)[0]},
      r"is uint8 \[4, 5\], expected \[N, H, W\]",
    ),
    ({"train_images": np.zeros((2, 3, 4, 5))}, "channels first"),
    (
      {"train_images": np.zeros((2, 4, 5), int)},
      "is int64 with 0 to 0, expected bool",
    ),
    ({"train_images": np.full((2, 4, 5), np.nan)}, "has NaN, expected pixels"),
    ({"train_images": np.full((2, 4, 5), 1.5)}, "has 1.5 to 1.5, expected"),
    ({"train_images": np.full((2, 4, 5), -np.inf)}, "has -inf to -inf"),
    ({"train_images": np.array([{}])}, "train_images of .* cannot be read"),
    ({"test_images": np.zeros((2, 4, 5))}, "test of .* nothing but black"),
    ({"test_images": np.full((2, 4, 5), 0.01)}, "where 1 is bright"),
    ({"test_images": 255 - _images(2)}, "test_images of .* bright border"),
    ({"test_images": np.full((2, 5, 5), 0.4)}, "train 4x5, .*test 5x5"),
    ({"train_counts": np.zeros(3, int)}, r"is int64 \[3\], expected .* \[20\]"),
    ({"train_counts": np.zeros(20)}, "train_counts .* is float64"),
    ({"train_counts": np.full(20, -1)}, "are in -1..-1, expected numbers"),
    ({"train_counts": np.full(20, 101)}, "are in 101..101, expected numbers"),
    ({"validation_counts": np.zeros(3, int)}, "but no validation_images"),
  ],
)
def test_bad_arrays_are_refused(tmp_path, change, message):
  good = {"train_images": _images(20), "test_images": _images(2)}
  arrays = {k: v for k, v in {**good, **change}.items() if v is not None}
  path = _save(tmp_path, **arrays)
  with pytest.raises(InputError, match=message) as error:
    load_arrays(path)
  assert "\n" not in str(error.value)


def test_file_of_arrays_that_is_missing_or_damaged(tmp_path):
  with pytest.raises(DataError, match="does not exist"):
    load_arrays(tmp_path / "nowhere.npz")
  path = _save(tmp_path, train_images=_images(20), test_images=_images(2))
  content = path.read_bytes()
  path.write_bytes(content[: len(content) // 2])
  with pytest.raises(DataError, match="is not a readable npz file"):
    load_arrays(path)
  path.write_bytes(content.replace(b"F" * 100, b"F" * 99 + b"G", 1))
  with pytest.raises(DataError, match=r"train_images of .* CRC"):
    load_arrays(path)
