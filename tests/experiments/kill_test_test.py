"""The kill test itself: three kills, and what it says of runs that differ."""

import json
import pathlib
import shutil

import pytest
import tensorflow as tf

from air import checkpoints
from experiments import kill_test, launcher

REPOSITORY = pathlib.Path(__file__).parents[2]


def run_kill_test(*flags):
  return launcher.run(
    kill_test.__doc__,
    kill_test.define_flags,
    kill_test.main,
    ["kill_test", *map(str, flags)],
  )


CADENCES = ["--eval_every=20", "--figure_every=20", "--checkpoint_every=5"]


@pytest.fixture(scope="module")
def result(tmp_path_factory, tiny_flags):
  folder = tmp_path_factory.mktemp("kill_test")
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder.parent)
    patch.setenv("PYTHONPATH", str(REPOSITORY))
    status = run_kill_test(
      f"--out={folder / 'out'}", f"--json={folder / 'result.json'}",
      "--kills=3", "--iterations=120", *CADENCES, *tiny_flags, "--num_steps=1",
    )  # fmt: skip
  return folder, status


def test_three_kills_leave_the_run_as_if_undisturbed(result):
  folder, status = result
  record = json.loads((folder / "result.json").read_text())
  assert record["broken_files"] == []
  assert record["differences"] == []
  assert status == 0
  moments = [kill["moment"] for kill in record["kills"]]
  assert moments == ["checkpoint", "evaluation", "figure"]


def test_differences_are_found(result, tmp_path):
  folder, _ = result
  run, other = tmp_path / "run", folder / "out" / "undisturbed"
  shutil.copytree(other, run)
  assert kill_test.differences(run, other) == []
  newest = checkpoints.find(run / "checkpoints")[0]
  shutil.rmtree(newest)
  assert any("last checkpoint" in d for d in kill_test.differences(run, other))


def test_evaluations_and_events_that_differ(result, tmp_path):
  folder, _ = result
  run, other = tmp_path / "run", folder / "out" / "undisturbed"
  shutil.copytree(other, run)
  lines = (run / "metrics.jsonl").read_text().splitlines()
  (run / "metrics.jsonl").write_text("\n".join(lines[:-1]) + "\n")
  writer = tf.summary.create_file_writer(str(run))
  with writer.as_default(step=20):
    tf.summary.scalar("loss/test", 0.0)
  writer.close()
  found = kill_test.differences(run, other)
  assert found == ["the evaluations", "the events"]


def test_broken_files_are_named(result, tmp_path):
  folder, _ = result
  run = tmp_path / "run"
  shutil.copytree(folder / "out" / "killed", run)
  assert list(kill_test._broken_files(run)) == []
  newest = checkpoints.find(run / "checkpoints")[0]
  state = newest / "state.data-00000-of-00001"
  state.write_bytes(state.read_bytes()[:-1])
  (run / "metrics.jsonl").write_text('{"iteration": 0')
  picture = run / "figures" / "accuracy.png"
  picture.write_bytes(picture.read_bytes()[:200])
  broken = " ".join(kill_test._broken_files(run))
  for path in (newest, run / "metrics.jsonl", picture):
    assert str(path) in broken
