"""Files that appear whole or not at all."""

import errno
import json
import os
import stat

import pytest

from air.storage import files


@pytest.fixture
def umask():
  """A function that sets the umask until the test ends."""
  old = os.umask(0o022)
  yield os.umask
  os.umask(old)


def half_write(path):
  with files.replacing(path) as temporary:
    temporary.write_text("half of the n")
    raise RuntimeError("disk full")


def test_replaces_the_file_when_the_body_succeeds(tmp_path):
  path = tmp_path / "new" / "folder" / "file.txt"
  for text in ("first", "second"):
    with files.replacing(path) as temporary:
      assert temporary.parent == path.parent
      assert temporary != path
      temporary.write_text(text)
      if text == "second":
        assert path.read_text() == "first"
    assert path.read_text() == text
  assert list(path.parent.iterdir()) == [path]


def test_failure_keeps_the_old_file_and_leaves_no_other(tmp_path):
  path = tmp_path / "file.txt"
  path.write_text("old")
  with pytest.raises(RuntimeError, match="disk full"):
    half_write(path)
  assert path.read_text() == "old"
  assert list(tmp_path.iterdir()) == [path]


def test_failure_makes_no_file(tmp_path):
  with pytest.raises(RuntimeError, match="disk full"):
    half_write(tmp_path / "file.txt")
  assert not list(tmp_path.iterdir())


def test_a_failed_rename_leaves_no_temporary_file(tmp_path):
  path = tmp_path / "folder"
  (path / "inside").mkdir(parents=True)
  with pytest.raises(OSError, match="folder"), files.replacing(path) as file:
    file.write_text("text")
  assert list(tmp_path.iterdir()) == [path]


def test_the_body_may_replace_the_temporary_file(tmp_path):
  # As libraries that write atomically themselves do.
  path = tmp_path / "file.txt"
  with files.replacing(path) as temporary:
    temporary.unlink()
    temporary.write_text("text")
  assert path.read_text() == "text"


@pytest.mark.parametrize(
  ("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)]
)
def test_permissions_are_those_of_an_ordinary_file(tmp_path, umask, mask, mode):
  umask(mask)
  files.write_text(tmp_path / "file.txt", "text")
  (tmp_path / "ordinary.txt").write_text("text")
  for name in ("file.txt", "ordinary.txt"):
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode
  assert os.umask(mask) == mask  # as it was


def test_write_text(tmp_path):
  files.write_text(tmp_path / "file.txt", "π ≈ 3\n")
  assert (tmp_path / "file.txt").read_bytes() == "π ≈ 3\n".encode()


def test_write_json(tmp_path):
  value = {"a": [1, 2.5, None], "b": {"c": "d"}}
  files.write_json(tmp_path / "file.json", value)
  text = (tmp_path / "file.json").read_text()
  assert json.loads(text) == value
  assert text.endswith("}\n")


def test_what_json_cannot_hold_keeps_the_old_file(tmp_path):
  path = tmp_path / "file.json"
  files.write_json(path, 1)
  with pytest.raises(TypeError):
    files.write_json(path, {"a": object()})
  assert path.read_text() == "1\n"


class TestNewFolder:
  def test_appears_when_the_body_succeeds(self, tmp_path):
    path = tmp_path / "new" / "folder"
    with files.new_folder(path) as temporary:
      assert temporary.parent == path.parent
      (temporary / "deeper").mkdir()
      (temporary / "deeper" / "file.txt").write_text("text")
      assert not path.exists()
    assert (path / "deeper" / "file.txt").read_text() == "text"
    assert list(path.parent.iterdir()) == [path]

  def test_all_of_it_is_on_disk_before(self, tmp_path, monkeypatch):
    synced = set()
    monkeypatch.setattr(
      os, "fsync", lambda handle: synced.add(os.fstat(handle).st_ino)
    )
    path = tmp_path / "folder"
    with files.new_folder(path) as temporary:
      (temporary / "deeper").mkdir()
      (temporary / "deeper" / "file.txt").write_text("text")
    written = (path, *path.rglob("*"), tmp_path)
    assert synced == {p.stat().st_ino for p in written}

  def test_has_the_usual_mode(self, tmp_path, umask):
    umask(0o027)
    with files.new_folder(tmp_path / "folder"):
      pass
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o750

  def test_takes_the_place_of_an_empty_folder(self, tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    with files.new_folder(path) as temporary:
      (temporary / "file.txt").write_text("text")
    assert [p.name for p in path.iterdir()] == ["file.txt"]

  def test_keeps_what_is_there(self, tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with pytest.raises(OSError, match="not empty"), files.new_folder(path):
      pass
    assert [p.name for p in tmp_path.rglob("*")] == ["folder", "old.txt"]

  def test_failure_leaves_nothing(self, tmp_path):
    def fail():
      with files.new_folder(tmp_path / "folder") as temporary:
        (temporary / "half.txt").write_text("half")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
      fail()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_synced(tmp_path, monkeypatch):
  """As some network file systems; what fails otherwise is an error."""

  def fail(number):
    def sync(_):
      raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", sync)

  fail(errno.EINVAL)
  files.write_text(tmp_path / "file", "text")
  fail(errno.EIO)
  with pytest.raises(OSError, match="Input/output error") as error:
    files.write_text(tmp_path / "file", "other")
  assert error.value.errno == errno.EIO
  assert (tmp_path / "file").read_text() == "text"
  assert os.listdir(tmp_path) == ["file"]


def test_only_regular_files_are_read(tmp_path):
  os.mkfifo(tmp_path / "pipe")
  (tmp_path / "link").symlink_to("pipe")
  for name in ("pipe", "link", "."):
    with pytest.raises(OSError, match="it is no regular file"):
      files.open_regular(tmp_path / name)
  with pytest.raises(FileNotFoundError):
    files.open_regular(tmp_path / "missing")


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"{", "Expecting"),
    (b"[1]", "it is list, expected an object"),
    (b'{"a":' + 100_000 * b"[", "it is nested too deeply"),
    (b"{" + 100 * b" ", "it is larger than"),
    (b'"\xff"', "utf-8"),
    (b'{"a": ' + 5000 * b"9" + b"}", "digits"),
  ],
)
def test_what_is_no_object_is_a_value_error(
  tmp_path, monkeypatch, content, message
):
  if message == "it is larger than":
    monkeypatch.setattr(files, "_MAX_TEXT_BYTES", 100)
  (tmp_path / "a.json").write_bytes(content)
  with pytest.raises(ValueError, match=message):
    files.read_json(tmp_path / "a.json")
