r"""Fills in the tables and figures of RESULTS.md from the records of runs.

  python -m experiments.report --results=results --output=RESULTS.md

RESULTS.md is written by hand, but for what stands between two comments, which
this replaces:

  <!-- report: success default.jsonl blog.jsonl -->
  <!-- /report -->

The first says what is wanted, of which files of --results:

  success      a row for each configuration: how many runs succeed, with the
               95 % interval (Wilson), accuracies, ELBO, time to 98 %, failures
  runs         a row for each run
  curves       a figure: accuracy of the most probable count on the validation
               images against iterations, all runs, a panel per configuration
  terms        a figure: accuracy of sampled counts, ELBO and its terms on the
               validation images, all runs in each panel, beside what others
               published (published.json)
  confusions   a row for each failure: what it infers for each true count
  variances    a row for each estimator, of one file that
               experiments.gradient_variance wrote: variances and biases

A run succeeds if at least 98 % of its sampled counts on the test images are
right; `threshold=95` after the files makes that 95 %. `names.json` in --results
may have names for configurations, {"default:what_size=20": "smaller codes"},
which stand for them everywhere but in `runs`. Accuracies and ELBO are those on
the test images. "To 98 %" is the first evaluation on the validation
images with that accuracy of the most probable count. A median counts runs that
never got there as the slowest.
"""

import collections
import functools
import hashlib
import json
import math
import os
import pathlib
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from absl import flags
from matplotlib.figure import Figure

from air import charts, figures, files
from experiments import launcher, records, terms, variances
from experiments.launcher import UsageError

_OPEN, _CLOSE = "<!-- report:", "<!-- /report -->"
_BLOCK = re.compile(rf"({_OPEN}([^\n]*)-->)(.*?){_CLOSE}", re.DOTALL)
_NONE = "-"
_NAMES = "names.json"
# The kind of block that is not about runs.
_VARIANCES = "variances"
# The runs of each configuration, by what stands for it.
_Groups = dict[str, list[dict[str, Any]]]


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  options = {"flag_values": flag_values, "module_name": "run"}
  flags.DEFINE_string(
    "results", "results", "folder of the records; figures go to its figures/",
    **options,
  )  # fmt: skip
  flags.DEFINE_string("output", "RESULTS.md", "the document", **options)
  flags.DEFINE_bool(
    "check",
    False,
    "change nothing; exit status 1 if the document is out of date",
    **options,
  )


def main(flag_values: flags.FlagValues) -> int:
  """Brings the document up to date, or checks whether it is."""
  output = launcher.expanded("output", flag_values.output)
  results = launcher.expanded("results", flag_values.results)
  before = _document(output) if output.is_file() else ""
  blocks = len(_BLOCK.findall(before))
  if not blocks == before.count(_OPEN) == before.count(_CLOSE) > 0:
    raise UsageError(
      f"output is {output}, expected a document with blocks that begin with"
      f" '{_OPEN} KIND FILE... -->' and end with '{_CLOSE}'"
    )
  names = _names(results)
  drawn: dict[pathlib.Path, Callable[[], Figure]] = {}

  def fill(match: re.Match[str]) -> str:
    kind, paths, threshold = _wanted(match[2], results)
    if kind == _VARIANCES:
      if len(paths) > 1:
        raise UsageError(
          f"output holds the block '{match[2].strip()}', expected one file"
        )
      text = _table(*variances.rows(variances.read(paths[0])))
      return f"{match[1]}\n\n{text}\n\n{_CLOSE}"
    groups = _runs_in(paths)
    if kind in _FIGURES:
      stem = "-".join(path.stem for path in paths)
      path = results / "figures" / f"{kind}-{stem}.png"
      if path in drawn:
        raise UsageError(
          f"output has two blocks '{kind}' whose figure is {path}; expected one"
        )
      caption, panels_of, draw = _FIGURES[kind]
      named = {names.get(config, config): groups[config] for config in groups}
      panels = panels_of(named, threshold, results)
      drawn[path] = functools.partial(draw, panels)
      link = os.path.relpath(path, output.parent)
      text = _figure(caption, link, kind, panels)
    else:
      known = {} if kind == "runs" else names
      cells = {config: known.get(config, f"`{config}`") for config in groups}
      named = {cells[config]: group for config, group in groups.items()}
      text = _TABLES[kind](named, threshold)
    return f"{match[1]}\n\n{text}\n\n{_CLOSE}"

  after = _BLOCK.sub(fill, before)
  if flag_values.check:
    if after == before and all(path.exists() for path in drawn):
      return 0
    print(
      f"{output} is out of date; python -m experiments.report renews it",
      file=sys.stderr,
    )
    return 1
  for path, draw in drawn.items():
    figures.save(draw(), path)
  files.write_text(output, after)
  print(f"{output}: {blocks} blocks, {len(drawn)} figures")
  return 0


def _names(results: pathlib.Path) -> dict[str, str]:
  """Returns the names of configurations, none if the file is not there."""
  path = results / _NAMES
  names = records.read_json(path)
  if (
    not isinstance(names, dict)
    or not all(
      isinstance(name, str) and re.fullmatch(r"[^|\n]+", name)
      for name in names.values()
    )
    or len({*names, *names.values()}) < 2 * len(names)
  ):
    raise UsageError(
      f"results holds {path}, expected an object of configurations to"
      " names that differ, without '|'"
    )
  return names


