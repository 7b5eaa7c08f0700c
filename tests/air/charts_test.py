"""The charts: what is drawn where."""

import numpy as np

from air import charts, figures


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
  figures.save(figure, tmp_path / "curves.png")
  assert (tmp_path / "curves.png").exists()


def test_heat_maps(tmp_path):
  shares = np.linspace(0.0, 1.0, 24).reshape(2, 2, 2, 3)
  shares[1, 0, 1, 2] = np.nan
  figure = charts.heat_maps(
    shares, ["a", "b"], ["c", "d"], ("x", [0.1, 1.0, 10.0]), ("y", [-1.5, 2.0])
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
  texts = {text.get_position(): text.get_text() for text in axes[1, 0].texts}
  assert texts[2, 1] == "-"
  assert texts[1, 1] == f"{100 * shares[1, 0, 1, 1]:.0f}"
  assert [axis.get_title() for axis in axes[0]] == ["c", "d"]
  assert [axis.get_ylabel() for axis in axes[:, 0]] == ["a\ny", "b\ny"]
  assert axes[1, 0].get_xlabel() == "x"
  figures.save(figure, tmp_path / "maps.png")
  assert (tmp_path / "maps.png").exists()
