r"""Makes a moving picture of training: the same images at every checkpoint.

  python -m experiments.train --run_dir=runs/movie --iterations=5000 \
    --checkpoint_every=100 --keep_checkpoints=50
  python -m experiments.analysis.movie --run_dir=runs/movie

A frame shows the inputs, and below them the canvases with the window of each
step. The first frame is the model before training.

Writes RUN_DIR/figures/movie.webp. --movie writes elsewhere, also as .gif, or as
.mp4 if ffmpeg is installed.
"""

import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
from absl import flags
from etils import epy
from PIL import Image

from air.storage import files
from experiments.common import launcher, runs, trained
from experiments.common.launcher import UsageError
from experiments.common.progress import Task

with epy.lazy_imports():
  from air import evaluation
  from air.viz import figures

_SUFFIXES = (".webp", ".gif", ".mp4")
_LAST_SECONDS = 2.0  # that the last frame stays
# Spaces as wide as a digit and as a comma.
_BLANK_DIGIT = "\N{FIGURE SPACE}"
_BLANKS = {",": "\N{PUNCTUATION SPACE}"}


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  options = {"flag_values": flag_values, "module_name": "run"}
  trained.define_checkpoints_flags(flag_values)
  flags.DEFINE_string(
    "movie",
    "",
    "the file to write, .webp, .gif or .mp4; by default figures/movie.webp in"
    " the run's folder",
    **options,
  )
  flags.DEFINE_integer(
    "num_images", 8, "in a frame", lower_bound=1, upper_bound=100, **options
  )
  flags.DEFINE_float(
    "frames_per_second", 5.0, "speed", lower_bound=0.1, upper_bound=50.0,
    **options,
  )  # fmt: skip
  trained.define_dataset_flags(flag_values)


def main(flag_values: flags.FlagValues) -> None:
  """Draws the first validation images at each checkpoint, and joins them."""
  run = runs.load(runs.folder_of(flag_values))
  path = launcher.output_file(
    "movie", flag_values.movie or str(run.figures / "movie.webp")
  )
  if path.suffix not in _SUFFIXES:
    raise UsageError(
      f"movie is {path}, expected a name that ends in {', '.join(_SUFFIXES)}"
    )
  if path.suffix == ".mp4" and not shutil.which("ffmpeg"):
    raise UsageError(
      f"movie is {path}, for which ffmpeg is not installed; expected .webp or"
      " .gif, or ffmpeg"
    )
  paths = trained.checkpoints_at(run, flag_values.iterations)
  split = trained.load_dataset_of(run, flag_values).validation
  frames = []
  with Task("drawing frames", len(paths)) as task:
    for iteration, output in trained.inferred_at(
      run, dict(sorted(paths.items())), split.first(evaluation.BATCH_SIZE)
    ):
      title = f"iteration {_padded(iteration, max(paths))}"
      figure = figures.stages({title: output}, flag_values.num_images)
      frames.append(figures.rendered(figure))
      task.advance()
  _write(path, frames, flag_values.frames_per_second)
  print(f"movie: {path}, {len(frames)} frames")


def _padded(number: int, largest: int) -> str:
  """Returns a number, as wide as the largest, so that no frame moves."""
  text, widest = f"{number:,}", f"{largest:,}"
  blanks = widest[: len(widest) - len(text)]
  return "".join(_BLANKS.get(c, _BLANK_DIGIT) for c in blanks) + text


def _write(
  path: pathlib.Path, frames: Sequence[np.ndarray], per_second: float
) -> None:
  """Writes a movie.

  Args:
    path: of the file, whose suffix says the format.
    frames: `[H, W, 3]` uint8, all of one size.
    per_second: frames.
  """
  with files.replacing(path) as temporary:
    if path.suffix == ".mp4":
      _write_mp4(temporary, frames, per_second)
      return
    pictures = [Image.fromarray(frame) for frame in frames]
    durations = [round(1000 / per_second)] * len(frames)
    durations[-1] = max(durations[-1], round(1000 * _LAST_SECONDS))
    pictures[0].save(
      temporary,
      format=path.suffix[1:],
      save_all=True,
      append_images=pictures[1:],
      duration=durations,
      loop=0,
    )


def _write_mp4(
  path: pathlib.Path, frames: Sequence[np.ndarray], per_second: float
) -> None:
  height, width = (side - side % 2 for side in frames[0].shape[:2])
  last = [frames[-1]] * round(_LAST_SECONDS * per_second)
  command = [
    *("ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo"),
    *("-pixel_format", "rgb24", "-video_size", f"{width}x{height}"),
    *("-framerate", str(per_second), "-i", "-", "-pix_fmt", "yuv420p"),
    *("-f", "mp4", str(path)),
  ]
  pixels = b"".join(f[:height, :width].tobytes() for f in [*frames, *last])
  done = subprocess.run(command, input=pixels, capture_output=True)
  if done.returncode:
    reason = " ".join(done.stderr.decode(errors="replace").split())
    raise OSError(f"ffmpeg cannot write the movie: {reason}")


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
