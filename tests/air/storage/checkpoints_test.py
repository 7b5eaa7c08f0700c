"""Checkpoints: saved whole, verified, and passed over when damaged."""

import errno
import gc
import json
import os
import pathlib
import shutil
import stat

import numpy as np
import pytest
import tensorflow as tf

from air.errors import CheckpointError, DivergedError
from air.model import AIRModel
from air.storage import checkpoints
from air.training import Trainer


def randomize(trainer, iteration):
  """Gives every variable, slots included, values of their own."""
  rng = np.random.default_rng(iteration)
  for variable in trainer.variables:
    if variable.dtype.is_floating:
      variable.assign(rng.normal(size=variable.shape).astype(np.float32))
  trainer.iteration.assign(iteration)


def values_of(module):
  return [variable.numpy() for variable in module.variables]


def assert_equal(first, second):
  for a, b in zip(first, second, strict=True):
    np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def make_trainer(small_config, small_images):
  def make(**values):
    config = small_config(**values)
    return Trainer(config, small_images, jit_compile=False)

  return make


@pytest.fixture(scope="module")
def trainers(make_trainer):
  """Two trainers of the same configuration, with a baseline."""
  return make_trainer(estimator="reinforce"), make_trainer(
    estimator="reinforce"
  )


@pytest.fixture
def trainer(trainers):
  randomize(trainers[0], 1)
  return trainers[0]


@pytest.fixture
def other(trainers):
  randomize(trainers[1], 99)
  return trainers[1]


@pytest.fixture
def folder(tmp_path):
  return tmp_path / "checkpoints"


@pytest.fixture
def saved(trainer, folder):
  """Values of all variables in the checkpoints of iterations 10 and 20."""
  values = {}
  for iteration in (10, 20):
    randomize(trainer, iteration)
    checkpoints.save(folder, trainer)
    values[iteration] = values_of(trainer)
  return values


def names(folder):
  return sorted(path.name for path in folder.iterdir())


def forget_run(path):
  """Leaves what versions saved that knew no identity of a run."""
  (path / "run.json").unlink()
  manifest = path / "manifest.json"
  sums = json.loads(manifest.read_text())
  del sums["run.json"]
  manifest.write_text(json.dumps(sums))


