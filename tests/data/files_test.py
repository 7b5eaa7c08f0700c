import contextlib
import os
import pathlib
import stat
import subprocess
import sys

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


class TestOwnFolder:
  def test_is_made_for_oneself_alone(self, tmp_path):
    before = os.umask(0)
    try:
      made = files.own_folder(tmp_path / "a" / "b")
    finally:
      os.umask(before)
    assert made == tmp_path / "a" / "b"
    for folder in (made, made.parent):
      assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert files.own_folder(made) == made

  def test_links_are_followed(self, tmp_path):
    (tmp_path / "folder").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to("folder")
    assert files.own_folder(tmp_path / "link") == tmp_path / "folder"

  @pytest.mark.parametrize("mode", [0o775, 0o757, 0o777, 0o1777])
  def test_what_others_can_write_to_is_none(self, tmp_path, mode):
    tmp_path.chmod(mode)
    with pytest.raises(PermissionError, match="other users can write there"):
      files.own_folder(tmp_path)
    if mode != 0o1777:  # in which what is ours stays ours
      with pytest.raises(PermissionError, match=str(tmp_path)):
        files.own_folder(tmp_path / "inside")
    else:
      assert files.own_folder(tmp_path / "inside").is_dir()

  @pytest.mark.parametrize("sticky", [0, stat.S_ISVTX])
  def test_what_is_in_the_folder_of_another_is_none(
    self, tmp_path, monkeypatch, sticky
  ):
    (tmp_path / "inside").mkdir(mode=0o700)
    tmp_path.chmod(0o755 | sticky)
    owner = tmp_path.stat().st_uid
    stat_of = pathlib.Path.stat

    def status(path, **options):
      found = list(stat_of(path, **options))
      found[stat.ST_UID] = owner if path.name == "inside" else 12345
      return os.stat_result(found)

    monkeypatch.setattr(pathlib.Path, "stat", status)
    with pytest.raises(PermissionError, match=r"owner 12345"):
      files.own_folder(tmp_path / "inside")


def test_streams_that_are_closed_are_opened():
  """Else the file that is opened next would get all that is complained."""
  code = (
    "import os, sys\n"
    "from data import files\n"
    "files.open_output()\n"
    "print('a', file=sys.stderr)\n"
    "files.note('b')\n"
    "print('c', flush=True)\n"
    "os._exit(os.open('/dev/null', os.O_RDONLY))"
  )
  for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
    done = subprocess.run(
      ["/bin/sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, code],
      cwd=pathlib.Path(files.__file__).parents[1],
      check=False,
    )
    assert done.returncode == 3


def test_a_line_that_nobody_can_read_is_no_error(monkeypatch):
  with open("/dev/full", "w") as full:
    monkeypatch.setattr(sys, "stderr", full)
    files.note("hello")
    monkeypatch.undo()
    with contextlib.suppress(OSError):
      full.close()
