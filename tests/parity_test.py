"""Numbers recorded from the blog's original code, reproduced by this one.

`AIR_PARITY_DIR` may name a folder with further fixtures (`*.npz`).
"""

import dataclasses
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from air.noise import Noise
from air.storage import blog_code
from air.storage import weights as weights_lib
from air.training import Trainer
from experiments import train
from experiments.common import configuration

TESTDATA = pathlib.Path(__file__).parent / "testdata"
CONFIGS = pathlib.Path(train.__file__).parent / "configs"

# The scope of most of the original's variables.
CELL = "M/AIRCell"


def fixture_paths():
  folders = [TESTDATA]
  if os.environ.get("AIR_PARITY_DIR"):
    folders.append(pathlib.Path(os.environ["AIR_PARITY_DIR"]))
  for folder in folders:
    assert list(folder.glob("*.npz")), f"no fixtures in {folder}"
  return sorted(path for f in folders for path in f.glob("*.npz"))


def blog_code_config(image_size):
  """What `--flagfile=experiments/configs/blog_code.flags` says."""
  flag_values = flags.FlagValues()
  train.define_flags(flag_values)
  flag_values(
    ["train", "--run_dir=x", f"--flagfile={CONFIGS / 'blog_code.flags'}"]
  )
  return configuration.air_config_for(flag_values, image_size)


def fixture_config(data):
  """The blog code's configuration, at the fixture's sizes."""
  config = blog_code_config((50, 50))

  def widths(prefix, layers):
    names = ["linear"] + [f"linear_{i}" for i in range(1, layers)]
    return tuple(data[f"var/{prefix}/MLP/{name}/b"].shape[0] for name in names)

  glimpse_size = data["term/glimpse"].shape[2:]
  model = dataclasses.replace(
    config.model,
    image_size=data["term/obs"].shape[1:],
    num_steps=len(data["term/what"]),
    glimpse_size=glimpse_size,
    what_size=data["term/what"].shape[-1],
    hidden_sizes=widths(f"{CELL}/Encoder", 2),
    presence_hidden_sizes=widths(f"{CELL}/StepsPredictor", 2),
    baseline_hidden_sizes=widths("BaselineMLP", 2),
    lstm_size=data["var/M/lstm_initial_state_cell/w"].shape[-1],
  )
  training = dataclasses.replace(
    config.training, batch_size=len(data["term/obs"])
  )
  return dataclasses.replace(config, model=model, training=training)


class Port:
  """Our model with a fixture's weights, noise and iteration."""

  def __init__(self, data):
    self.data = data
    self.config = fixture_config(data)
    images = np.zeros_like(data["term/obs"], np.uint8)
    self.trainer = Trainer(self.config, images)
    self.model = self.trainer.model
    blog_code.assign(self.model, arrays_under(data, "var/"))
    self.images = tf.constant(data["term/obs"])
    self.noise = Noise(
      where=tf.constant(data["noise/where_eps"]),
      what=tf.constant(data["noise/what_eps"]),
      presence=tf.constant(data["noise/presence_uniform"][..., 0]),
      background=tf.zeros([*data["noise/presence_uniform"].shape[:2], 0]),
    )
    self.iteration = tf.constant(int(data["config/global_step"]), tf.int64)

  def terms(self):
    """Every `term/` array that the original code computes."""
    model, data = self.model, self.data
    floor = model.presence_floor(self.iteration)
    output = model(self.images, self.noise, floor)
    terms = model.elbo_terms(output, model.priors(self.iteration))
    objective = model.objective(output, terms)
    steps = output.steps
    num_steps = output.num_steps.numpy()
    num_images = len(num_steps)
    # What the original multiplies by presence, for T steps.
    sampled = np.minimum(
      np.arange(1, len(steps.what) + 1)[:, None], num_steps
    )  # [T, B]
    canvases = output.canvases.numpy()
    presence = (sampled == np.arange(1, len(sampled) + 1)[:, None])[..., None]
    error = -tf.gather(terms.log_likelihoods, num_steps, batch_dims=1)
    features = model._estimator.baseline_features(output)
    baseline = model.baseline(features)
    kl_where = terms.expected_kl_where()
    log_success = model.log_success_probability(self.iteration)
    kl_what = terms.expected_kl_what()
    prior_loss = terms.kl()
    true_counts = data["term/nums"].sum(0)[:, 0]
    return {
      "obs": self.images,
      "nums": data["term/nums"],
      "where_loc": steps.where_loc,
      "where_scale": steps.where_scale,
      "where": steps.where,
      "what_loc": steps.what_loc,
      "what_scale": steps.what_scale,
      "what": steps.what,
      "presence_prob": tf.sigmoid(tf.transpose(output.presence_logits))[
        ..., None
      ],
      "presence": presence,
      "glimpse": presence[..., None] * tf.sigmoid(output.glimpses),
      "canvas": canvases[sampled, np.arange(num_images)],
      "num_steps_posterior": terms.probs,
      "num_step_per_sample": num_steps,
      "num_step": num_steps.mean(),
      "num_step_accuracy": (num_steps == true_counts).mean(),
      "steps_prior_success_prob": np.minimum(np.exp(log_success), 1 - 1e-15),
      "rec_loss_per_sample": error,
      "rec_loss": objective.reconstruction,
      "kl_num_steps_per_sample": terms.kl_num_steps,
      "kl_num_steps": tf.reduce_mean(terms.kl_num_steps),
      "kl_what_per_sample": kl_what,
      "kl_what": tf.reduce_mean(kl_what),
      "kl_where_per_sample": kl_where,
      "kl_where": tf.reduce_mean(kl_where),
      "prior_loss_per_sample": prior_loss,
      "prior_loss": tf.reduce_mean(prior_loss),
      "loss": objective.reconstruction + tf.reduce_mean(prior_loss),
      "baseline": baseline[:, None],
      "importance_weight": error[None, :] - baseline[:, None],
      "reinforce_loss": objective.reinforce_loss,
      "baseline_loss": objective.baseline_loss,
      "opt_loss": objective.loss,
    }


