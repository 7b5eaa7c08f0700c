"""The gradient variance binary, on a tiny run."""

import json

import numpy as np
import pytest
from PIL import Image

from air import estimators
from air.storage import checkpoints
from experiments import train
from experiments.analysis import gradient_variance
from experiments.common import launcher, runs, trained
from experiments.reports import variances


def call(binary, *arguments):
  return launcher.run(
    binary.__doc__,
    binary.define_flags,
    binary.main,
    [binary.__name__.split(".")[-1], *map(str, arguments)],
  )


@pytest.fixture(scope="module")
def run_dir(tiny_flags, single_data, tmp_path_factory, eager_execution):
  folder = tmp_path_factory.mktemp("runs") / "reinforce"
  # One step: what takes long is to trace the gradients of all estimators.
  arguments = [f"--run_dir={folder}", *tiny_flags, "--estimator=reinforce"]
  arguments += [f"--data={single_data}", "--num_steps=1"]
  with eager_execution():
    assert call(train, *arguments, "--iterations=2") == 0
  return folder


def test_measures_all_estimators_at_a_checkpoint(run_dir, capsys):
  status = call(
    gradient_variance,
    f"--run_dir={run_dir}",
    "--iterations=2",
    "--draws=64",
    "--baseline_iterations=3",
  )
  captured = capsys.readouterr()
  assert status == 0, captured.err
  numbers = run_dir / "analysis" / "gradient_variance.jsonl"
  records = [json.loads(line) for line in numbers.read_text().splitlines()]
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
    without_score, exact, plain = (
      by_name[minibatch, name]["bias"]["presence_head"]
      for name in ("backpropagation", "marginal", "reinforce_plain")
    )
    assert without_score["bias"] == pytest.approx(-1.0)
    assert without_score["error"] < 0.1
    assert exact == {"bias": 0.0, "error": 0.0}
    assert plain["error"] > 0.0
    assert abs(plain["bias"]) < 5.0 * plain["error"]
  # The same noise, but the same images each time.
  drawn, fixed = (
    values(minibatch, "marginal", "decoder", "variance_mean")
    for minibatch in ("drawn", "fixed")
  )
  assert fixed != drawn
  assert by_name["drawn", "vimco"]["num_samples"] == 5
  baselines = {r["estimator"]: r["baseline"] for r in records}
  assert baselines["reinforce"] == "of the run"
  assert baselines["reinforce_broadcast"] == "fitted for 3 iterations"
  assert baselines["marginal"] is None
  assert "the post" in captured.out
  assert "Biases within 5 standard errors of zero:" in captured.out
  # Of 64 draws of 8 images; n is one of two.
  assert all(128 < r["surprises"] <= 1 / 2 * 512 for r in records)
  figure = Image.open(run_dir / "figures" / "gradient_variance.png")
  figure = np.asarray(figure)
  assert len(np.unique(figure.reshape(-1, figure.shape[-1]), axis=0)) > 8


def test_all_estimators_have_the_weights_of_the_checkpoint(run_dir):
  images = np.zeros([8, 14, 14], np.uint8)
  run = runs.load(run_dir)
  [path] = [
    p for p in checkpoints.find(run_dir / "checkpoints") if "2" in p.name
  ]
  models = [
    trainer.model
    for trainer in gradient_variance._trainers(run, images, path).values()
  ]
  assert len(models) == len(estimators.ESTIMATORS)
  saved, start = (trained.model_at(run, at) for at in (path, None))
  for model in models:
    for x, y in zip(model.model_variables, saved.model_variables, strict=True):
      np.testing.assert_array_equal(x, y)
  assert any(
    np.any(x.numpy() != y.numpy())
    for x, y in zip(saved.model_variables, start.model_variables, strict=True)
  )


def test_at_iteration_0_the_baseline_is_fitted(
  run_dir, tmp_path, monkeypatch, eagerly
):
  few = ("marginal", "backpropagation", "reinforce_plain", "reinforce")
  chosen = {name: estimators.ESTIMATORS[name] for name in few}
  monkeypatch.setattr(estimators, "ESTIMATORS", chosen)
  status = call(
    gradient_variance,
    f"--run_dir={run_dir}",
    f"--figure={tmp_path / 'variances.png'}",
    f"--json={tmp_path / 'variances.jsonl'}",
    "--iterations=0",
    "--draws=4",
    "--baseline_iterations=3",
  )
  assert status == 0
  records = map(json.loads, (tmp_path / "variances.jsonl").open())
  assert (tmp_path / "variances.png").exists()
  baselines = {r["baseline"] for r in records if r["estimator"] == "reinforce"}
  assert baselines == {"fitted for 3 iterations"}


def test_of_dair_the_gradient_through_the_canvas(
  tiny_flags, tmp_path, monkeypatch, eagerly, capsys
):
  """Of both, what paints objects and what finds them."""
  few = ("marginal", "backpropagation", "reinforce_plain", "reinforce")
  chosen = {name: estimators.ESTIMATORS[name] for name in few}
  monkeypatch.setattr(estimators, "ESTIMATORS", chosen)
  run_dir = tmp_path / "dair"
  arguments = [f"--run_dir={run_dir}", *tiny_flags, "--nomemory"]
  arguments += ["--step_input=difference", "--glimpse_input=difference"]
  arguments += ["--nolatent_feedback", "--iterations=4"]
  assert call(train, *arguments) == 0
  arguments = [f"--run_dir={run_dir}", "--iterations=4", "--draws=8"]
  assert call(gradient_variance, *arguments, "--baseline_iterations=1") == 0
  numbers = run_dir / "analysis" / "gradient_variance.jsonl"
  [full] = [
    record
    for record in map(json.loads, numbers.open())
    if record["estimator"] == variances.THROUGH_CANVAS
    and record["minibatch"] == "fixed"
  ]
  assert full["baseline"] is None
  assert 0.0 < full["norm_median"] <= full["norm_max"]
  for group in ("decoder", "rest"):
    assert full["groups"][group]["distance"] > 0.0
  assert "through the canvas comes" in capsys.readouterr().out


def test_says_which_means_do_not_agree():
  def record(estimator, bias, error=0.1, surprises=100.0):
    return {
      "estimator": estimator,
      "iteration": 3,
      "minibatch": "fixed",
      "surprises": surprises,
      "bias": {"rest": {"bias": bias, "error": error}},
    }

  records = [
    record("reinforce", -0.4),
    record("reinforce_plain", -0.6),
    record("reinforce", 0.6),
    record("relaxed", 9.0),
    # Too large an error to tell anything.
    record("reinforce", -9.0, error=0.11),
    {**record("reinforce", 0.0), "bias": {"rest": None}},
    # Of rare n, on which the mean depends, none may have been drawn.
    record("reinforce", 0.6, surprises=99.0),
  ]
  assert variances.disagreements(records) == [
    f"{estimator} (rest, iteration 3, minibatch fixed): bias {bias} with a"
    " standard error of 0.1"
    for estimator, bias in (("reinforce_plain", -0.6), ("reinforce", 0.6))
  ]
