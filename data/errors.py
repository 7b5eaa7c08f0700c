"""What cannot work, said in one line: the exception, and what raises it."""

import math
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from air.errors import InputError


class DataError(InputError):
  """Data or a setting that cannot work, said in one line."""


def require(condition: bool, name: str, value: Any, expected: str) -> None:
  """Raises a DataError that starts with `name` unless `condition` holds."""
  if not condition:
    raise DataError(f"{name} is {value}, expected {expected}")


def all_ints(values: Iterable[Any], low: int, high: float = math.inf) -> bool:
  """Returns whether all are whole numbers from low to high."""
  return all(
    isinstance(v, int | np.integer)
    and not isinstance(v, bool)
    and low <= v <= high
    for v in values
  )


def expanded(name: str, value: str) -> pathlib.Path:
  """Returns the path that a value means, which may begin with ~.

  Raises:
    DataError: if it is in the folder of a user who is not known.
  """
  try:
    return pathlib.Path(value).expanduser()
  except RuntimeError as error:
    raise DataError(f'{name} is "{value}", which cannot be: {error}') from error
