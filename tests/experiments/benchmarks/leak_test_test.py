"""The leak test itself: what it sees of a process, and what it calls a leak."""

import json
import os
import sys

import pytest

from experiments.benchmarks import leak_test
from experiments.common.launcher import UsageError

# Each evaluation takes a file, a thread and 8 MiB more.
LEAKING = """
import pathlib, sys, threading, time
folder = pathlib.Path(sys.argv[1])
folder.mkdir()
kept = []
for n in range(1, 13):
  kept.append((open(sys.argv[0] or "/dev/null"), b"x" * 2**23))
  threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
  (folder / "metrics.jsonl").write_text(n * "{}\\n")
  time.sleep(0.1)
"""


@pytest.fixture
def frequent_looks(monkeypatch):
  monkeypatch.setattr(leak_test, "_SECONDS_BETWEEN_LOOKS", 0.02)


def test_what_grows_is_seen(tmp_path, frequent_looks):
  script = tmp_path / "leaking.py"
  script.write_text(LEAKING)
  folder = tmp_path / "run"
  looks = leak_test.watch([sys.executable, str(script), str(folder)], folder)
  grown = leak_test.growth(looks)
  assert grown["files"] == pytest.approx(1, abs=0.3)
  assert grown["threads"] == pytest.approx(1, abs=0.3)
  assert grown["memory"] == pytest.approx(8, abs=3)


def test_a_run_that_fails(tmp_path, frequent_looks):
  with pytest.raises(UsageError, match=r"status 3, see .*run\.log"):
    leak_test.watch([sys.executable, "-c", "exit(3)"], tmp_path / "run")


@pytest.mark.parametrize("leak", [None, "memory", "threads", "files"])
def test_what_is_called_a_leak(call, tmp_path, monkeypatch, capsys, leak):
  def watch(command, folder):
    assert "--iterations=99" in command
    assert f"--run_dir={folder}" in command
    # Much is taken at first, and then no more.
    return {
      n: {
        name: 100 + min(n, 10) + (0.1 * n if name == leak else 0)
        for name in ("memory", "threads", "files")
      }
      for n in range(1, 101)
    }

  monkeypatch.setattr(leak_test, "watch", watch)
  numbers, figure = tmp_path / "a.json", tmp_path / "a.png"
  flags = [f"--out={tmp_path / 'run'}", f"--figure={figure}"]
  status = call(leak_test, *flags, f"--json={numbers}", "--evaluations=100")
  leaks = capsys.readouterr().out.splitlines()[-1]
  assert status == (leak is not None)
  assert leaks.startswith(f"leaks: {leak or 'none'}")
  assert figure.exists()
  found = json.loads(numbers.read_text())
  assert found["evaluations"] == list(range(1, 101))
  assert len(found["memory"]) == 100


def test_this_process():
  look = leak_test._look(os.getpid())
  assert 10 < look["memory"] < 10_000
  assert look["threads"] >= 1
  assert look["files"] >= 3
