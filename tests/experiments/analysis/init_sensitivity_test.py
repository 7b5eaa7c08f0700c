"""Sensitivity to initialisation: a small grid, and what is drawn of it."""

import json

import numpy as np
import pytest

from air.viz import charts
from experiments import train
from experiments.analysis import init_sensitivity
from experiments.sweeps import plan, records, runner

# One combination, but for the estimators.
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

  def remember(*arguments, bad):
    calls.append(arguments)
    assert bad == arguments[1][1:]
    return heat_maps(*arguments, bad=bad)

  monkeypatch.setattr(charts, "heat_maps", remember)
  return calls


def test_a_grid(call, tmp_path, tiny_flags, drawn, eagerly):
  """The sweep finds the run done."""
  config = (
    "blog:where_init=code,estimator=marginal,decoder_init_scale=2.0,"
    "where_scale_bias=-1.0,presence_bias=0.5"
  )
  given = [*tiny_flags, "--iterations=2"]
  [run] = plan.make([config], [3], tmp_path, given)
  assert call(train, f"--run_dir={run.folder}", *run.flags) == 0
  own = [f"--out={tmp_path}", "--seeds=3", "--estimators=marginal", *GRID]
  assert call(init_sensitivity, *own, *given) == 0

  end = json.loads((run.folder / "evaluation.json").read_text())
  confusion = np.array(end["count_confusion"])
  measures = {
    "count_accuracy": end["count_accuracy"],
    "zero_steps": confusion[1:, 0].sum() / confusion[1:].sum(),
    "all_steps": confusion[1, 2] / confusion[1].sum(),
    "no_end": 0.0,
  }
  settings = {
    "estimator": "marginal",
    "decoder_init_scale": 2.0,
    "where_scale_bias": -1.0,
    "presence_bias": 0.5,
  }
  result = json.loads((tmp_path / "init_sensitivity.json").read_text())
  assert result["config"] == "blog"
  [measured] = result["runs"]
  assert measured.pop("failure") == records.failure_mode(end)
  assert measured == {**settings, "seed": 3, **measures}
  [(shares, *_)] = drawn
  # Without the share of runs that did not come to their end, which is zero.
  assert shares.shape == (3, 1, 1, 1)
  np.testing.assert_array_equal(shares.ravel(), list(measures.values())[:3])
  assert (tmp_path / "init_sensitivity.png").exists()


def test_every_combination_is_where_its_axes_say(drawn):
  values = {
    "estimator": ["reinforce", "marginal"],
    "decoder_init_scale": (0.1, 1.0, 10.0),
    "where_scale_bias": (-2.0, 0.5),
    "presence_bias": (-1.0, 0.0, 1.0, 2.0),
  }
  shape = [len(axis) for axis in values.values()]
  means = np.random.default_rng(0).random([np.prod(shape), 4])
  init_sensitivity.draw(means, values)
  [(shares, _, columns, x, y)] = drawn
  assert x == ("decoder_init_scale", (0.1, 1.0, 10.0))
  assert y == ("where_scale_bias", (-2.0, 0.5))
  for v, (e, s, w, p) in enumerate(np.ndindex(*shape)):
    column = columns.index(
      f"{values['estimator'][e]}\npresence_bias {values['presence_bias'][p]:g}"
    )
    np.testing.assert_array_equal(shares[:, column, w, s], means[v])


def test_runs_on_images_without_counts_came_to_their_end():
  run = {"evaluations": [{"split": "test", "iteration": 10, "elbo": 500.0}]}
  assert init_sensitivity.measure(run)["no_end"] == 0.0
  assert init_sensitivity.measure({"evaluations": []})["no_end"] == 1.0


def test_cells_are_means_over_seeds(call, tmp_path, monkeypatch, drawn):
  """Of the runs that came to their end, and of all, how many did not.

  Results may hold others too.
  """

  def record(bias, seed, accuracy, config="blog"):
    config += f":where_init=code,estimator=marginal,decoder_init_scale={bias}"
    end = {
      "split": "test",
      "iteration": 10,
      "elbo": 500.0,
      "count_accuracy": accuracy,
      "count_accuracy_mode": accuracy,
      "count_accuracy_per_count": {},
      "count_confusion": [[4, 0, 0], [1, 1, 2], [3, 0, 1]],
    }
    return {
      "config": f"{config},where_scale_bias=-1.0,presence_bias=0.5",
      "seed": seed,
      "evaluations": [] if accuracy is None else [end],
      "iterations_to": {"98": None},
      "seconds_to": {"98": None},
      "failure": "diverged" if accuracy is None else "split digits",
    }

  results = [
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
    "".join(json.dumps(r) + "\n" for r in results)
  )
  monkeypatch.setattr(runner, "run", lambda configs, flag_values: 1)
  arguments = [f"--out={tmp_path}", "--seeds=0-1", "--estimators=marginal"]
  arguments += [*GRID, "--decoder_init_scale_grid=0.5,2,4"]
  assert call(init_sensitivity, *arguments) == 1
  [(shares, *_)] = drawn
  np.testing.assert_array_equal(
    shares[:, 0, 0],
    [*[[0.5, np.nan, 0.5]] * 3, [0.0, 1.0, 0.5]],
  )
  result = json.loads((tmp_path / "init_sensitivity.json").read_text())
  assert len(result["runs"]) == 6


def test_a_configuration_with_settings(call, tmp_path, monkeypatch):
  swept = []

  def run(configs, flag_values):
    swept.extend(configs)
    return 9

  monkeypatch.setattr(runner, "run", run)
  arguments = [f"--out={tmp_path}", "--seeds=0", "--estimators=marginal", *GRID]
  assert call(init_sensitivity, *arguments, "--config=blog:what_size=9") == 9
  [config] = swept
  assert config.startswith(
    "blog:what_size=9,where_init=code,estimator=marginal"
  )
  assert "--what_size=9" in plan.flags_of(config, [])


def test_stopped_by_a_signal(call, tmp_path, monkeypatch):
  monkeypatch.setattr(runner, "run", lambda configs, flag_values: 143)
  assert call(init_sensitivity, f"--out={tmp_path}", "--seeds=0") == 143
  assert list(tmp_path.iterdir()) == []
