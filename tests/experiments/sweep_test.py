"""Sweeps: real ones, of tiny runs on Ray, and what they are made of."""

import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import ray
from absl import flags
from rich.console import Console

from air.storage import checkpoints
from experiments import sweep, train
from experiments.common import launcher, machine, opening
from experiments.common.launcher import UsageError
from experiments.sweeps import plan, records, runner, table, worker

BROKEN = "default:data=/no/such.npz"


def run_sweep(*arguments):
  return launcher.run(
    runner.__doc__,
    sweep.define_flags,
    sweep.main,
    ["sweep", *map(str, arguments)],
  )


def interrupt_at_first_checkpoint(folder):
  while not checkpoints.find(folder / "checkpoints"):
    time.sleep(0.1)
  os.kill(os.getpid(), signal.SIGTERM)


def test_a_sweep(tmp_path, tiny_flags, single_data, capsys, monkeypatch):
  out, killed = tmp_path / "out", tmp_path / "killed"
  folders = [out / "default" / f"seed-{seed}" for seed in (0, 1)]
  logs = [folder / "train.log" for folder in folders]
  arguments = [f"--out={out}", "--eval_every=20", "--checkpoint_every=20"]
  arguments += [*tiny_flags, f"--data={single_data}", "--num_steps=1"]

  # A signal stops it, and what it runs.
  thread = threading.Thread(
    target=interrupt_at_first_checkpoint, args=folders[:1], daemon=True
  )
  thread.start()
  first = ["--seeds=0", "--iterations=1000000"]
  assert run_sweep(*first, *arguments) == 128 + signal.SIGTERM
  assert "default, seed 0: stopped at iteration" in capsys.readouterr().out
  assert not (out / "results.jsonl").exists()
  newest = checkpoints.find(folders[0] / "checkpoints")[0]
  iteration = checkpoints.iteration_of(newest)
  assert f"stopped at iteration {iteration};" in logs[0].read_text()

  # It goes on, with one more run, a process of which is killed at its start.
  script = tmp_path / "train.sh"
  script.write_text(
    f'case "$*" in *default/seed-1*)\n mkdir {killed} && kill -9 $$\n'
    "esac\n"
    f'exec {sys.executable} -m experiments.train "$@"\n'
  )
  monkeypatch.setattr(runner, "_TRAIN", ("/bin/sh", str(script)))
  last = iteration + 5
  arguments += ["--seeds=0-1", f"--iterations={last}", "--jobs=2"]
  assert run_sweep(f"--configs=default,{BROKEN}", *arguments) == 1
  assert f"going on from iteration {iteration}\n" in logs[0].read_text()
  assert killed.exists()
  assert [log.read_text().count("== ") for log in logs] == [2, 2]

  # A crash does not stop the others.
  in_out = records.read(out / "results.jsonl")
  assert [(r["config"], r["seed"]) for r in in_out] == [
    ("default", 0), ("default", 1), (BROKEN, 0), (BROKEN, 1)
  ]  # fmt: skip
  for record in in_out[:2]:
    assert record["error"] is None
    *curve, end = record["evaluations"]
    assert [e["iteration"] for e in curve] == [*range(0, last, 20), last]
    assert {e["split"] for e in curve} == {"validation"}
    assert (end["split"], end["iteration"]) == ("test", last)
    assert record["failure"] == records.failure_mode(end)
    assert f"--seed={record['seed']}" in record["flags"]
    assert record["machine"]["threads"] == max(1, machine.processors() // 2)
  for record in in_out[2:]:
    assert record["failure"] == "crashed"
    assert "/no/such.npz" in record["error"]
    assert record["evaluations"] == []

  values = flags.FlagValues()
  sweep.define_flags(values)
  values(["sweep", *arguments, f"--configs=default,{BROKEN}"])
  assert runner.ended_runs(values.configs, values) == in_out[:2]
  printed = capsys.readouterr().out
  for seed in (0, 1):
    assert f"left out: {BROKEN}, seed {seed}: " in printed

  # There was a line for each change of state.
  lines = printed.splitlines()
  for seed in (0, 1):
    name = f"default, seed {seed}: "
    running, done = (line for line in lines if line.startswith(name))
    assert running.startswith(f"{name}running")
    assert done.startswith(
      f"{name}done at iteration {last}, validation counts "
    )
  failed = [line for line in lines if ": failed" in line]
  assert len(failed) == 2
  for line in failed:
    assert line.startswith(BROKEN)
    assert "train.log" in line

  # Finished runs are not repeated, so that not even Ray is needed, and their
  # records can go elsewhere too.
  monkeypatch.setitem(sys.modules, "ray", None)
  results = tmp_path / "results.jsonl"
  other = {**in_out[0], "config": "a", "seed": 0}
  results.write_text(json.dumps(other) + "\n")
  before = [log.read_bytes() for log in logs]
  assert run_sweep(f"--results={results}", *arguments) == 0
  assert [log.read_bytes() for log in logs] == before
  assert records.read(results) == [other, *in_out[:2]]

  # Nor if their images have moved.
  moved = shutil.copy(single_data, tmp_path / "moved.npz")
  assert run_sweep(*arguments, f"--data={moved}") == 0

  # They are not taken for runs on other images.
  capsys.readouterr()
  with np.load(single_data) as arrays:
    arrays = dict(arrays)
  arrays["test_images"] = arrays["test_images"][:-1]
  arrays["test_counts"] = arrays["test_counts"][:-1]
  np.savez(tmp_path / "other.npz", **arrays)
  other_data = f"--data={tmp_path / 'other.npz'}"
  assert run_sweep(*arguments, other_data) == 2
  assert "started on other images" in capsys.readouterr().err

  # Or with other flags, which are not recorded in the same file either.
  elsewhere = [f"--out={tmp_path / 'elsewhere'}", "--learning_rate=1"]
  assert run_sweep(*arguments, *elsewhere, f"--results={results}") == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert "default, seed 0 has other flags than --learning_rate=1.0;" in error
  assert run_sweep("--learning_rate=1", *arguments) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert "--learning_rate=1.0 (was 5e-05)" in error
  assert str(folders[0]) in error
  assert run_sweep(*arguments, "--iterations=20") == 2
  error = capsys.readouterr().err
  assert f"--iterations is 20, expected at least the {last}" in error
  assert records.read(out / "results.jsonl") == in_out


def test_without_the_extra(tmp_path, monkeypatch, capsys):
  monkeypatch.setitem(sys.modules, "ray", None)
  assert run_sweep("--seeds=0", f"--out={tmp_path}") == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert "pip install -c constraints.txt -e '.[cluster]'" in error
  assert list(tmp_path.iterdir()) == []


def test_ray_does_not_start(tmp_path, monkeypatch, capsys):
  def init(**_):
    raise Exception("The current node\ntimed out")

  monkeypatch.setattr(ray, "init", init)
  assert run_sweep("--seeds=0", f"--out={tmp_path}") == 2
  error = capsys.readouterr().err
  assert error == (
    "sweep: Ray did not start on this machine: The current node timed out\n"
  )


SEEDS = {
  "0-3": [0, 1, 2, 3],
  "7": [7],
  "0,3,7-9": [0, 3, 7, 8, 9],
  "1,0-1": [0, 1],
}


@pytest.mark.parametrize(("text", "expected"), SEEDS.items())
def test_seeds(text, expected):
  assert plan.SeedsParser().parse(text) == expected


@pytest.mark.parametrize("text", ["", "a", "-1", "3-1", "1-2-3", "1,,2", "1.5"])
def test_what_are_no_seeds(text):
  with pytest.raises(ValueError, match="expected numbers and ranges"):
    plan.SeedsParser().parse(text)


CONFIGS = {
  "default,blog": ["default", "blog"],
  "default,default": ["default"],
  "default:what_size=20,learning_rate=2e-4,blog": [
    "default:what_size=20,learning_rate=2e-4",
    "blog",
  ],
  "a/b.flags:hidden_sizes=256,256,blog:counts=0,1,lstm_size=9": [
    "a/b.flags:hidden_sizes=256,256",
    "blog:counts=0,1,lstm_size=9",
  ],
  "default:count_probs=.5,1e-3,0.25,paper": [
    "default:count_probs=.5,1e-3,0.25",
    "paper",
  ],
}


@pytest.mark.parametrize(("text", "expected"), CONFIGS.items())
def test_configurations(text, expected):
  assert plan.ConfigsParser().parse(text) == expected


def test_the_settings_of_a_configuration_come_last(tmp_path):
  flagfile = tmp_path / "mine.flags"
  flagfile.write_text(
    "--what_size=1\n--lstm_size=1\n--hidden_sizes=1\n--run_dir=mine\n"
  )
  name = f"{flagfile}:hidden_sizes=3,4"
  [run] = plan.make(
    [name], [5], tmp_path, ["--lstm_size=2", "--hidden_sizes=2"]
  )
  values = flags.FlagValues()
  train.define_flags(values)
  values(["train", *run.flags])
  assert (values.what_size, values.lstm_size) == (1, 2)
  assert values.hidden_sizes == (3, 4)
  assert values.seed == 5
  assert run.config == name
  assert "--lstm_size=2" in run.settings
  assert run.folder.parent.parent == tmp_path


def test_runs_say_in_which_flags_they_differ(tmp_path):
  """So that TensorBoard has all of them of all runs."""
  sweep = plan.make(
    [
      "default",
      "default:what_size=20,hidden_sizes=9,9",
      "default:batch_size=8",
    ],
    [3, 4],
    tmp_path,
    ["--learning_rate=1e-3", "--hparams=num_steps"],
  )
  for run in sweep:
    values = flags.FlagValues()
    train.define_flags(values)
    values(["train", *run.flags, f"--run_dir={run.folder}"])
    assert sorted(values.hparams) == [
      *("batch_size", "hidden_sizes", "num_steps", "seed", "what_size")
    ]


def test_names_of_the_same_folder_are_refused(tmp_path):
  names = [f"default:data={name}.npz" for name in ("a/b", "a_b")]
  with pytest.raises(UsageError, match="same folder"):
    plan.make(names, [0], tmp_path, [])


class Task:
  """Ray, as far as `_outcome` needs it, with a task that ended."""

  exceptions = ray.exceptions

  def __init__(self, error=None):
    self._error = error

  def get(self, ref):
    if self._error is None:
      return ref
    raise ray.exceptions.RayTaskError(
      "run", "", self._error
    ).as_instanceof_cause()


@pytest.mark.parametrize(
  ("status", "printed", "stopping", "expected"),
  [
    (0, "x", False, ("done", None)),
    (2, "train: --lr is bad", False, ("failed", "--lr is bad")),
    (
      2,
      f"train: --run_dir is a, {opening.BUSY}",
      False,
      ("busy", f"--run_dir is a, {opening.BUSY}"),
    ),
    (143, "stopped at 3", True, ("stopped", None)),
    # From outside, and once more after it was tried again.
    (143, "stopped at 3", False, ("failed", "stopped at 3")),
    (-9, "x", False, ("failed", "ended by SIGKILL")),
  ],
)
def test_how_a_run_ended(tmp_path, status, printed, stopping, expected):
  log = tmp_path / "train.log"
  log.write_text(f"first\n{printed}\n")
  error = subprocess.CalledProcessError(status, ["train"])
  task = Task() if status in (0, 2) else Task(error)
  assert runner._outcome(status, log, task, stopping) == expected


def test_says_that_no_machine_can_take_a_run(capsys):
  class Cluster:
    @staticmethod
    def nodes():
      return [
        {"Alive": True, "Resources": {"CPU": 4.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 1.0}},
      ]

  runner._warn_of_resources(Cluster, 4, 0)
  assert capsys.readouterr().err == ""
  for cpus, gpus in ((5, 0), (1, 0.5)):
    runner._warn_of_resources(Cluster, cpus, gpus)
    error = capsys.readouterr().err
    assert f"CPUs: {cpus} (--cpus_per_run), GPUs: {gpus:g} (--gpus" in error
    assert error.count("\n") == 1


def test_the_live_table():
  common = {"folder": pathlib.Path("x"), "flags": [], "iterations": 100}
  runs = [
    plan.SweepRun("blog", 0, state="waiting", **common),
    plan.SweepRun("default", 1, state="failed", error="oh", **common),
    plan.SweepRun(
      "default", 2, state="running", iteration=50, accuracy=0.5,
      accuracy_mode=0.75, seconds=90.0, **common,
    ),
  ]  # fmt: skip
  console = Console(file=io.StringIO(), width=100, record=True)
  console.print(table.render(runs))
  text = console.export_text()
  assert "1 running, 1 failed, 0 stopped, 0 busy, 0 done, 1 waiting" in text
  rows = [
    line.replace("│", " ").split()
    for line in text.splitlines()
    if "100" in line
  ]
  assert rows == [
    ["default", "2", "running", "50/100", "75.00%", "50.00%", "01:30"],
    ["default", "1", "failed", "0/100"],
    ["blog", "0", "waiting", "0/100"],
  ]


def test_nobody_else_reads_what_ray_starts_with(monkeypatch, tmp_path):
  """A token lets who reads it run code."""
  made = tmp_path / "token"
  monkeypatch.setattr(ray, "init", lambda **_: made.touch())
  monkeypatch.setattr(ray, "shutdown", lambda: None)
  flag_values = flags.FlagValues()
  runner.define_sweep_flags(flag_values)
  flag_values(["sweep", "--seeds=0", f"--out={tmp_path}"])
  before = os.umask(0o022)
  try:
    with runner._ray(flag_values):
      assert os.umask(0o022) == 0o022
  finally:
    os.umask(before)
  assert made.stat().st_mode & 0o077 == 0


class TestWorker:
  def run(self, tmp_path, code):
    log = str(tmp_path / "log")
    command = [sys.executable, "-c", code]
    return worker.run(command, str(tmp_path), log, {"ADDED": "added"}, 0o22)

  def test_files_are_those_of_the_sweeps_user(self, tmp_path):
    """Ray's workers have its umask, which lets nobody else read them."""
    before = os.umask(0o077)
    try:
      self.run(tmp_path, "open('made', 'w')")
    finally:
      os.umask(before)
    for name in ("made", "log"):
      assert (tmp_path / name).stat().st_mode & 0o777 == 0o644

  @pytest.mark.parametrize("status", [0, 2])
  def test_says_how_the_process_ended(self, tmp_path, status):
    code = f"import os; print(os.environ['ADDED'], os.getcwd()); exit({status})"
    assert self.run(tmp_path, code) == status
    assert f"added {tmp_path}\n" in (tmp_path / "log").read_text()

  @pytest.mark.parametrize(
    "code", ["exit(1)", "exit(143)", "import os; os.kill(os.getpid(), 9)"]
  )
  def test_raises_if_another_try_may_help(self, tmp_path, code):
    with pytest.raises(subprocess.CalledProcessError):
      self.run(tmp_path, code)

  @pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
  def test_the_process_stops_if_the_worker_is_killed(self, tmp_path):
    log = tmp_path / "log"
    process = subprocess.Popen([sys.executable, "-c", self.parent(log)])
    self.wait_for(log, "started\n")
    process.kill()
    process.wait()
    self.wait_for(log, "saved\n")

  def test_the_process_stops_if_the_task_is_cancelled(self, tmp_path):
    """Also in the background, where a shell has interrupts ignored.

    The worker waits for it, however often it is cancelled.
    """
    log = tmp_path / "log"
    cancel = (
      "import _thread, os, threading, time\n"
      "def cancel():\n"
      f" while not os.path.exists({str(log)!r}): time.sleep(.05)\n"
      f" while 'started\\n' not in open({str(log)!r}).read(): time.sleep(.05)\n"
      " _thread.interrupt_main()\n"  # what ray.cancel does
      " time.sleep(.3)\n"
      " _thread.interrupt_main()\n"
      "threading.Thread(target=cancel).start()\n"
    )
    subprocess.run(
      [sys.executable, "-c", cancel + self.parent(log)],
      preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
      check=False,
      stderr=subprocess.DEVNULL,
      timeout=30,
    )
    assert "saved\n" in log.read_text()

  @staticmethod
  def parent(log):
    """Code of a worker whose process says when it starts and is stopped."""
    code = (
      "import signal, time\n"
      "def save(*_):\n"
      " time.sleep(1)\n"
      " exit(print('saved'))\n"
      "signal.signal(signal.SIGTERM, save)\n"
      "print('started', flush=True)\n"
      "time.sleep(60)"
    )
    return (
      f"import runpy; run = runpy.run_path({worker.__file__!r})['run']\n"
      f"run([{sys.executable!r}, '-c', {code!r}], '.', {str(log)!r}, {{}}, 18)"
    )

  @staticmethod
  def wait_for(log, text):
    deadline = time.monotonic() + 30
    while not (log.exists() and text in log.read_text()):
      assert time.monotonic() < deadline
      time.sleep(0.05)
