"""Making the models that ship, and using them in the binaries."""

import dataclasses
import json

import numpy as np
import pytest

import air
from air.errors import CheckpointError
from air.storage import files, pretrained, weights
from data import config
from experiments import infer, pretrain, train
from experiments.common import page, runs
from experiments.sweeps import plan


@pytest.fixture(scope="module")
def trained_run(tiny_flags, call, tmp_path_factory, eager_execution):
  """The folder of a sweep of one tiny run, and its flags."""
  out = tmp_path_factory.mktemp("sweep")
  own = ["--iterations=2", *tiny_flags]
  [run] = plan.make(["default"], [0], out, own)
  with eager_execution():
    assert call(train, f"--run_dir={run.folder}", *run.flags) == 0
  return out, own, run.folder


@pytest.fixture(scope="module")
def made(trained_run, call, tmp_path_factory, eager_execution):
  """The folder of what pretrain makes of it."""
  out, own, _ = trained_run
  folder = tmp_path_factory.mktemp("pretrained")
  flags = ["--names=multi_mnist", f"--out={out}", f"--pretrained={folder}"]
  with eager_execution(), pytest.MonkeyPatch.context() as patch:
    patch.setattr(pretrain, "_IWAE_SAMPLES", 5)
    assert call(pretrain, *flags, *own) == 0
  return folder


def test_makes_weights_and_a_card(made, trained_run, monkeypatch):
  run = runs.load(trained_run[2])
  card = files.read_json(made / "multi_mnist" / pretrained.CARD)
  assert card["config"] == "default"
  assert (card["seed"], card["iterations"]) == (0, 2)
  test = run.read_evaluation()
  assert card["test"]["count_accuracy"] == test["count_accuracy"]
  assert card["test"]["elbo"] == pytest.approx(test["elbo"], abs=0.1)
  assert card["float32"]["elbo"] == pytest.approx(test["elbo"], abs=1e-3)
  assert card["test"]["iwae"] > card["test"]["elbo"]
  text = (made / "README.md").read_text()
  assert text == pretrain.readme([card])
  assert f"seed 0, {card['iterations']} iterations" in text
  monkeypatch.setattr(pretrained, "FOLDER", made)
  assert air.load("multi_mnist").iteration == 2


def test_what_ships_has_the_settings_of_its_flagfile(call, tmp_path, capsys):
  for flag in ("--learning_rate=1e-3", "--iterations=2", "--seeds=3"):
    assert call(pretrain, f"--out={tmp_path}", flag) == 2
    said = capsys.readouterr().err
    assert "expected the settings of the flagfiles for models that ship" in said
    assert said.startswith(f"pretrain: {flag.partition('=')[0]} is ")


def test_halves_that_count_otherwise(trained_run, monkeypatch, tmp_path):
  run = runs.load(trained_run[2])
  dataset = config.load(run.data, None)

  def read(path):
    model, others = real(path)
    last = model.presence_head.trainable_variables[-2]
    last.assign(-1e3 * np.ones_like(last))
    return model, others

  real = weights.read
  monkeypatch.setattr(weights, "read", read)
  with pytest.raises(CheckpointError, match="which half precision changes to"):
    pretrain.make("multi_mnist", run, dataset, tmp_path)
  assert not list(tmp_path.iterdir())


def test_infer_takes_a_name(
  made, call, tiny_data, tmp_path, monkeypatch, capsys
):
  monkeypatch.setattr(pretrained, "FOLDER", made)
  path = tmp_path / "images.npz"
  np.savez(path, images=np.load(tiny_data)["test_images"])
  flags = [f"--images={path}", f"--out={tmp_path / 'seen'}"]
  assert call(infer, "--model=multi_mnist", *flags) == 0
  lines = (tmp_path / "seen" / "scenes.jsonl").read_text().splitlines()
  assert len(lines) == 12
  expected = air.load("multi_mnist").infer(np.load(path)["images"]).count
  assert [json.loads(line)["count"] for line in lines] == expected.tolist()
  capsys.readouterr()
  for wrong, message in (
    (
      ["--model=multi"],
      "--model is multi, expected the folder of a run",
    ),
    (["--model=multi_mnist", "--run_dir=x"], "not both"),
    ([], "infer: expected --run_dir or --model, one of them"),
  ):
    other = [f"--images={path}", f"--out={tmp_path / 'other'}"]
    assert call(infer, *wrong, *other) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_training_starts_from_weights(
  trained_run, call, tiny_flags, tmp_path, eagerly, monkeypatch, capsys
):
  """And resumes without them; the run knows where it started."""
  source, run_dir = trained_run[2], tmp_path / "run"
  own = [
    *(f"--run_dir={run_dir}", "--learning_rate=1e-30", "--seed=1"),
    *(*tiny_flags, "--eval_every=2"),
  ]
  starts = [*own, f"--init_from={source}"]
  assert call(train, *starts, "--iterations=2") == 0
  before = air.load(source).network.model_variables
  for ours, theirs in zip(
    air.load(run_dir).network.model_variables, before, strict=True
  ):
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
  assert f"--init_from={source}\n" in (run_dir / "flags.txt").read_text()
  capsys.readouterr()
  assert call(train, *own, "--iterations=4") == 2
  assert f"--init_from= (was {source})" in capsys.readouterr().err
  aside = source.rename(source.with_name("moved"))
  try:
    assert call(train, *starts, "--iterations=4") == 0
    starts[0] = f"--run_dir={tmp_path / 'new'}"
    monkeypatch.setattr(runs, "load_dataset", None)  # told before that
    assert call(train, *starts, "--iterations=4") == 2
    assert "--init_from is" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
  finally:
    aside.rename(source)


def test_the_cards_are_shown():
  text = (pretrained.FOLDER / "README.md").read_text(encoding="utf-8")
  cards = pretrain.cards(pretrained.FOLDER)
  assert text == pretrain.readme(cards)
  for card in cards:
    kind = pretrain.KINDS[card["name"]]
    assert card.items() >= dataclasses.asdict(kind).items()
  assert set(pretrained.names()) <= pretrain.KINDS.keys()


def test_the_page_has_the_weights_that_ship():
  for file, name in (("air", "multi_mnist"), ("dair", "dair")):
    shown = page.FOLDER / "models" / f"{file}.safetensors"
    shipped = pretrained.FOLDER / name / pretrained.WEIGHTS
    assert shown.read_bytes() == shipped.read_bytes()
