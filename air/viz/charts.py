"""The charts: numbers over axes. Saved by `figures`, as all of matplotlib.

They are made without pyplot, which needs a backend and keeps what it makes.
"""

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import lines
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from air.viz import style

_LINE_STYLES = ("-", "--", ":", "-.")
# Of what is not a run, in this order: unlike runs, they have no points.
_REFERENCE_COLOURS = (
  style.BLACK, style.RED, style.GREEN, style.PURPLE, style.ORANGE,
)  # fmt: skip
_REFERENCE_LINE_STYLES = ("--", ":", "-.", (0, (8, 2)), (0, (4, 1, 1, 1, 1, 1)))
_SUCCESS_COLOUR, _FAILURE_COLOUR = style.BLUE, style.RED
# Of checkpoints, from the first to the last, and so on from the first.
_CHECKPOINT_COLOURS = (style.ORANGE, style.RED, style.PURPLE, style.BLUE)
_CHECKPOINT_MARKERS = "osD^v"


def accuracy_curve(evaluations: Sequence[Mapping]) -> Figure:
  """The counting accuracy on held-out images over the iterations.

  Args:
    evaluations: as in `metrics.jsonl`, with `iteration`, `count_accuracy` and
      `count_accuracy_mode`.
  """
  figure = style.figure(3.4, 5.4)
  axis = figure.subplots()
  iterations = [e["iteration"] for e in evaluations]
  for key, label, colour in (
    ("count_accuracy", "n sampled from q(n|x)", style.BLUE),
    ("count_accuracy_mode", "most probable n", style.RED),
  ):
    values = [e[key] for e in evaluations]
    axis.plot(iterations, values, color=colour, marker="o", ms=3, label=label)
  axis.set(ylabel="counting accuracy (validation)", ylim=(0.0, 1.02))
  _finish(axis)
  axis.legend(loc="lower right", fontsize=style.TEXT_SIZE)
  return figure


def _finish(axis: Axes, x_label: str = "iteration") -> None:
  """Gives an axis the look of all charts over iterations."""
  axis.set_xlabel(x_label, size=style.TEXT_SIZE)
  axis.yaxis.label.set_fontsize(style.TEXT_SIZE)
  axis.title.set_fontsize(style.TEXT_SIZE + 1)
  axis.tick_params(labelsize=style.TEXT_SIZE)
  axis.xaxis.set_major_locator(
    MaxNLocator(5, steps=[1, 2, 5, 10], integer=True)
  )
  axis.xaxis.set_major_formatter(EngFormatter(sep=""))  # 300k
  axis.grid(alpha=0.3)


class Curve(NamedTuple):
  """The counting accuracy of a run while it trained.

  Attributes:
    iterations: of the evaluations.
    accuracies: at the evaluations.
    succeeded: whether the run did, in the end.
  """

  iterations: Sequence[int]
  accuracies: Sequence[float]
  succeeded: bool


