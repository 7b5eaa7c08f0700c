"""The benchmark binary, on a tiny model: that it measures what it says."""

import json
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from air import config as config_lib
from air import estimators
from air.training import Trainer
from experiments.benchmarks import bound, speed, startup, timing


@pytest.fixture(scope="module")
def trainer():
  config = config_lib.AIRConfig(
    model=config_lib.ModelConfig(
      image_size=(14, 12),
      num_steps=2,
      glimpse_size=(6, 5),
      what_size=3,
      hidden_sizes=(10,),
      presence_hidden_sizes=(9,),
      lstm_size=16,
    ),
    training=config_lib.TrainingConfig(batch_size=8),
  )
  return Trainer(config, np.zeros([8, 14, 12], np.uint8))


def layer(rows, inputs, outputs, products=3):
  """Operations of a layer: forward, and the gradients in weights and inputs."""
  return products * 2 * rows * inputs * outputs


def test_products_are_all_that_a_step_needs(trainer):
  batch, steps = 8, 2
  rows = batch * steps
  latents = 3 + 4 + 1
  flops = sum(
    [
      layer(batch, 14 * 12, 10, products=2),  # images need no gradient
      layer(batch, 10, 64),  # of the image's encoding in the gates
      # The state before the first step is one for all images, and its latents
      # are constant.
      layer(1, latents, 64, products=2),
      layer(batch, latents, 64),
      layer(1 + batch, 16, 64),
      layer(rows, 16, 10),  # where
      layer(rows, 10, 8),
      layer(rows, 30, 10),  # glimpse encoder and what
      layer(rows, 10, 6),
      layer(rows, 3, 10),  # decoder
      layer(rows, 10, 30),
      layer(rows, 16, 9),  # presence
      layer(rows, 9, 1),
      # weights_y image weights_x^T, as each object is cropped and pasted
      rows * layer(6, 14, 12, products=2),
      rows * layer(6, 12, 5),
      rows * layer(14, 6, 5),
      rows * layer(14, 5, 12),
    ]
  )
  assert sum(p.flops() for p in bound.products_of(trainer)) == flops


def test_products_are_computed_whole_and_each_time(trainer):
  products = bound.products_of(trainer)
  computed = bound.Products(products)
  computed.run(tf.constant(3))
  for product, (left, right), result in zip(
    products, computed.factors, computed.results, strict=True
  ):
    assert float(tf.reshape(left, [-1])[0]) == 2.0  # of the last of the three
    expected = tf.matmul(
      left,
      right,
      transpose_a=product.transpose_left,
      transpose_b=product.transpose_right,
    )
    np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-3)


def test_products_by_numpy_are_the_same_ones(trainer):
  products = bound.products_of(trainer)
  computed = bound.NumPyProducts(products)
  computed.run(1)
  for product, (left, right), result in zip(
    products, computed.factors, computed.results, strict=True
  ):
    assert result.shape == product.result
    assert 2 * left.shape[-1] * result.size == product.flops()
    np.testing.assert_allclose(
      result, tf.matmul(left, right), rtol=1e-3, atol=1e-3
    )


def test_a_state_pass_writes_every_slot(trainer):
  state_pass = bound.StatePass(trainer.optimizer, trainer.model.model_variables)
  state_pass.run(tf.constant(2))
  written = [v for slot in state_pass.slots for v in slot]
  assert len(written) == 4 * len(trainer.model.model_variables)
  for variable in written:
    np.testing.assert_allclose(variable, np.full(variable.shape, 1.75))


def test_measures_in_turn():
  order = []
  times = timing.milliseconds(
    {name: lambda n, name=name: order.append((name, n)) for name in "ab"},
    repetitions=2,
    iterations=5,
  )
  assert order == [(name, 2) for name in "ab"] + 2 * [("a", 5), ("b", 5)]
  assert [len(values) for values in times.values()] == [2, 2]


