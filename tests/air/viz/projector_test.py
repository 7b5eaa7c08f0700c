"""What the projector is given: read back as TensorBoard reads it."""

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins import projector as plugin

from air.cell import CellOutput
from air.outputs import AIROutput
from air.viz import projector

# Two steps, three images: the first shows nothing, the second two objects.
NUM_STEPS = np.array([0, 2, 1], np.int32)
WHOLE_IMAGE = np.array([1.0, 0.0, 1.0, 0.0], np.float32)
LEFT_HALF = np.array([0.5, -0.5, 1.0, 0.0], np.float32)
RIGHT_HALF = np.array([0.5, 0.5, 1.0, 0.0], np.float32)


@pytest.fixture
def output():
  rng = np.random.default_rng(0)
  steps = CellOutput(*[None] * len(CellOutput._fields))
  window = np.broadcast_to(WHOLE_IMAGE, [2, 3, 4]).copy()
  window[:, 1] = LEFT_HALF, RIGHT_HALF
  steps = steps._replace(
    window=window,
    what=rng.normal(size=[2, 3, 5]).astype(np.float32),
    what_loc=rng.normal(size=[2, 3, 5]).astype(np.float32),
    glimpse=rng.random([2, 3, 6, 4], np.float32),
  )
  return AIROutput(
    images=np.zeros([3, 12, 10], np.float32),
    steps=steps,
    raw_presence_logits=None,
    presence_logits=None,
    presence_noise=None,
    glimpses=None,
    background=None,
    canvases=None,
    num_steps=NUM_STEPS,
  )


def read(folder):
  config = text_format.Parse(
    (folder / "projector_config.pbtxt").read_text(), plugin.ProjectorConfig()
  )
  (embedding,) = config.embeddings
  return embedding


def test_codes_and_objects(output, tmp_path):
  labels = np.array([[7, -1], [1, 2], [3, -1]], np.int32)
  right, nowhere = [0, 6, 12, 10], [0, 0, 0, 0]
  boxes = np.array(
    [[right, nowhere], [[0, 0, 12, 4], right], [[2, 2, 9, 9], nowhere]]
  )
  projector.write(tmp_path, output, labels, boxes)
  embedding = read(tmp_path)
  codes = np.loadtxt(tmp_path / embedding.tensor_path)
  expected = output.steps.what_loc[[0, 0, 1], [1, 2, 1]]
  np.testing.assert_allclose(codes, expected, rtol=1e-4)
  rows = (tmp_path / embedding.metadata_path).read_text().splitlines()
  assert [row.split("\t") for row in rows] == [
    ["digit", "image", "step"],
    ["1", "1", "1"],
    ["3", "2", "1"],
    ["2", "1", "2"],
  ]


def test_pictures_are_in_the_order_of_the_codes(output, tmp_path):
  projector.write(tmp_path, output, None, None)
  sprite = read(tmp_path).sprite
  assert list(sprite.single_image_dim) == [4, 6]  # width, height
  pictures = np.asarray(Image.open(tmp_path / sprite.image_path))
  assert pictures.shape == (2 * 6, 2 * 4)
  for place, (step, image) in enumerate([(0, 1), (0, 2), (1, 1)]):
    row, column = divmod(place, 2)
    picture = pictures[6 * row : 6 * row + 6, 4 * column : 4 * column + 4]
    expected = output.steps.glimpse[step, image]
    np.testing.assert_allclose(picture / 255, expected, atol=0.5 / 255 + 1e-6)


def test_without_labels_there_is_no_digit(output, tmp_path):
  projector.write(tmp_path, output, None, None)
  rows = (tmp_path / read(tmp_path).metadata_path).read_text().splitlines()
  assert rows[0] == "image\tstep"
  assert len(rows) == 1 + NUM_STEPS.sum()


def contents(folder):
  return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_drawing_replaces_the_one_before_at_once(
  output, tmp_path, monkeypatch
):
  projector.write(tmp_path, output, None, None)
  before = contents(tmp_path)
  fewer = output._replace(num_steps=NUM_STEPS // 2)
  with monkeypatch.context() as patch:
    patch.delattr(projector, "_sprite")  # the last file cannot be made
    with pytest.raises(NameError):
      projector.write(tmp_path, fewer, None, None)
  assert contents(tmp_path) == before
  projector.write(tmp_path, fewer, None, None)
  after = contents(tmp_path)
  assert after.keys() == before.keys()
  changed = {path.name for path in after if after[path] != before[path]}
  assert changed == {"codes.tsv", "objects.tsv", "glimpses.png"}


def test_of_no_objects_nothing_is_left(output, tmp_path):
  none = output._replace(num_steps=np.zeros(3, np.int32))
  for before in (none, output):
    projector.write(tmp_path, before, None, None)
    projector.write(tmp_path, none, None, None)
    assert not list(tmp_path.iterdir())
