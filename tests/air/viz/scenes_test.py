"""Scenes as a picture."""

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from PIL import Image

from air.scenes import Scenes
from air.viz import figures, style
from air.viz import scenes as scenes_lib

IMAGE_SIZE = (12, 10)
NUM_STEPS = 3


def image_of(axis):
  (image,) = axis.images
  return np.asarray(image.get_array())


class TestPlot:
  """Scenes in columns, as a picture."""

  @pytest.fixture
  def scenes(self):
    rng = np.random.default_rng(1)
    count = np.array([0, 2, 1], np.int32)
    y0, x0 = rng.uniform(0, 5, [2, 3, NUM_STEPS])
    return Scenes(
      count=count,
      count_probs=None,
      boxes=np.stack([y0, x0, y0 + 4, x0 + 3], -1),
      z_what=None,
      z_where=None,
      presence=np.arange(NUM_STEPS) < count[:, None],
      objects=rng.random([3, NUM_STEPS, *IMAGE_SIZE]),
      background=None,
      canvas=rng.random([3, *IMAGE_SIZE]),
    )

  @pytest.fixture
  def drawn(self, monkeypatch):
    found = []
    rendered = figures.rendered
    monkeypatch.setattr(
      figures, "rendered", lambda f: found.append(f) or rendered(f)
    )
    return found

  def test_images_canvases_and_objects(self, scenes, drawn):
    images = (255 * scenes.canvas).astype(np.uint8)
    picture = scenes_lib.plot(scenes, images)
    assert picture.mode == "RGB"
    [figure] = drawn
    axes = np.array(figure.axes).reshape(4, 3)
    for i, count in enumerate(scenes.count):
      assert axes[0, i].get_title() == f"n = {count}"
      np.testing.assert_allclose(image_of(axes[0, i]), images[i] / 255)
      np.testing.assert_array_equal(image_of(axes[1, i]), scenes.canvas[i])
      assert len(axes[0, i].patches) == count
      assert not axes[1, i].patches
      for step in range(2):
        axis = axes[2 + step, i]
        if step >= count:
          assert not axis.images
          continue
        np.testing.assert_array_equal(image_of(axis), scenes.objects[i, step])
        box = axes[0, i].patches[step]
        assert box.get_edgecolor() == to_rgba(style.STEPS[step])
        y0, x0, y1, x1 = scenes.boxes[i, step]
        np.testing.assert_allclose(box.get_bbox().extents, (x0, y0, x1, y1))
    labels = [axis.get_ylabel() for axis in axes[:, 0]]
    assert labels == ["image", "canvas", "object 1", "object 2"]

  def test_without_images_boxes_are_on_canvases(self, scenes, drawn):
    scenes_lib.plot(scenes, num_images=2)
    [figure] = drawn
    axes = np.array(figure.axes).reshape(3, 2)
    assert [len(axis.patches) for axis in axes[0]] == [0, 2]

  def test_a_notebook_shows_scenes(self, scenes):
    content = scenes._repr_png_()
    with Image.open(io.BytesIO(content)) as picture:
      assert picture.format == "PNG"
      np.testing.assert_array_equal(picture, scenes_lib.plot(scenes))
    assert scenes._replace(count=None)._repr_png_() is None

  def test_empty_scenes_have_no_objects(self, scenes, drawn):
    scenes_lib.plot(scenes._replace(count=0 * scenes.count))
    [figure] = drawn
    assert len(figure.axes) == 3
