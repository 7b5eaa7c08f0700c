"""Flags on a command line, and what --help shows: the same for every binary.

And how the binaries that write a data set start and end.
"""

import contextlib
import dataclasses
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, BinaryIO, get_args

import numpy as np
from absl import flags
from etils import epy

from air.errors import ConfigError, InputError
from data import files, interrupt, sheet
from data.dataset import Dataset, to_arrays
from data.errors import DataError, expanded, require

with epy.lazy_imports():
  from data import objects  # SciPy takes its time

GROUP = "run"
_WIDTH = 80
_KINDS = {"int": "INTEGER", "float": "NUMBER", "string": "TEXT"}
_FLAGFILE = "  --flagfile=FILE\n      flags from a file, one on each line"
_REST = "--helpfull shows all flags."


def parse(argv: Sequence[str], flag_values: flags.FlagValues) -> None:
  """Reads flags from the command line.

  Args:
    argv: the command line.
    flag_values: with the binary's flags, which get their values.

  Raises:
    flags.Error: if a flag cannot be, one that is required is missing, or there
      is something else on the command line.
  """
  for argument in argv:
    try:
      argument.encode()
    except UnicodeEncodeError:
      raise flags.Error(f"{argument!a} is not UTF-8, as is expected") from None
  try:
    positional = flag_values(argv)[1:]
  except UnicodeDecodeError as error:
    raise flags.Error(f"--flagfile is not a text file: {error}") from error
  except flags.CantOpenFlagFileError as error:
    reason = str(error).partition("flagfile: ")[2]
    raise flags.Error(f"--flagfile cannot be read: {reason}") from error
  except flags.IllegalFlagValueError as error:
    missing = [
      f"--{name}"
      for name in flag_values
      if flag_values[name].value is None
      and _is_required(flag_values[name], flag_values)
    ]
    if not any(f"flag {name}=None:" in str(error) for name in missing):
      raise
    names = ", ".join(missing)
    raise flags.Error(f"expected {names}; see --help") from error
  if positional:
    raise flags.Error(f"unexpected argument {positional[0]!r}; see --help")


def asked_for(argv: Sequence[str]) -> str | None:
  """Returns "help" or "helpfull" if the command line has it, else None.

  Args:
    argv: the command line.
  """
  words = {word.lstrip("-") for word in argv[1:] if word.startswith("-")}
  if "helpfull" in words:
    return "helpfull"
  return "help" if words & {"help", "h"} else None


def text(
  asked: str,
  doc: str,
  flag_values: flags.FlagValues,
  own: Sequence[str],
  others: Sequence[str] = (),
  first: Sequence[str] = (),
) -> str:
  """Returns what a binary shows: its docstring, then flags.

  Args:
    asked: "help", for the flags that matter first; "helpfull", for all, in
      groups, as they were defined.
    doc: the binary's docstring.
    flag_values: with its flags, whose modules are the groups; not parsed yet.
    own: groups of flags that matter first, those required before the others.
    others: all other groups, which come after them.
    first: flags of others, if there are such, that matter first too.
  """
  by_group = flag_values.flags_by_module_dict()
  parts = [doc.strip()]
  if asked == "help":
    shown = [flag for group in own for flag in by_group.get(group, [])]
    shown.sort(key=lambda flag: not _is_required(flag, flag_values))
    names = [flag.name for flag in shown]
    names += [n for n in first if n in flag_values and n not in names]
    entries = [_entry(flag_values[name], flag_values) for name in names]
    parts += ["\n".join(["Flags:", *entries, _FLAGFILE]), _REST]
  else:
    for group in (*own, *others):
      entries = [_entry(flag, flag_values) for flag in by_group.get(group, [])]
      if entries:
        parts.append("\n".join([f"{group}:", *entries]))
    parts.append(_FLAGFILE)
  return "\n\n".join(parts)


def _is_required(flag: flags.Flag, flag_values: flags.FlagValues) -> bool:
  """Returns whether a flag must be given."""
  try:
    for validator in flag.validators:
      validator.verify(flag_values)
  except flags.ValidationError:
    return True
  return False


