"""Other formats become what training reads."""

import gzip
import pathlib
import pickle
import struct
import subprocess
import sys

import h5py
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from air.storage import memory
from data import convert, dataset, sources
from data.errors import DataError

_ROOT = pathlib.Path(__file__).parents[2]
NUM = 40


@pytest.fixture(scope="module")
def images():
  """`[40, 12, 10]` uint8, each of which has a brightness of its own."""
  made = np.zeros((NUM, 12, 10), np.uint8)
  made[:, 3:8, 2:6] = (100 + np.arange(NUM))[:, None, None]
  made.setflags(write=False)
  return made


COUNTS = np.arange(NUM) % 4


def _convert(*arguments):
  return convert.run(["convert.py", *map(str, arguments)])


def _save_pictures(folder, images):
  folder.mkdir(parents=True)
  for i, image in enumerate(images):
    Image.fromarray(image).save(folder / f"{i:03d}.png")
  (folder / "notes.txt").write_text("no picture")


def _idx(array):
  shape = struct.pack(f">{array.ndim}I", *array.shape)
  return b"\0\0\x08" + bytes([array.ndim]) + shape + array.tobytes()


def _save_records(path, images, visibility, compression):
  """Writes an image as the data sets do: each pixel is a string."""
  with tf.io.TFRecordWriter(str(path), compression) as writer:
    for image, visible in zip(images, visibility, strict=True):
      strings = [bytes([value]) for value in image.ravel()]
      feature = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=strings)),
        "mask": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"\0"])),
      }
      if visible is not None:
        feature["visibility"] = tf.train.Feature(
          float_list=tf.train.FloatList(value=visible)
        )
      example = tf.train.Example(features=tf.train.Features(feature=feature))
      writer.write(example.SerializeToString())


def pictures(folder, images):
  _save_pictures(folder / "in", images)
  return [f"--source={folder / 'in'}"], False


def pictures_of_splits(folder, images):
  for name, part in (("train", images[:30]), ("test", images[30:])):
    _save_pictures(folder / "in" / name, part)
  np.save(folder / "train.npy", COUNTS[:30])
  np.save(folder / "test.npy", COUNTS[30:])
  counts = [
    f"--{p}counts={folder / n}.npy"
    for p, n in (("", "train"), ("test_", "test"))
  ]
  return [f"--source={folder / 'in'}", *counts], True


def npz(folder, images):
  np.savez(folder / "in.npz", x=images, y=COUNTS, other=np.zeros(3))
  return [f"--source={folder}/in.npz", "--images=x", "--counts=y"], True


def npz_of_splits(folder, images):
  np.savez(
    folder / "in.npz",
    **{"a": images[:30], "b": images[30:], "m": COUNTS[:30], "n": COUNTS[30:]},
  )
  own = ["--test_images=b", "--test_counts=n"]
  return [f"--source={folder}/in.npz", "--images=a", "--counts=m", *own], True


def npz_of_two_files(folder, images):
  for name, where in (("a", slice(30)), ("b", slice(30, None))):
    np.savez(folder / f"{name}.npz", x=images[where], y=COUNTS[where])
  files = [f"--source={folder}/a.npz", f"--test_source={folder}/b.npz"]
  return [*files, "--images=x", "--counts=y"], True


def npz_of_one_array(folder, images):
  np.savez(folder / "in.npz", images[..., None])
  return [f"--source={folder}/in.npz"], False


def hdf5(folder, images):
  with h5py.File(folder / "in.h5", "w") as file:
    file["scenes/images"] = images
    file.create_dataset("scenes/counts", data=COUNTS, chunks=(7,))
  keys = ["--images=scenes/images", "--counts=scenes/counts"]
  return [f"--source={folder}/in.h5", *keys], True


def idx(folder, images):
  (folder / "images-idx3-ubyte").write_bytes(_idx(images))
  (folder / "counts.gz").write_bytes(gzip.compress(_idx(np.uint8(COUNTS))))
  source = f"--source={folder}/images-idx3-ubyte"
  return [source, f"--counts={folder}/counts.gz"], True


def npy_of_floats(folder, images):
  np.save(folder / "in.npy", images / 255)
  np.save(folder / "counts.npy", COUNTS[:, None].astype(float))
  return [f"--source={folder}/in.npy", f"--counts={folder}/counts.npy"], True


def npy_in_blue(folder, images):
  colours = np.zeros((*images.shape, 3), np.uint8)
  colours[..., 2] = images
  np.save(folder / "in.npy", colours)
  return [f"--source={folder}/in.npy"], False


