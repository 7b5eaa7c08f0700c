"""Checkpoints of the original code, written as TensorFlow 1 does."""

import json
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from air import evaluation
from air.evaluation import Evaluator
from air.model import AIRModel
from air.noise import Noise
from air.storage import blog_code, checkpoints
from experiments import evaluate
from experiments.analysis import import_blog_checkpoint
from experiments.common import runs

FIXTURE = pathlib.Path(__file__).parents[2] / "testdata" / "blog_code_a.npz"
ITERATION = 20_000
# The fixture's, where they are not the original's.
SIZES = [
  "--glimpse_size=6,6",
  "--what_size=5",
  "--hidden_sizes=8,8",
  "--presence_hidden_sizes=8,4",
  "--baseline_hidden_sizes=8,4",
  "--lstm_size=8",
  "--batch_size=4",
]


@pytest.fixture(scope="module")
def fixture():
  with np.load(FIXTURE) as arrays:
    return dict(arrays)


@pytest.fixture
def variables(fixture):
  """What the original's Saver writes: all of its graph's variables.

  The optimizers ran in a scope of their own.
  """
  weights = {
    name.removeprefix("var/"): value
    for name, value in fixture.items()
    if name.startswith("var/")
  }
  slots = {
    f"loss/{name}/RMSProp{suffix}": np.zeros_like(value)
    for name, value in weights.items()
    for suffix in ("", "_1", "_2")
  }
  numbers = {
    "M/canvas_multiplier": np.float32(0.5),
    "M/explore_eps": np.float32(1e-3),
    "loss/learning_rate": np.float32(1e-4),
    "loss/KL_divergence/num_steps_prior/value": np.float64(0.25),
    "use_prior": np.bool_(True),
    "loss/global_step": np.int64(ITERATION),
  }
  return {**weights, **slots, **numbers}


def write(folder, variables):
  """Writes a checkpoint; returns the prefix of its files."""
  v1 = tf.compat.v1
  with tf.Graph().as_default(), v1.Session() as session:
    for name, value in variables.items():
      v1.get_variable(name, initializer=value)
    session.run(v1.global_variables_initializer())
    return v1.train.Saver().save(session, str(folder / "model.ckpt"))


@pytest.fixture
def images(tmp_path):
  """The flag of images of the fixture's size."""
  rng = np.random.default_rng(0)
  arrays = {}
  for split in ("train", "validation", "test"):
    images = rng.integers(0, 256, [12, 12, 12], np.uint8) // 3
    arrays[f"{split}_images"] = images
    arrays[f"{split}_counts"] = rng.integers(0, 3, 12)
  path = tmp_path / "images.npz"
  np.savez(path, **arrays)
  return path


def test_evaluate_reads_the_run(
  call, fixture, variables, images, tmp_path, capsys, eagerly
):
  run_dir = tmp_path / "run"
  prefix = write(tmp_path, variables)
  arguments = [f"--checkpoint={prefix}", f"--run_dir={run_dir}"]
  arguments += [f"--data={images}", *SIZES]
  assert call(import_blog_checkpoint, *arguments) == 0
  command = capsys.readouterr().out.splitlines()[-1]
  assert command.endswith(f"experiments.evaluate --run_dir={run_dir}")
  assert call(evaluate, f"--run_dir={run_dir}") == 0

  # As a model with these weights by itself.
  run = runs.load(run_dir)
  assert run.air.training.estimator == "reinforce_broadcast"
  model = AIRModel(run.air)
  blog_code.assign(model, variables)
  with np.load(images) as arrays:
    test_images, counts = arrays["test_images"], arrays["test_counts"]
  expected = evaluation.summarize(
    Evaluator(model).evaluate(test_images, ITERATION, run.air.training.seed),
    counts,
    3,
  )
  result = json.loads((run_dir / "evaluation-test.json").read_text())
  assert result["iteration"] == ITERATION
  assert {name: result[name] for name in expected} == expected

  # As the original recorded.
  restored = AIRModel(run.air)
  checkpoints.restore_newest(run.checkpoints, restored, pytest.fail)
  output = restored(
    tf.constant(fixture["term/obs"]),
    Noise(
      fixture["noise/where_eps"],
      fixture["noise/what_eps"],
      fixture["noise/presence_uniform"][..., 0],
      np.zeros([*fixture["noise/presence_uniform"].shape[:2], 0], np.float32),
    ),
    restored.presence_floor(ITERATION),
  )
  terms = restored.elbo_terms(output, restored.priors(ITERATION))
  np.testing.assert_allclose(
    terms.kl(), fixture["term/prior_loss_per_sample"], rtol=1e-4
  )
  np.testing.assert_array_equal(
    output.num_steps, fixture["term/num_step_per_sample"]
  )

  # Another time, it would overwrite the run.
  assert call(import_blog_checkpoint, *arguments) == 2
  assert "--run_dir is" in capsys.readouterr().err