class TestSave:
  def test_writes_a_folder_with_a_manifest(self, trainer, folder):
    randomize(trainer, 123)
    path = checkpoints.save(folder, trainer)
    assert path == folder / "iteration-000000123"
    assert names(folder) == [path.name]
    manifest = json.loads((path / "manifest.json").read_text())
    assert sorted([*manifest, "manifest.json"]) == names(path)
    assert checkpoints.iteration_of(path) == 123
    checkpoints.verify(path)

  def test_keeps_the_newest(self, trainer, folder):
    for iteration in (5, 9, 10, 100):
      trainer.iteration.assign(iteration)
      checkpoints.save(folder, trainer)
    assert [checkpoints.iteration_of(p) for p in checkpoints.find(folder)] == [
      100, 10, 9
    ]  # fmt: skip
    trainer.iteration.assign(200)
    checkpoints.save(folder, trainer, keep=2)
    assert names(folder) == ["iteration-000000100", "iteration-000000200"]

  def test_replaces_one_of_the_same_iteration(self, trainer, other, folder):
    randomize(trainer, 7)
    path = checkpoints.save(folder, trainer)
    (path / "manifest.json").write_text("damaged")
    assert checkpoints.save(folder, trainer) == path
    checkpoints.restore(path, other)
    assert_equal(values_of(other), values_of(trainer))

  def test_one_of_the_same_iteration_stays_if_it_cannot_be_replaced(
    self, trainer, folder, monkeypatch
  ):
    def fail(handle):
      if stat.S_ISDIR(os.fstat(handle).st_mode):
        raise OSError("disk full")

    path = checkpoints.save(folder, trainer)
    # The last thing before the rename.
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
      checkpoints.save(folder, trainer)
    assert names(folder) == [path.name]
    checkpoints.verify(path)

  def test_a_link_is_a_checkpoint_and_goes_as_a_link(
    self, trainer, other, folder, tmp_path
  ):
    """Also if the process that removed it was killed meanwhile."""
    randomize(trainer, 5)
    elsewhere = checkpoints.save(tmp_path / "elsewhere", trainer)
    folder.mkdir()
    for name in ("iteration-000000005", ".partial-iteration-000000004"):
      (folder / name).symlink_to(elsewhere)
    assert checkpoints.restore_newest(folder, other, pytest.fail) == 5
    trainer.iteration.assign(6)
    checkpoints.save(folder, trainer, keep=1)
    assert names(folder) == ["iteration-000000006"]
    checkpoints.verify(elsewhere)

  @pytest.mark.parametrize("stray", ["file", "link"])
  def test_what_has_the_name_of_one_gives_way(self, trainer, folder, stray):
    trainer.iteration.assign(6)
    folder.mkdir()
    path = folder / "iteration-000000006"
    path.touch() if stray == "file" else path.symlink_to("nowhere")
    assert checkpoints.save(folder, trainer) == path
    checkpoints.verify(path)

  def test_never_removes_what_it_saves(self, trainer, folder):
    # Training goes on from 10, as 20 and 30 are damaged, and keeps fewer.
    for iteration in (10, 20, 30):
      trainer.iteration.assign(iteration)
      checkpoints.save(folder, trainer)
    for iteration in (20, 30):
      (folder / f"iteration-{iteration:09d}" / "manifest.json").unlink()
    trainer.iteration.assign(15)
    path = checkpoints.save(folder, trainer, keep=2)
    assert path.is_dir()
    checkpoints.verify(path)

  def test_leftovers_are_ignored_and_removed(self, trainer, other, folder):
    randomize(trainer, 4)
    path = checkpoints.save(folder, trainer)
    leftover = folder / ".partial-iteration-000000009"
    shutil.copytree(path, leftover)
    assert checkpoints.find(folder) == [path]
    assert checkpoints.restore_newest(folder, other, pytest.fail) == 4
    trainer.iteration.assign(5)
    checkpoints.save(folder, trainer)
    assert names(folder) == ["iteration-000000004", "iteration-000000005"]

  @pytest.mark.parametrize("iteration", [10, 11])  # replaced; kept no longer
  def test_killed_while_one_is_removed(
    self, trainer, folder, monkeypatch, iteration
  ):
    """None is there in part under the name of a whole one."""

    def killed(path, **_):
      if path.is_dir():
        next(path.glob("state.data*")).unlink()
        raise KeyboardInterrupt

    for before in (9, 10):
      trainer.iteration.assign(before)
      checkpoints.save(folder, trainer)
    trainer.iteration.assign(iteration)
    with monkeypatch.context() as patch:
      patch.setattr(shutil, "rmtree", killed)
      with pytest.raises(KeyboardInterrupt):
        checkpoints.save(folder, trainer, keep=1)
    found = checkpoints.find(folder)
    assert found
    for path in found:
      checkpoints.verify(path)
    checkpoints.save(folder, trainer, keep=1)
    assert names(folder) == [f"iteration-{iteration:09d}"]

  def test_failure_leaves_no_checkpoint(self, trainer, folder, monkeypatch):
    def fail(*_):
      raise OSError("disk full")

    monkeypatch.setattr(checkpoints.files, "write_json", fail)
    with pytest.raises(OSError, match="disk full"):
      checkpoints.save(folder, trainer)
    assert checkpoints.find(folder) == []

  def test_what_is_not_finite_is_not_saved(self, trainer, folder):
    trainer.trainable_variables[0].assign(
      np.nan * trainer.trainable_variables[0]
    )
    with pytest.raises(DivergedError, match="is not finite"):
      checkpoints.save(folder, trainer)
    assert checkpoints.find(folder) == []

  def test_how_long_training_took(self, trainer, folder):
    for iteration, seconds in ((5, 1.25), (9, 2.5)):
      trainer.iteration.assign(iteration)
      path = checkpoints.save(folder, trainer, seconds=seconds)
    assert checkpoints.seconds_at(folder, 5) == 1.25
    assert checkpoints.seconds_at(folder, 9) == 2.5
    (path / "clock.json").unlink()
    assert checkpoints.seconds_at(folder, 9) == 0.0


class TestFind:
  def test_newest_first(self, folder):
    assert checkpoints.find(folder) == []
    for name in (
      "iteration-000000010",
      "iteration-000000002",
      "iteration-000000100",
      ".partial-iteration-000000200",
      "iteration-5",
      "other",
    ):
      (folder / name).mkdir(parents=True)
    (folder / "iteration-000000300").touch()
    (folder / "iteration-000000400").symlink_to("nowhere")
    found = checkpoints.find(folder)
    assert [checkpoints.iteration_of(p) for p in found] == [100, 10, 2]

  def test_iteration_of_something_else(self):
    with pytest.raises(ValueError, match="not the name of a checkpoint"):
      checkpoints.iteration_of(pathlib.Path("iteration-5"))


