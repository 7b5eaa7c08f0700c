"""Writes a generated data set as one npz file.

  python -m data.generate --out=digits.npz --preview=digits.png
  python -m data.generate --dataset=sprites --background=grid --out=sprites.npz
  python -m experiments.train --run_dir=runs/digits --data=digits.npz

The file holds {train,validation,test}_{images,counts,labels,boxes}, and of
sprites their factors (data/sprites.py).
"""

import dataclasses
import sys
from collections.abc import Sequence
from typing import Any, get_type_hints

from absl import flags

from data import command_line
from data.config import DataConfig, load

_FIELDS = [
  field for field in dataclasses.fields(DataConfig) if field.name != "data"
]


def run(argv: Sequence[str] | None = None) -> int:
  """Does what the command line says, see `command_line.run`."""
  return command_line.run("generate", __doc__, define_flags, _main, argv)


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this command line's flags."""
  command_line.define_output(flag_values)
  kinds = get_type_hints(DataConfig)
  command_line.define_fields(
    flag_values,
    ((command_line.GROUP, field, kinds[field.name]) for field in _FIELDS),
  )


def _main(values: dict[str, Any]) -> None:
  command_line.check_output(values)
  config = DataConfig(**{field.name: values[field.name] for field in _FIELDS})
  command_line.write_output(values, load(config, cache_dir=None))


if __name__ == "__main__":
  sys.exit(run())
