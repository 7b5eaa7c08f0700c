"""The pictures: what is drawn where."""

import itertools

import numpy as np
import pytest
from matplotlib import patches
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from PIL import Image

from air import transformer
from air.cell import CellOutput
from air.outputs import AIROutput
from air.viz import charts, figures, style

NUM_STEPS = 3
IMAGE_SIZE = (12, 10)
COUNTS = np.array([0, 1, 3, 2], np.int32)


@pytest.fixture
def output():
  rng = np.random.default_rng(0)
  num_images = len(COUNTS)
  shape = (NUM_STEPS, num_images)
  window = rng.uniform(-0.6, 0.6, [*shape, 4]).astype(np.float32)
  steps = CellOutput(*[None] * len(CellOutput._fields))
  return AIROutput(
    images=rng.random([num_images, *IMAGE_SIZE], np.float32),
    steps=steps._replace(window=window),
    raw_presence_logits=None,
    presence_logits=rng.normal(size=[num_images, NUM_STEPS]).astype("f"),
    presence_noise=None,
    glimpses=rng.uniform(0.1, 1.0, [*shape, 6, 5]).astype(np.float32),
    background=None,
    canvases=rng.random([NUM_STEPS + 1, num_images, *IMAGE_SIZE], np.float32),
    num_steps=COUNTS,
  )


def image_of(axis):
  (image,) = axis.images
  return np.asarray(image.get_array())


def assert_legend_of_steps(figure):
  (legend,) = figure.legends
  assert [text.get_text() for text in legend.get_texts()] == [
    *("step 1", "step 2", "step 3")
  ]
  assert [patch.get_facecolor() for patch in legend.get_patches()] == [
    to_rgba(colour) for colour in style.STEPS[:NUM_STEPS]
  ]


class TestProgress:
  @pytest.fixture
  def axes(self, output):
    figure = figures.progress(output, canvas_multiplier=0.5, num_images=8)
    columns = len(COUNTS)
    assert len(figure.axes) == (1 + 2 * NUM_STEPS) * columns
    return np.array(figure.axes).reshape(-1, columns)

  def test_first_the_inputs(self, axes, output):
    for axis, image in zip(axes[0], output.images, strict=True):
      np.testing.assert_array_equal(image_of(axis), image)

  def test_then_the_canvas_after_each_step(self, axes, output):
    for step, i in np.ndindex(NUM_STEPS, len(COUNTS)):
      n = min(step + 1, COUNTS[i])
      np.testing.assert_array_equal(
        image_of(axes[1 + step, i]), output.canvases[n, i]
      )

  def test_pixels_are_where_boxes_have_them(self, axes):
    for axis in axes[: 1 + NUM_STEPS].flat:
      assert tuple(axis.images[0].get_extent()) == (0, 10, 12, 0)
      assert axis.get_xlim() == (0, 10)
      assert axis.get_ylim() == (12, 0)
      assert axis.images[0].get_clim() == (0.0, 1.0)

  def test_a_box_in_the_steps_colour_where_it_exists(self, axes, output):
    for step, i in np.ndindex(NUM_STEPS, len(COUNTS)):
      boxes = axes[1 + step, i].patches
      if step >= COUNTS[i]:
        assert not boxes
        continue
      (box,) = boxes
      assert isinstance(box, patches.Rectangle)
      assert box.get_edgecolor() == to_rgba(style.STEPS[step])
      assert not box.get_fill()
      sx, tx, sy, ty = output.steps.window[step, i].astype(np.float64)
      # Centres of pixels are at whole numbers plus a half.
      centre = ((tx + 1.0) * 4.5 + 0.5, (ty + 1.0) * 5.5 + 0.5)
      size = (abs(sx) * 9.0 + 1.0, abs(sy) * 11.0 + 1.0)
      np.testing.assert_allclose(box.get_center(), centre, rtol=1e-4, atol=1e-4)
      np.testing.assert_allclose(
        (box.get_width(), box.get_height()), size, rtol=1e-4
      )

  def test_no_box_elsewhere(self, axes):
    for axis in (*axes[0], *axes[1 + NUM_STEPS :].flat):
      assert not axis.patches

  def test_then_what_each_step_painted(self, axes, output):
    for step, i in np.ndindex(NUM_STEPS, len(COUNTS)):
      axis = axes[1 + NUM_STEPS + step, i]
      if step < COUNTS[i]:
        glimpse = image_of(axis)
        assert glimpse.shape == (6, 5)
        np.testing.assert_allclose(
          glimpse, 0.5 * output.glimpses[step, i], rtol=1e-6
        )
        assert not axis.texts
      else:
        assert not axis.images
        assert [text.get_text() for text in axis.texts] == ["no step"]

  def test_titles(self, axes, output):
    p = 1.0 / (1.0 + np.exp(-output.presence_logits.astype(np.float64)))
    for i, count in enumerate(COUNTS):
      assert axes[0, i].get_title() == f"n = {count}"
    for step, i in np.ndindex(NUM_STEPS, len(COUNTS)):
      n = step + 1
      q = np.prod(p[i, :n]) * (1.0 - p[i, n] if n < NUM_STEPS else 1.0)
      title = axes[1 + NUM_STEPS + step, i].get_title()
      assert title == f"q(n={n}) = {q:.2f}"
    assert not any(a.get_title() for a in axes[1 : 1 + NUM_STEPS].flat)

  def test_rows_are_labelled(self, axes):
    assert [axis.get_ylabel() for axis in axes[:, 0]] == [
      "input",
      *(f"canvas after\nstep {n}" for n in (1, 2, 3)),
      *(f"step {n}\npainted" for n in (1, 2, 3)),
    ]

  def test_a_legend_of_the_steps(self, axes):
    assert_legend_of_steps(axes[0, 0].figure)

  def test_one_image(self, output):
    one = output._replace(
      images=output.images[:1],
      steps=output.steps._replace(window=output.steps.window[:, :1]),
      presence_logits=output.presence_logits[:1],
      glimpses=output.glimpses[:, :1],
      canvases=output.canvases[:, :1],
      num_steps=output.num_steps[:1],
    )
    assert len(figures.progress(one, 0.5, 8).axes) == 1 + 2 * NUM_STEPS


