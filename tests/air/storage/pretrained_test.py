"""Models by name or by run folder, and the weights that ship."""

import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import air
from air.errors import ConfigError, RunError
from air.model import AIRModel
from air.storage import files, pretrained, weights

REPOSITORY = pathlib.Path(__file__).parents[3]
NAMES = pretrained.names()
MOST_BYTES = 6e6


@pytest.fixture
def small(monkeypatch, small_config, tmp_path):
  """A small model that ships as "small"; returns it."""
  model = AIRModel(small_config(seed=5, estimator="reinforce"))
  folder = tmp_path / "pretrained"
  weights.write(folder / "small" / pretrained.WEIGHTS, model, iteration=7)
  monkeypatch.setattr(pretrained, "FOLDER", folder)
  return model


def assert_halves(network, model):
  for ours, theirs in zip(
    network.model_variables, model.model_variables, strict=True
  ):
    half = theirs.numpy().astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(ours, half)


def test_a_name_and_a_folder(small, run_dir, tmp_path, monkeypatch):
  found = pretrained.read("small", "model")
  assert_halves(found.network, small)
  assert found.iteration == 7
  assert found.reference is None
  loaded = air.load("small")
  assert repr(loaded).startswith("TrainedModel(small, iteration 7, 12x10")
  assert loaded.source == "small"
  # A run of that name.
  monkeypatch.chdir(tmp_path)
  pathlib.Path("small").symlink_to(run_dir)
  with pytest.raises(RunError, match=r"^model is small, .* expected \./small"):
    pretrained.read("small", "model")
  for folder in ("./small", pathlib.Path("small"), tmp_path / "small"):
    assert air.load(folder).iteration == 20


def test_no_such_model(small):
  with pytest.raises(RunError, match=r"^run_dir is smal, .* ships: small$"):
    air.load("smal")


@pytest.mark.parametrize(
  "settings",
  [{"estimator": "marginal"}, {"num_steps": 2, "what_size": 4}],
)
def test_weights_to_start_from(small, small_config, settings):
  """Another number of steps has the same weights."""
  model = AIRModel(small_config(seed=9, **settings))
  pretrained.initialize(model, "small", "init_from")
  assert_halves(model, small)


def test_a_model_of_other_shapes(small, small_config):
  model = AIRModel(small_config(what_size=5, num_steps=2))
  with pytest.raises(ConfigError) as error:
    pretrained.initialize(model, "small", "init_from")
  assert str(error.value) == (
    "init_from is small, whose weights have other shapes; expected the same"
    " settings of the model, but it has num_steps 3 (here 2), what_size 4 (here"
    " 5)"
  )


def test_fit_goes_on(small, small_config, small_images, eagerly):
  config = small_config()
  settings = {
    name: getattr(config.model, name)
    for name in (
      *("glimpse_size", "what_size", "hidden_sizes", "lstm_size"),
      *("presence_hidden_sizes", "baseline_hidden_sizes"),
    )
  }
  images = np.zeros([4, 12, 10], np.uint8)
  images[:, 3:6, 3:6] = 255
  model = air.fit(
    images, 1, init_from="small", learning_rate=1e-30, batch_size=4,
    jit_compile=False, **settings,
  )  # fmt: skip
  for ours, theirs in zip(
    model.network.model_variables, small.model_variables, strict=True
  ):
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)


def test_models_ship():
  assert {"multi_mnist", "small_digits", "more_objects"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_ships(name):
  """It is small, it is as its card says, and halves changed nothing."""
  folder = pretrained.FOLDER / name
  assert (folder / pretrained.WEIGHTS).stat().st_size < MOST_BYTES
  card = files.read_json(folder / pretrained.CARD)
  found = pretrained.read(name, "name")
  assert found.iteration == card["iterations"]
  assert found.reference is not None
  assert "dirty" not in card["machine"]["commit"]
  test = card["test"]
  assert test["num_images"] == 10_000
  for key in ("count_accuracy", "count_accuracy_mode"):
    assert abs(test[key] - card["float32"][key]) <= 0.0005
  assert abs(test["elbo"] - card["float32"]["elbo"]) < 0.1
  assert test["iwae"] > test["elbo"]


def test_a_wheel_has_them(tmp_path):
  """What `pip install .` installs, outside the checkout."""
  subprocess.run(
    [
      *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
      *("--no-build-isolation", f"--wheel-dir={tmp_path}", str(REPOSITORY)),
    ],
    check=True,
  )
  [wheel] = tmp_path.glob("*.whl")
  with zipfile.ZipFile(wheel) as archive:
    found = set(archive.namelist())
  for name in NAMES:
    for file in (pretrained.WEIGHTS, pretrained.CARD, "surprise.json"):
      assert f"air/pretrained/{name}/{file}" in found
  assert "air/pretrained/README.md" in found
