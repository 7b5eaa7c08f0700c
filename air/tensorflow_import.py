"""What happens when TensorFlow is imported, whichever module is the first.

TensorFlow reports its build on stderr, from native code and before its own log
level applies. That is held back until the import has succeeded, and the level
is set so high that the same goes for the devices which it looks for later. With
TF_CPP_MIN_LOG_LEVEL=0 in the environment it says all that it has to say.
"""

import contextlib
import functools
import importlib.abc
import importlib.machinery
import os
import sys
import tempfile
import types
from collections.abc import Callable, Iterator

_TENSORFLOW = "tensorflow"
_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_actions: list[Callable[[], None]] = []


def before(action: Callable[[], None]) -> None:
  """Has a function called before TensorFlow is imported.

  Args:
    action: called at once if TensorFlow is there already.
  """
  if _TENSORFLOW in sys.modules:
    action()
  else:
    _actions.append(action)


class _Finder(importlib.abc.MetaPathFinder):
  """Finds TensorFlow where Python does, and has it imported by `_import`."""

  def find_spec(
    self, fullname: str, path: object, target: types.ModuleType | None = None
  ) -> importlib.machinery.ModuleSpec | None:
    """See base class."""
    if fullname != _TENSORFLOW:
      return None
    spec = importlib.machinery.PathFinder.find_spec(fullname)
    if spec is not None and spec.loader is not None:
      execute = functools.partial(_import, spec.loader.exec_module)
      spec.loader.exec_module = execute  # type: ignore[method-assign]
    return spec


def _import(
  execute: Callable[[types.ModuleType], None], module: types.ModuleType
) -> None:
  while _actions:
    _actions.pop(0)()
  if os.environ.setdefault(_LEVEL, "3") == "0":
    execute(module)
    return
  with _stderr_only_on_failure():
    execute(module)


@contextlib.contextmanager
def _stderr_only_on_failure() -> Iterator[None]:
  """Holds back what is written to stderr, unless the body raises."""
  try:
    stderr = os.dup(2)
  except OSError:  # the process was started without
    yield
    return
  if sys.stderr is not None:
    sys.stderr.flush()
  with tempfile.TemporaryFile() as held_back:
    os.dup2(held_back.fileno(), 2)
    try:
      yield
    except Exception:
      held_back.seek(0)
      os.write(stderr, held_back.read())
      raise
    finally:
      os.dup2(stderr, 2)
      os.close(stderr)


if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
  sys.meta_path.insert(0, _Finder())
