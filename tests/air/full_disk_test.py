"""Disks that are full: what is there stays, and the error names the file."""

import contextlib
import errno
import os

import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf

from air.storage import checkpoints, files
from air.training import Trainer
from air.viz import figures, summaries


@pytest.fixture(scope="module")
def trainer(small_config, small_images):
  return Trainer(small_config(), small_images, jit_compile=False)


def write_text(folder, trainer):
  files.write_text(folder / "text.txt", 5_000 * "some text")


def write_json(folder, trainer):
  files.write_json(folder / "numbers.json", list(range(10_000)))


def write_arrays(folder, trainer):
  number = len(list(folder.glob("arrays-*")))
  with files.new_folder(folder / f"arrays-{number}") as new:
    np.savez(new / "arrays.npz", x=np.ones([64, 64]))


def write_figure(folder, trainer):
  figure, axes = plt.subplots()
  axes.imshow(np.random.default_rng(0).random([200, 200]))
  figures.save(figure, folder / "figure.png")


def write_checkpoint(folder, trainer):
  trainer.iteration.assign_add(1)
  checkpoints.save(folder, trainer)


def write_events(folder, trainer):
  writer = summaries.SummaryWriter(folder)
  writer.image(
    "noise", np.arange(60_000, dtype=np.uint8).reshape(100, -1, 3), 0
  )
  writer.flush()
  writer.close()


WRITERS = (
  write_text, write_json, write_arrays, write_figure, write_checkpoint,
  write_events,
)  # fmt: skip


def contents(folder):
  return {
    path: path.read_bytes() for path in folder.rglob("*") if path.is_file()
  }


def check(write, folder, trainer, fill, free):
  """Writes twice, the second time to a full disk, and again once it is not."""
  write(folder, trainer)
  before = contents(folder)
  fill()
  with pytest.raises(OSError, match="No space left on device") as error:
    write(folder, trainer)
  assert error.value.errno == errno.ENOSPC
  assert error.value.filename.startswith(str(folder))
  assert files.PARTIAL not in error.value.filename
  after = contents(folder)
  assert {path: after[path] for path in before} == before
  assert not list(folder.rglob(f"{files.PARTIAL}*"))
  free()
  write(folder, trainer)


@pytest.mark.parametrize(
  ("write", "left"),
  # Of events that are cut off, see test_events_that_were_cut_off.
  [
    *((write, 0) for write in WRITERS),
    *((write, 8 * 2**10) for write in WRITERS if write is not write_events),
  ],
)
def test_a_full_disk(write, left, small_disk, trainer, fill):
  folder = small_disk / "folder"
  folder.mkdir()
  check(
    write,
    folder,
    trainer,
    lambda: fill(small_disk, left),
    lambda: fill(small_disk, None),
  )


def no_space(*_, **__):
  raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_space_for_tensorflow(*_, **__):
  raise tf.errors.ResourceExhaustedError(None, None, "/x; No space left")


@pytest.mark.parametrize("write", WRITERS)
def test_where_no_disk_can_be_mounted(write, tmp_path, trainer, monkeypatch):
  with monkeypatch.context() as patch:

    def fill():
      patch.setattr(os, "fsync", no_space)
      if write is write_events:
        patch.setattr(tf.summary, "image", no_space_for_tensorflow)

    check(write, tmp_path, trainer, fill, patch.undo)


def test_a_checkpoint_that_tensorflow_cannot_write(
  tmp_path, trainer, monkeypatch
):
  with monkeypatch.context() as patch:
    check(
      write_checkpoint,
      tmp_path,
      trainer,
      lambda: patch.setattr(
        tf.train.Checkpoint, "write", no_space_for_tensorflow
      ),
      patch.undo,
    )


def test_events_that_were_cut_off(small_disk, fill):
  """TensorFlow says nothing; they are dropped, with all of their iteration."""
  writer = summaries.SummaryWriter(small_disk)
  writer.scalars({"good": 1.0}, 1)
  writer.flush()
  fill(small_disk, 8 * 2**10)
  noise = np.random.default_rng(0).integers(0, 256, [100, 100, 3], np.uint8)
  with contextlib.suppress(OSError):
    writer.image("noise", noise, 2)
    writer.flush()
  fill(small_disk, None)
  writer.scalars({"late": 1.0}, 2)
  with contextlib.suppress(OSError):
    writer.close()
  summaries.drop_after(small_disk, 1)
  [path] = small_disk.glob(summaries.EVENT_FILES)
  events = list(tf.compat.v1.train.summary_iterator(str(path)))
  assert [v.tag for event in events for v in event.summary.value] == ["good"]


def test_events_that_cannot_be_taken_back(small_disk, fill):
  """They are not cut off: the file stays as it was."""
  writer = summaries.SummaryWriter(small_disk)
  for iteration in range(100):
    writer.scalars({f"tag-{i}": 1.0 for i in range(10)}, iteration)
  writer.close()
  before = contents(small_disk)
  fill(small_disk, 4096)
  with pytest.raises(OSError, match="No space left on device"):
    summaries.drop_after(small_disk, 98)
  (small_disk / "filler").unlink()
  assert contents(small_disk) == before
  summaries.drop_after(small_disk, 98)
  steps = summaries.read_scalars(small_disk, ["tag-3"])["tag-3"]
  assert steps == dict.fromkeys(range(99), 1.0)
