"""What the variances of gradients say: tables, and whether the means agree.

A record is one of `analysis.gradient_variance`: of an estimator at an
iteration, the minibatch drawn or fixed. Of each group of parameters it has
statistics of the variance, of those that the score function adds to the bias of
the mean gradient (`bias`, None if it cannot be told), and how many images in
the draws are expected to have an n that is not the most probable one
(`surprises`).
"""

import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epy

from experiments.sweeps import records as records_lib

with epy.lazy_imports():
  from air import estimators as estimators_lib

# The estimator that the others' means are compared with, and the one that
# leaves the score function out.
REFERENCE = "marginal"
WITHOUT_SCORE = "backpropagation"
# The reference with the gradient through the canvas, of DAIR.
THROUGH_CANVAS = "through_canvas"
# To the decoder's gradient the score function adds nothing.
WITH_SCORE = ("presence_head", "rest")
# Means further apart than so many standard errors do not agree.
MOST_ERRORS = 5.0
# In all draws together, images whose n is not the most probable one; with fewer
# to be expected, means are not checked.
_FEWEST_SURPRISES = 100
# A bias is checked where its standard error is no larger: one of 0.5 is found.
_LARGEST_ERROR = 0.1
_KEYS = {
  *("iteration", "minibatch", "estimator", "surprises", "groups", "bias"),
}
# What the blog post says it measured: estimator, group, order of magnitude.
_POST = (
  ("backpropagation", "decoder", 1e-2),
  ("reinforce_plain", "presence_head", 1e3),
  ("reinforce", "presence_head", 1e-1),
)


