"""Makes docs/air_explained.ipynb from docs/air_explained.py, with its outputs.

python docs/execute.py
"""

import pathlib

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from traitlets.config import Config

_ROOT = pathlib.Path(__file__).parents[1]
SOURCE = _ROOT / "docs" / "air_explained.py"
NOTEBOOK = SOURCE.with_suffix(".ipynb")
_TIMEOUT = 1_200  # seconds for a cell; the machine may be busy


def read() -> NotebookNode:
  """Returns the notebook of the source, without outputs."""
  notebook = jupytext.read(SOURCE)
  del notebook.metadata["jupytext"]
  for i, cell in enumerate(notebook.cells):
    cell["id"] = f"cell-{i}"  # random ones would change with each run
    cell["metadata"] = {}
  return notebook


def execute(notebook: NotebookNode) -> None:
  """Runs the cells and stores what they show.

  Args:
    notebook: gets outputs, and nothing that depends on when or where it runs.

  Raises:
    nbclient.exceptions.CellExecutionError: if a cell fails.
  """
  NotebookClient(
    notebook,
    timeout=_TIMEOUT,
    record_timing=False,
    coalesce_streams=True,
    config=Config({"KernelManager": {"transport": "ipc"}}),  # no open ports
    resources={"metadata": {"path": str(_ROOT)}},
  ).execute()
  notebook.metadata["language_info"] = {"name": "python"}
  for cell in notebook.cells:
    for output in cell.get("outputs", []):
      # Pillow offers pictures twice.
      output.get("data", {}).pop("image/jpeg", None)


def main() -> None:
  """Executes the source and writes the notebook."""
  notebook = read()
  execute(notebook)
  nbformat.validate(notebook)
  nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
  main()
