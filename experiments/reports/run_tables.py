"""The tables of runs that a report holds, in Markdown."""

import collections
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

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
      " whose counts are not known; expected known ones, but in blocks of runs"
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


def _percent(rate: float) -> str:
  return f"{100 * rate:.2f} %"


def _count(value: float) -> str:
  return f"{value:,.0f}" if math.isfinite(value) else _NONE


def _to_98(reached: dict[str, float | None]) -> float:
  return math.inf if reached["98"] is None else reached["98"]


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  """Returns a table of cells in Markdown."""
  lines = [header, ["---"] * len(header), *rows]
  return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _success(groups: Groups, threshold: float) -> str:
  """Returns a row for each configuration."""
  by_run(groups)  # nothing counts twice
  header = [
    "configuration",
    "runs",
    f"at least {threshold:g} %",
    "95 % interval",
    "iterations",
    "n sampled: median (lowest)",
    "most probable n: median (lowest)",
    "ELBO: median, nats",
    "iterations to 98 %: median",
    "seconds to 98 %: median",
    "failures",
  ]
  rows = []
  for config, group in groups.items():
    ends = [end for record in group if (end := records.end(record))]
    failures = collections.Counter(
      record["failure"] or f"below {threshold:g} %"
      for record in group
      if not succeeded(record, threshold)
    )
    successes = len(group) - failures.total()
    low, high = wilson(successes, len(group))
    at_end = [_NONE] * 4
    if ends:
      iterations = sorted({end["iteration"] for end in ends})
      at_end = [", ".join(f"{iteration:,}" for iteration in iterations)]
      if len(ends) < len(group):  # of which alone the medians are
        at_end[0] += f" ({len(ends)} of {len(group)})"
      for name in ("count_accuracy", "count_accuracy_mode"):
        values = [end[name] for end in ends]
        median = _percent(statistics.median(values))
        at_end.append(f"{median} ({_percent(min(values))})")
      at_end.append(f"{statistics.median(end['elbo'] for end in ends):.1f}")
    rows.append(
      [
        config,
        str(len(group)),
        str(successes),
        f"{100 * low:.0f} to {100 * high:.0f} %",
        *at_end,
        *(
          _count(statistics.median(_to_98(record[name]) for record in group))
          for name in ("iterations_to", "seconds_to")
        ),
        ", ".join(f"{n} {mode}" for mode, n in failures.most_common()) or _NONE,
      ]
    )
  return markdown(header, rows)


def _runs(groups: Groups, threshold: float) -> str:
  """Returns a row for each run."""
  header = [
    "configuration",
    "seed",
    "iterations",
    "n sampled",
    "by true count",
    "most probable n",
    "ELBO, nats",
    "iterations to 98 %",
    "seconds to 98 %",
    "failure",
  ]
  rows = []
  for config, group in groups.items():
    for record in group:
      cells, failure = [_NONE] * 5, record["failure"]
      if end := records.end(record):
        if succeeded(record, threshold):
          failure = None
        by_count = end["count_accuracy_per_count"].items()
        cells = [
          f"{end['iteration']:,}",
          _percent(end["count_accuracy"]),
          ", ".join(f"{count}: {_percent(rate)}" for count, rate in by_count),
          _percent(end["count_accuracy_mode"]),
          f"{end['elbo']:.1f}",
        ]
      cells += [
        _count(_to_98(record[name])) for name in ("iterations_to", "seconds_to")
      ]
      rows.append([config, str(record["seed"]), *cells, failure or _NONE])
  return markdown(header, rows)


def _confusions(groups: Groups, threshold: float) -> str:
  """Returns a row for each failure, with percentages of what it infers."""
  failures = [
    (config, record, end["count_confusion"])
    for config, group in groups.items()
    for record in group
    if (end := records.end(record)) and not succeeded(record, threshold)
  ]
  if not failures:
    return "No run that came to its end failed."
  counts = max(len(confusion) for _, _, confusion in failures)
  header = ["configuration", "seed", "failure"]
  header += [
    f"true {count}: inferred 0 / 1 / ..., %" for count in range(counts)
  ]
  rows = []
  for config, record, confusion in failures:
    cells = [
      " / ".join(f"{100 * cell / sum(row):.1f}" for cell in row)
      if any(row)
      else _NONE
      for row in confusion
    ]
    cells += [_NONE] * (counts - len(cells))
    rows.append(
      [config, str(record["seed"]), record["failure"] or _NONE, *cells]
    )
  return markdown(header, rows)


# What a block asks for, and what makes it of runs and of the percentage from
# which on one is a success.
TABLES: dict[str, Callable[[Groups, float], str]] = {
  "success": _success,
  "runs": _runs,
  "confusions": _confusions,
}
