"""Progress without a terminal: plain lines."""

import time

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
