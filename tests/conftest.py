"""Fixtures for all: a trained model, and eager execution."""

import contextlib
import os
import subprocess

# Before TensorFlow is imported: as the binaries do, see `experiments`, and one
# thread for each of pytest's workers, which otherwise wait for one another.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
# No test depends on what was compiled before it: see `xla_cache`.
os.environ.setdefault("TF_XLA_FLAGS", "")

import numpy as np
import pytest
import tensorflow as tf

from air import surprise
from air.config import AIRConfig, ModelConfig, TrainingConfig
from air.storage import checkpoints, run_folder
from air.training import Trainer

NUM_IMAGES = 16
# What takes longest, so that no worker is left alone with it in the end.
SLOWEST = (
  "notebook_test.py",
  "train_test.py",
  "speed_test.py",
  "sweep_test.py",
  "demo_test.py",
  "kill_test_test.py",
  "training_test.py",
  "parity_test.py",
  "gradient_variance_test.py",
  "estimators_test.py",
  "checkpoints_test.py",
  "dair_test.py",
  "generalization_test.py",
  "worlds_test.py",
  "pretrain_test.py",
)


def pytest_collection_modifyitems(items):
  """Puts the slowest files first."""

  def place(item):
    name = item.path.name
    return SLOWEST.index(name) if name in SLOWEST else len(SLOWEST)

  items.sort(key=place)


@pytest.fixture(scope="session")
def user_images():
  """Images of the default's size, `[16, 50, 50]` uint8, read-only."""
  images = np.zeros([NUM_IMAGES, 50, 50], np.uint8)
  inside = images[:, 1:-1, 1:-1]
  inside[:] = np.random.default_rng(2).integers(0, 256, inside.shape, np.uint8)
  images.setflags(write=False)
  return images


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory, user_images):
  """The folder of a run of the default's shapes with a small network."""
  folder = tmp_path_factory.mktemp("run")
  config = AIRConfig(
    ModelConfig(hidden_sizes=(8,), presence_hidden_sizes=(8,), lstm_size=8),
    training=TrainingConfig(batch_size=4),
  )
  trainer = Trainer(config, user_images, jit_compile=False)
  for iteration in (10, 20):
    trainer.iteration.assign(iteration)
    checkpoints.save(run_folder.checkpoints(folder), trainer)
  run_folder.write_config(folder, config, digit_source="random numbers")
  # Of as many as it takes: each image several times, with other latents.
  images = np.tile(user_images, [8, 1, 1])
  scores = surprise.Scorer(trainer.model)(images, seed=0)
  run_folder.write_reference(folder, 20, scores)
  return folder


@contextlib.contextmanager
def _eager_execution():
  tf.config.run_functions_eagerly(True)
  try:
    yield
  finally:
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def eager_execution():
  """A context that spares the tracing of graphs that are used once."""
  return _eager_execution


@pytest.fixture
def small_disk(tmp_path):
  """A file system of 2 MiB; only root can mount it."""
  folder = tmp_path / "disk"
  folder.mkdir()
  mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
  try:
    subprocess.run(mount, check=True, capture_output=True, text=True)
  except (OSError, subprocess.CalledProcessError) as error:
    reason = getattr(error, "stderr", None) or error
    pytest.skip(f"no small disk can be mounted: {reason}")
  yield folder
  subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def fill():
  """A function that leaves so many bytes of a small disk; None: all."""

  def leave(folder, free):
    filler = folder / "filler"
    filler.unlink(missing_ok=True)
    if free is not None:
      disk = os.statvfs(folder)
      filler.write_bytes(bytes(disk.f_bavail * disk.f_frsize - free))

  return leave


@pytest.fixture
def eagerly():
  """Runs a test in `eager_execution`."""
  with _eager_execution():
    yield
