"""The stack that is pinned, and what depends on what."""

import ast
import pathlib

import pytest
import sonnet as snt
import tensorflow as tf
import tensorflow_probability as tfp

import air

REPOSITORY = pathlib.Path(__file__).parents[1]


def test_the_pinned_versions_work_together():
  pins = dict(
    line.split("==")
    for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
    if "==" in line
  )
  assert pins["tensorflow"] == tf.__version__
  assert pins["dm-sonnet"] == snt.__version__
  assert pins["tensorflow-probability"] == tfp.__version__


def imported_modules(path):
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield node.module


@pytest.mark.parametrize(
  ("package", "forbidden"),
  [
    ("air", ("data", "experiments", "absl")),
    ("data", ("air", "experiments", "tensorflow")),
  ],
)
def test_dependencies_point_one_way(package, forbidden):
  paths = sorted((REPOSITORY / package).glob("*.py"))
  assert paths
  for path in paths:
    for module in imported_modules(path):
      assert module.split(".")[0] not in forbidden, f"{path}: {module}"


def test_matplotlib_is_only_used_for_figures():
  for path in (REPOSITORY / "air").glob("*.py"):
    uses = any(m.startswith("matplotlib") for m in imported_modules(path))
    assert uses == (path.name in ("figures.py", "charts.py")), path


def test_everything_exported_exists():
  for name in air.__all__:
    assert getattr(air, name).__doc__
