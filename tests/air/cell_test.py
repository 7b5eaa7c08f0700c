"""The cell: a real RNN core, as the post describes it."""

import numpy as np
import pytest
import sonnet as snt
import tensorflow as tf

from air import cell as cell_lib
from air import config as config_lib
from air import modules, noise, transformer


def small_config(**changes):
  sizes = {
    "image_size": (12, 10),
    "glimpse_size": (6, 5),
    "what_size": 4,
    "hidden_sizes": (8, 8),
    "presence_hidden_sizes": (8, 8),
    "lstm_size": 7,
  }
  return config_lib.ModelConfig(**{**sizes, **changes})


def paint(what, window):
  """Returns a picture `[B, 12, 10]` that the latents alone decide."""
  latents = tf.concat([what, window], axis=-1)
  pixels = tf.reshape(tf.range(8 * 12 * 10, dtype=tf.float32), [8, -1])
  return tf.reshape(0.1 * latents @ tf.sin(pixels), [-1, 12, 10])


def make(seed=0, **changes):
  config = small_config(**changes)
  initializer = modules.FanInNormal(tf.constant([seed, 0]))
  cell = cell_lib.AIRCell(config, initializer, paint=paint)
  images = tf.constant(np.random.default_rng(1).random([3, 12, 10]), tf.float32)
  step_noise = noise.sample(
    tf.constant([seed, 1]), 3, 3, config.where_size, config.what_size
  )
  return cell, images, step_noise


def step_of(sequence, step):
  return noise.Noise(*(field[step] for field in sequence))


@pytest.mark.parametrize("parametrization", ["4d", "3d"])
@pytest.mark.parametrize("squash", ["samples", "locations", "none"])
def test_shapes_and_unroll_by_sonnet(parametrization, squash):
  cell, images, step_noise = make(
    where_parametrization=parametrization,
    where_squash=squash,
    where_init="code",
  )
  assert isinstance(cell, snt.RNNCore)
  state = cell.initial_state(images)
  outputs, final = snt.static_unroll(cell, step_noise, state)
  where_size = 4 if parametrization == "4d" else 3
  assert outputs.where.shape == [3, 3, where_size]
  assert outputs.window.shape == [3, 3, 4]
  assert outputs.glimpse.shape == [3, 3, 6, 5]
  assert outputs.what.shape == [3, 3, 4]
  assert outputs.hidden.shape == [3, 3, 7]
  for step in range(3):
    output, state = cell(step_of(step_noise, step), state)
    for name, sequence in outputs._asdict().items():
      np.testing.assert_allclose(
        getattr(output, name), sequence[step], rtol=1e-5, atol=1e-6
      )
  np.testing.assert_allclose(final.lstm.hidden, state.lstm.hidden, atol=1e-6)


def test_samples_are_location_plus_scale_times_noise():
  cell, images, step_noise = make()
  first = step_of(step_noise, 0)
  output, _ = cell(first, cell.initial_state(images))
  np.testing.assert_allclose(
    output.where, output.where_loc + output.where_scale * first.where, rtol=1e-6
  )
  np.testing.assert_allclose(
    output.what, output.what_loc + output.what_scale * first.what, rtol=1e-6
  )


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("parametrization", ["4d", "3d"])
def test_squash_of_samples_gives_the_window(parametrization):
  cell, images, step_noise = make(
    where_squash="samples", where_parametrization=parametrization
  )
  output, _ = cell(step_of(step_noise, 0), cell.initial_state(images))
  where = output.where.numpy()
  if parametrization == "3d":  # (s, tx, ty)
    where = where[:, [0, 1, 0, 2]]
  expected = where.copy()
  expected[:, ::2] = sigmoid(where[:, ::2])
  expected[:, 1::2] = np.tanh(where[:, 1::2])
  np.testing.assert_allclose(output.window, expected, rtol=1e-5)


