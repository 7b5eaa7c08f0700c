"""The charts: what is drawn where."""

import numpy as np
import pytest

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
        "decoder": {"variance_mean": variance},
        "rest": {"variance_mean": 10.0 * variance},
      },
    }
    for iteration in (1_000, 0)
    for minibatch in ("drawn", "fixed")
    for estimator, variance in variances.items()
  ]
  axes = charts.gradient_variances(records).axes
  assert [axis.get_title() for axis in axes] == ["decoder", "rest"]
  for axis, factor in zip(axes, (1.0, 10.0), strict=True):
    assert axis.get_yscale() == "log"
    ticks = [label.get_text() for label in axis.get_xticklabels()]
    assert ticks == ["0", "1,000"]
    drawn = [line.get_ydata()[1] for line in axis.lines]
    expected = [factor * v for v in variances.values() for _ in range(2)]
    assert drawn == pytest.approx(expected)


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


def test_curves_of_references_are_grey_and_take_no_colour_from_a_run():
  names = ["theirs", "run 0", "others'", "run 1"]
  panels = {"accuracy": {name: {0: 0.5, 10: 0.6} for name in names}}
  [axis] = charts.curves(
    panels, {"accuracy": "epoch"}, "%", references=["theirs", "others'"]
  ).axes[:1]
  assert (axis.get_xlabel(), axis.get_ylabel()) == ("epoch", "%")
  theirs, first, others, second = axis.lines
  assert theirs.get_color() == others.get_color()
  assert theirs.get_linestyle() != others.get_linestyle()
  assert {line.get_linestyle() for line in (first, second)} == {"-"}
  assert len({line.get_color() for line in axis.lines}) == 3


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
    ticks = [label.get_text() for label in axis.get_xticklabels()]
    assert ticks == ["0.1", "1", "10"]
    ticks = [label.get_text() for label in axis.get_yticklabels()]
    assert ticks == ["-1.5", "2"]
  maps = [[axis.images[0].get_cmap().name for axis in row] for row in axes]
  assert maps[0][0] == maps[0][1] != maps[1][0] == maps[1][1]
  texts = {text.get_position(): text.get_text() for text in axes[1, 0].texts}
  assert texts[2, 1] == "-"
  assert texts[1, 1] == f"{100 * shares[1, 0, 1, 1]:.0f}"
  assert [axis.get_title() for axis in axes[0]] == ["c", "d"]
  assert [axis.get_ylabel() for axis in axes[:, 0]] == ["a\ny", "b\ny"]
  assert axes[1, 0].get_xlabel() == "x"
  figures.save(figure, tmp_path / "maps.png")
  assert (tmp_path / "maps.png").exists()
