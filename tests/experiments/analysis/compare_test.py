"""Comparing runs: ours, and event files as TensorFlow 1 writes them."""

import json

import pytest
import tensorflow as tf
from PIL import Image

from experiments.analysis import compare

# Of the original, every 10k iterations.
ACCURACIES = {0: 0.2, 10_000: 0.9, 20_000: 0.96, 30_000: 0.94}
LOSSES = {0: 900.0, 10_000: -400.0, 20_000: -550.0, 30_000: -500.0}


@pytest.fixture
def run_compare(call, tmp_path):
  """A function that compares runs."""

  def run(*paths):
    return call(
      compare,
      f"--runs={','.join(map(str, paths))}",
      f"--figure={tmp_path / 'compare.png'}",
      f"--json={tmp_path / 'compare.json'}",
    )

  return run


def numbers(tmp_path):
  return json.loads((tmp_path / "compare.json").read_text())["runs"]


def write_original(folder, scalars):
  """Writes tag to iteration to value as the original code does."""
  v1 = tf.compat.v1
  with tf.Graph().as_default():
    writer = v1.summary.FileWriter(str(folder))
    for tag, series in scalars.items():
      for iteration, value in series.items():
        summary = v1.Summary()
        summary.value.add(tag=tag, simple_value=value)
        writer.add_summary(summary, iteration)
    writer.close()


@pytest.fixture
def original(tmp_path):
  folder = tmp_path / "original"
  write_original(
    folder,
    {
      "num_step_acc/test": ACCURACIES,
      "num_step_acc/train": dict.fromkeys(ACCURACIES, 1.0),
      "loss/test": LOSSES,
      "imp_weight/test": {0: 1.0},
    },
  )
  return folder


def test_ours_and_the_original(
  run_compare, tmp_path, tiny_run, original, capsys
):
  assert run_compare(tiny_run, original) == 0
  runs = numbers(tmp_path)
  ours, theirs = runs.values()
  assert [name.split("/")[-1] for name in runs] == ["ours", "original"]

  logged = [
    json.loads(line)
    for line in (tiny_run / "metrics.jsonl").read_text().splitlines()
  ]
  accuracy = ours["curves"]["num_step_acc"]
  assert accuracy["iterations"] == [0, 2, 4]
  assert accuracy["values"] == pytest.approx(
    [evaluation["count_accuracy"] for evaluation in logged]
  )
  assert ours["final"]["rec_loss"] == pytest.approx(
    logged[-1]["reconstruction"], rel=1e-5
  )
  assert set(ours["final"]) == set(compare._TITLES)
  kls = ("kl_num_steps", "kl_what", "kl_where")
  assert ours["final"]["loss"] == pytest.approx(
    ours["final"]["rec_loss"] + sum(ours["final"][kl] for kl in kls), rel=1e-5
  )

  assert theirs["last_iteration"] == 30_000
  assert theirs["final"] == pytest.approx(
    {"num_step_acc": 0.94, "loss": -500.0}
  )
  assert theirs["best_accuracy"]["iteration"] == 20_000
  assert theirs["best_loss"] == {"iteration": 20_000, "value": -550.0}
  assert theirs["iterations_to"] == {"95": 20_000, "98": None}
  assert theirs["curves"]["loss"] == {
    "iterations": list(LOSSES),
    "values": list(LOSSES.values()),
  }

  row = capsys.readouterr().out.splitlines()[2]
  for text in ("30,000", "94.00%", "96.00% (20,000)", "-550.0 (20,000)"):
    assert text in row
  with Image.open(tmp_path / "compare.png") as image:
    assert image.width > 1000


def test_a_file_that_is_cut_off(run_compare, tmp_path, original):
  [file] = original.iterdir()
  content = file.read_bytes()
  file.write_bytes(content[: len(content) // 2])
  assert run_compare(file) == 0
  [run] = numbers(tmp_path).values()
  kept = run["curves"]["num_step_acc"]["iterations"]
  assert kept == list(ACCURACIES)[: len(kept)]
  assert kept


def test_values_that_are_not_finite(run_compare, tmp_path):
  losses = {0: 5.0, 10: float("nan"), 20: 3.0, 30: float("inf")}
  write_original(tmp_path / "run", {"loss/test": losses})
  assert run_compare(tmp_path / "run") == 0
  [run] = numbers(tmp_path).values()
  assert run["curves"]["loss"]["values"] == [5.0, None, 3.0, None]
  assert run["final"] == {"loss": None}
  assert run["best_loss"] == {"iteration": 20, "value": 3.0}


@pytest.mark.parametrize("content", [None, b"", b"not an event file"])
def test_nothing_to_compare(run_compare, tmp_path, content, original, capsys):
  path = tmp_path / "events.out.tfevents.1"
  if content is not None:
    path.write_bytes(content)
  assert run_compare(original, path) == 2
  error = capsys.readouterr().err.splitlines()[-1]
  assert error.startswith(f"compare: --runs holds '{path}', expected an event")
  assert not (tmp_path / "compare.json").exists()