def read(path: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the records in a file.

  Args:
    path: of the file.

  Raises:
    UsageError: if a line is not a record.
  """
  expected = (
    "a record of gradients; expected what"
    " experiments.analysis.gradient_variance writes"
  )
  return records_lib.read_lines(path, _is_record, expected)


def _is_record(record: Any) -> bool:
  """Returns whether what stands in a line is a record, as far as it is used."""
  if not isinstance(record, dict) or not record.keys() >= _KEYS:
    return False
  groups = record["groups"]
  return isinstance(groups, dict) and all(
    isinstance(group, dict) and "variance_mean" in group
    for group in groups.values()
  )


def _is_rare(record: dict[str, Any]) -> bool:
  """Returns whether hardly any of the draws has another n."""
  return record["surprises"] < _FEWEST_SURPRISES


def _biases(
  records: Sequence[dict[str, Any]],
) -> Iterator[tuple[str, dict[str, float] | None, bool]]:
  """Yields what there is to check: biases of estimators that should have none.

  Args:
    records: one for each measurement.

  Yields:
    Of what, the bias, and whether it can be checked.
  """
  for record in records:
    name = record["estimator"]
    if name in (REFERENCE, THROUGH_CANVAS):
      continue
    if not estimators_lib.ESTIMATORS[name].unbiased:
      continue
    for group, values in record["bias"].items():
      known = not _is_rare(record) and values is not None
      yield (
        f"{name} ({group}, iteration {record['iteration']}, minibatch"
        f" {record['minibatch']})",
        values,
        known and values["error"] <= _LARGEST_ERROR,
      )


def disagreements(records: Sequence[dict[str, Any]]) -> list[str]:
  """Returns where an unbiased estimator's mean is not the reference's.

  Where it can be checked.

  Args:
    records: one for each measurement.
  """
  return [
    f"{name}: bias {values['bias']:.2g} with a standard error of"
    f" {values['error']:.2g}"
    for name, values, can_be_checked in _biases(records)
    if can_be_checked and abs(values["bias"]) > MOST_ERRORS * values["error"]
  ]


def _with_error(values: dict[str, float] | None) -> str:
  return f"{values['bias']:.2f} ({values['error']:.2f})" if values else "-"


def format_tables(records: Sequence[dict[str, Any]]) -> str:
  """Returns the records as lines of text.

  Args:
    records: one for each measurement.
  """
  groups = list(records[0]["groups"])
  kinds = dict.fromkeys((r["iteration"], r["minibatch"]) for r in records)
  lines = []
  for kind in kinds:
    lines += [
      f"iteration {kind[0]}, minibatch {kind[1]}: variance per parameter, mean"
      f" over the group; bias (standard error), -1: as {WITHOUT_SCORE}",
      f"  {'':<20s}"
      + "".join(f"{group:>15s}" for group in groups)
      + "".join(f"{group:>16s}" for group in WITH_SCORE)
      + "  baseline",
    ]
    for record in records:
      if (record["iteration"], record["minibatch"]) != kind:
        continue
      variances = "".join(
        f"{values['variance_mean']:>15.1e}"
        for values in record["groups"].values()
      )
      biases = "".join(
        f"{_with_error(values):>16s}" for values in record["bias"].values()
      )
      lines.append(
        f"  {record['estimator']:<20s}{variances}{biases}"
        f"  {record['baseline'] or '-'}"
      )
  lines += _of_the_canvas(records)
  lines += _against_the_post(records, list(kinds))
  return "\n".join(lines)


def _of_the_canvas(records: Sequence[dict[str, Any]]) -> list[str]:
  """Returns what the gradient through the canvas adds, if it was measured."""
  by_kind: dict[tuple[int, str], dict[str, dict[str, Any]]] = {}
  for record in records:
    kind = record["iteration"], record["minibatch"]
    by_kind.setdefault(kind, {})[record["estimator"]] = record
  lines = []
  for (iteration, minibatch), by_name in by_kind.items():
    if THROUGH_CANVAS not in by_name:
      continue
    full, stopped = by_name[THROUGH_CANVAS], by_name[REFERENCE]
    lines.append(
      f"iteration {iteration}, minibatch {minibatch}: norm of a gradient,"
      f" median and maximum: {stopped['norm_median']:.2g} and"
      f" {stopped['norm_max']:.2g}, through the canvas"
      f" {full['norm_median']:.2g} and {full['norm_max']:.2g}"
    )
    for group, values in full["groups"].items():
      lines.append(
        f"  {group}: the mean gradient has a norm of {values['reference']:.2g};"
        f" through the canvas comes {values['distance']:.2g}, by chance"
        f" {values['distance_by_chance']:.2g}"
      )
  return lines


def rows(
  records: Sequence[dict[str, Any]],
) -> tuple[list[str], list[list[str]]]:
  """Returns header and rows of a Markdown table: a row for each estimator.

  The minibatches drawn, and the groups of which the post says a variance. With
  ~ are variances, of what the score function adds to, that stand on hardly any
  draw with another n; there biases are left out.

  Args:
    records: one for each measurement.
  """
  drawn = {
    (r["iteration"], r["estimator"]): r
    for r in records
    if r["minibatch"] == "drawn"
  }
  iterations = list(dict.fromkeys(iteration for iteration, _ in drawn))
  estimators = list(dict.fromkeys(estimator for _, estimator in drawn))
  groups = list(dict.fromkeys(group for _, group, _ in _POST))
  told = [i for i in iterations if not _is_rare(drawn[i, REFERENCE])]
  header = [
    "",
    *_columns(groups, iterations, ""),
    *_columns(WITH_SCORE[:1], told, "bias, "),
  ]
  table = []
  for estimator in estimators:
    cells = [f"`{estimator}`"]
    for group in groups:
      for iteration in iterations:
        record = drawn[iteration, estimator]
        rare = group in WITH_SCORE and _is_rare(record)
        value = record["groups"][group]["variance_mean"]
        cells.append(f"{'~' if rare else ''}{value:.0e}")
    for iteration in told:
      values = drawn[iteration, estimator]["bias"][WITH_SCORE[0]]
      known = values is not None and estimator != REFERENCE
      cells.append(
        f"{values['bias']:.2f} ± {values['error']:.2f}" if known else "-"
      )
    table.append(cells)
  post = {(group, name): f"{order:.0e}" for name, group, order in _POST}
  cells = []
  for group in groups:
    said = [f"{post[g, n]} `{n}`" for g, n in post if g == group]
    cells += [", ".join(said), *[""] * (len(iterations) - 1)]
  table.append(["the post", *cells, *[""] * len(told)])
  return header, table


def _columns(
  groups: Sequence[str], iterations: Sequence[int], prefix: str
) -> list[str]:
  """Returns names of columns, the group's in the first of its iterations."""
  return [
    f"{prefix}{group.replace('_', ' ')}: at {iteration:,}"
    if iteration == iterations[0]
    else f"{iteration:,}"
    for group in groups
    for iteration in iterations
  ]


def _against_the_post(
  records: Sequence[dict[str, Any]], kinds: Sequence[tuple[int, str]]
) -> list[str]:
  """Returns a table of definitions of the three variances the post speaks of.

  The last column is the largest factor by which one of them is off.
  """
  by_name = {
    (r["iteration"], r["minibatch"], r["estimator"]): r for r in records
  }
  header = "".join(f"{name + ', ' + group:>32s}" for name, group, _ in _POST)
  post = "".join(f"{order:>32.0e}" for *_, order in _POST)
  lines = [
    "Against the blog post's orders of magnitude",
    f"  {'':<34s}{header}{'off by':>10s}",
    f"  {'the post':<34s}{post}",
  ]
  for iteration, minibatch in kinds:
    for statistic in ("mean", "median", "max"):
      values = [
        by_name[iteration, minibatch, name]["groups"][group][
          f"variance_{statistic}"
        ]
        for name, group, _ in _POST
      ]
      off = max(
        abs(math.log10(max(value, 1e-300) / order))
        for value, (*_, order) in zip(values, _POST, strict=True)
      )
      lines.append(
        f"  {f'iteration {iteration}, {minibatch}, {statistic}':<34s}"
        + "".join(f"{value:>32.1e}" for value in values)
        + f"{f'10^{off:.1f}':>10s}"
      )
  return lines


def format_checks(records: Sequence[dict[str, Any]]) -> str:
  """Returns which biases of unbiased estimators were checked, as text.

  Args:
    records: without disagreements.
  """
  lines: dict[bool, list[str]] = {True: [], False: []}
  for name, values, can_be_checked in _biases(records):
    lines[can_be_checked].append(f"  {name}: {_with_error(values)}")
  return "\n".join(
    [
      f"Biases within {MOST_ERRORS:.0f} standard errors of zero:",
      *lines[True],
      "Not checked, for too few draws have another n, or the error is large:",
      *lines[False],
    ]
  )