def test_stages_are_below_each_other(output):
  figure = figures.stages({"first: 20 %": output, "then": output}, 3)
  axes = np.array(figure.axes).reshape(3, 3)
  labels = [axis.get_ylabel() for axis in axes[:, 0]]
  assert labels == ["input", "first: 20 %", "then"]
  for i, count in enumerate(COUNTS[:3]):
    np.testing.assert_array_equal(image_of(axes[0, i]), output.images[i])
    for axis in axes[1:, i]:
      np.testing.assert_array_equal(image_of(axis), output.canvases[count, i])
      assert [box.get_edgecolor() for box in axis.patches] == [
        to_rgba(colour) for colour in style.STEPS[:count]
      ]
  assert_legend_of_steps(figure)


def test_gallery_has_a_title_for_each_picture():
  pictures = [np.full([4, 6, 3], i, np.uint8) for i in range(5)]
  figure = figures.gallery(pictures, list("abcde"), NUM_STEPS)
  assert [axis.get_title() for axis in figure.axes] == [*"abcde", ""]
  for axis, picture in zip(figure.axes, pictures, strict=False):
    np.testing.assert_array_equal(image_of(axis), picture)
    ticks = [label.get_text() for label in axis.get_xticklabels()]
    assert ticks == ["input", "reconstruction"]
    assert axis.get_xticks() == pytest.approx([1.5, 4.5])
  assert_legend_of_steps(figure)


def test_the_box_surrounds_what_is_painted():
  where = np.float32([0.3, 0.2, 0.4, -0.1])
  painted = transformer.paste(np.ones([20, 20], np.float32), where, IMAGE_SIZE)
  rows, columns = np.nonzero(painted.numpy() > 0.99)
  y0, x0, y1, x1 = transformer.boxes(where, IMAGE_SIZE).numpy()
  assert y0 <= rows.min() < y0 + 1
  assert y1 - 1 < rows.max() + 1 <= y1
  assert x0 <= columns.min() < x0 + 1
  assert x1 - 1 < columns.max() + 1 <= x1


def by_image(windows):
  return np.swapaxes(windows, 0, 1)


