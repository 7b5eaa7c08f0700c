"""Models by name or by run folder, and the weights that ship."""

import hashlib
import os
import pathlib
import shutil
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


def test_a_folder_of_that_name_that_is_not_there(small, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(RunError, match=r'no run; .* that ships, "small"'):
    air.load(pathlib.Path("small"))
  with pytest.raises(RunError, match="expected the folder of a run"):
    air.load("x" * 300)


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


@pytest.mark.parametrize(
  ("settings", "differs"),
  [
    ({"what_size": 5, "num_steps": 2}, "what_size 4 (here 5)"),
    # Of the same shapes, but the weights would mean something else.
    ({"image_size": (10, 12)}, "image_size (12, 10) (here (10, 12))"),
    ({"canvas_multiplier": 1.0}, "canvas_multiplier 0.5 (here 1.0)"),
    (
      {"where_scale_prior_std_initial": 0.3},
      "where_scale_prior_std_initial 0.15 (here 0.3)",
    ),
  ],
)
def test_a_model_in_which_weights_mean_something_else(
  settings, differs, small, small_config
):
  model = AIRModel(small_config(**settings))
  with pytest.raises(ConfigError) as error:
    pretrained.initialize(model, "small", "init_from")
  assert str(error.value) == (
    f"init_from is small, which was trained with {differs}; expected the same"
    " settings of the model, but for num_steps"
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
  assert NAMES == ["dair", "more_objects", "multi_mnist", "small_digits"]


@pytest.mark.parametrize("name", NAMES)
def test_what_ships(name):
  """It is small, it is as its card says, and halves changed nothing."""
  folder = pretrained.FOLDER / name
  content = (folder / pretrained.WEIGHTS).read_bytes()
  assert len(content) < MOST_BYTES
  card = files.read_json(folder / pretrained.CARD)
  assert hashlib.sha256(content).hexdigest() == card["sha256"]
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


def test_outside_the_checkout(tmp_path):
  """What `pip install .` installs is enough."""
  source, installed = tmp_path / "source", tmp_path / "installed"
  shutil.copytree(REPOSITORY / "air", source / "air")
  for name in ("setup.py", "README.md"):
    shutil.copy(REPOSITORY / name, source)
  subprocess.run(
    [
      *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
      *("--no-build-isolation", f"--wheel-dir={tmp_path}", str(source)),
    ],
    check=True,
  )
  [wheel] = tmp_path.glob("*.whl")
  with zipfile.ZipFile(wheel) as archive:
    archive.extractall(installed)
  assert (installed / "air" / "pretrained" / "README.md").exists()
  code = "import air; print(air.__file__); [air.load(n) for n in {names}]"
  process = subprocess.run(
    [sys.executable, "-c", code.format(names=NAMES)],
    cwd=tmp_path,
    env={**os.environ, "PYTHONPATH": str(installed)},
    check=True,
    capture_output=True,
    text=True,
  )
  assert process.stdout.startswith(str(installed))
