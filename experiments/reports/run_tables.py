"""The table of runs that a report holds, in Markdown."""

import collections
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from experiments.common import wording
from experiments.common.launcher import UsageError
from experiments.sweeps import records

_NONE = "-"
# The runs of each configuration, by what stands for it.
Groups = dict[str, list[dict[str, Any]]]


def by_run(groups: Groups) -> dict[str, dict[str, Any]]:
  """Returns the records by names of their runs, of which each has only one."""
  runs: dict[str, dict[str, Any]] = {}
  for config, group in groups.items():
    for record in group:
      name = f"{config}, seed {record['seed']}"
      if name in runs:
        raise UsageError(
          f"output wants one block of two records of {name}, expected one"
        )
      runs[name] = record
  return runs


def succeeded(record: dict[str, Any], threshold: float) -> bool:
  """Returns whether a run came to its end with that accuracy, in percent.

  Raises:
    UsageError: if the counts of its test images are not known.
  """
  end = records.end(record)
  if end is None and records.ended(record):
    raise UsageError(
      f"results holds {record['config']}, seed {record['seed']}, on images"
      " whose counts are not known; expected known ones"
    )
  return end is not None and end["count_accuracy"] >= threshold / 100


def wilson(successes: int, runs: int) -> tuple[float, float]:
  """Returns the 95 % confidence interval of a rate (Wilson 1927).

  Args:
    successes: of the runs.
    runs: at least one.
  """
  z = statistics.NormalDist().inv_cdf(0.975)
  rate, weight = successes / runs, z**2 / runs
  centre = (rate + weight / 2) / (1 + weight)
  half = math.sqrt(rate * (1 - rate) * weight + weight**2 / 4) / (1 + weight)
  return max(0.0, centre - half), min(1.0, centre + half)


def _median_and_range(values: Sequence[float]) -> str:
  """Returns the median of percentages, and of several their range."""
  if len(values) == 1:
    return f"{100 * values[0]:.2f}"
  return wording.median_and_range(values)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  """Returns a table of cells in Markdown."""
  cells, rule = [header, *rows], "|".join(["---"] * len(header))
  lines = [f"| {' | '.join(row)} |" for row in cells]
  return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def success(groups: Groups, threshold: float) -> str:
  """Returns a table with a row for each configuration, in Markdown.

  Args:
    groups: the runs of each configuration, by what stands for it.
    threshold: the percentage of sampled counts from which on a run works.
  """
  by_run(groups)  # nothing counts twice
  header = [
    "configuration",
    f"at least {threshold:g} % (95 % interval)",
    "iterations",
    "n sampled, %",
    "most probable n, %",
    "ELBO",
    "98 % at",
    "failures",
  ]
  return markdown(
    header,
    (_row(config, group, threshold) for config, group in groups.items()),
  )


def _row(
  config: str, group: Sequence[dict[str, Any]], threshold: float
) -> list[str]:
  """Returns the cells of a configuration."""
  failures = collections.Counter(
    record["failure"] or f"below {threshold:g} %"
    for record in group
    if not succeeded(record, threshold)
  )
  successes = len(group) - failures.total()
  low, high = wilson(successes, len(group))
  at_end = [_NONE] * 4
  if ends := [end for record in group if (end := records.end(record))]:
    iterations = sorted({end["iteration"] for end in ends})
    at_end = [
      ", ".join(f"{iteration:,}" for iteration in iterations),
      _median_and_range([end["count_accuracy"] for end in ends]),
      _median_and_range([end["count_accuracy_mode"] for end in ends]),
      f"{statistics.median(end['elbo'] for end in ends):.1f}",
    ]
    if len(ends) < len(group):  # of which alone the medians are
      at_end[0] += f" ({len(ends)} of {len(group)})"
  reached = (record["iterations_to"]["98"] for record in group)
  to_98 = statistics.median(math.inf if i is None else i for i in reached)
  return [
    config,
    f"{successes} of {len(group)} ({100 * low:.0f}-{100 * high:.0f} %)",
    *at_end,
    f"{to_98:,.0f}" if math.isfinite(to_98) else _NONE,
    ", ".join(f"{n} {mode}" for mode, n in failures.most_common()) or _NONE,
  ]