PATHS = fixture_paths()


@pytest.fixture(params=PATHS, ids=lambda path: path.name, scope="module")
def data(request):
  with np.load(request.param) as arrays:
    return dict(arrays)


def assert_close(actual, expected, name, tolerance):
  """Errors relative to the largest entry of the expected array."""
  expected = np.asarray(expected, np.float64)
  actual = np.asarray(actual, np.float64)
  assert actual.shape == expected.shape, name
  largest = np.abs(expected).max()
  error = np.abs(actual - expected).max()
  assert error <= tolerance * largest, f"{name}: {error} of {largest}"


def arrays_under(data, prefix):
  return {
    key.removeprefix(prefix): value
    for key, value in data.items()
    if key.startswith(prefix)
  }


def test_blog_code_terms(data):
  terms = Port(data).terms()
  recorded = arrays_under(data, "term/")
  assert set(recorded) <= set(terms)
  for name, expected in recorded.items():
    assert_close(terms[name], expected, name, 1e-4)


def test_blog_code_gradients(data):
  port = Port(data)
  _, gradients, baseline_gradients = port.trainer.gradients(
    port.images, port.noise, port.iteration
  )
  for prefix, variables, actual in (
    ("grad_opt_loss/", port.model.model_variables, gradients),
    ("grad_baseline_loss/", port.model.baseline_variables, baseline_gradients),
  ):
    names = weights_lib.names(port.model, variables)
    expected = blog_code.convert(
      arrays_under(data, prefix), names, forget_bias=0.0
    )
    for name, gradient in zip(names, actual, strict=True):
      assert_close(gradient, expected[name], name, 1e-4)


def check_training_steps(data, jit_compile):
  port = Port(data)
  step = port.trainer.step
  if jit_compile:
    step = tf.function(step, jit_compile=True)
  losses, baseline_losses = [], []
  for k in range(6):
    if k == 5:
      weights = [v.numpy() for v in port.model.trainable_variables]
    metrics = step(port.images, port.noise, port.iteration + k)
    losses.append(metrics.loss)
    baseline_losses.append(metrics.baseline_loss)
  # `..._after_step_k` is evaluated at the weights that step k leaves, which
  # is where step k + 1 starts.
  for k in range(1, 6):
    for name, values in (("loss", losses), ("baseline_loss", baseline_losses)):
      key = f"train/{name}_after_step_{k}"
      assert_close(values[k], data[key], key, 1e-4)
  names = weights_lib.names(port.model, port.model.trainable_variables)
  before, after = (
    blog_code.convert(arrays_under(data, prefix), names)
    for prefix in ("var/", "var_after_5_steps/")
  )
  for name, weight in zip(names, weights, strict=True):
    assert_close(weight - before[name], after[name] - before[name], name, 1e-3)


def test_blog_code_training_steps(data):
  check_training_steps(data, jit_compile=False)


@pytest.mark.parametrize("data", PATHS[:1], indirect=True)
def test_blog_code_training_steps_compiled(data):
  """With one of the fixtures, for compiling takes long."""
  check_training_steps(data, jit_compile=True)


def test_every_recorded_array_is_compared(data):
  compared = (
    "term/",
    "var/",
    "grad_opt_loss/",
    "grad_baseline_loss/",
    "var_after_5_steps/",
    "noise/",
    "config/",
    *(f"train/loss_after_step_{k}" for k in range(1, 6)),
    *(f"train/baseline_loss_after_step_{k}" for k in range(1, 6)),
  )
  assert [key for key in data if not key.startswith(compared)] == []