def accuracy_curves(panels: Mapping[str, Sequence[Curve]]) -> Figure:
  """The curves of all runs and their median, a panel per configuration.

  Args:
    panels: the runs of each configuration, at least one.
  """
  columns = min(len(panels), 3)
  rows = -(-len(panels) // columns)
  # A single one is as wide as two of several.
  panel_width = style.WIDTH / max(columns, 1.5)
  titles = [style.wrapped(name, int(panel_width / 0.075)) for name in panels]
  figure = style.figure(
    0.4 + rows * (2.1 + 0.15 * max(map(len, titles))), panel_width * columns
  )
  axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
  styles: dict[bool, dict[str, Any]] = {
    True: {"color": _SUCCESS_COLOUR, "linestyle": "-", "linewidth": 0.8},
    False: {"color": _FAILURE_COLOUR, "linestyle": "--", "linewidth": 0.8},
  }
  # Wide, and below the runs, which it would hide where they are equal.
  median_style: dict[str, Any] = {
    "color": style.GREY, "alpha": 0.6, "linewidth": 4.0, "zorder": 1.0,
  }  # fmt: skip
  for axis, title, curves in zip(
    axes.flat, titles, panels.values(), strict=False
  ):
    by_iteration: dict[int, list[float]] = {}
    for curve in curves:
      axis.plot(curve.iterations, curve.accuracies, **styles[curve.succeeded])
      for i, accuracy in zip(curve.iterations, curve.accuracies, strict=True):
        by_iteration.setdefault(i, []).append(accuracy)
    iterations = sorted(by_iteration)
    medians = [np.median(by_iteration[i]) for i in iterations]
    axis.plot(iterations, medians, **median_style)
    succeeded = sum(curve.succeeded for curve in curves)
    axis.set_title("\n".join([*title, f"{succeeded} of {len(curves)}"]))
    axis.set_ylim(0.0, 1.02)
    _finish(axis)
  for axis in axes.flat[len(panels) :]:
    axis.set_axis_off()
  for axis in axes[:, 0]:
    axis.set_ylabel("counting accuracy\n(validation)", size=style.TEXT_SIZE)
  handles = [
    lines.Line2D([], [], label=label, **line_style)
    for label, line_style in (
      ("success", styles[True]),
      ("failure", styles[False]),
      ("median", median_style),
    )
  ]
  figure.legend(
    handles=handles, loc="outside lower center", ncols=3,
    fontsize=style.TEXT_SIZE,
  )  # fmt: skip
  return figure


def curves(
  panels: Mapping[str, Mapping[str, Mapping[int, float | Sequence[float]]]],
  x_labels: Mapping[str, str] | None = None,
  y_label: str = "",
  limits: Mapping[str, tuple[float, float]] | None = None,
  references: Collection[str] = (),
  columns: int = 3,
  log_x: bool = False,
) -> Figure:
  """The same quantities of several runs, a panel for each quantity.

  Args:
    panels: title to the runs that have this quantity, and of each run iteration
      to value, or to the values of several seeds: their median is a line, and
      from the lowest to the highest is a band. A run looks the same in all
      panels.
    x_labels: title to the name of the horizontal axis, where it is not the
      iteration.
    y_label: of the vertical axes, if they have one in common.
    limits: title to the ends of the vertical axis, where they are not to
      follow from the values.
    references: those of the runs that are lines without points, broken ones.
    columns: of panels, at most.
    log_x: whether the horizontal axes are logarithmic.
  """
  columns = min(len(panels), columns)
  rows = -(-len(panels) // columns)
  names = dict.fromkeys(itertools.chain.from_iterable(panels.values()))
  width = style.WIDTH / 3 * max(columns, 2)
  # As many as the longest name leaves room for.
  room = int(16 * width)
  legend_columns = max(1, min(4, room // (max(map(len, names)) + 12)))
  legend_rows = -(-len(names) // legend_columns)
  figure = style.figure(2.1 * rows + 0.2 * legend_rows + 0.1, width)
  axes = figure.subplots(rows, columns, squeeze=False)
  # The colours first: seven runs differ in them, the next in their lines.
  looks = itertools.cycle(itertools.product(_LINE_STYLES, style.LINES))
  reference_looks = itertools.cycle(
    zip(_REFERENCE_LINE_STYLES, _REFERENCE_COLOURS, strict=True)
  )
  styles = {
    name: next(reference_looks if name in references else looks)
    for name in names
  }
  handles = {}
  for axis, (title, runs) in zip(axes.flat, panels.items(), strict=False):
    for name, series in runs.items():
      line_style, colour = styles[name]
      values = [np.atleast_1d(value) for value in series.values()]
      if max(map(len, values), default=0) > 1:
        axis.fill_between(
          list(series),
          [np.min(value) for value in values],
          [np.max(value) for value in values],
          color=colour, alpha=0.2, linewidth=0,
        )  # fmt: skip
      [handles[name]] = axis.plot(
        list(series),
        [np.median(value) for value in values],
        color=colour,
        linestyle=line_style,
        linewidth=1.2,
        marker="" if name in references else "o",
        markersize=2,
        label=name,
      )
    axis.set_title("\n".join(style.wrapped(title, 36)))
    axis.set_ylabel(y_label)
    if limits and title in limits:
      axis.set_ylim(limits[title])
    _finish(axis, (x_labels or {}).get(title, "iteration"))
    if log_x:
      axis.set_xscale("log")
      axis.xaxis.set_major_formatter(EngFormatter(sep=""))
  for axis in axes.flat[len(panels) :]:
    axis.set_axis_off()
  figure.legend(
    handles=[handles[name] for name in names],
    loc="outside lower center",
    ncols=legend_columns,
    handlelength=3.0,
    fontsize=style.TEXT_SIZE,
  )
  return figure


def heat_maps(
  shares: np.ndarray,
  row_names: Sequence[str],
  column_names: Sequence[str],
  x: tuple[str, Sequence[float]],
  y: tuple[str, Sequence[float]],
  bad: Collection[str] = (),
) -> Figure:
  """A table of heat maps of shares, each with its percentages.

  Args:
    shares: `[R, C, Y, X]` in [0, 1]; NaN where it is not known.
    row_names: of the R rows of heat maps.
    column_names: of the C columns of heat maps.
    x: name and values of each heat map's horizontal axis.
    y: the same of the vertical axis, from below.
    bad: those of the rows where a large share is a bad one, in other colours.
  """
  rows, columns, height, width = shares.shape
  figure = style.figure(0.4 + rows * (0.25 + 0.3 * height))
  axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
  for (row, column), axis in np.ndenumerate(axes):
    axis.imshow(
      shares[row, column], cmap="Oranges" if row_names[row] in bad else "Blues",
      vmin=0.0, vmax=1.0, origin="lower", aspect="auto",
    )  # fmt: skip
    for (i, j), share in np.ndenumerate(shares[row, column]):
      axis.text(
        j,
        i,
        "-" if math.isnan(share) else f"{100 * share:.0f}",
        ha="center",
        va="center",
        fontsize=style.TEXT_SIZE,
        color="white" if share > 0.6 else "black",
      )
    axis.set_xticks(range(width), [f"{value:g}" for value in x[1]])
    axis.set_yticks(range(height), [f"{value:g}" for value in y[1]])
    axis.tick_params(labelsize=style.TEXT_SIZE)
    if row == 0:
      axis.set_title(column_names[column], size=style.TEXT_SIZE)
    if row == rows - 1:
      axis.set_xlabel(x[0], size=style.TEXT_SIZE)
    if column == 0:
      axis.set_ylabel(f"{row_names[row]}, %\n{y[0]}", size=style.TEXT_SIZE)
  return figure


def gradient_variances(records: Sequence[Mapping]) -> Figure:
  """The variance of each estimator's gradient, a panel per parameter group.

  A row for each estimator, with a point for each checkpoint: where points of a
  checkpoint stand below each other, the estimators vary alike.

  Args:
    records: of `experiments.analysis.gradient_variance`, of which those with
      minibatches drawn are shown.
  """
  drawn = [record for record in records if record["minibatch"] == "drawn"]
  iterations = sorted({record["iteration"] for record in drawn})
  groups = list(drawn[0]["groups"])
  estimators = list(dict.fromkeys(record["estimator"] for record in drawn))
  figure = style.figure(1.1 + 0.24 * len(estimators))
  axes = figure.subplots(1, len(groups), sharey=True)
  handles: list[lines.Line2D] = []
  for axis, group in zip(axes, groups, strict=True):
    looks = itertools.cycle(
      zip(_CHECKPOINT_COLOURS, _CHECKPOINT_MARKERS, strict=False)
    )
    handles = []
    for iteration, (colour, marker) in zip(iterations, looks, strict=False):
      variances = {
        record["estimator"]: record["groups"][group]["variance_mean"]
        for record in drawn
        if record["iteration"] == iteration
      }
      handles += axis.plot(
        [variances[estimator] for estimator in estimators],
        range(len(estimators)),
        color=colour,
        linestyle="",
        marker=marker,
        markersize=5,
        alpha=0.8,
        label=f"iteration {iteration:,}",
      )
    axis.set_xscale("log")
    axis.set_title(group.replace("_", " "), size=style.TEXT_SIZE + 1)
    axis.tick_params(labelsize=style.TEXT_SIZE)
    axis.grid(alpha=0.3)
  axes[0].set_yticks(range(len(estimators)), estimators)
  axes[0].invert_yaxis()
  figure.supxlabel("variance per parameter, mean", size=style.TEXT_SIZE)
  figure.legend(
    handles=handles, loc="outside upper center", ncols=len(handles),
    fontsize=style.TEXT_SIZE, frameon=False,
  )  # fmt: skip
  return figure
