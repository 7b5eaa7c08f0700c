"""The images that a model counts wrongly."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import air
from air.scenes import Scenes
from data.dataset import Split
from experiments.analysis import mistakes


class TestGap:
  def test_beside_each_other(self):
    assert mistakes.gap(np.array([[0, 0, 5, 5], [2, 8, 9, 12]])) == 3.0

  def test_across_a_corner(self):
    assert mistakes.gap(np.array([[10, 10, 12, 12], [0, 0, 6, 7]])) == 5.0

  def test_that_touch_or_overlap(self):
    assert mistakes.gap(np.array([[0, 0, 5, 5], [0, 5, 5, 9]])) == 0.0
    assert mistakes.gap(np.array([[0, 0, 5, 5], [1, 1, 3, 9]])) == 0.0

  def test_is_of_the_nearest_two(self):
    boxes = np.array([[0, 0, 2, 2], [0, 9, 2, 11], [0, 12, 2, 13]])
    assert mistakes.gap(boxes) == 1.0

  def test_of_one_there_is_none(self):
    assert mistakes.gap(np.array([[0, 0, 5, 5]])) is None


def test_painted_is_a_share_of_each_objects_brightness():
  image = np.zeros([6, 9])
  image[:3, :3] = 1.0
  image[4:, 6:] = 0.5
  canvas = np.zeros([6, 9])
  canvas[0, :3] = 7.0  # too bright: as bright as can be
  canvas[4:, 6:] = 0.4
  canvas[3, 3] = 1.0  # in neither
  boxes = np.array([[0, 0, 3, 3], [4, 6, 6, 9]])
  assert mistakes.painted(image, canvas, boxes) == pytest.approx([1 / 3, 0.8])


class Seen:
  """A model that sees what it is told to."""

  def __init__(self, count, count_probs, canvas):
    self.count = np.array(count, np.int32)
    self.count_probs = np.array(count_probs)
    self.canvas = canvas

  def infer_batches(self, images, seed):
    for start in range(0, len(images), 2):
      part = slice(start, start + 2)
      count = self.count[part]
      empty = Scenes(*[None] * len(Scenes._fields))
      yield empty._replace(
        count=count,
        count_probs=self.count_probs[part],
        boxes=np.tile([0.0, 0.0, 3.0, 3.0], [len(count), 2, 1]),
        canvas=self.canvas[part],
      )


@pytest.fixture
def split():
  """Two objects four pixels apart in three images, none, one, and three."""
  images = np.zeros([6, 10, 10], np.uint8)
  boxes = np.zeros([6, 3, 4], np.int32)
  boxes[:, 0] = [0, 0, 3, 3]
  boxes[:, 1] = [0, 7, 3, 10]
  boxes[:, 2] = [7, 7, 10, 10]
  counts = np.array([2, 2, 2, 0, 1, 3])
  for image, places, count in zip(images, boxes, counts, strict=True):
    for y0, x0, y1, x1 in places[:count]:
      image[y0:y1, x0:x1] = 255
  labels = np.where(np.arange(3) < counts[:, None], 7, -1)
  return Split(images, counts, labels, boxes)


def test_the_worst_first_and_what_became_of_the_objects(split):
  canvas = split.images / 255.0
  canvas[1, :, 5:] = 0.0
  probs = np.array(
    [
      [0.0, 0.8, 0.2],
      [0.0, 0.9, 0.1],
      [0.0, 0.1, 0.9],
      [0.4, 0.6, 0.0],
      [0.0, 0.7, 0.3],
      [0.0, 0.0, 1.0],
    ]
  )
  model = Seen([1, 1, 2, 1, 1, 2], probs, canvas)
  found, inferred = mistakes.find(model, split, 0)
  assert [m["index"] for m in found] == [5, 1, 0, 3]
  assert [m["true_prob"] for m in found] == [0.0, 0.1, 0.2, 0.4]
  assert [(m["true"], m["inferred"]) for m in found] == [
    *((3, 2), (2, 1), (2, 1), (0, 1))
  ]
  assert found[1]["painted"] == pytest.approx([1.0, 0.0])
  assert found[1]["labels"] == [7, 7]
  assert found[3]["gap"] is None
  for mistake, (painted, boxes) in zip(found, inferred, strict=True):
    np.testing.assert_array_equal(painted, canvas[mistake["index"]])
    assert boxes.shape == (mistake["inferred"], 4)

  rows = mistakes.describe(found, split)
  assert rows[0] == {
    "true": 2,
    "inferred": 1,
    "images": 2,
    "one_window": 1,
    "left_out": 1,
    "median_gap": 4.0,
    "median_gap_where_right": 4.0,
  }
  by_kind = {(row["true"], row["inferred"]): row for row in rows[1:]}
  assert by_kind[0, 1] == {"true": 0, "inferred": 1, "images": 1}
  # No image with three objects is right.
  assert by_kind[3, 2]["median_gap_where_right"] is None
  assert mistakes.format_row(rows[0]) == (
    "2 taken for 1: 2; one left out: 1, several in one window: 1;"
    " gap 4.0 pixels (median), where right 4.0"
  )


def test_the_worst_of_each_kind_are_shown_in_proportion():
  kinds = [(2, 3), *[(2, 1)] * 4, (4, 3), *[(2, 1)] * 2, (4, 3)]
  found = [{"true": true, "inferred": n} for true, n in kinds]
  assert mistakes.shown(found, 9) == [1, 2, 3, 4, 6, 7, 5, 8, 0]
  assert mistakes.shown(found, 5) == [1, 2, 3, 5, 0]
  assert mistakes.shown(found, 1) == [1]
  assert mistakes.shown([], 5) == []


def test_without_boxes_there_are_only_counts(split):
  bare = split._replace(boxes=None, labels=None)
  canvas = np.zeros(split.images.shape)
  model = Seen([2, 2, 1, 0, 1, 2], np.full([6, 3], 1 / 3), canvas)
  found, _ = mistakes.find(model, bare, 0)
  assert "gap" not in found[0]
  assert mistakes.describe(found, bare) == [
    {"true": 3, "inferred": 2, "images": 1},
    {"true": 2, "inferred": 1, "images": 1},
  ]


def test_of_a_run(
  call, tmp_path, tiny_run, tiny_data, capsys, monkeypatch, eagerly
):
  run_dir = shutil.copytree(tiny_run, tmp_path / "run")
  figure = run_dir / "figures" / "mistakes.png"
  numbers = run_dir / "analysis" / "mistakes.json"
  arguments = [f"--run_dir={run_dir}", "--num_shown=3"]
  assert call(mistakes, *arguments) == 0
  result = json.loads(numbers.read_text())
  with np.load(tiny_data) as arrays:
    images, counts = arrays["test_images"], arrays["test_counts"]
  inferred = air.load(tiny_run).infer(images).count
  wrong = np.flatnonzero(inferred != counts)
  assert wrong.size  # it is hardly trained
  assert sorted(m["index"] for m in result["mistakes"]) == wrong.tolist()
  assert sum(row["images"] for row in result["kinds"]) == wrong.size
  assert f"wrong {wrong.size}" in capsys.readouterr().out
  with Image.open(figure) as image:
    assert image.width > image.height

  # Once nothing is wrong, a figure of what was would mislead.
  monkeypatch.setattr(mistakes, "find", lambda *_: ([], []))
  assert call(mistakes, *arguments) == 0
  assert json.loads(numbers.read_text())["mistakes"] == []
  assert not figure.exists()
