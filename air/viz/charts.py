"""The charts: numbers over axes. Saved by `figures`, as all of matplotlib.

They are made without pyplot, which needs a backend and keeps what it makes.
"""

import itertools
import math
import re
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import lines
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Okabe and Ito, which colour-blind readers tell apart.
_COLOURS = (
  "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000",
)  # fmt: skip
_LINE_STYLES = ("-", "--", ":", "-.")
# Of what is not a run: told apart by their lines only.
_REFERENCE_COLOUR = "#777777"
_REFERENCE_LINE_STYLES = (
  "--", ":", "-.", (0, (8, 2)), (0, (8, 2, 1, 2, 1, 2)), (0, (1, 4)),
)  # fmt: skip
# Blue and vermilion of Okabe and Ito, which colour-blind readers tell apart.
_SUCCESS_COLOUR, _FAILURE_COLOUR = "#0072B2", "#D55E00"
# All eight of theirs, and grey.
_ESTIMATOR_COLOURS = (
  *("#000000", "#E69F00", "#56B4E9", "#009E73"),
  *("#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#999999"),
)


def accuracy_curve(evaluations: Sequence[Mapping]) -> Figure:
  """The counting accuracy on held-out images over the iterations.

  Args:
    evaluations: as in `metrics.jsonl`, with `iteration`, `count_accuracy` and
      `count_accuracy_mode`.
  """
  figure = Figure(figsize=(6, 4), layout="constrained")
  axis = figure.subplots()
  iterations = [e["iteration"] for e in evaluations]
  for key, label in (
    ("count_accuracy", "n sampled from q(n|x)"),
    ("count_accuracy_mode", "most probable n"),
  ):
    axis.plot(
      iterations, [e[key] for e in evaluations], marker="o", ms=3, label=label
    )
  axis.set(
    xlabel="iteration",
    ylabel="counting accuracy (validation)",
    ylim=(0.0, 1.02),
  )
  axis.grid(alpha=0.3)
  axis.legend(loc="lower right")
  return figure


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
  figure = Figure(
    figsize=(1.0 + 4.0 * columns, 0.5 + 3.2 * rows), layout="constrained"
  )
  axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
  styles: dict[bool, dict[str, Any]] = {
    True: {"color": _SUCCESS_COLOUR, "linestyle": "-", "linewidth": 0.8},
    False: {"color": _FAILURE_COLOUR, "linestyle": "--", "linewidth": 0.8},
  }
  # Wide, and below the runs, which it would hide where they are equal.
  median_style: dict[str, Any] = {
    "color": "#BBBBBB", "linewidth": 4.0, "zorder": 1.0,
  }  # fmt: skip
  for axis, (name, curves) in zip(axes.flat, panels.items(), strict=False):
    by_iteration: dict[int, list[float]] = {}
    for curve in curves:
      axis.plot(curve.iterations, curve.accuracies, **styles[curve.succeeded])
      for i, accuracy in zip(curve.iterations, curve.accuracies, strict=True):
        by_iteration.setdefault(i, []).append(accuracy)
    iterations = sorted(by_iteration)
    medians = [np.median(by_iteration[i]) for i in iterations]
    axis.plot(iterations, medians, **median_style)
    succeeded = sum(curve.succeeded for curve in curves)
    title = textwrap.fill(re.sub(r",(?=[^\s\d])", ", ", name), 48)
    axis.set_title(f"{title}\n{succeeded} of {len(curves)}", fontsize=10)
    axis.set(xlabel="iteration", ylim=(0.0, 1.02))
    axis.xaxis.set_major_locator(MaxNLocator(6))
    axis.grid(alpha=0.3)
  for axis in axes.flat[len(panels) :]:
    axis.set_axis_off()
  for axis in axes[:, 0]:
    axis.set_ylabel("counting accuracy (validation)")
  handles = [
    lines.Line2D([], [], label=label, **style)
    for label, style in (
      ("success", styles[True]),
      ("failure", styles[False]),
      ("median", median_style),
    )
  ]
  figure.legend(handles=handles, loc="outside lower center", ncols=3)
  return figure