class TestRestore:
  def test_the_whole_state_of_training(self, saved, other, folder):
    # Weights, baseline, three slots for each of them, and the iteration.
    weights = len(other.trainable_variables)
    assert len(other.variables) == 4 * weights + 1
    checkpoints.restore(folder / "iteration-000000010", other)
    assert_equal(values_of(other), saved[10])
    assert other.iteration.numpy() == 10

  def test_training_goes_on_with_the_same_numbers(
    self, make_trainer, folder, eagerly
  ):
    trainer, resumed, fresh = (
      make_trainer(estimator="reinforce") for _ in range(3)
    )
    trainer.train(1)
    path = checkpoints.save(folder, trainer)
    metrics = trainer.train(1)
    checkpoints.restore(path, resumed)
    assert resumed.train(1) == metrics
    assert_equal(values_of(resumed), values_of(trainer))
    assert fresh.train(1) != metrics

  def test_the_newest(self, saved, other, folder):
    assert checkpoints.restore_newest(folder, other, pytest.fail) == 20
    assert_equal(values_of(other), saved[20])

  def test_the_model_alone(self, saved, trainer, folder, small_config):
    model = AIRModel(small_config(estimator="reinforce", seed=5))
    assert checkpoints.restore_newest(folder, model, pytest.fail) == 20
    assert_equal(values_of(model), values_of(trainer.model))

  def test_the_model_without_its_baseline(
    self, saved, trainer, folder, small_config
  ):
    model = AIRModel(small_config(seed=5))
    checkpoints.restore(folder / "iteration-000000020", model)
    assert_equal(
      [v.numpy() for v in model.model_variables],
      [v.numpy() for v in trainer.model.model_variables],
    )

  def test_nothing_saved_yet(self, trainer, folder):
    before = values_of(trainer)
    assert checkpoints.restore_newest(folder, trainer, pytest.fail) is None
    folder.mkdir()
    assert checkpoints.restore_newest(folder, trainer, pytest.fail) is None
    assert_equal(values_of(trainer), before)

  @pytest.mark.parametrize("name", ["a[1]b", "a[", "b*?", "back\\slash", "]"])
  def test_from_a_folder_of_any_name(self, trainer, other, tmp_path, name):
    """Of which TensorFlow makes a pattern."""
    folder = tmp_path / name
    randomize(trainer, 3)
    checkpoints.save(folder, trainer)
    assert checkpoints.restore_newest(folder, other, pytest.fail) == 3
    assert_equal(values_of(other), values_of(trainer))

  @pytest.mark.parametrize("moment", ["verify", "read"])
  def test_while_another_process_replaces_them(
    self, trainer, other, folder, monkeypatch, moment
  ):
    randomize(trainer, 1)
    checkpoints.save(folder, trainer, keep=1)
    owner, name = {
      "verify": (checkpoints, "verify"),
      "read": (tf.train.Checkpoint, "read"),
    }[moment]
    function = getattr(owner, name)

    def replace(*arguments):
      if int(trainer.iteration.numpy()) == 1:
        randomize(trainer, 2)
        checkpoints.save(folder, trainer, keep=1)
      return function(*arguments)

    monkeypatch.setattr(owner, name, replace)
    assert checkpoints.restore_newest(folder, other, pytest.fail) == 2
    assert_equal(values_of(other), values_of(trainer))

  def test_after_the_folder_has_moved(self, saved, other, folder, tmp_path):
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    assert checkpoints.restore_newest(moved, other, pytest.fail) == 20
    assert_equal(values_of(other), saved[20])

  @pytest.mark.parametrize(
    "changes",
    [
      {"lstm_size": 9},
      {"where_parametrization": "3d"},
      {"hidden_sizes": (8,)},
      {"hidden_sizes": (8, 8, 8)},
    ],
    ids=str,
  )
  def test_another_model(self, saved, folder, small_config, changes):
    model = AIRModel(small_config(estimator="reinforce", **changes))
    with pytest.raises(CheckpointError, match="is of another model"):
      checkpoints.restore(folder / "iteration-000000020", model)

  @pytest.mark.parametrize("noted", [True, False])
  def test_another_model_is_said_in_a_line(
    self, saved, folder, small_config, caplog, monkeypatch, noted
  ):
    """And the checkpoint is not passed over."""
    newest = folder / "iteration-000000020"
    if not noted:
      forget_run(newest)
    monkeypatch.setattr(tf.get_logger(), "handlers", [caplog.handler])
    model = AIRModel(small_config(estimator="reinforce", lstm_size=9))
    with pytest.raises(CheckpointError, match="is of another model") as error:
      checkpoints.restore_newest(folder, model, pytest.fail)
    text = str(error.value)
    del error  # and with it what could not be restored
    gc.collect()
    assert "\n" not in text
    assert caplog.text == ""
    if noted:
      assert "lstm_size=9 (was 8)" in text

  def test_other_settings(self, saved, folder, make_trainer):
    trainer = make_trainer(estimator="reinforce", learning_rate=0.5)
    with pytest.raises(CheckpointError, match=r"settings than learning_rate"):
      checkpoints.restore_newest(folder, trainer, pytest.fail)

  def test_of_a_run(self, trainer, other, folder):
    path = checkpoints.save(folder, trainer, run_id="this")
    checkpoints.restore(path, other, "this")
    checkpoints.restore(path, other)
    with pytest.raises(CheckpointError, match="is of another run"):
      checkpoints.restore(path, other, "that")
    forget_run(path)  # as older versions saved it
    checkpoints.restore(path, other, "that")

  def test_a_baseline_that_the_checkpoint_lacks(
    self, make_trainer, other, folder
  ):
    path = checkpoints.save(folder, make_trainer())
    for target in (other, other.model):
      with pytest.raises(CheckpointError, match="is of another model"):
        checkpoints.restore(path, target)

  def test_a_baseline_that_the_trainer_lacks(self, saved, make_trainer, folder):
    with pytest.raises(CheckpointError, match="is of another model"):
      checkpoints.restore(folder / "iteration-000000020", make_trainer())


