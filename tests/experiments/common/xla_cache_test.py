"""Compiled programs that are kept: whole ones only, and only where they may."""

import collections
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

from experiments.common import machine, xla_cache

_PROGRAM = """
import experiments
import tensorflow as tf
from experiments.common import xla_cache

@tf.function(jit_compile=True)
def double(x):
  return 2.0 * x

print(float(double(tf.constant(21.0))))
xla_cache.seal()
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  monkeypatch.delenv("TF_XLA_FLAGS")
  return tmp_path


def program(name="a", content=b"program"):
  path = xla_cache.folder() / f"air__{name}__XLA_CPU_JIT.pb"
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(content)
  return path


@pytest.mark.parametrize("name", ["cache", 'a "b\\ [c]'])
def test_a_second_process_takes_what_the_first_compiled(
  cache, monkeypatch, name
):
  monkeypatch.setenv("XDG_CACHE_HOME", str(cache / name))

  def run():
    output = subprocess.run(
      [sys.executable, "-c", _PROGRAM], capture_output=True, text=True
    )
    assert output.stdout.split() == ["42.0"], output.stderr
    return {
      path.relative_to(cache): path.stat().st_mtime_ns
      for path in cache.rglob("air__*")
    }

  first = run()
  assert len(first) == 2  # the program and its checksum
  assert run() == first


def test_only_sealed_programs_are_left_for_tensorflow(monkeypatch):
  xla_cache.enable()
  sealed, changed, cut_off, unreadable = (program(name) for name in "abcd")
  xla_cache.seal()
  changed.write_bytes(b"Program")
  cut_off.write_bytes(b"prog")
  pathlib.Path(f"{unreadable}.sha256").write_bytes(b"\xff\xfe")
  unsealed = program("e")
  monkeypatch.delenv("TF_XLA_FLAGS")
  xla_cache.enable()
  assert str(sealed.parent) in os.environ["TF_XLA_FLAGS"]
  left = {path.name for path in sealed.parent.iterdir()}
  assert left == {sealed.name, sealed.name + ".sha256"}
  assert sealed.read_bytes() == b"program"
  assert not unsealed.exists()


def test_the_oldest_go(monkeypatch):
  monkeypatch.setattr(xla_cache, "_KEPT", 2)
  xla_cache.enable()
  paths = [program(name) for name in "abc"]
  for age, path in enumerate(paths):
    os.utime(path, (time.time() - age, time.time() - age))
  xla_cache.seal()
  monkeypatch.delenv("TF_XLA_FLAGS")
  xla_cache.enable()
  assert [path.exists() for path in paths] == [True, True, False]


def test_what_a_killed_process_left_goes_once_it_is_old():
  paths = [program().with_name(f"{name}.tmp") for name in ("new", "old")]
  for path in paths:
    path.touch()
  os.utime(paths[1], (0, 0))
  xla_cache.enable()
  assert [path.exists() for path in paths] == [True, False]


def test_the_users_flags_stay(monkeypatch):
  monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_auto_jit=2")
  kept = program()
  xla_cache.enable()
  xla_cache.seal()
  assert os.environ["TF_XLA_FLAGS"] == "--tf_xla_auto_jit=2"
  assert list(kept.parent.iterdir()) == [kept]


def test_a_process_with_other_threads_has_its_own_folder(monkeypatch):
  """What the process that started it had set is not taken for the user's."""
  xla_cache.enable()
  first = os.environ["TF_XLA_FLAGS"]
  monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "77")
  xla_cache.enable()
  assert str(xla_cache.folder()) in os.environ["TF_XLA_FLAGS"] != first


def test_what_to_expect_depends_on_what_is_kept(monkeypatch):
  monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_auto_jit=2")
  program()
  assert xla_cache.expected() == "about 10 s on two idle cores"
  monkeypatch.delenv("TF_XLA_FLAGS")
  xla_cache.enable()  # to which an unsealed program is none
  assert xla_cache.expected().startswith("about 10 s the first time, 3 s later")
  program()
  assert xla_cache.expected().startswith(
    "about 3 s if it was compiled before, else 10 s"
  )


@pytest.mark.parametrize("what", ["folder", "parent", "program", "checksum"])
def test_what_others_can_write_is_not_taken(monkeypatch, caplog, what):
  """TensorFlow would run it."""
  xla_cache.enable()
  path = program()
  xla_cache.seal()
  monkeypatch.delenv("TF_XLA_FLAGS")
  checksum = path.with_name(f"{path.name}.sha256")
  written = {
    "folder": path.parent,
    "parent": path.parent.parent,
    "program": path,
    "checksum": checksum,
  }[what]
  written.chmod(written.stat().st_mode | 0o020)
  xla_cache.enable()
  if path == written or checksum == written:
    assert not path.exists()
  else:
    assert "TF_XLA_FLAGS" not in os.environ
    assert "compiled programs are not kept: [Errno 1] other" in caplog.text
    assert path.exists()


def test_without_room_nothing_is_kept(monkeypatch):
  usage = collections.namedtuple("usage", "free")
  monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 20))
  xla_cache.enable()
  assert "TF_XLA_FLAGS" not in os.environ


def test_where_one_may_not_write_nothing_is_kept(monkeypatch):
  def refuse(*args, **kwargs):
    raise PermissionError("read-only")

  monkeypatch.setattr(pathlib.Path, "touch", refuse)
  xla_cache.enable()
  assert "TF_XLA_FLAGS" not in os.environ


def test_a_number_of_threads_that_is_none(monkeypatch):
  monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "abc")
  xla_cache.enable()
  assert "TF_XLA_FLAGS" in os.environ
  assert machine.threads() == machine.processors()


@pytest.mark.parametrize("change", ["threads", "flags"])
def test_another_machine_has_a_folder_of_its_own(monkeypatch, change):
  before = xla_cache.folder()
  assert xla_cache.folder() == before
  if change == "threads":
    monkeypatch.setattr(machine, "threads", lambda: 77)
  else:
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
  assert xla_cache.folder() != before
