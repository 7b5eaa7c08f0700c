"""What a trained model costs to use."""

import json

from experiments.benchmarks import use


def test_measures(call, run_dir, monkeypatch, tmp_path, capsys):
  monkeypatch.setattr(use, "_AT_A_TIME", (1, 3))
  monkeypatch.setattr(use, "_EVALUATED", 6)
  monkeypatch.setattr(use, "_BOUND_IMAGES", 2)
  monkeypatch.setattr(use, "_BOUND_SAMPLES", 3)
  path = tmp_path / "use.json"
  flags = [f"--run_dir={run_dir}", "--repetitions=2", f"--json={path}"]
  assert call(use, *flags) == 0
  result = json.loads(path.read_text())
  assert "iteration 20" in result["model"]
  assert result["machine"]["threads"] >= 1
  rows = {row["what"]: row for row in result["rows"]}
  assert [row["images"] for row in result["rows"]] == [0, 1, 1, 3, 6, 2]
  assert len(rows["infer, 3 at a time"]["seconds"]) == 2
  assert all(s > 0 for row in result["rows"] for s in row["seconds"])
  memory = [row["megabytes"] for row in result["rows"]]
  assert memory == sorted(memory)
  assert memory[0] > 100
  printed = capsys.readouterr().out
  for what in rows:
    assert f"\n{what} " in printed


def test_bad_input(call, run_dir, tmp_path, capsys):
  flags = [f"--run_dir={run_dir}", f"--json={tmp_path}"]
  assert call(use, *flags) == 2
  assert "expected the name of a file" in capsys.readouterr().err
