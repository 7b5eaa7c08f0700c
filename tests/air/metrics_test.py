"""Counting accuracy, by hand."""

import numpy as np
import pytest

from air import metrics

TRUE = np.array([0, 0, 1, 1, 1, 2, 2, 4])
INFERRED = np.array([0, 3, 1, 1, 0, 2, 1, 3])


def test_count_accuracy():
  accuracy = metrics.count_accuracy(TRUE, INFERRED)
  assert accuracy == 4 / 8
  assert isinstance(accuracy, float)
  assert metrics.count_accuracy(TRUE, TRUE) == 1.0


def test_count_confusion():
  confusion = metrics.count_confusion(TRUE, INFERRED, 3)
  expected = [
    [1, 0, 0, 1],
    [1, 2, 0, 0],
    [0, 1, 1, 0],
    [0, 0, 0, 0],
    [0, 0, 0, 1],
  ]
  np.testing.assert_array_equal(confusion, expected)
  assert confusion.dtype == np.int64


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64])
def test_confusion_agrees_with_a_loop(dtype):
  rng = np.random.default_rng(0)
  true = rng.integers(0, 3, 500).astype(dtype)
  inferred = rng.integers(0, 4, 500).astype(np.int32)
  confusion = metrics.count_confusion(true, inferred, 3)
  assert confusion.shape == (3, 4)
  for count, n in np.ndindex(3, 4):
    assert confusion[count, n] == sum((true == count) & (inferred == n))
  assert np.trace(confusion) / 500 == pytest.approx(
    metrics.count_accuracy(true, inferred)
  )


def test_accuracy_per_count():
  confusion = metrics.count_confusion(TRUE, INFERRED, 3)
  # No image has 3 objects; 4 are more than the model can count.
  assert metrics.accuracy_per_count(confusion) == {
    0: 1 / 2,
    1: 2 / 3,
    2: 1 / 2,
    4: 0.0,
  }


def test_found_objects_get_the_label_they_overlap_most():
  boxes = np.array([[0, 0, 10, 10], [0, 8, 10, 20], [0, 0, 0, 0]])
  labels = np.array([4, 9, -1])
  found = np.array(
    [[0, 0, 9, 9], [1, 7, 11, 21], [30, 30, 40, 40], [-3.5, -2.0, 4.5, 5.0]]
  )
  matched = metrics.matched_labels(
    found,
    np.broadcast_to(labels, [4, 3]),
    np.broadcast_to(boxes, [4, 3, 4]),
  )
  np.testing.assert_array_equal(matched, [4, 9, -1, 4])


def test_an_absent_object_is_never_matched():
  box = np.array([[0.0, 0.0, 5.0, 5.0]])
  matched = metrics.matched_labels(box, np.array([[-1]]), box[None])
  np.testing.assert_array_equal(matched, [-1])


def test_where_no_image_has_objects_none_is_matched():
  matched = metrics.matched_labels(
    np.ones([3, 4]), np.zeros([3, 0], np.int32), np.zeros([3, 0, 4])
  )
  np.testing.assert_array_equal(matched, [-1, -1, -1])