def truncate(path):
  path.write_bytes(path.read_bytes()[:-1])


def empty(path):
  path.write_bytes(b"")


def flip(path, position):
  data = bytearray(path.read_bytes())
  data[int(position * (len(data) - 1))] ^= 0xFF
  path.write_bytes(data)


def append(path):
  path.write_bytes(path.read_bytes() + b"\0")


FILES = (
  "state.index",
  "state.data-00000-of-00001",
  "clock.json",
  "run.json",
  "manifest.json",
)
DAMAGES = {
  "missing": pathlib.Path.unlink,
  "truncated": truncate,
  "empty": empty,
  "first byte": lambda path: flip(path, 0.0),
  "middle byte": lambda path: flip(path, 0.5),
  "last byte": lambda path: flip(path, 1.0),
}


class TestDamage:
  def test_these_are_the_files(self, saved, folder):
    assert names(folder / "iteration-000000020") == sorted(FILES)

  @pytest.mark.parametrize("damage", DAMAGES)
  @pytest.mark.parametrize("name", FILES)
  def test_is_noticed_and_passed_over(self, saved, other, folder, name, damage):
    newest = folder / "iteration-000000020"
    if (name, damage) == ("manifest.json", "truncated"):
      # The end of the line only, and what it says holds.
      truncate(newest / name)
    DAMAGES[damage](newest / name)
    before = values_of(other)
    with pytest.raises(CheckpointError, match="iteration-000000020"):
      checkpoints.restore(newest, other)
    assert_equal(values_of(other), before)
    warnings = []
    assert checkpoints.restore_newest(folder, other, warnings.append) == 10
    (warning,) = warnings
    assert "iteration-000000020" in warning
    assert_equal(values_of(other), saved[10])

  @pytest.mark.parametrize(
    ("owner", "function", "error"),
    [
      (pathlib.Path, "iterdir", OSError(errno.EMFILE, "too many")),
      (checkpoints, "_sha256", OSError(errno.EIO, "input/output")),
      (
        tf.train.Checkpoint,
        "read",
        tf.errors.UnknownError(None, None, "unknown"),
      ),
    ],
  )
  def test_what_cannot_be_read_is_not_damaged(
    self, saved, other, folder, monkeypatch, owner, function, error
  ):
    """Going on from the one before would in the end remove it."""
    found = checkpoints.find(folder)

    def fail(*_):
      raise error

    monkeypatch.setattr(checkpoints, "find", lambda _: found)
    monkeypatch.setattr(owner, function, fail)
    with pytest.raises(OSError, match=r"too many|input/output|unknown"):
      checkpoints.restore_newest(folder, other, pytest.fail)

  @pytest.mark.parametrize("name", FILES[:-1])
  def test_longer_files_are_noticed(self, saved, folder, name):
    newest = folder / "iteration-000000020"
    append(newest / name)
    with pytest.raises(CheckpointError, match=f"is damaged: {name}"):
      checkpoints.verify(newest)

  @pytest.mark.parametrize("manifest", ["{}", "[]", "3", "null", '{"a": "b"}'])
  def test_a_manifest_of_something_else(self, saved, folder, manifest):
    newest = folder / "iteration-000000020"
    (newest / "manifest.json").write_text(manifest)
    with pytest.raises(CheckpointError):
      checkpoints.verify(newest)

  def test_an_empty_folder(self, saved, folder):
    (folder / "iteration-000000030").mkdir()
    with pytest.raises(CheckpointError, match="is incomplete"):
      checkpoints.verify(folder / "iteration-000000030")

  def test_none_is_good(self, saved, other, folder):
    for iteration in (10, 20):
      flip(folder / f"iteration-{iteration:09d}" / FILES[1], 0.3)
    before = values_of(other)
    warnings = []
    with pytest.raises(CheckpointError, match="none of the checkpoints"):
      checkpoints.restore_newest(folder, other, warnings.append)
    assert len(warnings) == 2
    assert_equal(values_of(other), before)