def test_measures_and_writes(tiny_flags, call, tmp_path, capsys):
  path = tmp_path / "benchmark.json"
  status = call(
    speed,
    *tiny_flags[:-1],
    "--num_steps=1",
    f"--json={path}",
    "--estimator=reinforce",
    "--repetitions=3",
    "--iterations_per_repetition=4",
    "--starts=0",
  )
  assert status == 0
  [result] = json.loads(path.read_text())["threads"].values()
  times = result["milliseconds_per_iteration"]
  assert set(times) == {
    *("reinforce, compiled", "reinforce, plain"),
    *("products", "products, NumPy", "state pass"),
  }
  assert all(len(v) == 3 and min(v) > 0 for v in times.values())
  for estimator, speedup in result["speedup"].items():
    compiled, plain = (
      times[f"{estimator}, {n}"] for n in ("compiled", "plain")
    )
    expected = sorted(b / a for a, b in zip(compiled, plain, strict=True))
    assert speedup == pytest.approx(expected[1])
  efficiencies = sorted(
    (min(p, q) + s) / t
    for p, q, s, t in zip(
      times["products"],
      times["products, NumPy"],
      times["state pass"],
      times["reinforce, compiled"],
      strict=True,
    )
  )
  assert result["efficiency"] == pytest.approx(efficiencies[1])
  assert result["evaluation_images"] == 12
  printed = capsys.readouterr().out
  assert f"efficiency: {efficiencies[1]:.2f}" in printed
  assert "evaluation: 12 images in" in printed


def test_what_is_measured():
  assert timing.estimators_of("marginal", False) == ["marginal", "reinforce"]
  assert timing.estimators_of("reinforce", False) == ["reinforce"]
  full = timing.estimators_of("vimco", True)
  assert full[0] == "vimco"
  assert sorted(full) == sorted(estimators.ESTIMATORS)


def test_scaling_is_measured_with_each_number_of_threads(
  tiny_flags, call, tmp_path
):
  path, figure = tmp_path / "scaling.json", tmp_path / "scaling.png"
  status = call(
    speed,
    *tiny_flags[:-1],
    "--num_steps=1",
    f"--json={path}",
    f"--figure={figure}",
    "--threads=1",
    "--estimator=backpropagation",
    "--image_sizes=20",
    "--repetitions=1",
    "--iterations_per_repetition=2",
  )
  assert status == 0
  [(threads, points)] = json.loads(path.read_text())["threads"].items()
  assert threads == "1"
  [point] = points
  assert (point["value"], point["varied"]) == (20, timing.SCALES["image_sizes"])
  assert min(point["milliseconds_per_iteration"]["step"]) > 0
  assert point["efficiency"] > 0
  assert figure.read_bytes().startswith(b"\x89PNG")


def test_a_start_is_measured_by_its_phases(tiny_flags, call, capsys):
  simple = ["--num_steps=1", "--estimator=backpropagation"]
  assert call(startup, *tiny_flags[:-1], *simple) == 0
  phases = json.loads(capsys.readouterr().out)
  assert list(phases) == [
    *("import", "data", "model", "compile", "first iteration", "evaluation")
  ]
  for quantity in ("seconds", "peak_memory_mib"):
    values = [phase[quantity] for phase in phases.values()]
    assert values == sorted(values)
    assert values[0] > 0
  text = speed.format_starts([phases, phases])
  assert f"{phases['data']['seconds']:.1f} s" in text


def test_starts_get_the_flags_of_the_configuration(
  tiny_flags, tmp_path, monkeypatch
):
  seen = []

  def python(module, *arguments, stderr, **environment):
    assert stderr == subprocess.PIPE
    seen.append((module, arguments))
    # Nor are there compiled programs of earlier runs.
    [(name, folder)] = environment.items()
    assert name == "XDG_CACHE_HOME"
    assert f"--data_cache={folder}" in arguments
    return "{}"

  monkeypatch.setattr(timing, "run_module", python)
  flag_values = flags.FlagValues()
  speed.define_flags(flag_values)
  flag_values(["speed", *tiny_flags[:-1], "--starts=2"])
  assert timing.measure_starts(flag_values) == [{}, {}, {}]
  for module, arguments in seen:
    assert module == "experiments.benchmarks.startup"
    parsed = flags.FlagValues()
    startup.define_flags(parsed)
    parsed(["startup", *arguments])
    assert parsed.lstm_size == 16
    assert parsed.glimpse_size == (6, 6)
    assert parsed.data == flag_values.data
    assert parsed.started > 0
  assert len({parsed.data_cache}) == 1
