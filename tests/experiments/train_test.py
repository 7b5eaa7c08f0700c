"""The training binary: what a run leaves, and that it survives stopping."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from air import checkpoints
from experiments import evaluate, launcher, train

TRAIN = [sys.executable, "-m", "experiments.train"]


def run_train(*flags):
  return launcher.run(
    train.__doc__, train.define_flags, train.main, ["train", *map(str, flags)]
  )


def run_evaluate(*flags):
  return launcher.run(
    evaluate.__doc__,
    evaluate.define_flags,
    evaluate.main,
    ["evaluate", *map(str, flags)],
  )


def weights(run_dir):
  newest = checkpoints.find(run_dir / "checkpoints")[0]
  reader = tf.train.load_checkpoint(str(newest / "state"))
  return {
    name: reader.get_tensor(name)
    for name in reader.get_variable_to_shape_map()
    if "CHECKPOINTABLE" not in name
  }


def assert_same_weights(run_dir, other):
  a, b = weights(run_dir), weights(other)
  assert a.keys() == b.keys()
  assert len(a) > 20
  for name in a:
    np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def metrics(run_dir):
  lines = (run_dir / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


def logged_steps(run_dir, tag="loss/test"):
  steps = []
  for path in sorted(run_dir.glob("events.out.tfevents.*")):
    for event in tf.compat.v1.train.summary_iterator(str(path)):
      steps += [event.step for v in event.summary.value if v.tag == tag]
  return steps


CADENCES = ["--eval_every=20", "--figure_every=40", "--checkpoint_every=30"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, tiny_flags):
  """A run of 80 iterations, never stopped."""
  run_dir = tmp_path_factory.mktemp("runs") / "undisturbed"
  folder = pathlib.Path.cwd()
  os.chdir(pathlib.Path(train.__file__).parents[1])
  try:
    flags = [f"--run_dir={run_dir}", "--iterations=80", *CADENCES, *tiny_flags]
    assert run_train(*flags) == 0
  finally:
    os.chdir(folder)
  return run_dir


def test_what_a_run_leaves_behind(undisturbed):
  assert [m["iteration"] for m in metrics(undisturbed)] == [0, 20, 40, 60, 80]
  for evaluation in metrics(undisturbed):
    assert evaluation["split"] == "validation"
    assert evaluation["num_images"] == 12
    assert 0 <= evaluation["count_accuracy"] <= 1
  names = [p.name for p in checkpoints.find(undisturbed / "checkpoints")]
  assert names == [f"iteration-0000000{i}" for i in (80, 60, 30)]
  figures = sorted(p.name for p in (undisturbed / "figures").iterdir())
  assert figures == [
    "accuracy.png",
    "progress-000000040.png",
    "progress-000000080.png",
    "scan_policy.png",
  ]
  evaluation = json.loads((undisturbed / "evaluation.json").read_text())
  assert set(evaluation) >= {
    "iteration",
    "split",
    "num_images",
    "count_accuracy",
    "count_accuracy_mode",
    "count_confusion",
    "count_accuracy_per_count",
    "elbo",
    "reconstruction",
    "kl_num_steps",
    "kl_what",
    "kl_where",
    "seed",
    "digit_source",
  }
  assert evaluation["split"] == "test"
  assert evaluation["iteration"] == 80
  assert evaluation["digit_source"] == "squares.npz"
  assert np.sum(evaluation["count_confusion"]) == 16
  assert logged_steps(undisturbed) == [0, 20, 40, 60, 80]


def test_tags_of_the_original_code(undisturbed):
  tags = set()
  for path in undisturbed.glob("events.out.tfevents.*"):
    for event in tf.compat.v1.train.summary_iterator(str(path)):
      tags |= {value.tag for value in event.summary.value}
  originals = (
    "loss",
    "rec_loss",
    "num_step_acc",
    "num_step",
    "prior_loss",
    "kl_num_steps",
    "kl_what",
    "kl_where",
  )
  for tag in originals:
    assert {f"{tag}/train", f"{tag}/test"} <= tags
  assert {
    "configuration",
    "progress",
    "gradient_norm",
    "learning_rate/model",
    "prior_success_probability",
    "iterations_per_second",
    "num_step_acc_of_0/test",
  } <= tags


def test_the_flagfile_of_a_run_repeats_it(undisturbed, tmp_path):
  again = tmp_path / "again"
  flagfile = undisturbed / "flags.txt"
  assert run_train(f"--run_dir={again}", f"--flagfile={flagfile}") == 0
  assert_same_weights(again, undisturbed)
  assert metrics(again) == metrics(undisturbed)


def test_a_larger_number_of_iterations_goes_on(
  undisturbed, tmp_path, tiny_flags
):
  run_dir = tmp_path / "run"
  flags = [f"--run_dir={run_dir}", *tiny_flags]
  assert run_train(*flags, "--iterations=50", *CADENCES) == 0
  # Evaluated at 50, the end, which is no longer one: dropped with what else
  # is not a multiple is left as it is, being before the checkpoint.
  assert run_train(*flags, "--iterations=80", *CADENCES) == 0
  assert_same_weights(run_dir, undisturbed)
  assert [m["iteration"] for m in metrics(run_dir)] == [0, 20, 40, 50, 60, 80]
  assert logged_steps(run_dir) == [0, 20, 40, 50, 60, 80]


def wait_for(condition, process, seconds=120):
  deadline = time.monotonic() + seconds
  while not condition():
    assert process.poll() is None, "it ended by itself"
    assert time.monotonic() < deadline
    time.sleep(0.01)


def test_sigkill_and_damage_leave_the_run_as_if_undisturbed(
  undisturbed, tmp_path, tiny_flags, capsys
):
  """Killed after two checkpoints, the newer of which is then damaged."""
  run_dir = tmp_path / "run"
  flags = [f"--run_dir={run_dir}", *CADENCES, *tiny_flags]
  process = subprocess.Popen([*TRAIN, *flags, "--iterations=100000"])
  try:
    second = run_dir / "checkpoints" / "iteration-000000060"
    wait_for(second.exists, process)
  finally:
    process.send_signal(signal.SIGKILL)
    process.wait()
  for newer in checkpoints.find(run_dir / "checkpoints"):
    if checkpoints.iteration_of(newer) >= 60:
      state = newer / "state.data-00000-of-00001"
      content = bytearray(state.read_bytes())
      content[len(content) // 2] ^= 1
      state.write_bytes(content)
  capsys.readouterr()
  assert run_train(*flags, "--iterations=80") == 0
  captured = capsys.readouterr().err
  assert "iteration-000000060 is damaged" in captured
  assert "going on from iteration 30" in captured
  assert_same_weights(run_dir, undisturbed)
  assert metrics(run_dir) == metrics(undisturbed)
  assert logged_steps(run_dir) == [0, 20, 40, 60, 80]


def test_sigterm_saves_and_the_same_command_goes_on(
  undisturbed, tmp_path, tiny_flags
):
  run_dir = tmp_path / "run"
  # No checkpoint is due before the signal comes.
  flags = [f"--run_dir={run_dir}", "--checkpoint_every=1000000", *tiny_flags]
  flags += ["--eval_every=20", "--figure_every=40"]
  process = subprocess.Popen(
    [*TRAIN, *flags, "--iterations=1000000"], stderr=subprocess.PIPE, text=True
  )
  events = run_dir / "metrics.jsonl"
  wait_for(
    lambda: events.exists() and len(events.read_text().splitlines()) >= 2,
    process,
  )
  process.send_signal(signal.SIGTERM)
  stderr = process.communicate(timeout=60)[1]
  assert process.returncode == 128 + signal.SIGTERM
  assert "stopped and saved at iteration" in stderr
  assert "Traceback" not in stderr
  [saved] = checkpoints.find(run_dir / "checkpoints")
  iteration = checkpoints.iteration_of(saved)
  last = iteration + 5
  assert run_train(*flags, f"--iterations={last}") == 0
  straight = tmp_path / "straight"
  flags[0] = f"--run_dir={straight}"
  assert run_train(*flags, f"--iterations={last}") == 0
  assert_same_weights(run_dir, straight)


def test_other_flags_are_refused_by_name(undisturbed, tiny_flags, capsys):
  before = weights(undisturbed)
  changed = ["--learning_rate=0.01", "--where_squash=none", "--iterations=90"]
  assert run_train(f"--run_dir={undisturbed}", *tiny_flags, *changed) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert "--learning_rate=0.01 (was 0.0001)" in error
  assert "--where_squash=none (was samples)" in error
  assert "iterations" not in error
  after = weights(undisturbed)
  assert all(np.array_equal(before[name], after[name]) for name in before)


def test_other_images_are_refused(
  undisturbed, tiny_data, tiny_flags, tmp_path, capsys
):
  with np.load(tiny_data) as arrays:
    arrays = dict(arrays)
  arrays["train_images"][0, 0, 0] ^= 1
  other = tmp_path / "other.npz"
  np.savez(other, **arrays)
  flags = [f"--run_dir={undisturbed}", *tiny_flags, f"--data={other}"]
  assert run_train(*flags) == 2
  assert "other images" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_left_alone(tmp_path, tiny_flags, capsys):
  precious = tmp_path / "thesis.tex"
  precious.write_text("42")
  assert run_train(f"--run_dir={tmp_path}", *tiny_flags) == 2
  assert "holds no run" in capsys.readouterr().err
  assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_diverging_run_stops_and_names_the_term(tmp_path, tiny_flags, capsys):
  run_dir = tmp_path / "run"
  flags = [f"--run_dir={run_dir}", *tiny_flags, "--learning_rate=1e20"]
  assert run_train(*flags, "--checkpoint_every=1", "--iterations=60") == 2
  error = capsys.readouterr().err.splitlines()[-1]
  assert "is nan just before iteration" in error or "is inf" in error
  for checkpoint in checkpoints.find(run_dir / "checkpoints"):
    checkpoints.verify(checkpoint)
  assert not (run_dir / "evaluation.json").exists()


def test_evaluate_agrees_with_the_end_of_training(undisturbed, capsys):
  at_the_end = json.loads((undisturbed / "evaluation.json").read_text())
  assert run_evaluate(f"--run_dir={undisturbed}") == 0
  again = json.loads((undisturbed / "evaluation.json").read_text())
  assert again == at_the_end
  out = capsys.readouterr().out
  assert "counting accuracy, sampled n" in out
  assert f"{at_the_end['elbo']:.2f} nats" in out


def test_evaluate_on_validation_with_a_bound(undisturbed):
  flags = ["--split=validation", "--iwae_samples=5", "--seed=3"]
  assert run_evaluate(f"--run_dir={undisturbed}", *flags) == 0
  result = json.loads((undisturbed / "evaluation.json").read_text())
  assert result["split"] == "validation"
  assert result["num_images"] == 12
  assert result["seed"] == 3
  assert result["iwae_samples"] == 5
  assert result["iwae"] > result["elbo"]


def test_images_without_counts(tmp_path, tiny_data, tiny_flags, capsys):
  with np.load(tiny_data) as arrays:
    images = {k: v for k, v in arrays.items() if k.endswith("images")}
  path = tmp_path / "unlabelled.npz"
  np.savez(path, **images)
  run_dir = tmp_path / "run"
  flags = [f"--run_dir={run_dir}", *tiny_flags, f"--data={path}"]
  assert run_train(*flags, "--iterations=10", *CADENCES) == 0
  result = json.loads((run_dir / "evaluation.json").read_text())
  assert "elbo" in result
  assert not any("count" in key for key in result)
  assert not (run_dir / "figures" / "accuracy.png").exists()
  assert "counting" not in capsys.readouterr().out
