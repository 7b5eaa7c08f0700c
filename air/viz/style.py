"""How all figures look: one palette, one width, one size of text."""

import re
import textwrap

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch

# The recommended colours of the Color Universal Design Organization (Okabe, Ito
# and others; version 4), which colour-blind readers tell apart.
BLACK = "#000000"
RED = "#FF4B00"
GREEN = "#03AF7A"
BLUE = "#005AFF"
SKY_BLUE = "#4DC4FF"
ORANGE = "#F6AA00"
YELLOW = "#FFF100"
PURPLE = "#990099"
LILAC = "#C9ACE6"
# Of what stays in the background.
GREY = "#A0A0A0"
# In place of what there is not.
ABSENT = "#EEEEEE"

# Of lines on white, those first that differ the most.
LINES = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY_BLUE, BLACK)
# Of the model's steps, on black: red, green and blue as in the blog post.
STEPS = (RED, GREEN, SKY_BLUE, YELLOW, LILAC, ORANGE)

# Inches. A page shows a figure some eight inches wide at most, of 100 pixels
# each, where text of this size, in points, can still be read.
WIDTH = 8.0
TEXT_SIZE = 8
_DOTS_PER_INCH = 150


def figure(height: float, width: float = WIDTH) -> Figure:
  """Returns an empty figure.

  Args:
    height: inches.
    width: inches.
  """
  return Figure(
    figsize=(width, height),
    dpi=_DOTS_PER_INCH,
    layout=ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03),
  )


def step_colour(step: int) -> str:
  """Returns the colour of a step, 0..T-1; the seventh has that of the first."""
  return STEPS[step % len(STEPS)]


def step_patches(num_steps: int) -> list[Patch]:
  """Returns the handles of a legend: "step 1" to "step T", in their colours."""
  return [
    Patch(color=step_colour(step), label=f"step {step + 1}")
    for step in range(num_steps)
  ]


class _Wrapper(textwrap.TextWrapper):
  """Breaks lines also after commas, slashes and underscores."""

  wordsep_re = re.compile(r"(\s+)|(?<=[,/_])")


def wrapped(text: str, width: int) -> list[str]:
  """Returns a text in lines, as names of runs are: broken between their parts.

  Args:
    text: which may have lines of its own.
    width: the most characters in a line, if there is no longer part.
  """
  wrapper = _Wrapper(width, break_long_words=False)
  return [part for line in text.split("\n") for part in wrapper.wrap(line)]
