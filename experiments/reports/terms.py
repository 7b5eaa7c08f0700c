"""The counting accuracy, the ELBO and its terms of runs over the iterations.

Beside them, what others published: `published.json` in the folder of the
records holds for some of the quantities named here a name and what it has of
it, either values by iteration, or one value, whose iteration is not known or
not comparable.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from etils import epy

from experiments.common.launcher import UsageError
from experiments.sweeps import records

with epy.lazy_imports():
  from air.viz import charts

_PUBLISHED = "published.json"
_ACCURACY = "counting accuracy, sampled n"
_CLOSER = f"{_ACCURACY}, closer"
# Ends of the vertical axes that do not follow from the values.
_LIMITS = {_CLOSER: (0.95, 1.0)}
# Keys of an evaluation, in the order of the panels.
_TERMS = {
  "count_accuracy": _ACCURACY,
  "elbo": "ELBO, nats",
  "reconstruction": "reconstruction error, nats",
  "mean_num_steps": "mean number of steps",
  "kl_num_steps": "KL of the number of steps, nats",
  "kl_what": "KL of z_what, nats",
  "kl_where": "KL of z_where, nats",
}

_Published = dict[str, dict[str, dict[int, float] | float]]


class Panels(NamedTuple):
  """What the figure shows.

  Attributes:
    curves: title of a panel to name of a curve to iteration to value.
    published: names of the curves that others published.
  """

  curves: dict[str, dict[str, dict[int, float]]]
  published: list[str]


def draw(panels: Panels) -> charts.Figure:
  """Returns the figure."""
  return charts.curves(
    panels.curves, limits=_LIMITS, references=panels.published
  )


def panels(runs: Mapping[str, dict[str, Any]], published: _Published) -> Panels:
  """Returns what `draw` draws, on the validation images.

  Args:
    runs: name to the record of a run, at least one.
    published: see the function of this name; its curves come last.
  """
  iterations = (e["iteration"] for r in runs.values() for e in r["evaluations"])
  last = max(iterations, default=0)  # a run may have crashed at its start
  found = {
    title: {name: records.series(run, key) for name, run in runs.items()}
    for key, title in _TERMS.items()
  }
  for title, curves in published.items():
    for name, curve in curves.items():
      level = not isinstance(curve, dict)
      found[title][name] = {0: curve, last: curve} if level else curve
  return Panels(
    {_ACCURACY: found[_ACCURACY], _CLOSER: found[_ACCURACY], **found},
    sorted(set().union(*published.values())),
  )


def published(results: pathlib.Path) -> _Published:
  """Returns what others published, nothing if the file is not there.

  Args:
    results: the folder of the records.

  Raises:
    UsageError: if the file is not as above.
  """
  path = results / _PUBLISHED
  content = records.read_json(path)
  if not isinstance(content, dict) or not all(
    isinstance(curves, dict) for curves in content.values()
  ):
    raise UsageError(
      f"results holds {path}, expected an object of objects: title to name to"
      " number, or to iteration to number"
    )
  unknown = content.keys() - _TERMS.values()
  if unknown:
    raise UsageError(
      f"results holds {path} with {', '.join(sorted(unknown))}, expected some"
      f" of {', '.join(_TERMS.values())}"
    )
  return {
    title: {name: _curve(path, name, found) for name, found in curves.items()}
    for title, curves in content.items()
  }


def _curve(
  path: pathlib.Path, name: str, found: object
) -> dict[int, float] | float:
  """Returns a curve, or a value, that the file has."""
  try:
    if isinstance(found, dict):
      return {int(iteration): float(v) for iteration, v in found.items()}
    return float(found)  # type: ignore[arg-type]
  except (TypeError, ValueError) as error:
    raise UsageError(
      f"results holds {path} with {name}: {found!r}, expected a number, or"
      " iterations to numbers"
    ) from error
