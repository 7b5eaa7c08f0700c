"""Flags on a command line, and what --help shows: the same for every binary."""

import textwrap
from collections.abc import Sequence

from absl import flags

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
