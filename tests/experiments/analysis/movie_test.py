"""A moving picture of training, on a tiny run."""

import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from air.viz import figures
from experiments.analysis import movie


@pytest.fixture
def run_dir(tiny_run, tmp_path):
  return shutil.copytree(tiny_run, tmp_path / "run")


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_a_frame_for_each_checkpoint(
  call, run_dir, tmp_path, suffix, monkeypatch, capsys, eagerly
):
  titles = []
  stages = figures.stages

  def spy(outputs, *arguments):
    titles.extend(outputs)
    return stages(outputs, *arguments)

  monkeypatch.setattr(figures, "stages", spy)
  arguments = [f"--run_dir={run_dir}", "--frames_per_second=4"]
  path = run_dir / "figures" / "movie.webp"
  if suffix == ".gif":
    path = tmp_path / "other.gif"
    arguments.append(f"--movie={path}")
  assert call(movie, *arguments) == 0
  assert titles == ["iteration 0", "iteration 4"]
  assert "2 frames" in capsys.readouterr().out
  frames, durations = [], []
  with Image.open(path) as picture:
    assert picture.info["loop"] == 0
    for index in range(picture.n_frames):
      picture.seek(index)
      frames.append(np.asarray(picture.convert("RGB"), int))
      durations.append(picture.info["duration"])
  assert len(frames) == 2
  assert durations == [250, 2000]
  assert np.abs(frames[0] - frames[1]).max() > 30


def test_no_frame_moves():
  titles = [movie._padded(number, 12_000) for number in (0, 400, 12_000)]
  assert titles[0] == "\u2007\u2007\u2008\u2007\u20070"
  assert titles[1] == "\u2007\u2007\u2008400"
  assert titles[2] == "12,000"


def test_mp4_needs_ffmpeg(call, run_dir, monkeypatch, capsys, eagerly):
  movie_flag = f"--movie={run_dir / 'movie.mp4'}"
  monkeypatch.setattr(shutil, "which", lambda name: None)
  assert call(movie, f"--run_dir={run_dir}", movie_flag) == 2
  assert "ffmpeg is not installed" in capsys.readouterr().err

  written = []

  def ffmpeg(command, input, capture_output):
    width, height = map(
      int, command[command.index("-video_size") + 1].split("x")
    )
    frames = np.frombuffer(input, np.uint8).reshape(-1, height, width, 3)
    written.append(len(frames))
    with open(command[-1], "wb") as file:
      file.write(b"a movie")
    return subprocess.CompletedProcess(command, 0, b"", b"")

  monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
  monkeypatch.setattr(subprocess, "run", ffmpeg)
  assert call(movie, f"--run_dir={run_dir}", movie_flag) == 0
  # The last frame stays for two seconds at five frames a second.
  assert written == [2 + 10]
  assert (run_dir / "movie.mp4").read_bytes() == b"a movie"


def test_a_failing_ffmpeg_leaves_nothing(
  call, run_dir, monkeypatch, capsys, eagerly
):
  monkeypatch.setattr(shutil, "which", lambda name: name)
  monkeypatch.setattr(
    subprocess,
    "run",
    lambda *_, **__: subprocess.CompletedProcess([], 1, b"", b"no codec\n"),
  )
  path = run_dir / "movie.mp4"
  assert call(movie, f"--run_dir={run_dir}", f"--movie={path}") == 1
  assert "no codec" in capsys.readouterr().err
  assert not path.exists()


def test_another_format_is_refused(call, run_dir, capsys):
  assert call(movie, f"--run_dir={run_dir}", "--movie=movie.avi") == 2
  assert "ends in .webp, .gif, .mp4" in capsys.readouterr().err
