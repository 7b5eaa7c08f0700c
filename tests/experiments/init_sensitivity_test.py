"""Sensitivity to initialisation: a small grid, and what is drawn of it."""

import json

import numpy as np
import pytest

from air import charts
from experiments import init_sensitivity, plan, sweep, train

# One combination for each estimator.
GRID = [
  "--decoder_init_scale_grid=2",
  "--where_scale_bias_grid=-1",
  "--presence_bias_grid=0.5",
]


@pytest.fixture
def drawn(monkeypatch):
  """What is drawn as heat maps."""
  calls = []
  heat_maps = charts.heat_maps

  def remember(*arguments):
    calls.append(arguments)
    return heat_maps(*arguments)

  monkeypatch.setattr(charts, "heat_maps", remember)
  return calls


def test_a_grid(call, tmp_path, tiny_flags, drawn):
  """The sweep finds the runs done."""
  configs = [
    f"blog:where_init=code,estimator={estimator},decoder_init_scale=2.0,"
    "where_scale_bias=-1.0,presence_bias=0.5"
    for estimator in ("reinforce", "marginal")
  ]
  given = [*tiny_flags, "--iterations=2"]
  evaluations = []
  for run in plan.make(configs, [3], tmp_path, given):
    assert call(train, f"--run_dir={run.folder}", *run.flags) == 0
    evaluations.append(json.loads((run.folder / "evaluation.json").read_text()))
  assert (
    call(init_sensitivity, f"--out={tmp_path}", "--seeds=3", *GRID, *given) == 0
  )

  result = json.loads((tmp_path / "init_sensitivity.json").read_text())
  assert result["config"] == "blog"
  by_estimator = {run.pop("estimator"): run for run in result["runs"]}
  for estimator, end in zip(
    ("reinforce", "marginal"), evaluations, strict=True
  ):
    run = by_estimator[estimator]
    confusion = np.array(end["count_confusion"])
    assert run["count_accuracy"] == end["count_accuracy"]
    assert run["zero_steps"] == confusion[1:, 0].sum() / confusion[1:].sum()
    assert run["all_steps"] == confusion[1, 2] / confusion[1].sum()
    assert (run["decoder_init_scale"], run["seed"]) == (2.0, 3)
  [(shares, _, columns, *_)] = drawn
  assert shares.shape == (3, 2, 1, 1)
  np.testing.assert_array_equal(
    shares[0, :, 0, 0], [end["count_accuracy"] for end in evaluations]
  )
  assert columns == [
    "reinforce\npresence_bias 0.5",
    "marginal\npresence_bias 0.5",
  ]
  assert (tmp_path / "init_sensitivity.png").exists()


def test_cells_are_means_over_seeds(call, tmp_path, monkeypatch, drawn):
  """Of the runs that came to their end; results may hold others too."""

  def record(bias, seed, accuracy, config="blog"):
    config += f":where_init=code,estimator=marginal,decoder_init_scale={bias}"
    end = {
      "split": "test",
      "count_accuracy": accuracy,
      "count_confusion": [[4, 0, 0], [1, 1, 2], [3, 0, 1]],
    }
    return {
      "config": f"{config},where_scale_bias=-1.0,presence_bias=0.5",
      "seed": seed,
      "evaluations": [] if accuracy is None else [end],
      "iterations_to": {},
      "failure": "diverged" if accuracy is None else "split digits",
    }

  records = [
    record(0.5, 0, 0.25),
    record(0.5, 1, 0.75),
    record(0.5, 2, 0.0),
    record(2.0, 0, None),
    record(2.0, 1, None),
    record(4.0, 0, None),
    record(4.0, 1, 0.5),
    record(0.5, 0, 0.0, config="paper"),
  ]
  (tmp_path / "results.jsonl").write_text(
    "".join(json.dumps(r) + "\n" for r in records)
  )
  monkeypatch.setattr(sweep, "run", lambda configs, flag_values: 1)
  arguments = [f"--out={tmp_path}", "--seeds=0-1", "--estimators=marginal"]
  arguments += [*GRID, "--decoder_init_scale_grid=0.5,2,4"]
  assert call(init_sensitivity, *arguments) == 1
  [(shares, *_)] = drawn
  np.testing.assert_array_equal(
    shares[:, 0, 0],
    [[0.5, np.nan, 0.5], [0.5, np.nan, 0.5], [0.5, np.nan, 0.5]],
  )
  result = json.loads((tmp_path / "init_sensitivity.json").read_text())
  assert len(result["runs"]) == 6


def test_stopped_by_a_signal(call, tmp_path, monkeypatch):
  monkeypatch.setattr(sweep, "run", lambda configs, flag_values: 143)
  assert call(init_sensitivity, f"--out={tmp_path}", "--seeds=0") == 143
  assert list(tmp_path.iterdir()) == []
