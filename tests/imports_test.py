"""The stack that is pinned, and what depends on what: imports point down."""

import ast
import graphlib
import pathlib

import pytest
import sonnet as snt
import tensorflow as tf
import tensorflow_probability as tfp

import air

REPOSITORY = pathlib.Path(__file__).parents[1]
# From the top of the house to its ground: a room uses those below it.
FLOORS = (
  ("experiments",),
  ("experiments.analysis", "experiments.benchmarks", "experiments.paper"),
  ("experiments.reports",),
  ("experiments.sweeps",),
  ("experiments.common",),
  ("data",),
  ("air", "air.viz", "air.storage"),
)


def _modules():
  """Returns the file of each module of the project, by name."""
  modules = {}
  for package in ("air", "data", "experiments"):
    for path in (REPOSITORY / package).rglob("*.py"):
      parts = path.relative_to(REPOSITORY).with_suffix("").parts
      name = ".".join(part for part in parts if part != "__init__")
      modules[name] = path
  return modules


MODULES = _modules()


def imported_modules(path):
  """Yields the modules that a file imports, wherever in it."""
  for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      submodules = [f"{node.module}.{alias.name}" for alias in node.names]
      found = [name for name in submodules if name in MODULES]
      yield from found
      if len(found) < len(submodules):
        yield node.module


IMPORTS = {
  name: {module for module in imported_modules(path) if module in MODULES}
  for name, path in MODULES.items()
}


def _room(module):
  """Returns the package that a module lies in."""
  if MODULES[module].name == "__init__.py":
    return module
  return module.rpartition(".")[0]


def _floor(module):
  [floor] = [i for i, rooms in enumerate(FLOORS) if _room(module) in rooms]
  return floor


def test_the_pinned_versions_work_together():
  pins = dict(
    line.split("==")
    for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
    if "==" in line
  )
  assert pins["tensorflow"] == tf.__version__
  assert pins["dm-sonnet"] == snt.__version__
  assert pins["tensorflow-probability"] == tfp.__version__


def test_imports_point_down():
  assert len(MODULES) > 60
  wrong = [
    f"{name} imports {imported}"
    for name, all_imported in IMPORTS.items()
    for imported in all_imported
    # Of a package, what the import of any module in it runs first.
    if MODULES[imported].name != "__init__.py"
    and MODULES[name].name != "__init__.py"
    and _floor(imported) < _floor(name)
  ]
  assert not wrong


def test_binaries_do_not_import_each_other():
  for name in MODULES:
    if _room(name) == "experiments":
      assert not [i for i in IMPORTS[name] if _room(i) == "experiments"], name


def test_no_imports_in_a_circle():
  graph = {
    name: {i for i in imported if MODULES[i].name != "__init__.py"}
    for name, imported in IMPORTS.items()
  }
  # Raises a CycleError that names the modules.
  assert len(list(graphlib.TopologicalSorter(graph).static_order())) > 60


@pytest.mark.parametrize(
  ("package", "forbidden"),
  [
    ("air", ("data", "experiments", "absl")),
    ("data", ("experiments", "tensorflow")),
  ],
)
def test_packages_are_apart(package, forbidden):
  for name, path in MODULES.items():
    # Files of TensorFlow's are read with it, once there is one.
    if name.split(".")[0] == package and name != "data.tfrecords":
      for module in imported_modules(path):
        assert module.split(".")[0] not in forbidden, f"{path}: {module}"


def test_data_uses_what_needs_no_tensorflow():
  of_air = {
    module
    for name, imported in IMPORTS.items()
    for module in imported
    if name.split(".")[0] == "data" and module.split(".")[0] == "air"
  }
  assert of_air <= {
    "air.errors",
    "air.fields",
    "air.images",
    "air.storage.memory",
  }
  for name in of_air:
    modules = imported_modules(MODULES[name])
    assert "tensorflow" not in {m.split(".")[0] for m in modules}


def test_the_concepts_draw_nothing():
  """Only `air.viz` uses matplotlib, and no concept of the model uses it."""
  for name, path in MODULES.items():
    modules = list(imported_modules(path))
    if name.startswith("air") and _room(name) != "air.viz":
      assert not [m for m in modules if m.startswith("matplotlib")], name
      # But for what `import air` offers.
      if name != "air":
        assert not [m for m in modules if m.startswith("air.viz")], name


def test_everything_exported_exists():
  for name in air.__all__:
    assert getattr(air, name).__doc__
