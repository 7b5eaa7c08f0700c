"""Other papers' images: which runs there are, and what is reported of them."""

import json

import pytest

from experiments import train
from experiments.common import runs
from experiments.paper import worlds
from experiments.sweeps import plan


@pytest.fixture(scope="module")
def swept(call, tiny_world, tmp_path_factory, eager_execution):
  """The folder of two runs, trained, and the flags of all."""
  out = tmp_path_factory.mktemp("swept")
  own = [flag for flag in tiny_world if "digit_size" not in flag]
  own.append("--canvas_size=50,50")
  with eager_execution():
    for world in ("sprites", "noise"):
      [run] = plan.make([worlds.config_of("default", world)], [3], out, own)
      assert call(train, f"--run_dir={run.folder}", *run.flags) == 0
  return out, own


def test_reports_the_runs(call, swept, tmp_path, eagerly, capsys):
  out, own = swept
  numbers, figure = tmp_path / "worlds.json", tmp_path / "worlds.png"
  flags = [f"--out={out}", "--seeds=3", "--config=default"]
  flags += [f"--json={numbers}", f"--figure={figure}"]
  assert call(worlds, *flags, "--worlds=sprites,noise", *own) == 0
  results = json.loads(numbers.read_text())
  assert [result["data"] for result in results] == ["noise", "sprites"]
  folder = plan.folder_of(worlds.config_of("default", "noise"), 3, out)
  run = runs.load(folder)
  evaluation = run.read_evaluation()
  for name in ("count_accuracy", "count_accuracy_mode", "elbo"):
    assert results[0][name] == evaluation[name]
  assert (results[0]["seed"], results[0]["iterations"]) == (3, 2)
  assert run.data.placement == "observations"
  assert run.data.background == "noise"
  assert run.air.model.background_model == "network"
  assert run.air.model.train_output_std
  printed = capsys.readouterr().out
  assert "93.4        0.2" in printed
  assert figure.exists()


def test_medians(monkeypatch):
  results = [
    {
      "data": "grid",
      "count_accuracy": share - 0.1,
      "count_accuracy_mode": share,
      "elbo": 100 * share,
    }
    for share in (0.5, 0.9, 0.8)
  ]
  [_, row] = worlds.table(results).splitlines()
  assert row.startswith("grid              3  80.00 (50.00-90.00)")
  assert "70.00 (40.00-80.00)" in row
  assert row.split()[-3:] == ["80.0", "96.5", "0.2"]


def test_an_unknown_world(call, tmp_path, capsys):
  assert call(worlds, f"--out={tmp_path}", "--seeds=0", "--worlds=sky") == 2
  assert "expected some of observations, sprites" in capsys.readouterr().err
