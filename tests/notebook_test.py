"""The notebook in docs/: it runs, and is in step with its source."""

import importlib.util
import pathlib

import nbformat
import pytest

ROOT = pathlib.Path(__file__).parents[1]
MOST_BYTES = 1_500_000
# Of what the notebook claims in words.
CHECKS = """
assert accuracy > 0.98
assert elbo < model.log_prob(image, 20)[0]
assert np.all(gain[:2] > price[:2])
assert gain[2] < price[2]
assert gain_of_one + price[1] < gain[:2].sum()
for values in estimates.values():
  error = values.std(axis=0) / np.sqrt(len(values))
  assert np.all(np.abs(values.mean(axis=0) - exact) < 5 * error)
assert variances["backpropagation"] < variances["marginal"]
assert 5 * variances["marginal"] < variances["reinforce"]
assert 5 * variances["reinforce"] < variances["reinforce_plain"]
assert history[0][0] == 100 and len(history) == 5
assert final_accuracy > 0.7
assert failures["bright"] < 0.05
assert failures["dim"] > 0.5
assert own.count.mean() < 0.01
"""


@pytest.fixture(scope="module")
def execute():
  """The module docs/execute.py, which lies in no package."""
  path = ROOT / "docs" / "execute.py"
  spec = importlib.util.spec_from_file_location("execute", path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(scope="module")
def stored(execute):
  return nbformat.read(execute.NOTEBOOK, as_version=4)


def test_it_runs_and_its_claims_hold(execute):
  notebook = execute.read()
  notebook.cells.append(nbformat.v4.new_code_cell(CHECKS))
  execute.execute(notebook)


def test_it_is_in_step_with_its_source(execute, stored):
  def cells(notebook):
    return [(cell.id, cell.cell_type, cell.source) for cell in notebook.cells]

  assert cells(stored) == cells(execute.read())


def test_the_outputs_are_kept(execute, stored):
  code = [cell for cell in stored.cells if cell.cell_type == "code"]
  assert [cell.execution_count for cell in code] == [*range(1, len(code) + 1)]
  outputs = [output for cell in code for output in cell.outputs]
  assert {o.output_type for o in outputs} == {
    "display_data",
    "execute_result",
    "stream",
  }
  assert {o.name for o in outputs if o.output_type == "stream"} == {"stdout"}
  pictures = [o for o in outputs if "image/png" in o.get("data", {})]
  assert len(pictures) > 10
  assert execute.NOTEBOOK.stat().st_size < MOST_BYTES


def test_cells_are_short(execute):
  for cell in execute.read().cells:
    if cell.cell_type == "code":
      assert len(cell.source.splitlines()) <= 20, cell.source
