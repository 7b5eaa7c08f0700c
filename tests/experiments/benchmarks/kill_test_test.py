"""The kill test itself: three kills, and what it says of runs that differ."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from air.storage import checkpoints, files
from air.viz import summaries
from experiments.benchmarks import integrity, kill_test, kill_victim

REPOSITORY = pathlib.Path(__file__).parents[3]
CADENCES = ["--eval_every=3", "--figure_every=3", "--checkpoint_every=2"]
# The few iterations of a test take less time than tracing them would.
EAGER = (
  sys.executable,
  "-c",
  "import runpy, sys\n"
  "import experiments\n"
  "import tensorflow as tf\n"
  "from experiments.common import recorder\n"
  "recorder._DRAWN_IMAGES = 1\n"
  "tf.config.run_functions_eagerly(True)\n"
  "sys.argv.pop(0)\n"
  "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)",
)


@pytest.fixture(scope="module")
def result(tmp_path_factory, tiny_flags, single_data, call):
  folder = tmp_path_factory.mktemp("kill_test")
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    patch.setenv("PYTHONPATH", str(REPOSITORY))
    patch.setattr(kill_test, "_PYTHON", EAGER)
    status = call(
      kill_test, "--out=out", "--json=result.json", "--kills=3",
      "--kill_seed=7", *CADENCES, *tiny_flags, f"--data={single_data}",
      "--num_steps=1",
    )  # fmt: skip
  return folder, status


@pytest.fixture(scope="module")
def other(result):
  """A run that came to its end, not to be changed."""
  return result[0] / "out" / "undisturbed"


@pytest.fixture
def run(other, tmp_path):
  """A copy of it."""
  return shutil.copytree(other, tmp_path / "run")


def test_three_kills_leave_the_run_as_if_undisturbed(result):
  folder, status = result
  record = json.loads((folder / "result.json").read_text())
  assert record["broken_files"] == []
  assert record["differences"] == []
  assert status == 0
  kills = record["kills"]
  aims = [kill["aimed_at"] for kill in kills]
  assert aims == ["checkpoint", "evaluation", "figure"]
  # Where the machine is slow, a kill may come when the moment is over.
  assert {kill["interrupted"] for kill in kills} & set(aims)
  assert sum(record["interrupted"].values()) == 3
  assert record["iterations"] == kills[-1]["newest_checkpoint"] + 2
  assert record["command"].startswith(
    "python -m experiments.benchmarks.kill_test --out=o"
  )
  assert "--eval_every=3" in record["command"].split()
  assert str(folder.parent / "kill_test") not in record["command"]


def rewrite_events(run, change):
  """Writes the events again, each as the function returns it, if it does."""
  [path] = run.glob(summaries.EVENT_FILES)
  records, _ = summaries.read_records(path)
  with tf.io.TFRecordWriter(str(path)) as writer:
    for record in records:
      changed = change(tf.compat.v1.Event.FromString(record))
      if changed is not None:
        writer.write(changed.SerializeToString())


def with_loss(event):
  return any(value.tag == "loss/test" for value in event.summary.value)


def set_value(value, number):
  value.tensor.CopyFrom(tf.make_tensor_proto(np.float32(number)))


def change_value(event):
  if with_loss(event):
    set_value(event.summary.value[0], 1.0)
  return event


def change_clock(event):
  for value in event.summary.value:
    if value.tag == summaries.SPEED:
      set_value(value, 1.0)
  event.wall_time += 1.0
  return event


def flip_a_byte(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


def cut_off(path, size=-1):
  path.write_bytes(path.read_bytes()[:size])


def replace(path, old, new):
  text = path.read_text()
  assert old in text
  path.write_text(text.replace(old, new, 1))


def events_of(run):
  [path] = run.glob(summaries.EVENT_FILES)
  return path


def older_weights(run):
  newest, older, *_ = checkpoints.find(run / "checkpoints")
  shutil.rmtree(newest)
  shutil.copytree(older, newest)


def repeat_events(run):
  shutil.copy(events_of(run), run / "events.out.tfevents.2.vm.1.0.v2")


def state(run):
  newest = checkpoints.find(run / "checkpoints")[0]
  return newest / "state.data-00000-of-00001"


# What is done to a run: whether a file is then broken, and what differs.
DAMAGE = {
  "older weights": (older_weights, False, "of iteration-"),
  "a flipped weight": (
    lambda run: flip_a_byte(state(run)),
    True,
    "of iteration-",
  ),
  "a missing checkpoint": (
    lambda run: shutil.rmtree(checkpoints.find(run / "checkpoints")[-1]),
    *(False, "of iteration-"),
  ),
  "half a checkpoint": (lambda run: state(run).unlink(), True, "of iteration-"),
  "an evaluation": (
    lambda run: replace(run / "metrics.jsonl", '"elbo": -', '"elbo": '),
    *(False, "metrics.jsonl"),
  ),
  "a missing evaluation": (
    lambda run: replace(
      run / "metrics.jsonl",
      *((run / "metrics.jsonl").read_text().splitlines(True)[0], ""),
    ),
    *(True, "metrics.jsonl"),
  ),
  "no evaluations": (
    lambda run: (run / "metrics.jsonl").unlink(),
    *(True, "metrics.jsonl"),
  ),
  "half an evaluation": (
    lambda run: cut_off(run / "metrics.jsonl", -9),
    *(True, "metrics.jsonl"),
  ),
  "an event's value": (
    lambda run: rewrite_events(run, change_value),
    *(False, "events loss/test"),
  ),
  "a missing event": (
    lambda run: rewrite_events(run, lambda e: None if with_loss(e) else e),
    *(False, "events loss/test"),
  ),
  "events twice": (repeat_events, False, "events loss/test"),
  "a flipped byte in events": (
    lambda run: flip_a_byte(events_of(run)),
    *(True, "events loss/test"),
  ),
  "events that are cut off": (
    lambda run: cut_off(events_of(run)),
    *(True, "events "),
  ),
  "no events": (
    lambda run: events_of(run).unlink(),
    *(True, "events loss/test"),
  ),
  "a missing figure": (
    lambda run: (run / "figures" / "scan_policy.png").unlink(),
    *(False, "figures/scan_policy.png"),
  ),
  "a figure": (
    lambda run: shutil.copy(
      run / "figures" / "accuracy.png", run / "figures" / "scan_policy.png"
    ),
    *(False, "figures/scan_policy.png"),
  ),
  "one file more": (
    lambda run: (run / "figures" / "x.txt").write_text("x\n"),
    *(False, "figures/x.txt"),
  ),
  "the evaluation": (
    lambda run: replace(run / "evaluation.json", '"elbo": -', '"elbo": '),
    *(False, "evaluation.json"),
  ),
  **{
    f"{name}, cut off by {-size}": (
      lambda run, name=name, size=size: cut_off(run / name, size),
      *(True, name),
    )
    for name, size in (
      ("config.json", -1),
      ("evaluation.json", -20),
      ("flags.txt", -1),
      ("flags.txt", -100),
      ("figures/accuracy.png", -1),
      ("figures/accuracy.png", -1000),
      ("projector/codes.tsv", -1),
      ("projector/glimpses.png", -9),
      ("projector/objects.tsv", -1),
      ("projector_config.pbtxt", -2),
    )
  },
  "fewer lines of flags": (
    lambda run: replace(run / "flags.txt", "--batch_size=8\n", ""),
    *(True, "flags.txt"),
  ),
  "no flags": (
    lambda run: (run / "flags.txt").write_text(""),
    *(True, "flags.txt"),
  ),
  "fewer codes": (
    lambda run: replace(
      run / "projector" / "codes.tsv",
      *((run / "projector" / "codes.tsv").read_text().splitlines(True)[0], ""),
    ),
    *(True, "projector/codes.tsv"),
  ),
  "no objects": (
    lambda run: (run / "projector" / "objects.tsv").unlink(),
    *(True, "projector/objects.tsv"),
  ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_and_differences_are_found(name, run, other):
  damage, breaks, expected = DAMAGE[name]
  damage(run)
  broken = list(integrity.broken_files(run, ended=True))
  assert all(str(run) in text for text in broken)
  assert bool(broken) == breaks
  assert any(expected in d for d in integrity.differences(run, other))


def test_clocks_may_differ(run, other):
  rewrite_events(run, change_clock)
  lines = (run / "metrics.jsonl").read_text().splitlines()
  later = [json.dumps({**json.loads(line), "seconds": 1e9}) for line in lines]
  (run / "metrics.jsonl").write_text("\n".join(later) + "\n")
  assert integrity.differences(run, other) == []
  assert list(integrity.broken_files(run, ended=True)) == []


def test_what_a_kill_may_leave(run):
  """Until the run goes on, but not in the end."""
  cut_off(events_of(run))
  files_cut_off = run / "figures" / f"{files.PARTIAL}abc"
  files_cut_off.write_bytes(b"\x89PNG")
  assert list(integrity.broken_files(run)) == []
  assert len(list(integrity.broken_files(run, ended=True))) == 2


def test_events_of_a_checkpoint_that_are_lost(run):
  rewrite_events(run, lambda event: event if event.step == 0 else None)
  [lost, *_] = integrity.broken_files(run)
  assert "has lost the evaluation of iteration 3, or its events" in lost


@pytest.fixture
def kill_with(call, tmp_path, monkeypatch):
  """A function that runs the kill test on something else than training."""

  def run_kill_test(code):
    monkeypatch.setattr(kill_test, "_PYTHON", (sys.executable, "-c", code))
    return call(kill_test, f"--out={tmp_path / 'out'}")

  return run_kill_test


@pytest.mark.parametrize(
  ("end", "status", "expected"),
  [
    ("sys.exit(2)", 2, "2: train: no"),
    ("sys.exit(1)", 1, "1: train: no"),
    ("sys.exit(0)", 1, "0: train: no"),
    # As the system does where memory is short.
    ("os.kill(os.getpid(), 9)", 1, "-9: train: no"),
  ],
)
def test_training_that_ends_by_itself(
  end, status, expected, kill_with, tmp_path, capsys
):
  code = f"import os, sys; print('so\\ntrain: no', flush=True); {end}"
  assert kill_with(code) == status
  captured = capsys.readouterr()
  message = f"the run ended by itself, with status {expected}"
  assert captured.err == f"kill_test: {message}\n"
  assert captured.out == ""
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_no_process_outlives_the_kill_test(
  number, kill_with, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  # A shell has what it starts in the background ignore SIGINT.
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  code = (
    "import os, pathlib, time\n"
    "pathlib.Path('pid').write_text(str(os.getpid()))\n"
    f"os.kill(os.getppid(), {int(number)})\n"
    "time.sleep(600)"
  )
  try:
    status = kill_with(code)
  except SystemExit as end:
    status = end.code
  finally:
    signal.signal(signal.SIGINT, before)
  assert status == 128 + number
  with pytest.raises(ProcessLookupError):
    os.kill(int(pathlib.Path("pid").read_text()), 0)


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_the_victim_says_how_it_is_used(arguments):
  module = "experiments.benchmarks.kill_victim"
  process = subprocess.run(
    [sys.executable, "-m", module, *arguments],
    cwd=REPOSITORY,
    capture_output=True,
    text=True,
    check=False,
  )
  assert process.returncode == 1
  assert process.stderr == f"{kill_victim.__doc__}\n"