class TestScanPolicy:
  def test_centres_of_the_steps_that_exist(self, output):
    window = output.steps.window
    window[0, :, 1], window[0, :, 3] = -0.51, -0.91  # x, y of step 1
    window[1, :, 1], window[1, :, 3] = 0.51, 0.13
    window[2, :, 1], window[2, :, 3] = 0.91, 0.91
    counts = np.array([0, 1, 2, 2], np.int32)
    figure = figures.scan_policy(by_image(output.steps.window), counts)
    (axis,) = figure.axes
    rgb = image_of(axis)
    assert rgb.shape == (50, 50, 3)
    expected = np.zeros_like(rgb)
    # Bins are .04 wide; rows are y.
    expected[2, 12] = to_rgba(style.STEPS[0])[:3]
    expected[28, 37] = to_rgba(style.STEPS[1])[:3]
    np.testing.assert_allclose(rgb, expected, atol=1e-6)
    assert tuple(axis.images[0].get_extent()) == (-1, 1, 1, -1)
    texts = [text.get_text() for text in axis.get_legend().get_texts()]
    assert texts == ["step 1 (3)", "step 2 (2)", "step 3 (0)"]

  def test_no_step_exists(self, output):
    counts = np.zeros_like(COUNTS)
    figure = figures.scan_policy(by_image(output.steps.window), counts)
    assert not np.any(image_of(figure.axes[0]))


def test_scan_policies_have_a_panel_each(output):
  windows = by_image(output.steps.window)
  policy = (windows, COUNTS)
  figure = figures.scan_policies({f"run {i}": policy for i in range(7)})
  one = figures.scan_policy(*policy).axes[0]
  assert len(figure.axes) == 9
  for i, axis in enumerate(figure.axes[:7]):
    assert axis.get_title() == f"run {i}"
    np.testing.assert_array_equal(image_of(axis), image_of(one))
  assert not any(axis.axison for axis in figure.axes[7:])
  FigureCanvasAgg(figure).draw()
  for axis in figure.axes[:7]:
    for labels in (axis.get_xticklabels(), axis.get_yticklabels()):
      boxes = [label.get_window_extent() for label in labels]
      assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


