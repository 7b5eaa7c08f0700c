"""Records of runs: what they say of a run, and the file that keeps them."""

import dataclasses
import json

import pytest

from air import config
from data.config import DataConfig
from experiments.common.launcher import UsageError
from experiments.sweeps import records


def evaluation(*confusion):
  images = sum(map(sum, confusion))
  right = sum(row[i] for i, row in enumerate(confusion) if i < len(row))
  return {"count_accuracy": right / images, "count_confusion": list(confusion)}


# Rows: true count 0, 1, 2; columns: inferred count.
FAILURES = {
  "98 % are right": (
    None,
    [[98, 1, 1, 0], [0, 99, 1, 0], [0, 3, 97, 0]],
  ),
  "nothing is found": (
    "zero steps",
    [[99, 1, 0, 0], [97, 3, 0, 0], [99, 0, 1, 0]],
  ),
  "little is found": (
    "zero steps",
    [[100, 0, 0, 0], [30, 70, 0, 0], [80, 20, 0, 0]],
  ),
  "always all steps": (
    "over-counting",
    [[99, 0, 0, 1], [0, 3, 2, 95], [0, 0, 1, 99]],
  ),
  "all steps, which is right for two": (
    "over-counting",
    [[50, 0, 50], [1, 4, 95], [0, 0, 100]],
  ),
  "two taken for one": (
    "merged digits",
    [[99, 1, 0, 0], [0, 99, 1, 0], [0, 60, 40, 0]],
  ),
  "one taken for two": (
    "split digits",
    [[99, 1, 0, 0], [0, 50, 50, 0], [0, 5, 95, 0]],
  ),
  "often all steps": (
    "split digits",
    [[99, 0, 0, 1], [0, 20, 0, 80], [0, 0, 20, 80]],
  ),
  "more objects than steps": (
    "merged digits",
    [[9, 0], [0, 9], [0, 9]],
  ),
}


@pytest.mark.parametrize(
  ("expected", "confusion"), FAILURES.values(), ids=FAILURES
)
def test_failure_modes(expected, confusion):
  assert records.failure_mode(evaluation(*confusion)) == expected


def test_nobody_knows_whether_unlabelled_images_fail():
  assert records.failure_mode({"elbo": 3.0}) is None


CURVE = [
  {
    "iteration": 10 * i,
    "split": "validation",
    "seconds": 1.5 * i,
    "elbo": elbo,
    "count_accuracy": sampled,
    "count_accuracy_mode": mode,
    "count_confusion": [[1, 0], [0, 1]],
  }
  for i, (elbo, sampled, mode) in enumerate(
    [
      (1.0, 0.2, 0.5),
      (2.0, 0.9, 0.96),
      (3.0, 0.3, 0.4),
      (4.0, 0.97, 0.99),
      (float("nan"), 1.0, 1.0),
    ]
  )
]
END = {
  "iteration": 40,
  "split": "test",
  "elbo": 5.0,
  "count_accuracy_mode": 0.96,
  "count_accuracy_per_count": {"0": 0.9, "1": 0.95},
  **evaluation([90, 10], [5, 95]),
}


@pytest.fixture
def folder(tmp_path):
  """The folder of a run, as far as records need it."""
  values = {
    "format": 1,
    "air": dataclasses.asdict(config.AIRConfig()),
    "data": dataclasses.asdict(DataConfig()),
    "jit_compile": True,
    "digit_source": "somewhere",
    "data_digest": "0",
    "machine": {"processors": 2},
  }
  (tmp_path / "config.json").write_text(json.dumps(values))
  (tmp_path / "flags.txt").write_text("--data_cache=/home/me\n--seed=3\n")
  lines = [json.dumps(e) + "\n" for e in CURVE]
  (tmp_path / "metrics.jsonl").write_text("".join(lines))
  (tmp_path / "evaluation.json").write_text(json.dumps(END))
  return tmp_path


def test_the_record_of_a_run(folder):
  record = records.make(folder, "default", 3)
  *curve, end = record.pop("evaluations")
  # What is not finite is left out, as JSON cannot say it.
  assert [e["iteration"] for e in curve] == [0, 10, 20, 30]
  assert not any("count_confusion" in e for e in curve)
  assert end == END
  assert record == {
    "config": "default",
    "seed": 3,
    "flags": ["--seed=3"],
    "iterations_to": {"90": 10, "95": 10, "98": 30},
    "seconds_to": {"90": 1.5, "95": 1.5, "98": 4.5},
    "iterations_to_sampled": {"90": 10, "95": 30, "98": None},
    "seconds_to_sampled": {"90": 1.5, "95": 4.5, "98": None},
    "failure": "split digits",
    "error": None,
    "machine": {"processors": 2},
  }


