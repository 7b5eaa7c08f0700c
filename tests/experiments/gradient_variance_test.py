"""The gradient variance binary, on a tiny run."""

import json

import numpy as np
import pytest
from PIL import Image

from air import estimators
from experiments import gradient_variance, launcher, train


def call(binary, *arguments):
  return launcher.run(
    binary.__doc__,
    binary.define_flags,
    binary.main,
    [binary.__name__.split(".")[-1], *map(str, arguments)],
  )


@pytest.fixture(scope="module")
def run_dir(tiny_flags, tmp_path_factory, eager_execution):
  folder = tmp_path_factory.mktemp("runs") / "reinforce"
  arguments = [f"--run_dir={folder}", *tiny_flags, "--estimator=reinforce"]
  with eager_execution():
    assert call(train, *arguments, "--iterations=2") == 0
  return folder


def test_measures_all_estimators_at_a_checkpoint(run_dir, tmp_path, capsys):
  status = call(
    gradient_variance,
    f"--run_dir={run_dir}",
    f"--out={tmp_path}",
    "--iterations=2",
    "--draws=32",
    "--baseline_iterations=3",
  )
  captured = capsys.readouterr()
  assert status == 0, captured.err
  records = [
    json.loads(line)
    for line in (tmp_path / "gradient_variance.jsonl").read_text().splitlines()
  ]
  assert len(records) == 2 * len(estimators.ESTIMATORS)
  by_name = {(r["minibatch"], r["estimator"]): r for r in records}

  def values(minibatch, name, group, value):
    return by_name[minibatch, name]["groups"][group][value]

  for minibatch in ("drawn", "fixed"):
    plain, marginal = (
      values(minibatch, name, "presence_head", "variance_mean")
      for name in ("reinforce_plain", "marginal")
    )
    assert plain > 10.0 * marginal > 0.0
    # The check has something to find.
    distance, error = (
      values(minibatch, "backpropagation", "presence_head", name)
      for name in ("distance", "distance_error")
    )
    assert distance > 5.0 * error
  assert by_name["drawn", "vimco"]["num_samples"] == 5
  baselines = {r["estimator"]: r["baseline"] for r in records}
  assert baselines["reinforce"] == "of the run"
  assert baselines["reinforce_broadcast"] == "fitted for 3 iterations"
  assert baselines["marginal"] is None
  assert "the post" in captured.out
  assert "agree within 5 standard errors at iterations 2;" in captured.out
  # Of 32 draws of 8 images; n is one of three.
  assert all(100 < r["surprises"] <= 2 / 3 * 256 for r in records)
  figure = np.asarray(Image.open(tmp_path / "gradient_variance.png"))
  assert len(np.unique(figure.reshape(-1, figure.shape[-1]), axis=0)) > 8


def test_says_which_means_do_not_agree():
  def record(estimator, distance, surprises=100.0):
    values = {"distance": distance, "distance_error": 0.1}
    return {
      "estimator": estimator,
      "iteration": 3,
      "minibatch": "fixed",
      "surprises": surprises,
      "groups": {"rest": values},
    }

  records = [
    record("reinforce", 0.4),
    record("reinforce_plain", 0.6),
    record("relaxed", 9.0),
    # Of rare n, on which the mean depends, none may have been drawn.
    record("reinforce", 0.6, surprises=99.0),
  ]
  (line,) = gradient_variance.disagreements(records)
  assert line == (
    "reinforce_plain (rest, iteration 3, minibatch fixed) by 0.6 with a"
    " standard error of 0.1"
  )