@pytest.mark.parametrize("parametrization", ["4d", "3d"])
@pytest.mark.parametrize("head", ["where", "what"])
def test_scales_start_at_their_bias(head, parametrization):
  cell, images, step_noise = make(
    where_init="code",
    where_squash="locations",
    where_parametrization=parametrization,
    where_scale_bias=-1.0,
  )
  state = cell.initial_state(images)
  cell(step_of(step_noise, 0), state)
  for variable in getattr(cell, f"{head}_head").trainable_variables:
    variable.assign(tf.zeros_like(variable))
  output, _ = cell(step_of(step_noise, 0), state)
  scale = getattr(output, f"{head}_scale")
  bias = {"where": -1.0, "what": 0.5}[head]
  np.testing.assert_allclose(
    scale, np.full(scale.shape, np.log1p(np.exp(bias))), rtol=1e-6
  )


def test_squash_of_locations_leaves_the_samples_as_they_are():
  cell, images, step_noise = make(where_squash="locations", where_init="code")
  output, _ = cell(step_of(step_noise, 0), cell.initial_state(images))
  np.testing.assert_array_equal(output.window, output.where)
  assert np.all(output.where_loc[:, ::2] > 0)
  assert np.all(np.abs(output.where_loc[:, 1::2]) < 1)


def test_one_scale_serves_both_axes():
  window = cell_lib.to_window(tf.constant([[0.5, 0.1, -0.2]]))
  np.testing.assert_allclose(window, [[0.5, 0.1, 0.5, -0.2]])


LATENTS_OTHER = {"what": "where", "where": "what"}


def second_step(cell, images, step_noise, **changes):
  state = cell.initial_state(images)
  _, state = cell(step_of(step_noise, 0), state)
  output, _ = cell(step_of(step_noise, 1), state._replace(**changes))
  return output


@pytest.mark.parametrize("latent", ["what", "where", "presence"])
def test_every_latent_is_fed_back(latent):
  changes = {
    latent: tf.zeros([3, {"what": 4, "where": 4, "presence": 1}[latent]])
  }
  for feedback in (True, False):
    cell, images, step_noise = make(latent_feedback=feedback)
    plain = second_step(cell, images, step_noise)
    changed = second_step(cell, images, step_noise, **changes)
    differs = np.abs(plain.hidden - changed.hidden).max() > 1e-6
    assert differs == feedback


@pytest.mark.parametrize("latent", ["what", "where"])
def test_the_gradient_flows_through_what_is_fed_back(latent):
  cell, images, step_noise = make()
  first = step_of(step_noise, 0)
  initial = cell.initial_state(images)

  def hidden(value):
    _, state = cell(first._replace(**{latent: value}), initial)
    # Alone: the window also decides what is fed back as z_what.
    state = state._replace(**{LATENTS_OTHER[latent]: tf.zeros([3, 4])})
    output, _ = cell(step_of(step_noise, 1), state)
    return output.hidden

  [analytic], [numeric] = tf.test.compute_gradient(
    hidden, [getattr(first, latent)], delta=1e-2
  )
  largest = np.abs(numeric).max()
  assert largest > 1e-3
  np.testing.assert_allclose(analytic, numeric, atol=2e-2 * largest)


def test_a_step_leaves_presence_one_and_its_latents():
  cell, images, step_noise = make()
  state = cell.initial_state(images)
  np.testing.assert_array_equal(state.presence, np.ones([1, 1]))
  output, after = cell(
    step_of(step_noise, 0), state._replace(presence=tf.zeros([1, 1]))
  )
  np.testing.assert_array_equal(after.presence, np.ones([3, 1]))
  np.testing.assert_array_equal(after.what, output.what)
  np.testing.assert_array_equal(after.where, output.window)


def test_initial_state_is_trainable():
  cell, images, step_noise = make()
  with tf.GradientTape() as tape:
    output, _ = cell(step_of(step_noise, 0), cell.initial_state(images))
    loss = tf.reduce_sum(tf.square(output.hidden))
  initial = cell.initial_lstm_state.trainable_variables
  assert len(initial) == 2
  for gradient in tape.gradient(loss, initial):
    assert np.abs(gradient).max() > 0


