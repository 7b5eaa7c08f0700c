"""One and many."""

from experiments.common import wording


def test_one_and_many():
  assert wording.number_of(0, "image") == "0 images"
  assert wording.number_of(1, "image") == "1 image"
  assert wording.number_of(2_000, "image") == "2,000 images"
