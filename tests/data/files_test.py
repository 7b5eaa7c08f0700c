import os

import pytest

from data import files


def test_replaces_the_file_when_the_block_succeeds(tmp_path):
  path = tmp_path / "new" / "file.bin"
  for content in (b"first", b"second"):
    with files.replacing(path) as file:
      file.write(content)
    assert path.read_bytes() == content
  assert list(path.parent.iterdir()) == [path]


def test_is_on_disk_before_the_old_file_goes(tmp_path, monkeypatch):
  path = tmp_path / "file.bin"
  path.write_bytes(b"old")
  synced = []

  def sync(handle):
    assert path.read_bytes() == b"old"
    synced.append(os.fstat(handle).st_size)

  monkeypatch.setattr(os, "fsync", sync)
  with files.replacing(path) as file:
    file.write(b"newer")
  assert synced == [5]


def test_leaves_the_old_file_and_no_other_when_the_block_fails(tmp_path):
  path = tmp_path / "file.bin"
  path.write_bytes(b"old")

  def fail():
    with files.replacing(path) as file:
      file.write(b"half of the n")
      raise RuntimeError

  with pytest.raises(RuntimeError):
    fail()
  assert path.read_bytes() == b"old"
  assert list(tmp_path.iterdir()) == [path]


def test_two_writers_do_not_disturb_each_other(tmp_path):
  path = tmp_path / "file.bin"
  with files.replacing(path) as first:
    first.write(b"first")
    with files.replacing(path) as second:
      second.write(b"second")
    assert path.read_bytes() == b"second"
  assert path.read_bytes() == b"first"
  assert list(tmp_path.iterdir()) == [path]


def test_removes_what_a_killed_process_left_a_day_ago(tmp_path):
  path = tmp_path / "file.bin"
  stale = tmp_path / ".file.bin.1-aa.tmp"
  fresh = tmp_path / ".file.bin.2-bb.tmp"
  stale.touch()
  fresh.touch()
  os.utime(stale, (0, 0))
  with files.replacing(path):
    pass
  assert sorted(tmp_path.iterdir()) == sorted([path, fresh])