WHERE = "M/AIRCell/StochasticTransformParam/MLP/linear"


def without(*names):
  def change(variables):
    for name in names:
      del variables[name]

  return change


def also(name, value):
  def change(variables):
    variables[name] = value

  return change


BAD = {
  "missing": (
    without(f"{WHERE}/w", "lstm/w_gates"),
    [],
    f"--checkpoint lacks {WHERE}/w, lstm/w_gates; expected",
  ),
  "unknown": (
    also("M/AIRCell/Encoder_2/MLP/linear/w", np.zeros(3, np.float32)),
    [],
    "--checkpoint holds M/AIRCell/Encoder_2/MLP/linear/w, which",
  ),
  "shape": (
    lambda variables: None,
    ["--what_size=6"],
    "AIRCell/ParametrisedGaussian/linear/w of shape [8, 10], expected [8, 12]"
    " (our cell/what_head/mlp/linear_0/w)",
  ),
  "brightness": (
    also("M/canvas_multiplier", np.float32(1.0)),
    [],
    "--canvas_multiplier is 0.5, expected 1, with which",
  ),
  "exploration": (
    lambda variables: None,
    ["--presence_floor_final=0.01"],
    "--presence_floor_final is 0.01, expected 0.001, with which",
  ),
  "bias": (
    also("M/step_bias", np.float32(0.0)),
    [],
    "--presence_bias is 0.75, expected 0, with which",
  ),
  "no iteration": (
    without("loss/global_step"),
    [],
    "expected its iteration as --checkpoint_iteration",
  ),
}


@pytest.mark.parametrize(("change", "flags", "expected"), BAD.values(), ids=BAD)
def test_what_is_no_checkpoint_of_the_original(
  call, change, flags, expected, variables, images, tmp_path, capsys
):
  change(variables)
  run_dir = tmp_path / "run"
  arguments = [f"--checkpoint={write(tmp_path, variables)}", *SIZES, *flags]
  arguments += [f"--run_dir={run_dir}", f"--data={images}"]
  assert call(import_blog_checkpoint, *arguments) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert expected in error
  assert not run_dir.exists()


def test_another_scope_and_an_iteration_that_is_given(
  call, variables, images, tmp_path
):
  """The scope is the name of the class of the original's model.

  The optimizers' scope has had several names; and where n is summed over, the
  baseline is not needed.
  """
  del variables["loss/global_step"]
  renamed = {
    re.sub("^loss/", "grad/", re.sub("M/", "Other/", name)): value
    for name, value in variables.items()
  }
  run_dir = tmp_path / "run"
  prefix = write(tmp_path, renamed)
  arguments = [f"--checkpoint={prefix}", "--checkpoint_iteration=7", *SIZES]
  arguments.append("--estimator=marginal")
  arguments += [f"--run_dir={run_dir}", f"--data={images}"]
  assert call(import_blog_checkpoint, *arguments) == 0
  [saved] = checkpoints.find(run_dir / "checkpoints")
  assert checkpoints.iteration_of(saved) == 7


def test_a_damaged_checkpoint(call, variables, tmp_path, capsys):
  prefix = write(tmp_path, variables)
  data = pathlib.Path(f"{prefix}.data-00000-of-00001")
  data.write_bytes(data.read_bytes()[:100])
  arguments = [f"--checkpoint={prefix}", f"--run_dir={tmp_path / 'run'}"]
  assert call(import_blog_checkpoint, *arguments) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert f"--checkpoint is {prefix}, which cannot be read" in error
