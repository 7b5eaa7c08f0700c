r"""Plots runs of this code and of the blog's original code on common axes.

  python -m experiments.analysis.compare \
    --runs=runs/default,runs/blog,original/logs

A run is a folder with TensorBoard event files, or one such file. It may come
from this code, or from the original code on TensorFlow 1: both use the same
tags. The KL terms of n and z_where, and `loss` (the negative ELBO), are under
the annealed priors of their iteration. A truncated file is read as far as
possible.

Prints a table. For several runs, writes compare.png and compare.json to their
common parent folder. For one run, writes RUN/figures/compare.png and
RUN/analysis/compare.json.
"""

import math
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from etils import epy

from air.storage import files
from experiments.common import launcher, runs
from experiments.common.launcher import UsageError
from experiments.common.outputs import Outputs
from experiments.common.progress import Task

with epy.lazy_imports():
  from air.viz import charts, figures, summaries

_ACCURACY, _LOSS = "num_step_acc", "loss"
# In the order of the panels.
_TITLES = {
  _ACCURACY: "counting accuracy, sampled n",
  "num_step": "number of steps",
  _LOSS: "-ELBO, annealed prior, nats",
  "rec_loss": "reconstruction error, nats",
  "prior_loss": "all KL terms, nats",
  "kl_num_steps": "KL of the number of steps, nats",
  "kl_what": "KL of z_what, nats",
  "kl_where": "KL of z_where, nats",
}
_PERCENTAGES = (95, 98)
_NONE = "-"
_OUTPUTS = Outputs("compare")


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  options = {"flag_values": flag_values, "module_name": "run"}
  flags.DEFINE_list(
    "runs",
    None,
    "folders of runs, or event files, separated by commas; one with commas in"
    " its name in double quotes",
    required=True,
    **options,
  )
  flags.DEFINE_enum(
    "split",
    "test",
    ["test", "train"],
    "images held out (of our runs, the validation images), or those trained on",
    **options,
  )
  _OUTPUTS.define_flags(flag_values)


def read(path: pathlib.Path, split: str) -> dict[str, dict[int, float]]:
  """Returns what a run logged.

  Args:
    path: of a folder with event files, or of one.
    split: "test" or "train".

  Returns:
    For each tag that was logged, without the split, iteration to value.

  Raises:
    UsageError: if none was.
  """
  scalars = {}
  if path.exists():
    scalars = summaries.read_scalars(path, [f"{t}/{split}" for t in _TITLES])
  if not scalars:
    raise UsageError(
      f"runs holds '{path}', expected an event file, or a folder with files"
      f" {summaries.EVENT_FILES}, with one of the tags"
      f" {', '.join(f'{tag}/{split}' for tag in _TITLES)}"
    )
  return {
    tag: scalars[f"{tag}/{split}"]
    for tag in _TITLES
    if f"{tag}/{split}" in scalars
  }


def summarize(scalars: Mapping[str, Mapping[int, float]]) -> dict[str, Any]:
  """Returns the numbers of a run, ready for JSON.

  Args:
    scalars: see `read`.
  """

  def best(tag, choose):
    series = scalars.get(tag, {})
    at = choose(
      (i for i, value in series.items() if math.isfinite(value)),
      key=series.get,
      default=None,
    )
    return None if at is None else {"iteration": at, "value": series[at]}

  return {
    "last_iteration": max(max(series) for series in scalars.values()),
    "final": {
      tag: _finite(series[max(series)]) for tag, series in scalars.items()
    },
    "best_accuracy": best(_ACCURACY, max),
    "best_loss": best(_LOSS, min),
    "iterations_to": {
      str(percentage): next(
        (
          iteration
          for iteration, accuracy in scalars.get(_ACCURACY, {}).items()
          if accuracy >= percentage / 100
        ),
        None,
      )
      for percentage in _PERCENTAGES
    },
    "curves": {
      tag: {
        "iterations": list(series),
        "values": [_finite(value) for value in series.values()],
      }
      for tag, series in scalars.items()
    },
  }


def _finite(value: float) -> float | None:
  return value if math.isfinite(value) else None


def format_table(summaries_by_run: Mapping[str, Mapping[str, Any]]) -> str:
  """Returns a row for each run, as lines of text."""
  rows = [
    [
      "run",
      "iterations",
      "accuracy",
      "best (at)",
      *(f"{percentage} % at" for percentage in _PERCENTAGES),
      "best loss (at)",
      *(tag for tag in _TITLES if tag != _ACCURACY),
    ]
  ]
  for name, summary in summaries_by_run.items():
    final = summary["final"]
    rows.append(
      [
        name,
        f"{summary['last_iteration']:,}",
        _format(final.get(_ACCURACY), ".2%"),
        _format_best(summary["best_accuracy"], ".2%"),
        *(_format(i, ",") for i in summary["iterations_to"].values()),
        _format_best(summary["best_loss"], ".1f"),
        *(
          _format(final.get(tag), ".2f" if tag == "num_step" else ".1f")
          for tag in _TITLES
          if tag != _ACCURACY
        ),
      ]
    )
  return _aligned(rows)


def _format(value: float | None, spec: str) -> str:
  return _NONE if value is None else format(value, spec)


def _format_best(best: Mapping[str, float] | None, spec: str) -> str:
  if best is None:
    return _NONE
  return f"{best['value']:{spec}} ({best['iteration']:,})"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return "\n".join(
    "  ".join(
      cell.rjust(width) if i else cell.ljust(width)
      for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    for row in rows
  )


def main(flag_values: flags.FlagValues) -> None:
  """Reads the runs, prints the table, writes figure and numbers."""
  paths = [launcher.expanded("runs", path) for path in flag_values.runs]
  by_name = runs.names("runs", paths)
  figure, numbers_file = _OUTPUTS.files(flag_values, paths)
  by_run = {}
  for name, path in by_name.items():
    with Task(f"reading {path}"):
      by_run[name] = read(path, flag_values.split)
  numbers = {name: summarize(scalars) for name, scalars in by_run.items()}
  panels = {
    title: {name: run[tag] for name, run in by_run.items() if tag in run}
    for tag, title in _TITLES.items()
  }
  print(format_table(numbers))
  figures.save(
    charts.curves({title: found for title, found in panels.items() if found}),
    figure,
  )
  files.write_json(numbers_file, {"split": flag_values.split, "runs": numbers})
  print(f"figure:  {figure}\nnumbers: {numbers_file}")


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
