"""The charts: what is drawn where."""

import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from air.viz import charts, figures


def test_accuracy_curve():
  evaluations = [
    {"iteration": i, "count_accuracy": a, "count_accuracy_mode": m, "elbo": 1}
    for i, a, m in [(0, 0.2, 0.3), (100, 0.5, 0.6), (200, 0.9, 0.95)]
  ]
  figure = charts.accuracy_curve(evaluations)
  (axis,) = figure.axes
  sampled, mode = axis.lines
  for line, values in (
    (sampled, [0.2, 0.5, 0.9]),
    (mode, [0.3, 0.6, 0.95]),
  ):
    np.testing.assert_array_equal(line.get_xdata(), [0, 100, 200])
    np.testing.assert_array_equal(line.get_ydata(), values)
  low, high = axis.get_ylim()
  assert low == 0.0
  assert high >= 1.0
  labels = [text.get_text() for text in axis.get_legend().get_texts()]
  assert labels == ["n sampled from q(n|x)", "most probable n"]


class TestAccuracyCurves:
  @pytest.fixture
  def axes(self):
    curves = [
      charts.Curve([0, 10, 20], [0.2, 0.6, 1.0], True),
      charts.Curve([0, 10, 20], [0.2, 0.3, 0.4], False),
      charts.Curve([0, 10], [0.5, 0.5], False),
    ]
    panels = {f"configuration {i}": curves[: 1 + i % 3] for i in range(5)}
    return charts.accuracy_curves(panels).axes

  def test_a_panel_for_each_configuration(self, axes):
    assert [axis.get_title() for axis in axes[:5]] == [
      f"configuration {i}\n1 of {1 + i % 3}" for i in range(5)
    ]
    assert not axes[5].axison

  def test_a_line_for_each_run_and_the_median(self, axes):
    *runs, median = axes[2].lines
    assert [list(line.get_ydata()) for line in runs] == [
      [0.2, 0.6, 1.0],
      [0.2, 0.3, 0.4],
      [0.5, 0.5],
    ]
    np.testing.assert_array_equal(median.get_xdata(), [0, 10, 20])
    np.testing.assert_allclose(median.get_ydata(), [0.2, 0.5, 0.7])

  def test_failures_differ_in_colour_and_in_line(self, axes):
    success, *failures, median = axes[2].lines
    for line in failures:
      assert line.get_color() == failures[0].get_color()
      assert line.get_color() not in (success.get_color(), median.get_color())
      assert line.get_linestyle() != success.get_linestyle()


def test_gradient_variances_of_each_estimator_and_group():
  variances = {"marginal": 1e-3, "reinforce": 1.0}
  records = [
    {
      "iteration": iteration,
      "minibatch": minibatch,
      "estimator": estimator,
      "groups": {
        "decoder": {"variance_mean": variance + iteration},
        "presence_head": {"variance_mean": 10.0 * variance + iteration},
      },
    }
    for iteration in (1_000, 0)
    for minibatch in ("drawn", "fixed")
    for estimator, variance in variances.items()
  ]
  for record in records:
    if record["minibatch"] == "fixed":
      record["groups"]["decoder"]["variance_mean"] = 7.0
  figure = charts.gradient_variances(records)
  assert [axis.get_title() for axis in figure.axes] == [
    *("decoder", "presence head")
  ]
  names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
  assert names == list(variances)
  for axis, factor in zip(figure.axes, (1.0, 10.0), strict=True):
    assert axis.get_xscale() == "log"
    for line, iteration in zip(axis.lines, (0, 1_000), strict=True):
      assert line.get_label() == f"iteration {iteration:,}"
      np.testing.assert_array_equal(line.get_ydata(), [0, 1])
      expected = [factor * v + iteration for v in variances.values()]
      assert line.get_xdata() == pytest.approx(expected)
  (legend,) = figure.legends
  assert len(legend.get_texts()) == 2


def test_curves(tmp_path):
  panels = {
    "accuracy": {f"run {i}": {0: 0.1 * i, 10: 0.2 * i} for i in range(9)},
    "steps": {"run 8": {0: 3.0, 5: 2.0, 10: 1.0}},
    **{f"panel {i}": {"run 0": {0: 1.0}} for i in range(3)},
  }
  figure = charts.curves(panels, limits={"steps": (0.0, 4.0)})
  assert [axis.get_title() for axis in figure.axes[:5]] == list(panels)
  assert not any(axis.axison for axis in figure.axes[5:])
  accuracy, steps = figure.axes[:2]
  for i, line in enumerate(accuracy.lines):
    np.testing.assert_array_equal(line.get_xdata(), [0, 10])
    np.testing.assert_allclose(line.get_ydata(), [0.1 * i, 0.2 * i])
  looks = [(line.get_color(), line.get_linestyle()) for line in accuracy.lines]
  assert len(set(looks)) == 9
  assert steps.get_ylim() == (0.0, 4.0)
  assert accuracy.get_ylim()[1] < 2.0
  [line] = steps.lines
  np.testing.assert_array_equal(line.get_xdata(), [0, 5, 10])
  assert (line.get_color(), line.get_linestyle()) == looks[8]
  [legend] = figure.legends
  names = [text.get_text() for text in legend.get_texts()]
  assert names == [f"run {i}" for i in range(9)]
  assert [axis.get_xlabel() for axis in figure.axes[:2]] == ["iteration"] * 2
  figures.save(figure, tmp_path / "curves.png")
  assert (tmp_path / "curves.png").exists()


