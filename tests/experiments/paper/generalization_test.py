"""Generalisation: runs tested on other numbers of objects."""

import json

import numpy as np
import pytest
from absl import flags

from air.viz import charts
from experiments import train
from experiments.common import runs, trained
from experiments.paper import generalization
from experiments.sweeps import plan


def _result(model, trained_on, tested_on, seed, iterations, mode):
  return {
    "model": model,
    "trained_on": list(trained_on),
    "tested_on": list(tested_on),
    "seed": seed,
    "iterations": iterations,
    "count_accuracy": mode - 0.1,
    "count_accuracy_mode": mode,
  }


@pytest.fixture(scope="module")
def swept(call, tiny_world, tmp_path_factory, eager_execution):
  """The folder of the four runs, by model and counts trained on; trained."""
  out = tmp_path_factory.mktemp("swept")
  folders = {}
  with eager_execution():
    for trained_on in ((0, 1, 2), (0, 1, 3)):
      for model in ("AIR", "DAIR"):
        config = generalization.config_of(model, trained_on)
        [run] = plan.make([config], [7], out, tiny_world)
        assert call(train, f"--run_dir={run.folder}", *run.flags) == 0
        folders[model, trained_on] = run.folder
  return out, folders


def test_tests_every_checkpoint_once(
  call, tiny_world, swept, tmp_path, eagerly, monkeypatch, capsys
):
  out, _ = swept
  numbers = tmp_path / "numbers.json"
  own = [f"--out={out}", f"--json={numbers}", "--seeds=7", *tiny_world]
  assert call(generalization, *own) == 0
  results = json.loads(numbers.read_text())
  # 2 models, 3 sets of images for each set of counts, 2 checkpoints.
  assert len(results) == 2 * 2 * 3 * 2
  assert all(r["num_images"] == 12 and r["seed"] == 7 for r in results)
  for name in ("generalization", "generalization-reconstructions"):
    assert (out / "figures" / f"{name}.png").exists()
  assert "0, 1, 3" in capsys.readouterr().out

  # What is known is not tested again, but that of another run is.
  before = numbers.read_text()
  results[0] |= {"run": "another", "count_accuracy": 2.0}
  numbers.write_text(json.dumps(results))
  assert call(generalization, *own) == 0
  assert numbers.read_text() == before
  monkeypatch.setattr(trained, "model_at", None)
  assert call(generalization, *own) == 0
  assert numbers.read_text() == before


def test_the_models_differ_in_nothing_else(swept):
  _, folders = swept
  air, dair = (
    runs.load(folders[model, (0, 1, 3)]).settings() for model in ("AIR", "DAIR")
  )
  assert {name for name in air if air[name] != dair[name]} == {
    "step_input",
    "glimpse_input",
    "memory",
    "latent_feedback",
  }
  assert air["counts"] == (0, 1, 3)
  assert dair["step_input"] == dair["glimpse_input"] == "difference"


def test_an_accuracy_is_that_of_the_checkpoint_on_these_counts(
  tiny_world, swept, eagerly
):
  out, folders = swept
  run = runs.load(folders["DAIR", (0, 1, 2)])
  flag_values = flags.FlagValues()
  generalization.define_flags(flag_values)
  flag_values(["", "--seeds=7", f"--out={out}", *tiny_world])
  tests = generalization._Tests(flag_values)
  split = tests.of(run, (1,))
  assert set(split.counts) == {1}
  by_key = generalization.test("DAIR", (0, 1, 2), run, tests, {})
  model = trained.model_at(run, trained.checkpoints_at(run, [2])[2])
  for counts in ((0, 1, 2), (3,), (4,)):
    images, truth, *_ = tests.of(run, counts)
    at_means = model(images / np.float32(255), model.zero_noise(len(images)))
    mode = at_means.num_steps_posterior().mode().numpy()
    assert by_key["DAIR", (0, 1, 2), counts, 7, 2]["count_accuracy_mode"] == (
      pytest.approx(np.mean(mode == truth))
    )


def test_medians_over_seeds(monkeypatch):
  seen, three = (0, 1, 2), (3,)
  results = [
    _result("DAIR", seen, three, seed, iterations, mode)
    for seed, mode in ((0, 0.5), (1, 0.9), (2, 0.8))
    for iterations, mode in ((10, 0.2), (20, mode))
  ]
  results.append(_result("DAIR", seen, seen, 0, 20, 1.0))
  lines = generalization.table(results).splitlines()
  assert lines[1].split()[:1] == ["DAIR"]
  assert "80.00 (50.00-90.00)" in lines[1]
  assert "70.00 (40.00-80.00)" in lines[1]
  assert "100.00 (100.00-100.00)" in lines[2]

  drawn = []
  curves = charts.curves
  monkeypatch.setattr(
    charts, "curves", lambda p, **o: drawn.append(p) or curves(p, **o)
  )
  figure = generalization.curves(results)
  [panels] = drawn
  assert panels == {
    "DAIR, trained on 0, 1, 2": {
      "3 digits": {10: [0.2, 0.2, 0.2], 20: [0.5, 0.9, 0.8]},
      "as many as in training": {20: [1.0]},
    }
  }
  [axis] = [axis for axis in figure.axes if axis.get_title()]
  [median, _] = axis.get_lines()
  np.testing.assert_array_equal(median.get_ydata(), [0.2, 0.8])
  [band] = axis.collections
  assert band.get_datalim(axis.transData).bounds[1] == pytest.approx(0.2)


def test_results_of_something_else_are_refused(call, tmp_path, capsys):
  numbers = tmp_path / "numbers.json"
  numbers.write_text('{"a": 1}')
  own = [f"--out={tmp_path}", "--seeds=0", f"--json={numbers}"]
  assert call(generalization, *own) == 2
  assert "which is not of this binary" in capsys.readouterr().err
  assert numbers.read_text() == '{"a": 1}'
