"""Counts as arrays hold them."""

import numpy as np
import pytest

from data import counts
from data.errors import DataError


@pytest.mark.parametrize(
  ("stored", "counts_as", "expected"),
  [
    ([0, 2, 1], "auto", [0, 2, 1]),
    ([[0.0], [2.0]], "auto", [0, 2]),
    ([[1], [0]], "unary", [1, 0]),
    ([[0, 0, 1], [1, 0, 0]], "auto", [2, 0]),  # one-hot: 001 is not unary
    ([[1, 1, 0], [0, 0, 0]], "auto", [2, 0]),  # unary: 110 is not one-hot
    ([[True, False], [True, True]], "auto", [1, 2]),
    ([[1, 0], [1, 0]], "onehot", [0, 0]),
    ([[1, 0], [1, 0]], "unary", [1, 1]),
  ],
)
def test_counts(stored, counts_as, expected):
  decoded = counts.decoded("y", np.array(stored), counts_as)
  assert decoded.dtype == np.int32
  assert decoded.tolist() == expected


@pytest.mark.parametrize(
  ("stored", "counts_as", "message"),
  [
    ([[1, 0], [1, 0]], "auto", "both onehot, of 0, and unary, of 1: state"),
    ([[1, 0, 1]], "auto", "neither onehot nor unary"),
    ([[1, 1, 0]], "onehot", "rows are not onehot"),
    ([[0, 1, 0]], "unary", "rows are not unary"),
    ([[0, 2]], "auto", "expected rows of zeros and ones"),
    ([[0, 1]], "number", r"\[1, 2\], expected \[N\] or \[N, 1\]"),
    ([0, 1], "unary", r"expected \[N, K\]"),
    ([0.5], "auto", "expected whole numbers"),
    ([np.nan], "auto", "expected whole numbers"),
    ([-1], "auto", "with -1 to -1, expected numbers of objects in 0..100"),
    ([[[1]]], "auto", r"\[1, 1, 1\], expected"),
  ],
)
def test_other_counts_are_refused(stored, counts_as, message):
  with pytest.raises(DataError, match=message):
    counts.decoded("y", np.array(stored), counts_as)