def npy_with_channels_first(folder, images):
  np.save(folder / "in.npy", np.repeat(images[:, None], 3, axis=1))
  return [f"--source={folder}/in.npy", "--axes=NCHW"], False


def npy_of_dark_uint16(folder, images):
  np.save(folder / "in.npy", (255 - images.astype(np.uint16)) * 257)
  return [f"--source={folder}/in.npy", "--invert", "--max_value=65535"], False


def videos(folder, images):
  """As Moving MNIST: 10 videos of 4 frames, frames first."""
  np.save(folder / "in.npy", images.reshape(10, 4, 12, 10).swapaxes(0, 1))
  np.save(folder / "counts.npy", COUNTS)
  return [f"--source={folder}/in.npy", f"--counts={folder}/counts.npy"], True


def long_videos(folder, images):
  np.save(folder / "in.npy", images.reshape(4, 10, 12, 10, 1))
  source = [f"--source={folder}/in.npy", "--axes=NTHWC"]
  return [*source, "--test_size=10", "--validation_size=1"], False


FORMATS = [
  *(pictures, pictures_of_splits, npz, npz_of_splits, npz_of_two_files),
  *(npz_of_one_array, hdf5, idx, npy_of_floats, npy_in_blue),
  *(npy_with_channels_first, npy_of_dark_uint16, videos, long_videos),
]


def _all_of(made):
  """Returns all images of a data set as they were, and their counts."""
  splits = (made.train, made.validation, made.test)
  pixels = np.concatenate([split.images for split in splits])
  order = np.argsort(pixels[:, 4, 4])
  counts = None
  if made.train.counts is not None:
    counts = np.concatenate([split.counts for split in splits])[order]
  return pixels[order], counts


@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
def test_formats(write, images, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(sources, "_PART", 500)  # bytes: few images at a time
  arguments, has_counts = write(tmp_path, images)
  out = tmp_path / "out.npz"
  assert _convert(f"--out={out}", *arguments) == 0, capsys.readouterr().err
  made = dataset.load_arrays(out)
  pixels, counts = _all_of(made)
  np.testing.assert_array_equal(pixels, images)
  if has_counts:
    np.testing.assert_array_equal(counts, COUNTS)
  else:
    assert counts is None
  printed = capsys.readouterr().out.splitlines()
  for name, line in zip(
    ("train", "validation", "test"), printed[-3:], strict=True
  ):
    split = getattr(made, name)
    assert line.startswith(
      f"{name}: {len(split.images)} images of 12x10, 0 to {split.images.max()}"
    )
    if has_counts:
      numbers = enumerate(np.bincount(split.counts))
      expected = ", ".join(f"{n}: {times}" for n, times in numbers if times)
      assert line.endswith(f", counts {expected}")
    else:
      assert line.endswith(", no counts")
  if "videos" in write.__name__:
    frames = 4 if write is videos else 10
    of_video = [
      set((split.images[:, 4, 4] - 100) // frames)
      for split in (made.train, made.validation, made.test)
    ]
    assert sum(map(len, of_video)) == NUM // frames
    assert f"{NUM // frames} videos of {frames} frames" in printed[0]
  elif "split" in write.__name__ or "two" in write.__name__:
    np.testing.assert_array_equal(made.test.images, images[30:])


@pytest.mark.parametrize(
  ("shape", "visibility", "compression", "expected"),
  [
    ((64, 64, 1), [1, 1, 0, 1], "GZIP", 2),
    ((35, 35, 3), [1, 1, 1, 1], "GZIP", 3),
    ((64, 64, 3), None, "", None),
  ],
)
def test_tfrecords(tmp_path, shape, visibility, compression, expected):
  images = np.zeros((20, *shape), np.uint8)
  images[:, 4:20, 4:9, 0] = (100 + np.arange(20))[:, None, None]
  path, out = tmp_path / "in.tfrecords", tmp_path / "out.npz"
  _save_records(path, images, [visibility] * 20, compression)
  assert _convert(f"--source={path}", f"--out={out}") == 0
  pixels, counts = _all_of(dataset.load_arrays(out))
  np.testing.assert_array_equal(pixels, images[..., 0])
  if expected is None:
    assert counts is None
  else:
    np.testing.assert_array_equal(counts, [expected] * 20)
  assert _convert(f"--source={path}", f"--out={out}", "--num_images=7") == 0
  assert len(_all_of(dataset.load_arrays(out))[0]) == 7


def _refused(capsys, *arguments):
  """Returns the line that refuses a command line; nothing is written."""
  assert _convert(*arguments) == 2
  captured = capsys.readouterr()
  assert captured.err.count("\n") == 1
  assert captured.err.startswith("convert: ")
  return captured.err.removeprefix("convert: ").strip()


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"garbage" * 9, "TFRecords: "),
    (b"\x1f\x8b" + b"garbage" * 9, "TFRecords: "),
    (None, "has images of 12 bytes, expected Multi-dSprites"),
  ],
)
def test_other_tfrecords_are_refused(tmp_path, capsys, content, message):
  path = tmp_path / "in.tfrecords"
  if content is None:
    _save_records(path, np.zeros((3, 2, 2, 3), np.uint8), [[1]] * 3, "")
  else:
    path.write_bytes(content)
  out = tmp_path / "out.npz"
  assert message in _refused(capsys, f"--source={path}", f"--out={out}")
  assert not out.exists()