def _document(path: pathlib.Path) -> str:
  """Returns the text of a document, its ends of lines as they are."""
  try:
    return path.read_bytes().decode("utf-8")
  except UnicodeDecodeError as error:
    raise UsageError(
      f"output is {path}, expected a document in UTF-8: {error}"
    ) from error


def _wanted(
  text: str, results: pathlib.Path
) -> tuple[str, list[pathlib.Path], float]:
  """Returns what a block is about.

  Args:
    text: what its comment says.
    results: the folder of the records.

  Returns:
    The kind of block, its files, and the percentage from which on a run is a
    success.
  """
  kind, *words = text.split() or [""]
  names = [word for word in words if "=" not in word]
  settings = [word for word in words if "=" in word]
  threshold = re.fullmatch(
    r"threshold=(\d+(?:\.\d+)?)",
    "".join(settings) or f"threshold={100 * records.SUCCESS}",
  )
  kinds = (*_FIGURES, *_TABLES, _VARIANCES)
  if kind not in kinds or not names or not threshold:
    raise UsageError(
      f"output holds the block '{text.strip()}', expected one of"
      f" {', '.join(kinds)}, then files, then perhaps threshold=PERCENTAGE"
    )
  for name in names:
    if not (results / name).is_file() or not (results / name).stat().st_size:
      raise UsageError(
        f"results is {results}, expected records in {name} there"
      )
  return kind, [results / name for name in names], float(threshold[1])


def _runs_in(paths: Iterable[pathlib.Path]) -> _Groups:
  """Returns the runs whose records are in files."""
  groups: _Groups = {}
  for path in paths:
    for record in records.read(path):
      groups.setdefault(record["config"], []).append(record)
  for config, group in groups.items():
    _check_alike(config, group)
  return groups


def _check_alike(config: str, group: Sequence[dict[str, Any]]) -> None:
  """Checks that the runs of a configuration can be counted together."""
  sources = {end.get("digit_source") for r in group if (end := records.end(r))}
  for record in group:
    flags = records.changed(group[0].get("flags", []), record.get("flags", []))
    if flags or len(sources) > 1:
      culprits = flags or sorted(map(str, sources))
      raise UsageError(
        f"output wants one block of runs of {config} that differ in"
        f" {', '.join(culprits)}; expected the same flags and digits"
      )


def _by_run(groups: _Groups) -> dict[str, dict[str, Any]]:
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


def _succeeded(record: dict[str, Any], threshold: float) -> bool:
  end = records.end(record)
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


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  lines = [header, ["---"] * len(header), *rows]
  return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _success(groups: _Groups, threshold: float) -> str:
  """Returns a row for each configuration."""
  _by_run(groups)  # nothing counts twice
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
      if not _succeeded(record, threshold)
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
  return _table(header, rows)


def _runs(groups: _Groups, threshold: float) -> str:
  """Returns a row for each run."""
  del threshold
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
      cells = [_NONE] * 5
      if end := records.end(record):
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
      failure = record["failure"] or _NONE
      rows.append([config, str(record["seed"]), *cells, failure])
  return _table(header, rows)


def _confusions(groups: _Groups, threshold: float) -> str:
  """Returns a row for each failure, with percentages of what it infers."""
  failures = [
    (config, record, end["count_confusion"])
    for config, group in groups.items()
    for record in group
    if (end := records.end(record)) and not _succeeded(record, threshold)
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
  return _table(header, rows)


_TABLES: dict[str, Callable[[_Groups, float], str]] = {
  "success": _success,
  "runs": _runs,
  "confusions": _confusions,
}


def _panels_of_curves(
  groups: _Groups, threshold: float, results: pathlib.Path
) -> dict[str, list[charts.Curve]]:
  """Returns the curves of the runs of each configuration."""
  del results
  panels: dict[str, list[charts.Curve]] = {}
  for config, group in groups.items():
    for record in group:
      curve = records.series(record, "count_accuracy_mode")
      panels.setdefault(config, []).append(
        charts.Curve(
          list(curve), list(curve.values()), _succeeded(record, threshold)
        )
      )
  return panels


def _panels_of_terms(
  groups: _Groups, threshold: float, results: pathlib.Path
) -> terms.Panels:
  """Returns the terms of all runs, and what others published."""
  del threshold
  return terms.panels(_by_run(groups), terms.published(results))


# Caption, what is drawn, and what draws it.
_FIGURES: dict[str, tuple[str, Callable, Callable[..., Figure]]] = {
  "curves": (
    "Accuracy of the most probable count on the validation images",
    _panels_of_curves,
    charts.accuracy_curves,
  ),
  "terms": (
    "Counting accuracy, ELBO and its terms on the validation images",
    _panels_of_terms,
    terms.draw,
  ),
}


def _figure(caption: str, link: str, kind: str, panels: Any) -> str:
  """Returns the figure, and what tells whether it is of these panels."""
  digest = hashlib.sha256(json.dumps(panels).encode()).hexdigest()
  return f"![{caption}]({link})\n\n<!-- of {kind} with SHA-256 {digest} -->"


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
