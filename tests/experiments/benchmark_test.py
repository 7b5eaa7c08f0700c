"""The benchmark binary, on a tiny model: that it measures what it says."""

import json

import pytest

from experiments import benchmark, launcher


def test_measures_and_writes(tiny_flags, tmp_path, capsys):
  path = tmp_path / "benchmark.json"
  flags = [f for f in tiny_flags if f != "--nojit_compile"]
  argv = ["benchmark", *flags, f"--json={path}", "--repetitions=3"]
  argv += ["--iterations_per_repetition=4"]
  status = launcher.run(
    benchmark.__doc__, benchmark.define_flags, benchmark.main, argv
  )
  assert status == 0
  result = json.loads(path.read_text())
  fast, plain = result["milliseconds_per_iteration"].values()
  assert len(fast) == len(plain) == 3
  assert min(*fast, *plain) > 0
  expected = sorted(b / a for a, b in zip(fast, plain, strict=True))[1]
  assert result["median_ratio"] == pytest.approx(expected)
  assert result["peak_memory_mib"] > 100
  assert "ratio, pair by pair" in capsys.readouterr().out