@pytest.mark.parametrize(
  ("shape", "axes"),
  [
    ((9, 8, 7), "NHW"),
    ((9, 8, 7, 1), "NHWC"),
    ((9, 8, 7, 3), "NHWC"),
    ((20, 100, 64, 64), "TNHW"),
    ((100, 20, 64, 64), "NTHW"),
    ((20, 100, 64, 64, 1), "TNHWC"),
    ((9, 2, 3, 3), "NHWC"),
    ((9, 1, 3, 3), "NHWC"),
  ],
)
def test_axes(shape, axes):
  assert sources.axes_of("x", shape, "auto") == axes


@pytest.mark.parametrize(
  "shape",
  [(9, 8), (9,), (), (9, 3, 64, 64), (20, 20, 64, 64), (2, 3, 1, 64, 64)],
)
def test_axes_that_could_be_others_are_refused(shape):
  with pytest.raises(DataError, match="which --axes does not tell"):
    sources.axes_of("x", shape, "auto")


class Recorded:
  """An array that remembers how much was read of it at a time."""

  def __init__(self, array):
    self.array, self.most = array, 0
    self.shape, self.dtype = array.shape, array.dtype

  def __getitem__(self, index):
    part = self.array[index]
    self.most = max(self.most, part.nbytes)
    return part


@pytest.mark.parametrize("axes", ["NTHW", "TNHW"])
def test_an_array_is_read_in_parts(axes, monkeypatch):
  monkeypatch.setattr(sources, "_PART", 1000)
  array = np.arange(6 * 40 * 5 * 2, dtype=np.uint16).reshape(40, 6, 5, 2)
  there = array if axes == "NTHW" else array.swapaxes(0, 1)
  recorded = Recorded(there)
  read = np.concatenate(list(sources.parts(recorded, axes)))
  np.testing.assert_array_equal(read, array.reshape(240, 5, 2))
  assert 100 < recorded.most <= 1000


def test_what_cannot_fit_is_refused_before_all_is_read(
  images, tmp_path, capsys, monkeypatch
):
  monkeypatch.setattr(sources, "_PART", 500)
  monkeypatch.setattr(memory.os, "sysconf", lambda name: 60)  # 3,600 bytes
  path, out = tmp_path / "in.npy", tmp_path / "out.npz"
  np.save(path, images)
  line = _refused(capsys, f"--source={path}", f"--out={out}")
  assert "in.npy does not fit into memory: " in line
  assert "--num_images" in line
  assert not out.exists()


