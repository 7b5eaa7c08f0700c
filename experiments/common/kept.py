"""Results that are kept in a JSON file, so that none is computed twice."""

import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from air.storage import files
from experiments.common.launcher import UsageError

# What names a result: the values of some of its fields.
Key = tuple[Any, ...]
Result = dict[str, Any]


def by_key(
  results: Iterable[Result], names: Sequence[str]
) -> dict[Key, Result]:
  """Returns results by what names them.

  Args:
    results: as JSON has them.
    names: of the fields that name them.
  """
  return {
    tuple(
      tuple(result[name]) if isinstance(result[name], list) else result[name]
      for name in names
    ): result
    for result in results
  }


def read(path: pathlib.Path, names: Sequence[str]) -> dict[Key, Result]:
  """Returns the results of a file, by what names them; none if it is not there.

  Args:
    path: of the file, a list.
    names: of the fields that name them.

  Raises:
    UsageError: if it is another file.
  """
  if not path.exists():
    return {}
  try:
    return by_key(json.loads(path.read_text("utf-8")), names)
  except (ValueError, KeyError, TypeError) as error:
    raise UsageError(
      f"json is {path}, which is not of this binary; expected another file, or"
      " to move it away"
    ) from error


def write(path: pathlib.Path, results: Mapping[Key, Result]) -> None:
  """Writes results, in the order of what names them.

  Args:
    path: of the file.
    results: by what names them.
  """
  files.write_json(path, [results[key] for key in sorted(results)])
