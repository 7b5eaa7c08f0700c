r"""Generates the tables and figures of RESULTS.md from the records of runs.

  python -m experiments.report --results=results --output=RESULTS.md

The text of RESULTS.md is written by hand. This replaces what stands between two
comments:

  <!-- report: success default.jsonl blog.jsonl -->
  <!-- /report -->

The first comment names a kind of table or figure, and files in --results:

  success      a table, a row for each configuration: how many of its runs
               succeed, with the 95 % interval (Wilson), accuracies, ELBO,
               iterations to 98 %, failures
  curves       a figure: accuracy of the most probable count on the validation
               images against iterations, all runs, a panel per configuration
  terms        a figure: accuracy of sampled counts, ELBO and its terms on the
               validation images, all runs in each panel, beside what others
               published (published.json)
  variances    a table, a row for each estimator: variances and biases, from one
               file that experiments.analysis.gradient_variance wrote

A run succeeds if at least 98 % of its sampled counts on the test images are
right; `threshold=95` after the files makes that 95 %. Accuracies (median and
range) and ELBO (median, nats) are those on the test images. "98 % at" is the
first evaluated iteration at which the most probable count is right for 98 % of
the validation images. It is a median over runs; a run that never reaches 98 %
counts as the slowest.

`names.json` in --results may give configurations short names for the tables:
{"default:what_size=20": "smaller codes"}.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pathlib
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from absl import flags
from etils import epy

from air.storage import files
from experiments.common import launcher, wording
from experiments.common.launcher import UsageError
from experiments.common.progress import Task
from experiments.reports import terms, variances
from experiments.reports.run_tables import (
  Groups,
  by_run,
  markdown,
  succeeded,
  success,
)
from experiments.sweeps import records

with epy.lazy_imports():
  from air.viz import charts, figures

_OPEN, _CLOSE = "<!-- report:", "<!-- /report -->"
_BLOCK = re.compile(rf"({_OPEN}([^\n]*)-->)(.*?){_CLOSE}", re.DOTALL)
_NAMES = "names.json"
# The kinds of blocks that are tables; the second is not about runs.
_SUCCESS, _VARIANCES = "success", "variances"


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
  drawn: dict[pathlib.Path, Callable[[], figures.Figure]] = {}

  def fill(match: re.Match[str]) -> str:
    kind, paths, threshold = _wanted(match[2], results)
    if kind == _VARIANCES:
      if len(paths) > 1:
        raise UsageError(
          f"output holds the block '{match[2].strip()}', expected one file"
        )
      text = markdown(*variances.rows(variances.read(paths[0])))
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
      cells = {config: names.get(config, f"`{config}`") for config in groups}
      named = {cells[config]: group for config, group in groups.items()}
      text = success(named, threshold)
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
  with Task("drawing") as task:
    for path, draw in task.over(drawn.items()):
      figures.save(draw(), path)
  files.write_text(output, after)
  replaced = wording.number_of(blocks, "block")
  print(f"{output}: {replaced}, {wording.number_of(len(drawn), 'figure')}")
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
  kinds = (*_FIGURES, _SUCCESS, _VARIANCES)
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


def _runs_in(paths: Iterable[pathlib.Path]) -> Groups:
  """Returns the runs whose records are in files."""
  groups: Groups = {}
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


def _panels_of_curves(
  groups: Groups, threshold: float, results: pathlib.Path
) -> dict[str, list[charts.Curve]]:
  """Returns the curves of the runs of each configuration."""
  del results
  panels: dict[str, list[charts.Curve]] = {}
  for config, group in groups.items():
    for record in group:
      curve = records.series(record, "count_accuracy_mode")
      panels.setdefault(config, []).append(
        charts.Curve(
          list(curve), list(curve.values()), succeeded(record, threshold)
        )
      )
  return panels


def _panels_of_terms(
  groups: Groups, threshold: float, results: pathlib.Path
) -> terms.Panels:
  """Returns the terms of all runs, and what others published."""
  del threshold
  return terms.panels(by_run(groups), terms.published(results))


# Caption, what is drawn, and what draws it.
_FIGURES: dict[str, tuple[str, Callable, Callable[..., figures.Figure]]] = {
  "curves": (
    "Accuracy of the most probable count on the validation images",
    _panels_of_curves,
    lambda panels: charts.accuracy_curves(panels),
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
