"""Fields of a configuration that say themselves what they must be."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, get_args, get_type_hints

from air.errors import ConfigError

_LARGEST_FLOAT = 3.4e38  # of 32 bits, but for its last digits


class Range(NamedTuple):
  """What the numbers of a field must be; of a tuple, each of its entries."""

  expected: str
  holds: Callable[[Any], bool]


NOT_NEGATIVE = Range("at least 0", lambda v: v >= 0)
AT_LEAST_1 = Range("at least 1", lambda v: v >= 1)
POSITIVE = Range("more than 0", lambda v: v > 0)
WEIGHT = Range("in [0, 1)", lambda v: 0 <= v < 1)
# Smaller numbers have no logarithm where float64 has no subnormals.
PROBABILITY = Range("in [1e-300, 1]", lambda v: 1e-300 <= v <= 1)
# Its square, and what that divides, can then be told from 0 and infinity.
DEVIATION = Range("in [1e-15, 1e15]", lambda v: 1e-15 <= v <= 1e15)


def field(
  default: Any, help_text: str, within: Range | None = None, **metadata: Any
) -> Any:
  """Returns a field.

  Args:
    default: its value by default, of the type that it must have.
    help_text: what it means, and where the default comes from.
    within: what its numbers must be; None: anything finite.
    **metadata: `before=...`, its value in runs older than the field.
  """
  return dataclasses.field(
    default=default,
    metadata={"help": help_text, "within": within, **metadata},
  )


def require(condition: bool, name: str, value: Any, expected: str) -> None:
  """Raises a ConfigError that says what is expected of a field."""
  if not condition:
    raise ConfigError(f"{name} is {value}, expected {expected}")


def _check_type(name: str, value: Any, default: Any, kind: Any) -> None:
  """Requires the type of the default; of a tuple's entries, their kind."""
  if isinstance(default, tuple):
    types, what = {int: ((int,), "integers")}.get(
      kind, ((int, float), "numbers")
    )
    require(
      isinstance(value, tuple) and all(type(v) in types for v in value),
      name, value, f"a tuple of {what}",
    )  # fmt: skip
  elif type(default) is float:
    require(type(value) in (int, float), name, repr(value), "a number")
  else:
    kind = type(default)
    require(type(value) is kind, name, repr(value), f"of type {kind.__name__}")


def _check_number(
  name: str, value: Any, number: Any, within: Range | None
) -> None:
  """Requires a number that TensorFlow can hold, and within its range.

  Args:
    name: of the field.
    value: of the field.
    number: the value, or one of its entries.
    within: its range; None: any.
  """
  if isinstance(number, float):
    fits = abs(number) <= _LARGEST_FLOAT
    require(fits, name, value, "a finite number of 32 bits")
  elif isinstance(number, int):
    require(abs(number) < 2**31, name, value, "less than 2^31")
  if within is not None:
    require(within.holds(number), name, value, within.expected)


class Checked:
  """A part of the configuration whose fields say what they must be."""

  def __post_init__(self):
    annotations = get_type_hints(type(self))
    for own in dataclasses.fields(self):  # type: ignore[arg-type]
      name, value = own.name, getattr(self, own.name)
      choices = get_args(annotations[name])
      _check_type(name, value, own.default, choices[0] if choices else None)
      if choices and all(isinstance(choice, str) for choice in choices):
        expected = "one of " + ", ".join(choices)
        require(value in choices, name, repr(value), expected)
      for number in value if isinstance(value, tuple) else (value,):
        _check_number(name, value, number, own.metadata["within"])
