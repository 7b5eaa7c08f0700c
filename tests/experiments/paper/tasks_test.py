"""The questions about two digits, and what their boxes show."""

import numpy as np

from air import transformer
from data.dataset import Split
from experiments.paper import tasks


def split_of(labels, boxes, images=None):
  if images is None:
    images = np.zeros([len(labels), 12, 12], np.uint8)
  return Split(images, np.full(len(labels), 2), np.array(labels), boxes)


# Of the first, the left one begins further to the right: centres count.
BOXES = np.array(
  [
    [[0, 4, 4, 6], [6, 3, 9, 12]],
    [[6, 3, 9, 12], [0, 4, 4, 6]],
    [[8, 2, 10, 6], [1, 3, 3, 5]],  # one above the other
  ]
)


def test_left_is_the_centre_further_to_the_left_then_the_upper():
  assert tasks.left_to_right(BOXES).tolist() == [[0, 1], [1, 0], [1, 0]]


def test_ascending_is_strict_and_of_places_not_of_the_order_in_the_arrays():
  def ascend(*labels):
    return tasks.answers("ascending", split_of(labels, BOXES)).tolist()

  assert ascend([2, 7], [2, 7], [2, 7]) == [1, 0, 0]
  assert ascend([7, 2], [7, 2], [7, 2]) == [0, 1, 1]
  assert ascend([5, 5], [5, 5], [5, 5]) == [0, 0, 0]


def test_sum():
  split = split_of([[9, 9], [0, 0], [3, 8]], BOXES)
  sums = tasks.answers("sum", split)
  assert sums.tolist() == [18, 0, 11]
  assert max(sums) == tasks.NUM_ANSWERS["sum"] - 1


def test_true_objects_are_the_pixels_in_the_boxes_from_left_to_right():
  boxes = np.array([[[6, 7, 10, 11], [1, 0, 5, 4]]])
  images = np.zeros([1, 12, 12], np.uint8)
  images[0, 6:10, 7:11] = 255
  images[0, 1:5, 0:4] = 51
  read = tasks.true_objects(split_of([[1, 2]], boxes, images), (4, 4))
  assert read.shape == (1, 2, 1, 4 * 4 + 4)
  left, right = read[0, :, 0]
  np.testing.assert_allclose(left[:16], 0.2, atol=1e-5)
  np.testing.assert_allclose(right[:16], 1.0, atol=1e-5)
  found = transformer.boxes(read[0, :, 0, 16:], (12, 12))
  np.testing.assert_allclose(found, boxes[0, ::-1], atol=1e-4)