def _entry(flag: flags.Flag, flag_values: flags.FlagValues) -> str:
  """Returns a flag's name, type, default and help."""
  head = f"  --[no]{flag.name}" if flag.boolean else f"  --{flag.name}"
  if not flag.boolean:
    head += f"={_type_of(flag)}"
  default = (flag.default_as_str or "").strip("'")
  if _is_required(flag, flag_values):
    head += "  (required)"
  elif default:
    head += f"  (default: {default})"
  # For choices, absl puts them before the help.
  lines = textwrap.wrap(
    (flag.help or "").removeprefix(f"<{_type_of(flag)}>: "),
    _WIDTH,
    initial_indent=6 * " ",
    subsequent_indent=6 * " ",
    break_on_hyphens=False,
  )
  return "\n".join([head, *lines])


def _type_of(flag: flags.Flag) -> str:
  """Returns what stands for a flag's value."""
  choices = getattr(flag.parser, "enum_values", None)
  if choices:
    return "|".join(choices)
  kind, *rest = flag.flag_type().split(" ")
  return _KINDS.get(kind, "TEXT") + (",..." if rest else "")


def run(
  name: str,
  doc: str | None,
  define_flags: Callable[[flags.FlagValues], None],
  main: Callable[[dict[str, Any]], None],
  argv: Sequence[str] | None = None,
) -> int:
  """Does what the command line of a binary that writes a data set says.

  Args:
    name: of the binary, which messages begin with.
    doc: its docstring, shown by --help.
    define_flags: defines its flags in the values it is given.
    main: does the work, given the flags' values.
    argv: the command line; by default this process's.

  Returns:
    The exit status: 0; 2 after bad input, or 1 if a file or the output cannot
    be read or written, or memory is short, reported in one line on stderr; 141
    if nobody reads the output any more.
  """
  argv = list(sys.argv if argv is None else argv)
  flag_values = flags.FlagValues()
  define_flags(flag_values)
  files.open_output()
  interrupt.raise_again()
  try:
    if asked := asked_for(argv):
      print(text(asked, doc or "", flag_values, [GROUP]))
      files.flush_output()
      return 0
    parse(argv, flag_values)
    main(flag_values.flag_values_dict())
    files.flush_output()
  except KeyboardInterrupt:
    return 130
  except (ConfigError, InputError, flags.Error) as error:
    message = " ".join(str(error).split())
    if message.split(" ")[0] in flag_values:
      message = f"--{message}"
    files.note(f"{name}: {message}")
    return 1 if isinstance(error.__cause__, OSError) else 2
  except MemoryError as error:
    files.note(f"{name}: out of memory: {error}")
    return 1
  except OSError as error:  # of the output, and no file
    with contextlib.suppress(OSError):
      files.flush_output()
    if isinstance(error, BrokenPipeError):
      return 128 + signal.SIGPIPE
    files.note(f"{name}: {error}")
    return 1
  return 0


def define(
  flag_values: flags.FlagValues,
  kind: Callable,
  name: str,
  default: object,
  help_text: str,
  **options: Any,
) -> None:
  """Defines a flag of such a binary; `kind` is one of `flags.DEFINE_*`."""
  options |= {"flag_values": flag_values, "module_name": GROUP}
  kind(name=name, default=default, help=help_text, **options)


def define_output(flag_values: flags.FlagValues) -> None:
  """Defines --out and --preview, see `check_output` and `write_output`."""
  string = flags.DEFINE_string
  define(flag_values, string, "out", None, "npz file to write", required=True)
  define(
    flag_values, string, "preview", "",
    "PNG file to write: a sheet of examples",
  )  # fmt: skip


