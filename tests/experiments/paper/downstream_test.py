"""Classifiers on codes, and on what rivals them."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from experiments import train
from experiments.common import runs
from experiments.paper import classifiers, downstream, methods

DAIR = [
  "--step_input=difference",
  "--glimpse_input=difference",
  "--nomemory",
  "--nolatent_feedback",
]
ALL = [
  *("AIR", "AIR-sampled", "AIR-tuned", "DAIR", "DAIR-sampled", "DAIR-tuned"),
  *("pixels", "autoencoder", "true-boxes"),
]


@pytest.fixture(scope="module")
def run_dirs(call, tiny_world, tmp_path_factory, eager_execution):
  """The folders of runs by name, in one folder."""
  folder = tmp_path_factory.mktemp("runs")
  with eager_execution():
    for name, others in (("air", []), ("dair", DAIR)):
      flags = [*tiny_world, *others]
      assert call(train, f"--run_dir={folder / name}", *flags) == 0
  # As if they were trained, too.
  for name, part, field, value in (
    ("air-again", "model", "num_steps", 3),
    ("small", None, "digit_size", [5]),
    ("one", "model", "num_steps", 1),
  ):
    shutil.copytree(folder / "air", folder / name)
    path = folder / name / "config.json"
    config = json.loads(path.read_text())
    (config["air"][part] if part else config["data"])[field] = value
    path.write_text(json.dumps(config))
  return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def asked(monkeypatch):
  """What was to be trained; no network is trained."""
  keys = []

  def accuracy(self, method, task, labels, seed, settings):
    keys.append((method.name, task, labels, seed))
    return 0.25 + 0.5 * (task == "sum") + 0.01 * seed

  monkeypatch.setattr(methods.Methods, "accuracy", accuracy)
  return keys


def own_flags(tmp_path, *folders):
  return [
    f"--run_dirs={','.join(map(str, folders))}",
    f"--json={tmp_path / 'numbers.json'}",
    f"--figure={tmp_path / 'figure.png'}",
    "--num_images=30",
  ]


def read(tmp_path):
  return json.loads((tmp_path / "numbers.json").read_text())


def test_every_method_answers(
  call, tmp_path, run_dirs, monkeypatch, eagerly, capsys
):
  for name in ("_FEWEST_IMAGES", "_MOST_IMAGES", "_AUTOENCODER_IMAGES"):
    monkeypatch.setattr(classifiers, name, 64)
  own = own_flags(tmp_path, run_dirs["air"], run_dirs["dair"])
  assert call(downstream, *own, "--labels=10", "--seeds=3") == 0
  found = read(tmp_path)
  assert found["split"] == "test"
  assert found["runs"] == {
    model: [{"run": str(run.folder), "id": run.id, "iteration": 2}]
    for model in ("AIR", "DAIR")
    for run in [runs.load(run_dirs[model.lower()])]
  }
  keys = [(r["method"], r["task"], r["labels"]) for r in found["results"]]
  assert keys == [
    (method, task, 10) for method in ALL for task in ("sum", "ascending")
  ]
  for result in found["results"]:
    # Of 12 test images.
    assert 12 * result["accuracy"] == pytest.approx(
      round(12 * result["accuracy"])
    )
    assert result["settings"].keys() == {"dropout", "learning_rate"}
  printed = capsys.readouterr().out
  for method in (*ALL, "most frequent answer"):
    assert printed.count(f"\n{method} ") == 2
  [most] = {
    r["most_frequent"] for r in found["results"] if r["task"] == "ascending"
  }
  assert 0.5 <= most <= 1.0
  with Image.open(tmp_path / "figure.png") as image:
    assert image.width > image.height


def test_what_is_known_is_not_computed_again(
  call, tmp_path, run_dirs, asked, monkeypatch, capsys
):
  own = own_flags(tmp_path, run_dirs["air"])
  part = ["--methods=pixels", "--tasks=sum", "--labels=10", "--seeds=0-1"]
  assert call(downstream, *own, *part) == 0
  assert asked == [("pixels", "sum", 10, 0), ("pixels", "sum", 10, 1)]
  before = read(tmp_path)["results"]
  asked.clear()
  more = ["--methods=pixels,AIR", "--tasks=sum", "--labels=10,20", "--seeds=1"]
  assert call(downstream, *own, *more) == 0
  assert asked == [
    ("pixels", "sum", 20, 1), ("AIR", "sum", 10, 1), ("AIR", "sum", 20, 1),
  ]  # fmt: skip
  results = read(tmp_path)["results"]
  assert results[:2] == before
  assert len(results) == 5
  asked.clear()
  assert call(downstream, *own, *more) == 0
  assert not asked
  assert read(tmp_path)["results"] == results
  # The median of seeds 0 and 1, in per cent.
  assert "75.5" in capsys.readouterr().out

  # Unless a method's settings are other ones now.
  monkeypatch.setitem(methods._SETTINGS, "pixels", methods.Settings(0.5, 0.1))
  assert call(downstream, *own, *more) == 0
  assert asked == [("pixels", "sum", 10, 1), ("pixels", "sum", 20, 1)]
  assert len(read(tmp_path)["results"]) == 5


def test_what_was_computed_before_it_was_stopped_is_kept(
  call, tmp_path, run_dirs, asked, monkeypatch
):
  own = own_flags(tmp_path, run_dirs["air"])
  own += ["--methods=pixels", "--labels=10", "--seeds=0"]
  accuracy = methods.Methods.accuracy

  def stopped(self, *arguments):
    if asked:
      raise KeyboardInterrupt
    return accuracy(self, *arguments)

  monkeypatch.setattr(methods.Methods, "accuracy", stopped)
  assert call(downstream, *own) == 130
  monkeypatch.setattr(methods.Methods, "accuracy", accuracy)
  assert call(downstream, *own) == 0
  assert asked == [("pixels", "sum", 10, 0), ("pixels", "ascending", 10, 0)]
  assert len(read(tmp_path)["results"]) == 2


def test_seeds_take_turns_with_the_runs_of_a_model(
  call, tmp_path, run_dirs, asked
):
  folders = [run_dirs["air"], run_dirs["air-again"]]
  own = own_flags(tmp_path, *folders)
  own += ["--methods=AIR,pixels", "--tasks=sum", "--labels=10", "--seeds=0-2"]
  assert call(downstream, *own) == 0
  by_method = {"AIR": [], "pixels": []}
  for result in read(tmp_path)["results"]:
    by_method[result["method"]].append(result["run"])
  assert by_method["pixels"] == [None] * 3
  assert by_method["AIR"] == [str(folders[i]) for i in (0, 1, 0)]


def test_search_tries_all_settings(call, tmp_path, run_dirs, asked, capsys):
  own = own_flags(tmp_path, run_dirs["air"])
  own += ["--methods=AIR-tuned,pixels", "--tasks=sum", "--labels=10"]
  own += ["--search", "--split=validation", "--seeds=100"]
  assert call(downstream, *own) == 0
  results = read(tmp_path)["results"]
  settings = {
    method: [
      tuple(r["settings"].values()) for r in results if r["method"] == method
    ]
    for method in ("AIR-tuned", "pixels")
  }
  assert len(set(settings["pixels"])) == methods.NUM_TRIALS == 9
  np.testing.assert_allclose(
    settings["AIR-tuned"], np.multiply(settings["pixels"], [1.0, 0.1])
  )
  assert not (tmp_path / "figure.png").exists()
  printed = capsys.readouterr().out
  assert "pixels (0.5, 0.003)" in printed
  assert printed.count("best: ") == 2


def test_the_best_trial():
  def result(method, trial, accuracy):
    settings = {"dropout": trial / 4, "learning_rate": 0.1}
    return {
      "method": method,
      "trial": trial,
      "settings": settings,
      "accuracy": accuracy,
    }

  results = [
    *(result("AIR", 1, a) for a in (0.2, 0.4)),
    *(result("AIR", 2, a) for a in (0.1, 0.8)),
    result("pixels", 1, 0.5),
  ]
  assert downstream.best_trials(results).splitlines() == [
    "best: AIR (0.5, 0.1), mean accuracy 45.00 %",
    "best: pixels (0.25, 0.1), mean accuracy 50.00 %",
  ]


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    (["--labels=10,31"], "--labels is '10,31', expected numbers of 1 to"),
    (["--labels=0"], "--labels is '0', expected"),
    (["--tasks=product"], "--tasks is 'product', expected some of sum, asc"),
    (["--methods=DAIR"], "--methods is 'DAIR', expected some of AIR, AIR-sa"),
    (["--search"], "--search is true, expected --split=validation"),
    (["--seeds=a"], "expected numbers and ranges"),
    (["--json=README.md"], "--json is README.md, which is not of this binary"),
  ],
)
def test_bad_flags(call, tmp_path, run_dirs, flags, message, capsys):
  own = own_flags(tmp_path, run_dirs["air"])
  assert call(downstream, *own, "--labels=10", *flags) == 2
  error = capsys.readouterr().err
  assert message in error
  assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
  ("names", "message"),
  [
    (["one"], "whose model takes one step; expected at least two"),
    (["air", "small"], "whose images differ in more than counts"),
    (["air", "air"], "expected at least one path, and each only once"),
  ],
)
def test_bad_runs(call, tmp_path, run_dirs, names, message, capsys):
  folders = [run_dirs[name] for name in names]
  own = own_flags(tmp_path, *folders)
  assert call(downstream, *own, "--labels=10") == 2
  error = capsys.readouterr().err
  assert message in error
  assert len(error.splitlines()) == 1


def test_a_run_on_a_users_images(call, tmp_path, tiny_run, capsys):
  own = own_flags(tmp_path, tiny_run)
  assert call(downstream, *own, "--labels=10") == 2
  assert "expected runs on generated images" in capsys.readouterr().err


def test_results_of_another_setting_stay(
  call, tmp_path, run_dirs, asked, capsys
):
  own = own_flags(tmp_path, run_dirs["air"])
  own += ["--methods=pixels", "--tasks=sum", "--labels=10", "--seeds=0"]
  assert call(downstream, *own) == 0
  before = read(tmp_path)
  assert call(downstream, *own, "--num_images=31") == 2
  assert "whose results have other num_images" in capsys.readouterr().err
  assert read(tmp_path) == before


def test_a_sampled_number_has_its_probability():
  probs = np.tile([0.0, 0.3, 0.7, 0.0], [20_000, 1])
  counts = methods.sampled(probs, np.random.default_rng(0))
  assert set(counts) == {1, 2}
  assert np.mean(counts == 2) == pytest.approx(0.7, abs=0.02)
