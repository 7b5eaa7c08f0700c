"""What z_what says of digits."""

import json

import numpy as np
import pytest
from PIL import Image

from data.dataset import Split
from experiments import train
from experiments.analysis import probes
from experiments.common.codes import Codes


def test_an_object_is_the_digit_that_its_box_overlaps_most():
  """Steps that do not exist, and boxes beside all digits, are left out."""
  steps = np.arange(6.0).reshape([3, 2, 1])
  found = np.array(
    [
      [[0, 1, 5, 6], [9, 9, 12, 12]],  # mostly the second; the second exists
      [[0, 0, 5, 5], [0, 0, 5, 5]],  # the second does not
      [[20, 20, 25, 25], [0, 0, 5, 5]],  # the first is beside all
    ],
    float,
  )
  count_probs = np.eye(3)[[2, 1, 2]]
  codes = Codes(
    steps, steps, steps, steps, found, steps[..., None], count_probs
  )
  boxes = np.array([[[9, 0, 14, 5], [0, 0, 5, 5]]] * 3)
  labels = np.array([[3, 7], [3, 7], [8, 9]])
  split = Split(np.zeros([3, 30, 30], np.uint8), None, labels, boxes)
  objects = probes.find(codes, split)
  # The second box of the first image meets no digit.
  assert objects.digits.tolist() == [7, 7, 9]
  assert objects.codes[:, 0].tolist() == [0.0, 2.0, 5.0]
  assert objects.glimpses[:, 0, 0].tolist() == [0.0, 2.0, 5.0]
  assert objects.left_out == 2


def test_a_probe_is_linear():
  rng = np.random.default_rng(0)
  features = rng.normal(size=[400, 2])
  linear = (features[:, 0] > 0).astype(int)
  crossed = (features.prod(axis=1) > 0).astype(int)
  for digits, low, high in ((linear, 0.95, 1.0), (crossed, 0.3, 0.7)):
    accuracy = probes.probe(
      features[:200], digits[:200], features[200:], digits[200:]
    )
    assert low <= accuracy <= high
  one = np.full(200, 4)
  assert probes.probe(features[:200], one, features[200:], digits[200:]) == 0


def test_clusters_get_different_digits():
  # Two clusters of ones: only one of them is given that digit.
  clusters = np.array([0, 0, 0, 1, 1, 2])
  digits = np.array([1, 1, 1, 1, 1, 5])
  assert probes.cluster_accuracy(clusters, digits) == pytest.approx(4 / 6)


def test_the_nearest_first():
  known = np.array([[0.0], [5.0], [6.0]])
  assert probes.nearest(known, np.array([[5.9], [-1.0]])).tolist() == [
    [2, 1, 0],
    [0, 1, 2],
  ]


@pytest.fixture(scope="module")
def run_dir(call, tiny_world, tmp_path_factory, eager_execution):
  folder = tmp_path_factory.mktemp("probed") / "run"
  with eager_execution():
    own = [*tiny_world, "--num_images=32", "--num_steps=2"]
    assert call(train, f"--run_dir={folder}", *own) == 0
  return folder


@pytest.fixture
def one_digit(monkeypatch):
  """Ten objects and one digit of each, whatever a model finds."""

  def find(codes, split):
    del codes
    number = len(split.images)
    digits = np.arange(number) % 10
    return probes.Objects(
      np.eye(10)[digits], np.zeros([number, 6, 6]), digits, 3, 40
    )

  monkeypatch.setattr(probes, "find", find)


def test_of_one_run(call, run_dir, one_digit, eagerly, capsys):
  assert call(probes, f"--run_dirs={run_dir}", "--labels=10,32") == 0
  found = json.loads((run_dir / "analysis" / "probes.json").read_text())
  assert found["split"] == "test"
  [result] = found["runs"].values()
  assert (result["num_objects"], result["left_out"]) == (12, 3)
  assert result["num_true"] == 40
  assert result["iteration"] == 2
  codes, pixels = result["z_what"], result["pixels"]
  assert codes["linear_probe"]["32"] == [1.0] * 5
  assert codes["k_means"] == 1.0
  # Three of each digit, and 10 neighbours.
  assert 0.3 <= codes["neighbours"] <= 0.4
  assert max(pixels["linear_probe"]["32"]) <= 2 / 12
  assert pixels["neighbours"] < 0.3
  for name in ("probes", "probes-neighbours"):
    with Image.open(run_dir / "figures" / f"{name}.png") as image:
      assert image.width > 100
  assert "100.0% of 32 labels" in capsys.readouterr().out


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--labels=0"], "--labels is '0', expected numbers of 1 to 32"),
    (["--labels=33"], "--labels is '33', expected numbers of 1 to 32"),
    (["--split=train"], "--split=train"),
  ],
)
def test_bad_flags(call, run_dir, one_digit, eagerly, flags, message, capsys):
  assert call(probes, f"--run_dirs={run_dir}", *flags) == 2
  error = capsys.readouterr().err
  assert message in error
  assert len(error.splitlines()) == 1


def test_a_run_on_a_users_images(call, tiny_run, capsys):
  assert call(probes, f"--run_dirs={tiny_run}") == 2
  error = capsys.readouterr().err
  assert "expected runs on generated images of digits" in error