def curves(
  panels: Mapping[str, Mapping[str, Mapping[int, float]]],
  x_labels: Mapping[str, str] | None = None,
  y_label: str = "",
  limits: Mapping[str, tuple[float, float]] | None = None,
  references: Collection[str] = (),
) -> Figure:
  """The same quantities of several runs, a panel for each quantity.

  Args:
    panels: title to the runs that have this quantity, and of each run iteration
      to value. A run looks the same in all panels.
    x_labels: title to the name of the horizontal axis, where it is not the
      iteration.
    y_label: of the vertical axes, if they have one in common.
    limits: title to the ends of the vertical axis, where they are not to
      follow from the values.
    references: those of the runs that are drawn in grey.
  """
  columns = min(len(panels), 4)
  rows = -(-len(panels) // columns)
  figure = Figure(
    figsize=(3.8 * columns, 3.0 * rows + 0.6), layout="constrained"
  )
  axes = figure.subplots(rows, columns, squeeze=False)
  # The colours first: seven runs differ in them, the next in their lines.
  looks = itertools.cycle(itertools.product(_LINE_STYLES, _COLOURS))
  grey_looks = itertools.cycle(
    (line_style, _REFERENCE_COLOUR) for line_style in _REFERENCE_LINE_STYLES
  )
  names = dict.fromkeys(itertools.chain.from_iterable(panels.values()))
  styles = {
    name: next(grey_looks if name in references else looks) for name in names
  }
  handles = {}
  for axis, (title, runs) in zip(axes.flat, panels.items(), strict=False):
    for name, series in runs.items():
      line_style, colour = styles[name]
      [handles[name]] = axis.plot(
        list(series),
        list(series.values()),
        color=colour,
        linestyle=line_style,
        linewidth=1.2,
        marker="" if name in references else "o",
        markersize=2,
        label=name,
      )
    axis.set_title(title, fontsize=10)
    axis.set_xlabel((x_labels or {}).get(title, "iteration"))
    axis.set_ylabel(y_label)
    axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    if limits and title in limits:
      axis.set_ylim(limits[title])
    axis.grid(alpha=0.3)
  for axis in axes.flat[len(panels) :]:
    axis.set_axis_off()
  figure.legend(
    handles=[handles[name] for name in names],
    loc="outside lower center",
    ncols=min(len(handles), 4),
    handlelength=4.0,
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
  figure = Figure(
    figsize=(1.2 + columns * (0.8 + 0.5 * width), rows * (1.0 + 0.4 * height)),
    layout="constrained",
  )
  axes = figure.subplots(rows, columns, squeeze=False)
  for (row, column), axis in np.ndenumerate(axes):
    image = axis.imshow(
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
        fontsize=8,
        color="white" if share > 0.6 else "black",
      )
    axis.set_xticks(range(width), [f"{value:g}" for value in x[1]])
    axis.set_yticks(range(height), [f"{value:g}" for value in y[1]])
    if row == 0:
      axis.set_title(column_names[column], fontsize=9)
    if row == rows - 1:
      axis.set_xlabel(x[0])
    if column == 0:
      axis.set_ylabel(f"{row_names[row]}\n{y[0]}")
    if column == columns - 1:
      figure.colorbar(
        image, ax=axes[row], format=lambda share, _: f"{100 * share:.0f} %"
      )
  return figure


def gradient_variances(records: Sequence[Mapping]) -> Figure:
  """The variance of the gradient at the checkpoints, by group of parameters.

  Args:
    records: of `experiments.analysis.gradient_variance`.
  """
  iterations = sorted({record["iteration"] for record in records})
  groups = list(records[0]["groups"])
  estimators = list(dict.fromkeys(record["estimator"] for record in records))
  figure = Figure(figsize=(1.0 + 4.0 * len(groups), 4.5), layout="constrained")
  axes = figure.subplots(1, len(groups))
  styles = {"drawn": ("-", "o"), "fixed": (":", "s")}
  palette = itertools.cycle(_ESTIMATOR_COLOURS)
  colours = dict(zip(estimators, palette, strict=False))
  positions = np.arange(len(iterations))
  # Side by side, so that equal variances do not hide each other.
  offsets = np.linspace(-0.25, 0.25, len(estimators))
  for axis, group in zip(axes, groups, strict=True):
    for offset, (estimator, colour) in zip(
      offsets, colours.items(), strict=True
    ):
      for minibatch, (line, marker) in styles.items():
        variances = {
          record["iteration"]: record["groups"][group]["variance_mean"]
          for record in records
          if record["estimator"] == estimator
          and record["minibatch"] == minibatch
        }
        axis.plot(
          positions + offset,
          [variances[i] for i in iterations],
          color=colour,
          linestyle=line,
          marker=marker,
          ms=4,
        )
    axis.set_xticks(positions, [f"{i:,}" for i in iterations])
    axis.set(
      yscale="log",
      title=group,
      xlabel="iteration",
      xlim=(-0.5, len(iterations) - 0.5),
    )
    axis.grid(alpha=0.3)
  axes[0].set_ylabel("variance per parameter, mean")
  handles = [
    lines.Line2D([], [], color=colour, label=estimator)
    for estimator, colour in colours.items()
  ]
  handles += [
    lines.Line2D(
      [], [], color="grey", ls=line, marker=marker, label=f"minibatch {name}"
    )
    for name, (line, marker) in styles.items()
  ]
  figure.legend(handles=handles, loc="outside lower center", ncols=5)
  return figure
