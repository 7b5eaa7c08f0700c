"""Training from Python."""

import doctest

import numpy as np
import pytest

import air
from air import fitting
from air.training import StepMetrics, Trainer

TINY = {
  "num_steps": 3,
  "glimpse_size": (6, 5),
  "what_size": 4,
  "hidden_sizes": (8, 8),
  "presence_hidden_sizes": (8,),
  "baseline_hidden_sizes": (8,),
  "lstm_size": 8,
  "batch_size": 4,
  "jit_compile": False,
}


@pytest.fixture
def images():
  """Noise on black."""
  values = np.zeros([20, 12, 10], np.uint8)
  rng = np.random.default_rng(5)
  values[:, 1:-1, 1:-1] = rng.integers(1, 256, [20, 10, 8])
  return values


def test_trains_as_the_trainer_does(images, small_config, eagerly):
  model = air.fit(images, 3, **TINY)
  trainer = Trainer(small_config(), images, jit_compile=False)
  assert model.network.config == trainer.config
  trainer.train(3)
  assert model.iteration == 3
  for ours, theirs in zip(
    model.network.variables, trainer.model.variables, strict=True
  ):
    np.testing.assert_array_equal(ours, theirs)
  assert model.infer(images).count.shape == (20,)


def test_images_are_read_as_everywhere(images, eagerly):
  plain, inverted = (
    air.fit(values, 2, **TINY, **reading)
    for values, reading in (
      (images, {}),
      (np.stack([255 - images] * 3, -1) / 255.0, {"invert": True}),
    )
  )
  for a, b in zip(
    plain.network.variables, inverted.network.variables, strict=True
  ):
    np.testing.assert_array_equal(a, b)
  with pytest.raises(air.InputError, match=r"^images .* --invert"):
    air.fit(255 - images, 2, **TINY)
  with pytest.raises(air.InputError, match=r"nothing but black"):
    air.fit(0 * images, 2, **TINY)


def test_the_callback_sees_the_model_and_the_means(images, eagerly):
  seen = []

  def callback(model, metrics):
    seen.append((model.iteration, metrics))

  air.fit(images, 5, callback=callback, callback_every=2, **TINY)
  assert [iteration for iteration, _ in seen] == [2, 4, 5]
  whole = []
  air.fit(images, 5, callback=lambda *args: whole.append(args), **TINY)
  [(model, metrics)] = whole
  assert model.iteration == 5
  for name in StepMetrics._fields:
    values = [getattr(m, name) for _, m in seen]
    assert getattr(metrics, name) == pytest.approx(
      (2 * values[0] + 2 * values[1] + values[2]) / 5, rel=1e-4, abs=1e-6
    )


def test_an_interrupt_returns_the_model_as_it_is(images, eagerly):
  def interrupt(model, metrics):
    if model.iteration == 4:
      raise KeyboardInterrupt

  model = air.fit(images, 100, callback=interrupt, callback_every=2, **TINY)
  assert model.iteration == 4


def test_divergence_is_an_error(images, monkeypatch, eagerly):
  nan = StepMetrics(*[0.0] * len(StepMetrics._fields))
  nan = nan._replace(loss=float("nan"), kl_what=float("inf"))
  monkeypatch.setattr(Trainer, "train", lambda self, count: nan)
  with pytest.raises(air.DivergedError, match=r"for kl_what is inf at iter"):
    air.fit(images, 5, **TINY)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"num_step": 4}, "num_step is no setting, .* perhaps num_steps"),
    ({"image_size": (3, 3)}, "image_size is that of the images"),
    ({"num_steps": 0}, "num_steps is 0"),
  ],
)
def test_settings_that_cannot_be(images, settings, message):
  with pytest.raises(air.ConfigError, match=message):
    air.fit(images, 5, **{**TINY, **settings})


@pytest.mark.parametrize("name", ["iterations", "callback_every"])
def test_numbers_that_cannot_be(images, name):
  with pytest.raises(air.InputError, match=f"^{name} is 0"):
    air.fit(images, **{**TINY, name: 0})


def test_the_example_runs(user_images, eagerly):
  [example] = doctest.DocTestFinder().find(
    fitting.fit, "fit", globs={"air": air, "images": user_images}
  )
  assert doctest.DocTestRunner().run(example).failed == 0
