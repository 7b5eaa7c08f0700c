"""Charts that compare runs. Like `air.figures`, which saves them, matplotlib's.

They are made without pyplot, which needs a backend and keeps what it makes.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Okabe and Ito, which colour-blind readers tell apart.
_COLOURS = (
  "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000",
)  # fmt: skip
_LINE_STYLES = ("-", "--", ":", "-.")


def curves(
  panels: Mapping[str, Mapping[str, Mapping[int, float]]],
  x_label: str = "iteration",
  limits: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:
  """The same quantities of several runs, a panel for each quantity.

  Args:
    panels: title to the runs that have this quantity, and of each run iteration
      to value. A run looks the same in all panels.
    x_label: of the horizontal axes.
    limits: title to the ends of the vertical axis, where they are not to
      follow from the values.
  """
  columns = min(len(panels), 4)
  rows = -(-len(panels) // columns)
  figure = Figure(
    figsize=(3.8 * columns, 3.0 * rows + 0.6), layout="constrained"
  )
  axes = figure.subplots(rows, columns, squeeze=False)
  # The colours first: seven runs differ in them, the next in their lines.
  looks = itertools.cycle(itertools.product(_LINE_STYLES, _COLOURS))
  names = dict.fromkeys(itertools.chain.from_iterable(panels.values()))
  styles = dict(zip(names, looks, strict=False))
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
        marker="o",
        markersize=2,
        label=name,
      )
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(x_label)
    axis.xaxis.set_major_locator(MaxNLocator(4))
    if limits and title in limits:
      axis.set_ylim(limits[title])
    axis.grid(alpha=0.3)
  for axis in axes.flat[len(panels) :]:
    axis.set_axis_off()
  figure.legend(
    handles=[handles[name] for name in names],
    loc="outside lower center",
    ncols=min(len(handles), 4),
  )
  return figure


def heat_maps(
  shares: np.ndarray,
  row_names: Sequence[str],
  column_names: Sequence[str],
  x: tuple[str, Sequence[float]],
  y: tuple[str, Sequence[float]],
) -> Figure:
  """A table of heat maps of shares, each with its percentages.

  Args:
    shares: `[R, C, Y, X]` in [0, 1]; NaN where it is not known.
    row_names: of the R rows of heat maps.
    column_names: of the C columns of heat maps.
    x: name and values of each heat map's horizontal axis.
    y: the same of the vertical axis, from below.
  """
  rows, columns, height, width = shares.shape
  figure = Figure(
    figsize=(1.2 + columns * (0.8 + 0.5 * width), rows * (1.0 + 0.4 * height)),
    layout="constrained",
  )
  axes = figure.subplots(rows, columns, squeeze=False)
  for (row, column), axis in np.ndenumerate(axes):
    image = axis.imshow(
      shares[row, column], cmap="viridis", vmin=0.0, vmax=1.0, origin="lower",
      aspect="auto",
    )  # fmt: skip
    for (i, j), share in np.ndenumerate(shares[row, column]):
      axis.text(
        j,
        i,
        "-" if math.isnan(share) else f"{100 * share:.0f}",
        ha="center",
        va="center",
        fontsize=8,
        color="white" if share < 0.6 else "black",
      )
    axis.set_xticks(range(width), [f"{value:g}" for value in x[1]])
    axis.set_yticks(range(height), [f"{value:g}" for value in y[1]])
    if row == 0:
      axis.set_title(column_names[column], fontsize=9)
    if row == rows - 1:
      axis.set_xlabel(x[0])
    if column == 0:
      axis.set_ylabel(f"{row_names[row]}\n{y[0]}")
  figure.colorbar(
    image, ax=axes, format=lambda share, _: f"{100 * share:.0f} %"
  )
  return figure