class TestAnnotated:
  BOXES = np.float32([[1.0, 2.0, 5.0, 8.0], [6.0, -3.0, 11.0, 4.0]])

  @pytest.fixture
  def picture(self, output):
    image, canvas = output.images[0], output.canvases[1, 0]
    return figures.annotated(image, canvas, self.BOXES)

  def test_image_and_canvas_side_by_side(self, picture, output):
    zoom = 17  # 12 pixels to about 200
    assert picture.shape == (12 * zoom, 2 * 10 * zoom, 3)
    assert picture.dtype == np.uint8
    centres = picture[zoom // 2 :: zoom, zoom // 2 :: zoom]
    for i, expected in ((0, output.images[0]), (10, output.canvases[1, 0])):
      grey = np.round(255 * expected).astype(np.uint8)
      np.testing.assert_array_equal(
        centres[:, i : i + 10], np.repeat(grey[..., None], 3, -1)
      )

  def test_boxes_in_the_colours_of_the_steps(self, picture):
    for colour, edges in (
      (style.STEPS[0], [(17, 34), (5 * 17 - 1, 8 * 17 - 1)]),
      (style.STEPS[1], [(6 * 17, 0), (11 * 17 - 1, 4 * 17 - 1)]),
    ):
      rgb = np.round(255 * np.array(to_rgb(colour)))
      rows, columns = np.nonzero(np.all(picture == rgb, axis=-1))
      found = [(rows.min(), columns.min()), (rows.max(), columns.max())]
      assert found == edges

  def test_uint8_as_it_is(self, output):
    image = np.arange(120, dtype=np.uint8).reshape(12, 10)
    picture = figures.annotated(image, image, self.BOXES[:0])
    np.testing.assert_array_equal(picture[8::17, 8:170:17, 1], image)

  def test_brighter_than_white_is_white(self):
    picture = figures.annotated(
      np.zeros([4, 4]), np.full([4, 4], 1.5), self.BOXES[:0]
    )
    assert np.all(picture[:, 200:] == 255)
    assert not np.any(picture[:, :200])


class TestCaptioned:
  @pytest.mark.parametrize("side", [40, 150])
  def test_halves_under_their_names_and_above_the_legend(self, side):
    halves = np.random.default_rng(0).integers(0, 256, [30, 2, side, 3])
    picture = halves.reshape(30, 2 * side, 3).astype(np.uint8)
    page = np.asarray(figures.captioned(picture, NUM_STEPS))
    width = max(side, 120)
    assert page.shape == (30 + 2 * 20, 2 * width + 1, 3)
    for half, start in ((0, 0), (1, width + 1)):
      np.testing.assert_array_equal(
        page[20:50, start : start + side], halves[:, half]
      )
      assert np.any(page[:20, start : start + width] < 128)  # its name
    assert np.all(page[:50, width] == 255)
    found = {tuple(rgb) for rgb in page[50:].reshape(-1, 3)}
    for step, colour in enumerate(style.STEPS):
      rgb = tuple(np.round(255 * np.array(to_rgb(colour))).astype(int))
      assert (rgb in found) == (step < NUM_STEPS)


class TestSheet:
  IMAGES = np.random.default_rng(0).random([2, 3, 4, 5])

  def test_images_in_rows_and_columns(self):
    (axis,) = figures.sheet(self.IMAGES).axes
    pixels = image_of(axis)
    assert pixels.shape == (2 * 6, 3 * 7)
    for row, column in np.ndindex(2, 3):
      y, x = 6 * row + 1, 7 * column + 1
      np.testing.assert_array_equal(
        pixels[y : y + 4, x : x + 5], self.IMAGES[row, column]
      )
    assert not axis.get_xticks().size
    assert not axis.get_yticks().size

  def test_colours(self):
    images = np.stack([self.IMAGES, 0 * self.IMAGES, 1 - self.IMAGES], axis=-1)
    (axis,) = figures.sheet(images).axes
    pixels = image_of(axis)
    assert pixels.shape == (2 * 6, 3 * 7, 3)
    np.testing.assert_array_equal(pixels[7:11, 15:20], images[1, 2])

  def test_labels(self):
    figure = figures.sheet(self.IMAGES, ["a", "b"], ["1", "2", "3"])
    (axis,) = figure.axes
    assert [t.get_text() for t in axis.get_yticklabels()] == ["a", "b"]
    assert [t.get_text() for t in axis.get_xticklabels()] == ["1", "2", "3"]
    np.testing.assert_array_equal(axis.get_xticks(), [0.5, 1.5, 2.5])
    np.testing.assert_array_equal(axis.get_yticks(), [0.5, 1.5])
    assert tuple(axis.images[0].get_extent()) == (0, 3, 2, 0)

  @pytest.mark.parametrize("columns", [1, 3, 9])
  def test_nothing_is_cut_off(self, columns):
    images = np.zeros([2, columns, 5, 5])
    labels = ["z_what 44", "z_what 1"]
    title = " ".join(["A text."] * 20)
    figure = figures.sheet(images, labels, ["+0.0"] * columns, title)
    FigureCanvasAgg(figure).draw()
    (axis,) = figure.axes
    assert figure.get_suptitle().replace("\n", " ") == title
    for text in (*axis.get_yticklabels(), *axis.get_xticklabels()):
      assert_within(figure, text)
    assert_within(figure, figure._suptitle)


def assert_within(figure, artist):
  """Asserts that nothing of it is outside of the figure."""
  box = artist.get_window_extent()
  assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
  assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1


class TestFiles:
  def test_every_figure_can_be_saved(self, output, tmp_path):
    evaluation = {
      "iteration": 5,
      "count_accuracy": 0.5,
      "count_accuracy_mode": 0.5,
    }
    for name, figure in (
      ("progress", figures.progress(output, 0.5, 8)),
      ("accuracy", charts.accuracy_curve([evaluation])),
      ("scan", figures.scan_policy(by_image(output.steps.window), COUNTS)),
    ):
      path = tmp_path / "figures" / f"{name}.png"
      figures.save(figure, path)
      assert path.read_bytes().startswith(b"\x89PNG")
      assert np.ptp(Image.open(path).convert("L")) > 100

  def test_failure_leaves_the_old_file(self, tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")
    figure = Figure()

    def fail(image, file, **_):
      file.write_bytes(b"half")
      raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
      figures.save(figure, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]

  def test_returns_the_picture_that_it_writes(self, tmp_path):
    figure = Figure(figsize=(2, 1), dpi=50, facecolor="red")
    rgb = figures.save(figure, tmp_path / "red.png")
    np.testing.assert_array_equal(rgb, Image.open(tmp_path / "red.png"))
    assert rgb.shape == (50, 100, 3)
    assert rgb.dtype == np.uint8
    assert np.all(rgb == [255, 0, 0])
