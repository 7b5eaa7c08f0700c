"""Where analyses write."""

import pathlib

import pytest
from absl import flags

from experiments.common.launcher import UsageError
from experiments.common.outputs import Outputs


def files(*runs, arguments=(), suffix=".json"):
  outputs = Outputs("compare", suffix)
  flag_values = flags.FlagValues()
  outputs.define_flags(flag_values)
  flag_values(["compare", *arguments])
  return outputs.files(flag_values, [pathlib.Path(run) for run in runs])


def paths(*names):
  return tuple(map(pathlib.Path, names))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  return tmp_path


def test_of_one_run():
  assert files("runs/a") == paths(
    "runs/a/figures/compare.png", "runs/a/analysis/compare.json"
  )


def test_of_one_file(folder):
  """Event files stand for runs."""
  (folder / "logs").mkdir()
  (folder / "logs" / "events").touch()
  assert files("logs/events", suffix=".jsonl") == paths(
    "logs/figures/compare.png", "logs/analysis/compare.jsonl"
  )


def test_of_several_runs(folder):
  assert files("runs/sweep/a/seed-0", folder / "runs/sweep/b/seed-1") == paths(
    "runs/sweep/compare.png", "runs/sweep/compare.json"
  )
  assert files("runs/a", "original/logs") == paths(
    "compare.png", "compare.json"
  )


def test_of_several_runs_elsewhere(folder):
  common = folder.parent / "elsewhere"
  assert files("../elsewhere/a", "x/../../elsewhere/b/c") == (
    common / "compare.png",
    common / "compare.json",
  )


def test_flags_say_otherwise():
  arguments = ["--figure=x.png", "--json=y/z.json"]
  for runs in (["runs/a"], ["runs/a", "runs/b"]):
    assert files(*runs, arguments=arguments) == paths("x.png", "y/z.json")
  assert files("a", arguments=arguments[:1]) == paths(
    "x.png", "a/analysis/compare.json"
  )


def test_what_cannot_be(folder):
  (folder / "runs" / "figures" / "compare.png").mkdir(parents=True)
  with pytest.raises(UsageError, match=r"figure is 'runs/figures/compare.png'"):
    files("runs")
  with pytest.raises(UsageError, match=r"json is '\.', expected"):
    files("other", arguments=["--json=."])
