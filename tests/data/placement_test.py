import collections
import itertools
import time

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from data import placement
from data.errors import DataError


def _overlap(a, b):
  """Whether boxes (y0, x0, h, w) share a pixel, pixel by pixel."""
  pixels = [
    set(itertools.product(range(y, y + h), range(x, x + w)))
    for y, x, h, w in (a, b)
  ]
  return bool(pixels[0] & pixels[1])


def _valid_placements(sizes, canvas_size):
  """Enumerates the joint placements without overlap."""
  positions = [
    list(
      itertools.product(
        range(canvas_size[0] - h + 1), range(canvas_size[1] - w + 1)
      )
    )
    for h, w in sizes
  ]
  return [
    placed
    for placed in itertools.product(*positions)
    if not any(
      _overlap((*placed[i], *sizes[i]), (*placed[j], *sizes[j]))
      for i, j in itertools.combinations(range(len(sizes)), 2)
    )
  ]


def _place(sizes, canvas_size, count, seed=0, overlap=False):
  repeated = np.tile(np.array(sizes), (count, 1, 1))
  rng = np.random.default_rng(seed)
  return placement.place(repeated, canvas_size, overlap, rng)


def _assert_uniform(samples, outcomes):
  """Chi-square test at five standard deviations."""
  frequencies = collections.Counter(samples)
  assert set(frequencies) <= set(outcomes)
  expected = len(samples) / len(outcomes)
  assert expected >= 20
  observed = np.array([frequencies[outcome] for outcome in outcomes])
  statistic = ((observed - expected) ** 2 / expected).sum()
  freedom = len(outcomes) - 1
  assert statistic < freedom + 5 * np.sqrt(2 * freedom) + 5


def _as_tuples(origins):
  return [tuple(map(tuple, placed)) for placed in origins.tolist()]


@pytest.mark.parametrize(
  ("sizes", "canvas_size"),
  [
    ([(2, 3)], (5, 7)),
    ([(2, 3), (3, 1)], (5, 4)),
    # Were only one of the two drawn anew, the other would stay uniform.
    ([(1, 2), (1, 2)], (1, 5)),
    ([(2, 2), (2, 2)], (4, 4)),
    ([(1, 2), (2, 1), (1, 1)], (3, 3)),
  ],
)
def test_placements_are_uniform_over_the_valid_ones(sizes, canvas_size):
  valid = _valid_placements(sizes, canvas_size)
  origins = _place(sizes, canvas_size, count=100 * len(valid))
  _assert_uniform(_as_tuples(origins), valid)


def test_overlapping_boxes_are_independent():
  origins = _place([(2, 2), (3, 1)], (4, 4), count=100 * 9 * 8, overlap=True)
  positions = [
    list(itertools.product(range(3), range(3))),
    list(itertools.product(range(2), range(4))),
  ]
  _assert_uniform(_as_tuples(origins), list(itertools.product(*positions)))


def test_crowded_boxes_go_in_turn_largest_first():
  sizes, canvas_size = np.array([(1, 1), (1, 3)]), (1, 6)
  rng = np.random.default_rng(0)
  origins = np.array(
    [placement._place_in_turn(sizes, canvas_size, rng) for _ in range(2_400)]
  )
  # The large one is uniform over 4 positions, the small one over the 3 left.
  # In the other order, the small one would not be at the ends as often.
  _assert_uniform(_as_tuples(origins), _valid_placements(sizes, canvas_size))


def test_what_rejection_does_not_find_is_found_in_turn():
  # The four boxes fit in the corners only: 24 of 441^4 placements.
  origins = _place([(20, 20)] * 4, (40, 40), count=50)
  for placed in origins.tolist():
    assert sorted(placed) == [[0, 0], [0, 20], [20, 0], [20, 20]]


def test_tight_packing_that_needs_an_order_is_found():
  sizes = [(20, 16), (20, 16), (17, 20), (20, 17), (16, 20)]
  (placed,) = _place(sizes, (50, 50), count=1).tolist()
  for i, j in itertools.combinations(range(5), 2):
    assert not _overlap((*placed[i], *sizes[i]), (*placed[j], *sizes[j]))


@pytest.mark.parametrize(
  ("sizes", "canvas_size", "verb"),
  [
    ([(5, 5), (6, 6)], (10, 10), "cannot"),  # neither above nor beside
    ([(4, 4)] * 3, (6, 6), "cannot"),
    ([(3, 3)] * 3, (5, 8), "could not"),  # only a search can tell
    ([(1, 1)] * 10, (3, 3), "cannot"),  # too large in area
  ],
)
def test_impossible_placement_raises_promptly(sizes, canvas_size, verb):
  start = time.process_time()
  with pytest.raises(DataError, match=f"^canvas_size is .* which {verb} be"):
    _place(sizes, canvas_size, count=2_000)
  assert time.process_time() - start < 10


_SIDE = st.integers(1, 6)


@hypothesis.settings(max_examples=100, deadline=None, derandomize=True)
@hypothesis.given(
  st.lists(st.tuples(_SIDE, _SIDE), min_size=1, max_size=4),
  st.tuples(st.integers(6, 12), st.integers(6, 12)),
)
def test_boxes_lie_on_the_canvas_and_do_not_overlap(sizes, canvas_size):
  try:
    origins = _place(sizes, canvas_size, count=5)
  except DataError:
    hypothesis.reject()
  for placed in origins.tolist():
    boxes = [(*p, *s) for p, s in zip(placed, sizes, strict=True)]
    for y, x, h, w in boxes:
      assert 0 <= y <= canvas_size[0] - h
      assert 0 <= x <= canvas_size[1] - w
    for a, b in itertools.combinations(boxes, 2):
      assert not _overlap(a, b)
