"""Names that are broken into lines."""

import pytest

from air.viz import style


@pytest.mark.parametrize(
  ("text", "lines"),
  [
    ("short", ["short"]),
    ("", []),
    ("one line\nand another", ["one line", "and another"]),
    ("some words to break", ["some words to", "break"]),
    ("blog_steps_prior_hold=50", ["blog_steps_", "prior_hold=50"]),
    ("runs/default/seed-0", ["runs/default/", "seed-0"]),
    ("a=1,b=2 and c=3,d=4", ["a=1,b=2 and", "c=3,d=4"]),
    ("apartthatcannotbebroken", ["apartthatcannotbebroken"]),
  ],
)
def test_wrapped(text, lines):
  assert style.wrapped(text, 13) == lines


def test_the_seventh_step_has_the_colour_of_the_first():
  assert style.step_colour(6) == style.step_colour(0)
  assert len({style.step_colour(step) for step in range(6)}) == 6
