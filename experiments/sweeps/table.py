"""How a sweep shows where its runs stand: a live table, or lines."""

import sys
from collections.abc import Sequence
from typing import Any

import tqdm

from experiments.sweeps.plan import SweepRun

# In the order in which they are shown; a table may be too long for the screen.
_COLOURS = {
  "running": "cyan",
  "failed": "red",
  "stopped": "yellow",
  "busy": "yellow",
  "done": "green",
  "waiting": "dim",
}


class Table:
  """Shows the runs of a sweep on stdout.

  A live table if that is a terminal; else a line whenever a state changes.
  """

  def __init__(self, sweep: Sequence[SweepRun]):
    """Shows nothing before it is entered."""
    self._sweep = sweep
    self._live: Any = None
    self._shown = {(run.config, run.seed): "waiting" for run in sweep}

  def __enter__(self) -> "Table":
    if sys.stdout.isatty():
      from rich import live

      self._live = live.Live(auto_refresh=False)
      self._live.__enter__()
    self.update()
    return self

  def __exit__(self, *exception) -> None:
    if self._live:
      self._live.__exit__(*exception)

  def update(self) -> None:
    """Shows how far the runs are now."""
    changed = [
      run
      for run in self._sweep
      if self._shown[run.config, run.seed] != run.state
    ]
    for run in changed:
      self._shown[run.config, run.seed] = run.state
      if not self._live:
        print(_line(run), flush=True)
      elif run.error:
        self._live.console.print(_line(run), style="red", highlight=False)
    if self._live:
      self._live.update(render(self._sweep), refresh=True)


def _line(run: SweepRun) -> str:
  line = f"{run.config}, seed {run.seed}: {run.state}"
  if run.iteration:
    line += f" at iteration {run.iteration}"
  if run.accuracy is not None:
    line += (
      f", validation counts {run.accuracy_mode:.2%} (most probable)"
      f" {run.accuracy:.2%} (sampled)"
    )
  if run.seconds >= 1.0:
    line += f", {tqdm.tqdm.format_interval(run.seconds)}"
  if run.error:
    line += f": {run.error} ({run.log})"
  return line


def render(sweep: Sequence[SweepRun]) -> Any:
  """Returns the table, for rich to print; those that run come first."""
  from rich import table, text

  states = list(_COLOURS)
  counts = [sum(run.state == state for run in sweep) for state in states]
  shown = table.Table(
    title=", ".join(
      f"{count} {state}" for count, state in zip(counts, states, strict=True)
    ),
    caption="n: counting accuracy on the validation images",
  )
  shown.add_column("configuration")
  for name in ("seed", "state", "iteration", "n mode", "n sampled", "time"):
    shown.add_column(name, justify="right")
  for run in sorted(sweep, key=lambda run: states.index(run.state)):
    accuracies = [
      "" if accuracy is None else f"{accuracy:.2%}"
      for accuracy in (run.accuracy_mode, run.accuracy)
    ]
    shown.add_row(
      run.config,
      str(run.seed),
      text.Text(run.state, style=_COLOURS[run.state]),
      f"{run.iteration}/{run.iterations}",
      *accuracies,
      tqdm.tqdm.format_interval(run.seconds) if run.seconds else "",
    )
  return shown