def test_curves_over_a_logarithmic_axis_with_a_legend_that_fits(tmp_path):
  names = [f"a name that takes much room {i}" for i in range(3)]
  panels = {"right": {name: {10: 0.1, 1000: 0.2} for name in names}}
  figure = charts.curves(panels, log_x=True)
  figures.save(figure, tmp_path / "curves.png")
  [axis] = figure.axes
  assert axis.get_xscale() == "log"
  [legend] = figure.legends
  assert legend.get_window_extent().width <= figure.bbox.width


def test_curves_of_references_are_broken_lines_that_differ():
  references = ["theirs", "others'", "a third", "a fourth", "a fifth"]
  names = ["theirs", "run 0", *references[1:], "run 1"]
  panels = {"accuracy": {name: {0: 0.5, 10: 0.6} for name in names}}
  [axis] = charts.curves(
    panels, {"accuracy": "epoch"}, "%", references=references
  ).axes[:1]
  assert (axis.get_xlabel(), axis.get_ylabel()) == ("epoch", "%")
  lines = {line.get_label(): line for line in axis.lines}
  for name, line in lines.items():
    is_reference = name in references
    assert (line.get_linestyle() != "-") == is_reference
    assert (line.get_marker() == "") == is_reference
  for group in (references, ["run 0", "run 1"]):
    colours = {lines[name].get_color() for name in group}
    assert len(colours) == len(group)


def test_names_and_numbers_do_not_run_into_each_other():
  panels = {
    f"counting accuracy of a configuration, {i}": {
      f"{'a_long_name=1,' * 4}{j}": {0: 0.0, 300_000: 1.0} for j in range(5)
    }
    for i in range(4)
  }
  figure = charts.curves(panels)
  FigureCanvasAgg(figure).draw()
  titles = [axis.title.get_window_extent() for axis in figure.axes[:4]]
  assert not any(a.overlaps(b) for a, b in itertools.combinations(titles, 2))
  (legend,) = figure.legends
  box = legend.get_window_extent()
  assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
  for axis in figure.axes[:4]:
    labels = [label.get_window_extent() for label in axis.get_xticklabels()]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(labels, 2))


def test_heat_maps(tmp_path):
  shares = np.linspace(0.0, 1.0, 24).reshape(2, 2, 2, 3)
  shares[1, 0, 1, 2] = np.nan
  figure = charts.heat_maps(
    shares,
    ["a", "b"],
    ["c", "d"],
    ("x", [0.1, 1.0, 10.0]),
    ("y", [-1.5, 2.0]),
    bad=["b"],
  )
  axes = np.array(figure.axes[:4]).reshape(2, 2)
  for (row, column), axis in np.ndenumerate(axes):
    image = axis.images[0].get_array()
    np.testing.assert_array_equal(image, shares[row, column])
    assert axis.images[0].origin == "lower"
    assert axis.images[0].get_clim() == (0.0, 1.0)
    if row == 1:
      ticks = [label.get_text() for label in axis.get_xticklabels()]
      assert ticks == ["0.1", "1", "10"]
    if column == 0:
      ticks = [label.get_text() for label in axis.get_yticklabels()]
      assert ticks == ["-1.5", "2"]
  maps = [[axis.images[0].get_cmap().name for axis in row] for row in axes]
  assert maps[0][0] == maps[0][1] != maps[1][0] == maps[1][1]
  texts = {text.get_position(): text.get_text() for text in axes[1, 0].texts}
  assert texts[2, 1] == "-"
  assert texts[1, 1] == f"{100 * shares[1, 0, 1, 1]:.0f}"
  assert [axis.get_title() for axis in axes[0]] == ["c", "d"]
  assert [axis.get_ylabel() for axis in axes[:, 0]] == ["a, %\ny", "b, %\ny"]
  assert axes[1, 0].get_xlabel() == "x"
  figures.save(figure, tmp_path / "maps.png")
  assert (tmp_path / "maps.png").exists()