class TestPixels:
  def test_resized_are_means(self, tmp_path):
    stripes = np.zeros((20, 16, 24), np.uint8)
    stripes[:, 4:12, 6:18:2] = 200
    np.save(tmp_path / "in.npy", stripes)
    out = tmp_path / "out.npz"
    source = f"--source={tmp_path}/in.npy"
    assert _convert(source, f"--out={out}", "--resize=8,12") == 0
    made = dataset.load_arrays(out).train.images
    assert made.shape == (16, 8, 12)
    assert made[:, 3:5, 4:8] == pytest.approx(100, abs=26)
    assert made.mean() == pytest.approx(stripes.mean(), rel=0.02)

  def test_pictures_of_different_sizes_and_kinds(self, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out.npz"
    folder.mkdir()
    for i in range(20):
      picture = Image.new("L", (20 + i, 30))
      picture.paste(160, (5, 5, 15 + i, 25))
      mode = ("L", "RGB", "RGBA", "1")[i % 4]
      if mode == "1":
        picture = picture.point(lambda value: 255 * (value > 0))
      picture.convert(mode).save(folder / f"{i:02d}.png")
    arguments = [f"--source={folder}", f"--out={out}"]
    assert _convert(*arguments, "--resize=15,10") == 0
    made = dataset.load_arrays(out)
    pixels = np.concatenate([s.images for s in made[:3]])
    assert pixels.shape == (20, 15, 10)
    bright = pixels[:, 7, 5]
    assert sorted(bright) == [160] * 15 + [255] * 5
    assert not pixels[:, [0, -1]].any()

  @pytest.mark.parametrize(
    ("grey", "expected"), [("max", 200), ("luminance", 23)]
  )
  def test_blue(self, tmp_path, grey, expected):
    colours = np.zeros((20, 9, 9, 4), np.uint8)
    colours[:, 3:6, 3:6] = (0, 0, 200, 255)
    np.save(tmp_path / "in.npy", colours)
    out = tmp_path / "out.npz"
    source = f"--source={tmp_path}/in.npy"
    assert _convert(source, f"--out={out}", f"--grey={grey}") == 0
    made = dataset.load_arrays(out).train.images
    assert np.all(made[:, 3:6, 3:6] == expected)
    assert made.sum() == 16 * 9 * expected

  def test_masks_of_0_and_1_keep_what_is_between(self, tmp_path):
    masks = np.zeros((20, 16, 16), np.uint8)
    masks[:, 4:12, 5:12:2] = 1
    np.save(tmp_path / "in.npy", masks)
    out = tmp_path / "out.npz"
    arguments = [f"--source={tmp_path}/in.npy", f"--out={out}", "--resize=8,8"]
    assert _convert(*arguments, "--max_value=1") == 0
    made = dataset.load_arrays(out).train.images
    assert len(np.unique(made)) > 2
    assert made.mean() / 255 == pytest.approx(masks.mean(), rel=0.02)


class TestHoldOut:
  @pytest.fixture
  def held_out(self, images, tmp_path):
    """A function that converts with some flags: the pixels of each split."""
    np.save(tmp_path / "in.npy", images)
    out = tmp_path / "out.npz"

    def make(*flags):
      source = f"--source={tmp_path}/in.npy"
      assert _convert(source, f"--out={out}", *flags) == 0
      return [
        split.images[:, 4, 4].tolist() for split in dataset.load_arrays(out)[:3]
      ]

    return make

  def test_is_a_tenth_each_at_random(self, held_out):
    train, validation, test = held_out()
    assert [len(train), len(validation), len(test)] == [32, 4, 4]
    assert held_out() == [train, validation, test]
    assert held_out("--seed=1")[2] != test
    assert train == sorted(train)
    assert max(test) - min(test) > 10

  def test_is_of_a_stated_size(self, held_out):
    _, _, test = held_out()
    sizes = list(map(len, held_out("--validation_size=7", "--test_size=.25")))
    assert sizes == [23, 7, 10]
    # What is tested on does not depend on what is validated on.
    assert held_out("--validation_size=7")[2] == test


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    ([], '--images is empty, expected the name of an array in {f}: x, y, z'),
    (["--images=q"], '--images is "q", expected the name of an array in {f}'),
    (["--images=y"], "{f} is [40], which --axes does not tell"),
    (["--images=z"], "{f} has <U1, expected an array"),
    (["--images=x", "--counts=q"], '--counts is "q", expected the name of an'),
    (["--images=x", "--axes=TNHW"], "[40, 12, 10], expected 4 axes, TNHW"),
    (["--images=x", "--invert"], "{f} has a bright border after inversion"),
    (["--images=x", "--resize=3"], "--resize is (3,), expected height,width"),
    (["--images=x", "--resize=0,3"], "expected height,width"),
    (["--images=x", "--resize=a"], "--resize=a: expected numbers"),
    (["--images=x", "--test_size=40"], "--test_size is 40, expected"),
    (["--images=x", "--test_size=a"], '--test_size is "a", expected a number'),
    (["--images=x", "--test_size=1.5"], '--test_size is "1.5", expected a'),
    (["--images=x", "--test_size=nan"], '--test_size is "nan", expected a'),
    (["--images=x", "--test_images=x", "--test_size=3"], "expected none"),
    (["--images=x", "--test_counts=y"], '--test_counts is "y", expected test'),
    (["--images=x", "--max_value=-1"], "--max_value is -1"),
    (["--images=x", "--seed=-1"], "flag --seed=-1"),
    (["--images=x", "--out=here.txt"], '--out is "here.txt", expected a name'),
  ],
)  # fmt: skip
def test_refusals(flags, message, images, tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(tmp_path)
  source = tmp_path / "in.npz"
  np.savez(source, x=images, y=COUNTS, z=np.array(["a"]))
  flags = [f"--source={source}", "--out=out.npz", *flags]
  assert message.format(f=source) in _refused(capsys, *flags)
  assert [path.name for path in tmp_path.iterdir()] == ["in.npz"]


class _Bomb:
  """What runs a program when it is unpickled."""

  def __reduce__(self):
    return (pathlib.Path.touch, (pathlib.Path("exploded"),))


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("nowhere.npy", '--source is "nowhere.npy", which does not exist'),
    ("empty", "holds the folder empty, in which there is no .png"),
    ("objects.npy", "objects.npy cannot be read (it holds Python objects"),
    ("objects.npz", "cannot be read (it holds Python objects"),
    ("objects.pkl", "objects.pkl is a pickle, which can run any program"),
    ("cut.npy", "cut.npy cannot be read"),
    ("cut.h5", "cut.h5 is not a readable HDF5 file"),
    ("cut.npz", "cut.npz is not a readable npz file"),
    ("cut.gz", "cut.gz cannot be read"),
    ("text.txt", "text.txt is not a readable npz file (it starts with 0x"),
    ("none.npy", "none.npy has no images"),
    ("shapeless.h5", "shapeless.h5 has float32, expected an array of numbers"),
  ],
)
def test_files_that_are_refused(
  name, message, images, tmp_path, capsys, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  pathlib.Path("empty").mkdir()
  objects = np.array([_Bomb()], object)
  np.save("objects.npy", objects)
  np.savez("objects.npz", objects)
  pathlib.Path("objects.pkl").write_bytes(pickle.dumps(_Bomb()))
  np.save("cut.npy", images)
  np.savez("cut.npz", images)
  np.save("none.npy", images[:0])
  with h5py.File("cut.h5", "w") as file:
    file["x"] = images
  with h5py.File("shapeless.h5", "w") as file:
    file["x"] = h5py.Empty("f")
  pathlib.Path("cut.gz").write_bytes(gzip.compress(_idx(images)))
  for path in tmp_path.glob("cut.*"):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
  pathlib.Path("text.txt").write_text("some text\n")
  status = _convert(f"--source={name}", "--out=out.npz")
  captured = capsys.readouterr()
  assert status in (1, 2)
  assert captured.err.count("\n") == 1
  assert message in captured.err
  assert not pathlib.Path("out.npz").exists()
  assert not pathlib.Path("exploded").exists()


def test_a_preview_without_boxes(images, tmp_path):
  np.savez(tmp_path / "in.npz", x=images, y=COUNTS)
  arguments = [f"--source={tmp_path}/in.npz", f"--out={tmp_path}/out.npz"]
  for counts in ([], ["--counts=y"]):
    preview = tmp_path / f"sheet{len(counts)}.png"
    flags = [*arguments, "--images=x", *counts, f"--preview={preview}"]
    assert _convert(*flags) == 0
  first, second = (
    np.asarray(Image.open(tmp_path / f"sheet{i}.png")) for i in range(2)
  )
  assert first.shape == second.shape == (8 + 6 * 46, 8 + 10 * 28, 3)
  assert (first != second).any()  # the captions


def test_no_tensorflow_where_none_is_needed(images, tmp_path):
  """Nor a traceback."""
  np.save(tmp_path / "in.npy", images)
  check = (
    "import sys; from data import convert; status = convert.run();"
    "print([m for m in ('h5py', 'tensorflow') if m in sys.modules], status)"
  )
  flags = [f"--source={tmp_path}/in.npy", f"--out={tmp_path}/out.npz"]
  done = subprocess.run(
    [sys.executable, "-c", check, *flags],
    cwd=_ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout.splitlines()[-1] == "[] 0"
  assert not done.stderr


def test_help(capsys):
  assert _convert("--help") == 0
  captured = capsys.readouterr()
  assert "--counts_as=auto|number|onehot|unary" in captured.out
  assert not captured.err


def test_what_is_held_out_may_be_black(images, tmp_path):
  """As an image without objects is; all of the source's may not be."""
  some = np.zeros_like(images)
  some[0] = images[0]
  out = tmp_path / "out.npz"
  flags = [f"--out={out}", "--images=x"]
  np.savez(tmp_path / "in.npz", x=some)
  assert _convert(f"--source={tmp_path / 'in.npz'}", *flags) == 0
  with np.load(out) as written:
    brightest = [written[f"{n}_images"].max() for n in dataset._SPLITS]
  assert sorted(brightest) == [0, 0, 100]