def test_weights_are_a_function_of_the_seed():
  def weights(seed):
    cell, images, step_noise = make(seed)
    cell(step_of(step_noise, 0), cell.initial_state(images))
    return [v.numpy() for v in cell.trainable_variables]

  for a, b, c in zip(weights(0), weights(0), weights(1), strict=True):
    np.testing.assert_array_equal(a, b)
    if a.ndim > 1 and a.any():  # biases are constant at first
      assert not np.array_equal(a, c)


DAIR = {
  "step_input": "difference",
  "glimpse_input": "difference",
  "memory": False,
  "latent_feedback": False,
}


def mlp_by_hand(module, inputs, activate_final=True):
  """Returns `[B, F]`, what an MLP makes of inputs `[B, ...]`, in numpy."""
  variables = module.trainable_variables  # b, w, b, w, ...
  layers = list(zip(variables[1::2], variables[::2], strict=True))
  hidden = inputs.reshape(len(inputs), -1)
  for i, (w, b) in enumerate(layers):
    hidden = hidden @ w.numpy() + b.numpy()
    if activate_final or i + 1 < len(layers):
      hidden = np.where(hidden > 0, hidden, np.expm1(hidden))
  return hidden


def test_dair_by_hand():
  """h_i, q(z_where_i) and the glimpse of each step."""
  cell, images, step_noise = make(**DAIR)
  state = cell.initial_state(images)
  difference = images.numpy()
  for step in range(3):
    output, state = cell(step_of(step_noise, step), state)
    hidden = mlp_by_hand(cell.mlp, mlp_by_hand(cell.image_encoder, difference))
    where = mlp_by_hand(cell.where_head, hidden, activate_final=False)
    glimpse = transformer.crop(
      tf.constant(difference, tf.float32), output.window, (6, 5)
    )
    for name, expected in (
      ("hidden", hidden),
      ("where_loc", where[:, :4]),
      ("glimpse", glimpse),
    ):
      np.testing.assert_allclose(
        getattr(output, name), expected, rtol=1e-4, atol=1e-5, err_msg=name
      )
    assert output.cell.shape == [3, 0]
    painted = paint(output.what, output.window).numpy()
    assert np.abs(painted).max() > 0.05
    difference = difference - painted


@pytest.mark.parametrize("step_input", ["image", "difference"])
@pytest.mark.parametrize("glimpse_input", ["image", "difference"])
def test_step_and_glimpse_see_the_image_or_the_difference(
  step_input, glimpse_input
):
  cell, images, step_noise = make(
    step_input=step_input, glimpse_input=glimpse_input
  )
  plain = second_step(cell, images, step_noise)
  painted = second_step(cell, images, step_noise, canvas=2.0 * images)
  sees = np.abs(plain.hidden - painted.hidden).max() > 1e-3
  assert sees == (step_input == "difference")
  seen = images if glimpse_input == "image" else -images
  np.testing.assert_allclose(
    painted.glimpse,
    transformer.crop(seen, painted.window, (6, 5)),
    rtol=1e-4,
    atol=1e-6,
  )


def test_a_step_without_memory_knows_the_difference_alone():
  cell, images, step_noise = make(**DAIR)
  _, after_one = cell(step_of(step_noise, 0), cell.initial_state(images))
  second = step_of(step_noise, 1)
  output, _ = cell(second, after_one)
  rest = images - after_one.canvas
  as_first, _ = cell(second, cell.initial_state(rest))
  for name, value in output._asdict().items():
    np.testing.assert_array_equal(value, getattr(as_first, name), err_msg=name)


@pytest.mark.parametrize("memory", [True, False])
def test_no_gradient_flows_through_the_canvas(memory):
  cell, images, step_noise = make(
    **{**DAIR, "memory": memory, "latent_feedback": memory}
  )
  first = step_of(step_noise, 0)
  with tf.GradientTape() as tape:
    tape.watch(first.what)
    _, state = cell(first, cell.initial_state(images))
    # What is fed back has its gradient, as in AIR.
    state = state._replace(what=tf.stop_gradient(state.what))
    output, _ = cell(step_of(step_noise, 1), state)
    seen = tf.reduce_sum(output.hidden) + tf.reduce_sum(output.what_loc)
  assert np.abs(state.canvas).max() > 0.05
  assert tape.gradient(seen, first.what) is None
