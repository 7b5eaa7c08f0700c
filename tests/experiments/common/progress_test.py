"""Progress, on a terminal and elsewhere."""

import fcntl
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time

import pytest

from experiments.common import progress


def test_lines_say_what_the_bar_would(monkeypatch, capsys):
  now = [100.0]
  monkeypatch.setattr(time, "monotonic", lambda: now[0])
  shown = progress.Progress(0, 1000)
  shown.evaluated({"iteration": 0, "elbo": 12.34, "count_accuracy": 0.25})
  for _ in range(3):
    shown.start()
    now[0] += 5.0
    shown.advance(50)
  shown.close()
  lines = capsys.readouterr().err.splitlines()
  assert lines == [
    "iteration 0: validation ELBO 12.3, counts 25.00%",
    "iteration 100/1000: 10.0 it/s, 01:30 to go, ELBO 12.3, counts 25.00%",
  ]
  assert shown.speed == 10.0


def test_the_speed_is_a_moving_average(monkeypatch):
  now = [0.0]
  monkeypatch.setattr(time, "monotonic", lambda: now[0])
  shown = progress.Progress(0, 1000)
  for seconds in (5.0, 10.0):
    shown.start()
    now[0] += seconds
    shown.advance(50)
    now[0] += 100.0  # an evaluation, which does not count
  assert shown.speed == 0.8 * 10.0 + 0.2 * 5.0


class Clock:
  """Time that passes when it is told to, for a task's thread too."""

  def __init__(self, monkeypatch):
    self.now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: self.now)
    # Which then looks when it is asked to.
    monkeypatch.setattr(progress.Task, "_keep_showing", lambda _: None)

  def show(self, task, seconds):
    """Has a task look after so many seconds."""
    self.now += seconds
    task._show()


def test_a_task_writes_a_line_and_one_every_ten_seconds(monkeypatch, capsys):
  clock = Clock(monkeypatch)
  with progress.Task("compiling", expected="about 10 s") as task:
    clock.show(task, 1.0)
    for _ in range(6):
      clock.show(task, 4.0)
    clock.show(task, 9.0)
    clock.show(task, 60.0)
  captured = capsys.readouterr()
  assert captured.out == ""
  assert captured.err.splitlines() == [
    "compiling: 1 s (about 10 s)",
    "compiling: 13 s (about 10 s)",
    "compiling: 25 s (about 10 s)",
    "compiling: 01:34 (about 10 s)",
  ]


def test_a_task_says_how_far_it_is(monkeypatch, capsys):
  clock = Clock(monkeypatch)
  with progress.Task("reading") as task:
    seen = []
    for item in task.over(range(4_000)):
      seen.append(item)
      if item == 0:
        clock.show(task, 1.0)
      if item == 1_000:
        task.doing = "still reading"
        clock.show(task, 10.0)
  assert seen == list(range(4_000))
  assert capsys.readouterr().err.splitlines() == [
    "reading: 0 of 4,000, 1 s",
    "still reading: 1,000 of 4,000, 11 s, 33 s to go",
  ]


def test_of_a_single_thing_nothing_is_counted(monkeypatch, capsys):
  clock = Clock(monkeypatch)
  with progress.Task("reading") as task:
    for _ in task.over(["all"]):
      clock.show(task, 1.0)
  assert capsys.readouterr().err == "reading: 1 s\n"


def test_what_is_done_at_once_is_not_shown(monkeypatch, capsys):
  """Nor what a task's end, by whatever error, leaves."""
  monkeypatch.setattr(progress, "_SECONDS_BEFORE_FIRST", 60.0)
  with pytest.raises(KeyError), progress.Task("reading") as task:
    raise KeyError
  assert not task._thread.is_alive()
  assert capsys.readouterr() == ("", "")


def test_a_task_that_nobody_can_see_goes_on(monkeypatch):
  monkeypatch.setattr(progress, "_SECONDS_BEFORE_FIRST", 0.01)
  monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LOOKS", 0.01)
  looks = []

  def no_room(task):
    looks.append(task)
    raise OSError("No space left on device")

  monkeypatch.setattr(progress.Task, "_show", no_room)
  with progress.Task("reading"):
    while len(looks) < 3:
      time.sleep(0.01)


TERMINAL = """
import logging, sys, time
from experiments.common import progress

logging.basicConfig(format="%(message)s")
progress._SECONDS_BEFORE_FIRST = progress._SECONDS_BETWEEN_LOOKS = 0.05
with progress.Task("reading", expected="not long") as task:
  time.sleep(0.4)
  logging.warning("what is logged")
  time.sleep(0.4)
print("stdout")
"""


def test_training_that_nobody_can_see_goes_on(monkeypatch):
  """Its terminal is closed, and what is written there is an error."""
  terminal, other = pty.openpty()
  stderr = open(other, "w")  # noqa: SIM115, what is in it cannot be written
  monkeypatch.setattr(sys, "stderr", stderr)
  shown = progress.Progress(0, 1000)
  os.close(terminal)
  for live in (True, False):
    shown._line.is_live = live
    shown.start()
    shown.advance(10)
    shown.evaluated({"iteration": 10, "elbo": 1.0})
  shown.close()
  with pytest.raises(OSError, match="Input/output error"):
    stderr.close()


def test_on_a_terminal_a_line_is_rewritten_and_gone_in_the_end():
  screen, terminal = pty.openpty()
  size = struct.pack("HHHH", 24, 80, 0, 0)
  fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)
  process = subprocess.Popen(
    [sys.executable, "-c", TERMINAL],
    stdout=subprocess.PIPE,
    stderr=terminal,
    text=True,
  )
  os.close(terminal)
  shown = b""
  try:
    while content := os.read(screen, 1 << 16):
      shown += content
  except OSError:  # that is how a terminal ends
    pass
  os.close(screen)
  assert process.communicate()[0] == "stdout\n"
  assert process.returncode == 0
  lines = re.split(r"[\r\n]+", shown.decode())
  assert lines.count("what is logged") == 1
  assert shown.count(b"\n") == 1
  rewritten = [line for line in lines if line.startswith("reading: ")]
  assert len(rewritten) > 2
  assert set(rewritten) <= {f"reading: {s} s (not long)" for s in range(60)}
  assert lines[-2:] == [" " * len(rewritten[-1]), ""]


def test_the_log_is_as_before_a_task(caplog):
  with progress.Task("reading"):
    logging.warning("what is logged")
  assert caplog.messages == ["what is logged"]
