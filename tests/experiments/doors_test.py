"""All ways in read the same images alike, or refuse them in the same words.

The ways are `experiments.train --data` with an npz and with folders of
pictures, `experiments.infer` with both, `air.load(...).infer`, and the
SavedModel.
"""

import json
import re
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from absl import flags as absl_flags
from PIL import Image

import air
from air.images import Reading
from air.storage import export
from experiments import infer, train
from experiments.common import configuration, runs, training

_RNG = np.random.default_rng(0)
SCENES = np.zeros((6, 14, 14), np.uint8)
for scene, (y, x) in zip(SCENES[:-1], _RNG.integers(1, 8, (5, 2)), strict=True):
  scene[y : y + 5, x : x + 5] = _RNG.integers(100, 256, (5, 5))
SCENES[0, 3, 3] = 255
FLOATS = SCENES / np.float32(255)
# The same objects in blue, and drawn in ink on a transparent ground.
BLUE = np.stack([SCENES // 4, SCENES // 2, SCENES], -1)
INK = np.stack([0 * SCENES] * 3 + [SCENES], -1)


class Taken(NamedTuple):
  """Images that are `SCENES`, or others, once they are read."""

  images: np.ndarray
  reading: dict
  scenes: np.ndarray = SCENES


class Refused(NamedTuple):
  """Images that are refused, and the words that all ways have for it."""

  images: np.ndarray
  words: str
  reading: dict = {}  # noqa: RUF012


MASKS = (SCENES > 0).astype(np.uint8)
CASES = {
  "uint8": Taken(SCENES, {}),
  "one channel": Taken(SCENES[..., None], {}),
  "float16": Taken(FLOATS.astype(np.float16), {}),
  "float32": Taken(FLOATS, {}),
  "float64": Taken(SCENES / 255, {}),
  "float32 that was rounded up": Taken(FLOATS * np.float32(1.000001), {}),
  "uint8 with its maximum": Taken(SCENES, {"max_value": 255}),
  "uint16": Taken(SCENES.astype(np.uint16) * 257, {"max_value": 65535}),
  "int64": Taken(SCENES.astype(np.int64), {"max_value": 255}),
  "float32 of 0 to 255": Taken(SCENES.astype("f"), {"max_value": 255}),
  "bool": Taken(SCENES > 0, {}, MASKS * 255),
  "masks": Taken(MASKS, {"max_value": 1}, MASKS * 255),
  "black on white": Taken(255 - SCENES, {"invert": True}),
  "black on white in floats": Taken(1 - FLOATS, {"invert": True}),
  "RGB": Taken(np.stack([SCENES] * 3, -1), {}),
  "blue": Taken(BLUE, {}),
  "RGB in floats": Taken(BLUE / 255, {}),
  "blue on white": Taken(255 - BLUE[..., ::-1], {"invert": True}),
  "RGBA": Taken(np.concatenate([BLUE, 255 + 0 * BLUE[..., :1]], -1), {}),
  "ink on transparency": Taken(INK, {"invert": True}),
  "dark": Taken(SCENES // 20, {"max_value": 255}, SCENES // 20),
  "masks, not said": Refused(
    MASKS, "is uint8 with 0 to 1, where 255 is bright"
  ),
  "masks in floats": Refused(
    MASKS / np.float32(255), "0 to 0.00392156\\d+, where 1 is bright"
  ),
  "black on white, not said": Refused(255 - SCENES, "has a bright border, exp"),
  "some black on white": Refused(
    np.concatenate([SCENES[:5], 255 - SCENES[:1]]), "has a bright border"
  ),
  "black on white in floats, not said": Refused(
    1 - FLOATS, "has a bright border, expected bright objects on black"
  ),
  "white on black, inverted": Refused(
    SCENES, "has a bright border after inversion", {"invert": True}
  ),
  "ink, not said": Refused(INK, "is black once what is transparent"),
  "channels first": Refused(np.moveaxis(BLUE, -1, 1), "with channels first"),
  "two channels": Refused(
    BLUE[..., :2], r"is uint8 \[6, 14, 14, 2\], expected"
  ),
  "one image": Refused(SCENES[0], r"is uint8 \[14, 14\], expected \[N, H, W\]"),
  "no image": Refused(FLOATS[:0], "expected at least one image and one pixel"),
  "uint16, not said": Refused(SCENES.astype(np.uint16), "uint16 with 0 to 255"),
  "int64, not said": Refused(SCENES.astype(int), "int64 with 0 to 255, exp"),
  "NaN": Refused(FLOATS * np.nan, "has NaN, expected pixels of 0 to 1"),
  "floats above 1": Refused(FLOATS * 2, "has 0 to 2, expected 0 to 1"),
  "floats of 0 to 255": Refused(SCENES.astype("f"), "has 0 to 255, expected 0"),
  "negative floats": Refused(FLOATS - 1, "has -1 to 0, expected 0 to 1"),
  "text": Refused(SCENES.astype("S3"), r"is \|S3 \[6, 14, 14\], expected bool"),
}


@pytest.fixture(scope="module")
def model(tiny_run):
  return air.load(tiny_run)


@pytest.fixture(scope="module")
def signatures(model, tmp_path_factory):
  folder = tmp_path_factory.mktemp("doors") / "saved"
  export.save(model.network, folder)
  return tf.saved_model.load(folder).signatures


def flags_of(reading):
  return [f"--{name}={value}" for name, value in reading.items()]


def are_pictures(images):
  """Returns whether PNG files can hold images."""
  if images.ndim == 3:
    return images.dtype in (bool, np.uint8, np.uint16)
  return images.shape[-1] in (3, 4) and images.dtype == np.uint8


def write(images, folder):
  folder.mkdir(parents=True)
  for i, image in enumerate(images):
    Image.fromarray(image).save(folder / f"{i}.png")


def said(capsys):
  """Returns the one line of stderr."""
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  return error.partition(": ")[2].strip()


class _TrainerMadeError(Exception):
  """Ends a run before it is trained."""


@pytest.fixture
def train_on(call, tmp_path, monkeypatch, capsys):
  """A function that returns a run's training images, or what is said."""
  made = []

  def trainer(config, images, jit_compile):
    made.append(images)
    raise _TrainerMadeError

  monkeypatch.setattr(training, "Trainer", trainer)

  def train_on(data, reading):
    run = [f"--run_dir={tmp_path / 'run'}", "--num_steps=2"]
    sizes = ["--glimpse_size=6,6", "--batch_size=1"]
    try:
      assert (
        call(train, *run, *sizes, f"--data={data}", *flags_of(reading)) == 2
      )
    except _TrainerMadeError:
      return made.pop()
    return said(capsys)

  return train_on


@pytest.fixture
def infer_on(call, model, tiny_run, tmp_path, monkeypatch, capsys):
  """A function that returns probabilities of counts, or what is said."""
  monkeypatch.setattr(air, "load", lambda _: model)  # and traced once

  def infer_on(images, reading):
    out = tmp_path / f"out of {images.name}"
    flags = [f"--run_dir={tiny_run}", f"--out={out}", f"--images={images}"]
    if call(infer, *flags, *flags_of(reading)):
      return said(capsys)
    lines = (out / "scenes.jsonl").read_text().splitlines()
    return [json.loads(line)["count_probs"] for line in lines]

  return infer_on


def served(signatures, images):
  """Returns probabilities of counts, or what is said."""
  name = "infer_uint8" if images.dtype == np.uint8 else "infer"
  try:
    found = signatures[name](images=tf.constant(images), seed=tf.constant(0))
  except tf.errors.InvalidArgumentError as error:
    return str(error)
  return found["count_probs"].numpy()


def test_another_reading_would_be_noticed(model):
  expected = model.infer(SCENES).count_probs
  for other in (SCENES // 2, 255 * MASKS, BLUE.mean(-1).astype(np.uint8)):
    difference = np.abs(model.infer(other).count_probs - expected)
    assert difference.max() > 2e-3


@pytest.mark.parametrize(
  "name", [name for name, case in CASES.items() if isinstance(case, Taken)]
)
def test_taken(name, model, signatures, train_on, infer_on, tmp_path):
  images, reading, scenes = CASES[name]
  atol = 1 if images.dtype == np.float16 else 0
  expected = model.infer(scenes, max_value=255).count_probs

  def check(count_probs):
    np.testing.assert_allclose(count_probs, expected, atol=1e-4)

  check(model.infer(images, **reading).count_probs)
  splits = ("images", "train_images", "validation_images", "test_images")
  np.savez(tmp_path / "a.npz", **dict.fromkeys(splits, images))
  check(infer_on(tmp_path / "a.npz", reading))
  sources = [tmp_path / "a.npz"]
  if are_pictures(images):
    for split in ("train", "test", "validation"):
      write(images, tmp_path / "pictures" / split)
    check(infer_on(tmp_path / "pictures" / "test", reading))
    sources.append(tmp_path / "pictures")
  for data in sources:
    trained_on = train_on(data, reading)
    np.testing.assert_allclose(trained_on, scenes[: len(trained_on)], atol=atol)
  if not reading and images.ndim == 3 and images.dtype in (np.uint8, "f"):
    check(served(signatures, images))


@pytest.mark.parametrize(
  "name", [name for name, case in CASES.items() if isinstance(case, Refused)]
)
def test_refused(name, model, signatures, train_on, infer_on, tmp_path):
  images, words, reading = CASES[name]
  with pytest.raises(air.InputError, match=f"^images .*{words}") as error:
    model.infer(images, **reading)
  sentence = str(error.value).removeprefix("images ")
  path = tmp_path / "a.npz"
  np.savez(path, images=images, train_images=images, test_images=images)
  assert infer_on(path, reading) == f"--images {sentence}"
  assert train_on(path, reading) == f"train_images of {path} {sentence}"
  if are_pictures(images) and images.size:
    for split in ("train", "test"):
      write(images, tmp_path / "pictures" / split)
    assert (
      infer_on(tmp_path / "pictures/test", reading) == f"--images {sentence}"
    )
    data = tmp_path / "pictures"
    assert train_on(data, reading) == f"train of {data} {sentence}"
  if not reading and images.ndim == 3 and images.dtype in (np.uint8, "f"):
    assert re.search(words, served(signatures, images))


def test_runs_of_before_the_flags(tiny_run, tmp_path):
  config = json.loads((tiny_run / "config.json").read_text())
  for name in ("invert", "max_value"):
    del config["data"][name]
  (tmp_path / "config.json").write_text(json.dumps(config))
  run = runs.load(tmp_path)
  assert run.data.reading() == Reading()
  assert run.settings() == runs.load(tiny_run).settings()
  assert not run.settings()["invert"]


def test_inverted_digits_make_the_same_images(tmp_path):
  digits = np.zeros((24, 28, 28), np.uint8)
  digits[:, 4:24, 6:20] = _RNG.integers(1, 256, (24, 20, 14))
  labels = np.arange(24)
  made = []
  for name, array, flags in (
    ("plain", digits, []),
    ("inverted", 255 - digits, ["--invert"]),
    ("float32", digits.astype("f"), ["--max_value=255"]),
  ):
    path = tmp_path / f"{name}.npz"
    np.savez(path, x_train=array, y_train=labels, x_test=array, y_test=labels)
    flag_values = absl_flags.FlagValues()
    configuration.define_flags(flag_values)
    sizes = ["--num_images=9", "--validation_size=3", "--test_size=3"]
    flag_values(["train", *sizes, f"--mnist={path}", *flags])
    config = configuration.data_config(flag_values)
    made.append(runs.digest(runs.load_dataset(config, None)))
  assert len(set(made)) == 1


def test_a_black_image_is_an_image(
  model, signatures, train_on, infer_on, tmp_path, capsys
):
  """But a set of them is none to train on."""
  black = np.zeros((1, 14, 14), np.uint8)
  expected = model.infer(black).count_probs
  path = tmp_path / "a.npz"
  np.savez(path, images=black, train_images=SCENES, test_images=black)
  for found in (infer_on(path, {}), served(signatures, black)):
    np.testing.assert_allclose(found, expected, atol=1e-5)
  capsys.readouterr()  # that a tiny run cannot say what is surprising
  assert train_on(path, {}).startswith(f"test of {path} has nothing but black")