def test_the_record_of_a_run_that_diverged(folder):
  (folder / "diverged.txt").write_text("loss is nan\n")
  record = records.make(folder, "default", 3, "loss is nan")
  assert record["failure"] == "diverged"
  assert record["error"] == "loss is nan"
  assert {e["split"] for e in record["evaluations"]} == {"validation"}


def test_the_record_of_a_run_that_never_began(tmp_path):
  record = records.make(tmp_path, "default", 3, "no digits")
  assert record["failure"] == "crashed"
  assert record["error"] == "no digits"
  assert record["evaluations"] == record["flags"] == []
  assert record["iterations_to"] == {"90": None, "95": None, "98": None}


def record(config, seed, **values):
  return {
    "config": config,
    "seed": seed,
    "evaluations": [],
    "iterations_to": {"98": None},
    "seconds_to": {"98": None},
    "failure": None,
    **values,
  }


def test_records_replace_those_of_the_same_runs(tmp_path):
  path = tmp_path / "results" / "a.jsonl"
  records.update(path, [record("b", 10), record("b", 9), record("a", 3)])
  records.update(path, [record("b", 9, failure="crashed"), record("c", 0)])
  read = records.read(path)
  assert [(r["config"], r["seed"]) for r in read] == [
    ("a", 3),
    ("b", 9),
    ("b", 10),
    ("c", 0),
  ]
  assert [r["failure"] for r in read] == [None, "crashed", None, None]
  assert len(path.read_text().splitlines()) == 4


def test_a_crash_does_not_replace_an_end(tmp_path):
  path = tmp_path / "a.jsonl"
  end = {**END, "count_accuracy_mode": 0.9, "count_accuracy_per_count": {}}
  records.update(path, [record("a", 0, evaluations=[end]), record("a", 1)])
  crashed = [record("a", seed, failure="crashed") for seed in (0, 1)]
  records.update(path, crashed)
  assert [r["failure"] for r in records.read(path)] == [None, "crashed"]
  records.update(path, [record("a", 0, failure="diverged")])
  assert records.read(path)[0]["failure"] == "diverged"
  # Nor an end on images whose counts nobody knows.
  unknown = {"iteration": 9, "split": "test", "elbo": 500.0}
  records.update(path, [record("a", 1, evaluations=[unknown])])
  records.update(path, crashed)
  assert [r["failure"] for r in records.read(path)] == ["crashed", None]


@pytest.mark.parametrize(
  ("before", "now", "expected"),
  [
    (["--what_size=1"], ["--what_size=2"], ["--what_size=2"]),
    (["--what_size=1"], ["--what_size=1"], []),
    (["--what_size=1"], ["--lstm_size=2"], []),
    (["--iterations=1", "--seed=1"], ["--iterations=2", "--seed=2"], []),
    (["--feedback"], ["--nofeedback"], ["--nofeedback"]),
    (["--nofeedback"], ["--feedback"], ["--feedback"]),
    (["--normalize"], ["--normalize"], []),
    (["--nonormalize"], ["--normalize"], ["--normalize"]),
    (["--normalize"], ["--nonormalize"], ["--nonormalize"]),
    ([], ["--what_size=2"], []),
  ],
)
def test_flags_that_change_the_numbers(before, now, expected):
  assert records.changed(before, now) == expected


def changed(**fields):
  return json.dumps({**record("a", 1), **fields})


@pytest.mark.parametrize(
  "line",
  [
    "{",
    "[]",
    '{"config": "a", "seed": 0}',
    changed(iterations_to={}),
    changed(seconds_to=None),
    changed(iterations_to={"98": "x"}),
    changed(config=["a"]),
    changed(seed="0"),
    changed(
      evaluations=[
        {
          **END,
          "count_accuracy": None,
          "count_accuracy_mode": 0.5,
          "count_accuracy_per_count": {},
        }
      ]
    ),
    changed(evaluations={}),
    changed(evaluations=[{"iteration": 0}]),
    changed(
      evaluations=[{"iteration": 0, "split": "test", "count_accuracy": 0.5}]
    ),
  ],
)
def test_a_file_of_something_else_is_left_alone(tmp_path, line):
  path = tmp_path / "a.jsonl"
  path.write_text(json.dumps(record("a", 0)) + f"\n{line}\n")
  before = path.read_text()
  with pytest.raises(UsageError, match=r"a\.jsonl, line 2 is not a record"):
    records.update(path, [record("b", 0)])
  assert path.read_text() == before


@pytest.mark.parametrize(
  "content", ["{", "{}", '{"split": "test"}', 9_000 * "["]
)
def test_a_damaged_evaluation_is_not_recorded(folder, content):
  (folder / "evaluation.json").write_text(content)
  with pytest.raises(UsageError, match=r"evaluation\.json is damaged"):
    records.make(folder, "default", 3)
