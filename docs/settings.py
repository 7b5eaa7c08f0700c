"""An extension of griffe: the help of a setting is its documentation."""

import ast
from typing import Any

import griffe


class Settings(griffe.Extension):
  """Documents the fields of the configuration, see `air/config.py`."""

  def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
    """Adds fields that are calls of `field` to a class's docstring.

    Args:
      cls: any class, with its members.
    """
    lines = []
    for name, attribute in cls.attributes.items():
      call = attribute.value
      if isinstance(call, griffe.ExprCall) and str(call.function) == "field":
        attribute.value, text = call.arguments[:2]
        lines.append(f"  {name}: {ast.literal_eval(str(text))}\n")
    if lines:
      assert cls.docstring is not None
      cls.docstring.value += "\n\nAttributes:\n" + "".join(lines)
