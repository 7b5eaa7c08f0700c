"""A run's folder: to itself, as it was left, and never in place of another."""

import contextlib
import errno
import fcntl
import json
import os
import shutil

import pytest
from absl import flags

from air.errors import CheckpointError, RunError
from air.storage import checkpoints, run_folder
from experiments import train
from experiments.common import opening, runs


@pytest.fixture
def run_dir(tiny_run, tmp_path):
  return shutil.copytree(tiny_run, tmp_path / "run")


def change_config(run_dir, **values):
  """Changes what config.json says of a run; None: as before it was noted."""
  path = run_dir / "config.json"
  config = {**json.loads(path.read_text()), **values}
  config = {k: v for k, v in config.items() if v is not None}
  path.write_text(json.dumps(config))


def contents(folder):
  return {
    path: path.read_bytes() for path in folder.rglob("*") if path.is_file()
  }


@pytest.fixture
def opened(tiny_flags):
  """A function that opens a run's folder as training does."""

  @contextlib.contextmanager
  def function(run_dir):
    flag_values = flags.FlagValues()
    train.define_flags(flag_values)
    flag_values(["train", f"--run_dir={run_dir}", *tiny_flags])
    with opening.opened(runs.load(run_dir), flag_values) as mine:
      yield mine

  return function


@pytest.fixture
def go_on(call, tiny_flags, eagerly):
  """A function that trains on in a folder."""

  def function(run_dir, *others):
    flags = ["--iterations=6", "--eval_every=2", *tiny_flags, *others]
    return call(train, f"--run_dir={run_dir}", *flags)

  return function


LOSSES = {
  "missing": lambda path: None,
  "an empty folder": lambda path: path.mkdir(),
  "a link to nowhere": lambda path: path.symlink_to("/no/such/disk"),
  "a file": lambda path: path.touch(),
}


@pytest.mark.parametrize("saved", [True, None], ids=["noted", "older"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_run_that_has_lost_its_checkpoints_is_kept(
  run_dir, go_on, capsys, loss, saved
):
  change_config(run_dir, saved=saved)
  shutil.rmtree(run_dir / "checkpoints")
  LOSSES[loss](run_dir / "checkpoints")
  before = contents(run_dir)
  assert go_on(run_dir) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert "has lost its checkpoints: there is none in" in error
  assert "--restart" in error
  assert contents(run_dir) == before


def test_what_was_before_the_first_checkpoint_begins_anew(
  run_dir, go_on, opened
):
  shutil.rmtree(run_dir / "checkpoints")
  change_config(run_dir, saved=False)
  with opened(run_dir):
    assert runs.load(run_dir).saved is False
  change_config(run_dir, saved=None)
  (run_dir / "evaluation.json").unlink()
  lines = (run_dir / "metrics.jsonl").read_text().splitlines(keepends=True)
  (run_dir / "metrics.jsonl").write_text(lines[0])
  assert go_on(run_dir) == 0
  assert runs.load(run_dir).saved is True


def test_restart_moves_the_old_run_aside(run_dir, go_on, capsys):
  shutil.rmtree(run_dir / "checkpoints")
  (run_dir / "config.json").write_text("damaged")
  taken = run_dir.with_name("run.old-1")
  taken.touch()
  before = [path.relative_to(run_dir) for path in contents(run_dir)]
  assert go_on(run_dir, "--restart") == 0
  aside = run_dir.with_name("run.old-2")
  assert f"the old run is now in {aside}\n" in capsys.readouterr().err
  assert [path.relative_to(aside) for path in contents(aside)] == before
  assert [e["iteration"] for e in runs.load(run_dir).read_metrics()] == [
    0, 2, 4, 6
  ]  # fmt: skip
  assert "restart\n" not in (run_dir / "flags.txt").read_text()
  # Where there is no run, there is nothing to be moved.
  assert go_on(run_dir.with_name("new"), "--restart") == 0
  assert not run_dir.with_name("new.old-1").exists()


def test_restart_moves_nothing_that_is_in_use(
  run_dir, go_on, opened, monkeypatch, capsys
):
  with opened(run_dir):
    assert go_on(run_dir, "--restart") == 2
  assert "another process is training" in capsys.readouterr().err
  monkeypatch.chdir(run_dir)
  assert go_on(".", "--restart") == 2
  assert "which cannot be moved aside" in capsys.readouterr().err
  assert go_on(run_dir, "--restart", "--what_size=0") == 2  # another mistake
  assert os.listdir(run_dir.parent) == ["run"]


@pytest.mark.parametrize("replaced", [False, True])
def test_a_folder_that_is_gone_is_not_written_to(
  run_dir, go_on, opened, replaced
):
  with opened(run_dir) as mine:
    mine.check()
    moved = run_dir.with_name("moved")
    run_dir.rename(moved)
    if replaced:
      shutil.copytree(moved, run_dir)
    before = contents(run_dir)
    with pytest.raises(RunError, match="was removed, moved or replaced"):
      mine.save(None)
    assert contents(run_dir) == before


def test_a_lock_of_a_folder_that_was_just_moved_is_none(
  run_dir, opened, monkeypatch
):
  flock = fcntl.flock

  def move_and_lock(*arguments):
    run_dir.rename(run_dir.with_name("moved"))
    flock(*arguments)

  monkeypatch.setattr(fcntl, "flock", move_and_lock)
  with pytest.raises(RunError, match="was removed, moved or replaced"):
    opened(run_dir).__enter__()


def test_a_file_system_without_locks(run_dir, go_on, monkeypatch, capsys):
  def fail(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

  before = contents(run_dir)
  monkeypatch.setattr(fcntl, "flock", fail)
  assert go_on(run_dir) == 2
  assert capsys.readouterr().err == (
    f"train: --run_dir is {run_dir}, which cannot be used: {run_dir}/.lock:"
    " cannot be locked: No locks available\n"
  )
  assert contents(run_dir) == before


def test_a_checkpoint_of_another_run_is_refused_and_kept(
  run_dir, go_on, capsys
):
  """Not passed over: what is newer than a run goes when it is saved."""
  other = run_dir.with_name("other")
  assert go_on(other) == 0
  [newest, *_] = checkpoints.find(other / "checkpoints")
  shutil.copytree(newest, run_dir / "checkpoints" / newest.name)
  capsys.readouterr()
  assert go_on(run_dir) == 2
  error = capsys.readouterr().err.splitlines()[-1]
  assert f"{newest.name} is of another run; expected those of" in error
  assert (run_dir / "checkpoints" / newest.name).exists()
  config, others = run_folder.read_config(run_dir)
  with pytest.raises(CheckpointError, match="is of another run"):
    run_folder.restore_model(run_dir, config, others["id"])


def test_a_run_older_than_identities_gets_one(run_dir, go_on):
  change_config(run_dir, id=None, saved=None)
  [old] = checkpoints.find(run_dir / "checkpoints")
  (old / "run.json").unlink()
  sums = json.loads((old / "manifest.json").read_text())
  del sums["run.json"]
  (old / "manifest.json").write_text(json.dumps(sums))
  assert go_on(run_dir) == 0
  identity = runs.load(run_dir).id
  assert identity
  [newest, *_] = checkpoints.find(run_dir / "checkpoints")
  assert json.loads((newest / "run.json").read_text())["id"] == identity
