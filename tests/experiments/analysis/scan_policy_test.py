"""The scan policy of trained runs."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from air import policy
from air.evaluation import Evaluator, ImageMetrics
from air.model import AIRModel
from air.storage import checkpoints
from experiments.analysis import scan_policy
from experiments.common import runs


def metrics_of(windows, num_steps):
  empty = ImageMetrics(*[None] * len(ImageMetrics._fields))
  return empty._replace(windows=windows, num_steps=num_steps)


def test_two_runs(call, tmp_path, tiny_run, tiny_data, capsys, eagerly):
  for name in ("run", "again"):
    shutil.copytree(tiny_run, tmp_path / name)
  status = call(
    scan_policy,
    f"--run_dirs={tmp_path / 'run'},{tmp_path / 'again'}",
    "--split=validation",
  )
  assert status == 0
  result = json.loads((tmp_path / "scan_policies.json").read_text())
  assert result["split"] == "validation"
  ours, copied = result["runs"].values()
  assert ours == copied
  assert ours["iteration"] == 4

  run = runs.load(tiny_run)
  model = AIRModel(run.air)
  checkpoints.restore_newest(run.checkpoints, model, pytest.fail)
  with np.load(tiny_data) as arrays:
    images = arrays["validation_images"]
  metrics = Evaluator(model).evaluate(images, 4, run.air.training.seed)
  expected = policy.predict_steps(metrics.windows, metrics.num_steps)
  assert expected is not None
  assert ours["prediction"] == expected._asdict()
  for key in ("accuracy", "chance"):
    value = getattr(expected, key)
    assert list(result[key].values()) == pytest.approx([value] * 3)
  assert [step["glimpses"] for step in ours["steps"]] == [
    np.sum(metrics.num_steps > step) for step in range(2)
  ]
  printed = capsys.readouterr().out
  assert f"all 2 runs: place tells step: {expected.accuracy:.1%}" in printed
  with Image.open(tmp_path / "scan_policies.png") as image:
    assert image.width > image.height


def test_of_one_run(call, tmp_path, tiny_run, capsys, eagerly):
  """The figure that training drew stays."""
  run_dir = shutil.copytree(tiny_run, tmp_path / "run")
  drawn = (run_dir / "figures" / "scan_policy.png").read_bytes()
  assert call(scan_policy, f"--run_dirs={run_dir}") == 0
  numbers = run_dir / "analysis" / "scan_policies.json"
  assert len(json.loads(numbers.read_text())["runs"]) == 1
  assert (run_dir / "figures" / "scan_policies.png").exists()
  assert (run_dir / "figures" / "scan_policy.png").read_bytes() == drawn
  assert capsys.readouterr().out.count("place tells step") == 1


def test_halves_of_the_image():
  windows = np.zeros([4, 2, 4])
  windows[:, 0, 1] = [-0.5, -0.1, -0.9, 0.3]  # x
  windows[:, 0, 3] = [-0.5, 0.5, 0.5, 0.5]  # y
  described = scan_policy.describe(metrics_of(windows, np.array([1, 1, 1, 1])))
  first, second = described["steps"]
  assert first == {"glimpses": 4, "left_half": 0.75, "upper_half": 0.25}
  assert second == {"glimpses": 0, "left_half": None, "upper_half": None}
  assert described["prediction"] is None


def test_interval():
  # Student's t with 4 degrees of freedom: 2.7764.
  interval = scan_policy.interval([1.0, 2.0, 3.0, 4.0, 5.0])
  half = 2.7764 * np.std([1, 2, 3, 4, 5], ddof=1) / np.sqrt(5)
  assert interval == pytest.approx(
    {"mean": 3.0, "low": 3.0 - half, "high": 3.0 + half}, rel=1e-4
  )
  assert scan_policy.interval([0.5]) == {"mean": 0.5, "low": None, "high": None}