def check_output(values: dict[str, Any]) -> None:
  """Checks, before there is work, that the output can be written.

  Args:
    values: of the flags.

  Raises:
    DataError: if its names cannot be.
  """
  for flag, suffix in (("out", ".npz"), ("preview", ".png")):
    name = values[flag]
    if not name and flag == "preview":
      continue
    expected = f"a name ending in {suffix}"
    require(name.endswith(suffix), flag, f'"{name}"', expected)
    path = expanded(flag, name).absolute()
    # Those of os.path take what cannot be looked at for missing.
    there = next(p for p in path.parents if os.path.exists(p))
    require(
      os.path.isdir(there) and not os.path.isdir(path),
      flag,
      f'"{name}"',
      "the name of a file in a folder",
    )


def write_output(values: dict[str, Any], dataset: Dataset) -> None:
  """Writes a data set and its preview, and says so.

  Args:
    values: of the flags.
    dataset: to be written.

  Raises:
    DataError: if it cannot be.
  """
  out, preview = values["out"], values["preview"]
  _write("out", out, lambda f: np.savez_compressed(f, **to_arrays(dataset)))
  print(f"{out}: images from {dataset.digit_source}")
  if size := objects.described(dataset.train.images):
    print(size)
  if preview:
    examples = sheet.draw(dataset.train)
    _write("preview", preview, lambda f: examples.save(f, "PNG"))
    print(f"{preview}: {examples.width}x{examples.height} pixels")


def _write(flag: str, name: str, write: Callable[[BinaryIO], None]) -> None:
  try:
    with files.replacing(expanded(flag, name)) as file:
      write(file)
  except OSError as error:
    raise DataError(f'{flag} is "{name}", not writable: {error}') from error


class _TupleParser(flags.ArgumentParser):
  """Parses numbers separated by commas."""

  def __init__(self, kind: type):
    super().__init__()
    self._kind = kind
    self.syntactic_help = "numbers separated by commas"

  def parse(self, argument: Any) -> tuple:
    """See base class."""
    if isinstance(argument, tuple):
      return argument
    try:
      return tuple(self._kind(a) for a in argument.split(",") if a.strip())
    except ValueError:
      raise ValueError(f"expected {self.syntactic_help}") from None

  def flag_type(self) -> str:
    """See base class."""
    return f"{self._kind.__name__} list"


class _TupleSerializer(flags.ArgumentSerializer):
  """Writes what `_TupleParser` parses."""

  def serialize(self, value: tuple) -> str:
    """See base class."""
    return ",".join(str(v) for v in value)


def define_tuple_flag(kind: type, **options: Any) -> None:
  """Defines a flag of numbers of a kind; options are those of DEFINE_*."""
  flags.DEFINE(_TupleParser(kind), serializer=_TupleSerializer(), **options)


def define_choices_flag(
  name: str, choices: Iterable[str], help_text: str, **options: Any
) -> None:
  """Defines a flag of some of the choices, all by default.

  Args:
    name: of the flag.
    choices: separated by commas.
    help_text: what they are.
    **options: flag_values and module_name, as of DEFINE_*.
  """
  known = list(choices)
  flags.DEFINE_list(name, known, help_text, **options)
  flags.register_validator(
    name,
    lambda chosen: bool(chosen) and set(chosen) <= set(known),
    f"expected some of {', '.join(known)}",
    options["flag_values"],
  )


def define_fields(
  flag_values: flags.FlagValues,
  fields: Iterable[tuple[str, dataclasses.Field, Any]],
) -> None:
  """Defines a flag for each field of frozen dataclasses.

  Args:
    flag_values: to define them in.
    fields: (group, field, annotation), with the help in the field's metadata.
  """
  for group, field, annotation in fields:
    choices = get_args(annotation)
    options = {
      "name": field.name,
      "default": field.default,
      "help": field.metadata["help"],
      "flag_values": flag_values,
      "module_name": group,
    }
    if isinstance(field.default, tuple):
      define_tuple_flag(choices[0], **options)
    elif choices:
      flags.DEFINE_enum(enum_values=choices, **options)
    else:
      define: Any = {
        bool: flags.DEFINE_bool,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
      }[annotation]
      define(**options)
