"""The report: tables and figures of hand-made records, and what is refused."""

import json

import pytest
from PIL import Image

from air.viz import figures
from experiments import report
from experiments.common import launcher
from experiments.reports import run_tables


def run_report(folder, *arguments):
  return launcher.run(
    report.__doc__,
    report.define_flags,
    report.main,
    [
      "report",
      f"--results={folder / 'results'}",
      f"--output={folder / 'RESULTS.md'}",
      *arguments,
    ],
  )


def record(config, seed, accuracy, to_98=None, failure=None):
  curve = [
    {
      "iteration": iteration,
      "split": "validation",
      "count_accuracy_mode": accuracy * iteration / 2000,
    }
    for iteration in (0, 1000, 2000)
  ]
  end = {
    "iteration": 2000,
    "split": "test",
    "elbo": 500.0 + seed,
    "count_accuracy": accuracy,
    "count_accuracy_mode": accuracy + 0.005,
    "count_accuracy_per_count": {"0": 1.0, "1": accuracy},
    "count_confusion": [[50, 0, 0], [10, 25, 15]],
  }
  return {
    "config": config,
    "seed": seed,
    "evaluations": [] if failure == "crashed" else [*curve, end],
    "iterations_to": {"98": to_98},
    "seconds_to": {"98": to_98 and 1.5 * to_98},
    "failure": failure,
  }


RECORDS = {
  "ours": [
    record("default", 0, 0.98, 1000),
    record("default", 1, 0.9901, 2000),
    record("default", 2, 0.99, 1000),
    record("default", 3, 0.4, None, "over-counting"),
  ],
  "theirs": [
    record("blog", 0, 0.96, None, "merged digits"),
    record("blog:what_size=20", 0, 0.3, None, "crashed"),
  ],
}

DOCUMENT = """# Results

By hand.

<!-- report: success ours.jsonl theirs.jsonl -->
<!-- /report -->

<!-- report: success theirs.jsonl threshold=95 -->
what was there before
<!-- /report -->

<!-- report: curves ours.jsonl theirs.jsonl -->
<!-- /report -->

The end.
"""


@pytest.fixture
def folder(tmp_path):
  (tmp_path / "results").mkdir()
  for name, records in RECORDS.items():
    lines = [json.dumps(r) + "\n" for r in records]
    (tmp_path / "results" / f"{name}.jsonl").write_text("".join(lines))
  (tmp_path / "RESULTS.md").write_text(DOCUMENT)
  return tmp_path


def blocks(folder):
  """Returns the lines of each block."""
  text = (folder / "RESULTS.md").read_text()
  parts = text.split("<!-- report: ")[1:]
  return [part.split("<!-- /report -->")[0].splitlines()[1:] for part in parts]


def rows(block):
  """Returns the cells of a table, without its header."""
  lines = [line for line in block if line.startswith("|")]
  return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines][
    2:
  ]


def test_fills_in_the_blocks_and_nothing_else(folder):
  assert run_report(folder) == 0
  text = (folder / "RESULTS.md").read_text()
  assert "what was there before" not in text
  for line in DOCUMENT.splitlines():
    assert line in text or line == "what was there before"
  assert text.startswith("# Results\n\nBy hand.\n")
  assert text.endswith("<!-- /report -->\n\nThe end.\n")


def test_success(folder):
  assert run_report(folder) == 0
  all_runs, at_95, _ = blocks(folder)
  assert rows(all_runs) == [
    [
      "`default`", "3 of 4 (30-95 %)", "2,000", "98.50 (40.00-99.01)",
      "99.00 (40.50-99.51)", "501.5", "1,500", "1 over-counting",
    ],
    [
      "`blog`", "0 of 1 (0-79 %)", "2,000", "96.00", "96.50", "500.0", "-",
      "1 merged digits",
    ],
    [
      "`blog:what_size=20`", "0 of 1 (0-79 %)", "-", "-", "-", "-", "-",
      "1 crashed",
    ],
  ]  # fmt: skip
  assert [row[1] for row in rows(at_95)] == [
    "1 of 1 (21-100 %)",
    "0 of 1 (0-79 %)",
  ]
  assert "at least 95 %" in "\n".join(at_95)


def test_success_is_of_sampled_counts(folder):
  """The most probable count may be right for 98 % while exploration lasts."""
  run = record("default", 0, 0.976, 1000, "merged digits")
  assert run["evaluations"][-1]["count_accuracy_mode"] > 0.98
  (folder / "results" / "ours.jsonl").write_text(json.dumps(run) + "\n")
  assert run_report(folder) == 0
  assert rows(blocks(folder)[0])[0][1].startswith("0 of 1")


def test_a_success_has_no_failure_by_another_threshold(folder):
  block = (
    "<!-- report: success theirs.jsonl threshold=95 -->\n<!-- /report -->\n"
  )
  (folder / "RESULTS.md").write_text(block)
  assert run_report(folder) == 0
  assert [row[-1] for row in rows(blocks(folder)[0])] == ["-", "1 crashed"]


def test_counts_that_nobody_knows(folder, capsys):
  run = record("default", 0, 0.9)
  run["evaluations"] = [{"iteration": 9, "split": "test", "elbo": 500.0}]
  (folder / "results" / "ours.jsonl").write_text(json.dumps(run) + "\n")
  assert run_report(folder) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert "default, seed 0, on images whose counts are not known" in error
  assert (folder / "RESULTS.md").read_text() == DOCUMENT


def test_curves(folder):
  assert run_report(folder) == 0
  text = "\n".join(blocks(folder)[2])
  assert "](results/figures/curves-ours-theirs.png)" in text
  with Image.open(folder / "results/figures/curves-ours-theirs.png") as image:
    assert image.width > 1000


def measurement(estimator, iteration, minibatch="drawn", **changes):
  variances = {"decoder": 1e-2, "presence_head": 2e-3, "rest": 0.12}
  return {
    "estimator": estimator,
    "iteration": iteration,
    "minibatch": minibatch,
    "surprises": 100.0 if iteration < 1000 else 99.0,
    "groups": {g: {"variance_mean": v} for g, v in variances.items()},
    "bias": {"presence_head": {"bias": -1.0, "error": 0.25}, "rest": None},
    **changes,
  }


def test_variances(folder):
  lost = {"presence_head": None, "rest": None}
  measured = [
    measurement(estimator, iteration, minibatch)
    for iteration in (0, 1000)
    for minibatch in ("drawn", "fixed")
    for estimator in ("backpropagation", "marginal")
  ]
  measured += [measurement("vimco", i, bias=lost) for i in (0, 1000)]
  lines = [json.dumps(record) + "\n" for record in measured]
  (folder / "results" / "gradients.jsonl").write_text("".join(lines))
  (folder / "RESULTS.md").write_text(
    "<!-- report: variances gradients.jsonl -->\n<!-- /report -->\n"
  )
  assert run_report(folder) == 0
  (block,) = blocks(folder)
  header = next(line for line in block if line.startswith("|"))
  assert [cell.strip() for cell in header.split("|")[1:-1]] == [
    "",
    *("decoder: at 0", "1,000", "presence head: at 0", "1,000"),
    "bias, presence head: at 0",
  ]
  cells = ["1e-02", "1e-02", "2e-03", "~2e-03"]
  post = ["1e-02 `backpropagation`", ""]
  post += ["1e+03 `reinforce_plain`, 1e-01 `reinforce`", "", ""]
  assert rows(block) == [
    ["`backpropagation`", *cells, "-1.00 ± 0.25"],
    ["`marginal`", *cells, "-"],
    ["`vimco`", *cells, "-"],
    ["the post", *post],
  ]


@pytest.mark.parametrize(
  ("files", "expected"),
  [
    ("ours.jsonl", "ours.jsonl, line 1 is not a record of gradients"),
    ("ours.jsonl theirs.jsonl", "expected one file"),
  ],
)
def test_bad_variances(folder, files, expected, capsys):
  (folder / "RESULTS.md").write_text(
    f"<!-- report: variances {files} -->\n<!-- /report -->\n"
  )
  assert run_report(folder) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert expected in error


def test_names_of_configurations(folder):
  names = {"default": "as it is, all", "blog:what_size=20": "smaller codes"}
  (folder / "results" / "names.json").write_text(json.dumps(names))
  assert run_report(folder) == 0
  success, _, curves = blocks(folder)
  assert [row[0] for row in rows(success)] == [
    "as it is, all", "`blog`", "smaller codes",
  ]  # fmt: skip
  (folder / "results" / "names.json").unlink()
  assert run_report(folder) == 0
  assert blocks(folder)[2] != curves  # whose titles are part of the digest


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("{", "names.json, no JSON"),
    ("[]", "expected an object"),
    ('{"default": 1}', "expected an object of configurations"),
    ('{"default": ""}', "expected an object of configurations"),
    ('{"default": "a|b"}', "expected an object of configurations"),
    ('{"default": "same", "blog": "same"}', "names that differ"),
    ('{"default": "blog", "blog": "post"}', "names that differ"),
  ],
)
def test_bad_names(folder, text, expected, capsys):
  (folder / "results" / "names.json").write_text(text)
  assert run_report(folder) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert expected in error
  assert (folder / "RESULTS.md").read_text() == DOCUMENT


@pytest.fixture
def terms(folder):
  """A document with the terms of two runs, beside what was published."""
  records = [record("default", 0, 0.5), record("blog", 1, 0.8)]
  for r in records:
    for evaluation in r["evaluations"]:
      if evaluation["split"] == "validation":
        accuracy = evaluation["count_accuracy_mode"]
        evaluation["count_accuracy"] = accuracy - 0.1
        evaluation["elbo"] = 100 * accuracy
  (folder / "results" / "ours.jsonl").write_text(
    "".join(json.dumps(r) + "\n" for r in records)
  )
  (folder / "RESULTS.md").write_text(
    "<!-- report: terms ours.jsonl -->\n<!-- /report -->\n"
  )
  (folder / "results" / "published.json").write_text(
    json.dumps(
      {
        "counting accuracy, sampled n": {"theirs": {"0": 0.1, "5000": 0.9}},
        "ELBO, nats": {"others": 600.0},
      }
    )
  )
  return folder


def test_terms(terms, monkeypatch):
  drawn = []
  save = figures.save

  def spy(figure, path):
    drawn.append((figure, path))
    return save(figure, path)

  monkeypatch.setattr(figures, "save", spy)
  assert run_report(terms) == 0
  [(figure, path)] = drawn
  assert path.name == "terms-ours.png"
  assert "](results/figures/terms-ours.png)" in (
    (terms / "RESULTS.md").read_text()
  )
  panels = {
    axis.get_title(): {
      line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
      for line in axis.lines
    }
    for axis in figure.axes
  }
  expected = {
    "default, seed 0": ([0, 1000, 2000], pytest.approx([-0.1, 0.15, 0.4])),
    "blog, seed 1": ([0, 1000, 2000], pytest.approx([-0.1, 0.3, 0.7])),
    "theirs": ([0, 5000], [0.1, 0.9]),
  }
  assert panels["counting accuracy, sampled n"] == expected
  assert panels["counting accuracy, sampled n, closer"] == expected
  # A value without iterations is a line across.
  assert panels["ELBO, nats"]["others"] == ([0, 2000], [600.0, 600.0])
  assert panels["ELBO, nats"]["blog, seed 1"][1] == [0.0, 40.0, 80.0]
  assert run_report(terms, "--check") == 0


def test_terms_without_what_others_published(terms):
  (terms / "results" / "published.json").unlink()
  assert run_report(terms) == 0
  assert (terms / "results" / "figures" / "terms-ours.png").exists()


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("{", "published.json, no JSON"),
    ('{"loss": {}}', "with loss, expected"),
    ("[]", "expected an object"),
    ('{"ELBO, nats": 600}', "expected an object of objects"),
    ('{"ELBO, nats": {"theirs": "x"}}', "theirs: 'x', expected a number"),
    ('{"ELBO, nats": {"theirs": {"a": 1}}}', "iterations to numbers"),
  ],
)
def test_bad_published_numbers(terms, text, expected, capsys):
  (terms / "results" / "published.json").write_text(text)
  assert run_report(terms) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert expected in error


@pytest.mark.parametrize(
  ("kind", "config"), [("terms", "default"), ("success", "`default`")]
)
def test_the_same_run_twice(kind, config, terms, capsys):
  records = terms / "results" / "ours.jsonl"
  (terms / "results" / "longer.jsonl").write_text(records.read_text())
  document = terms / "RESULTS.md"
  document.write_text(
    f"<!-- report: {kind} ours.jsonl longer.jsonl -->\n<!-- /report -->"
  )
  assert run_report(terms) == 2
  assert f"two records of {config}, seed 0" in capsys.readouterr().err


@pytest.mark.parametrize(
  "values",
  [
    {"flags": ["--what_size=1"]},
    {
      "evaluations": [
        {**record("default", 1, 0.9)["evaluations"][-1], "digit_source": "b"}
      ]
    },
  ],
  ids=["flags", "digits"],
)
def test_runs_that_differ_are_not_counted_together(folder, values, capsys):
  first = record("default", 0, 0.98) | {"flags": ["--what_size=2"]}
  first["evaluations"][-1]["digit_source"] = "a"
  runs = [first, record("default", 1, 0.9) | values]
  (folder / "results" / "ours.jsonl").write_text(
    "".join(json.dumps(run) + "\n" for run in runs)
  )
  assert run_report(folder) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert "runs of default that differ in" in error
  assert (folder / "RESULTS.md").read_text() == DOCUMENT


def test_medians_say_of_how_many_runs_they_are(folder):
  runs = [record("blog", 0, 0.9), record("blog", 1, 0.3, None, "crashed")]
  (folder / "results" / "theirs.jsonl").write_text(
    "".join(json.dumps(run) + "\n" for run in runs)
  )
  assert run_report(folder) == 0
  [row] = rows(blocks(folder)[1])
  assert row[1:4] == ["0 of 2 (0-66 %)", "2,000 (1 of 2)", "90.00"]


def test_terms_of_a_run_that_crashed_at_its_start(terms):
  crashed = record("blog", 0, 0.3, None, "crashed")
  (terms / "results" / "ours.jsonl").write_text(json.dumps(crashed) + "\n")
  assert run_report(terms) == 0
  assert (terms / "results" / "figures" / "terms-ours.png").exists()


def test_what_is_written_by_hand_stays_byte_for_byte(folder):
  document = folder / "RESULTS.md"
  document.write_bytes("Größe\r\n".encode() + DOCUMENT.encode())
  assert run_report(folder) == 0
  assert document.read_bytes().startswith("Größe\r\n# Results".encode())


def test_check(folder, capsys):
  path, figure = (
    folder / "RESULTS.md",
    folder / "results" / "figures" / "curves-ours-theirs.png",
  )
  assert run_report(folder, "--check") == 1
  assert "out of date" in capsys.readouterr().err
  assert path.read_text() == DOCUMENT
  assert not figure.exists()
  assert run_report(folder) == 0
  assert run_report(folder, "--check") == 0
  before = path.read_text()
  assert run_report(folder) == 0
  assert path.read_text() == before
  figure.unlink()
  assert run_report(folder, "--check") == 1
  assert run_report(folder) == 0
  # The tables stay as they are, but not the curves.
  records = [dict(r) for r in RECORDS["ours"]]
  records[0]["evaluations"] = records[0]["evaluations"][1:]
  (folder / "results" / "ours.jsonl").write_text(
    "".join(json.dumps(r) + "\n" for r in records)
  )
  assert run_report(folder, "--check") == 1


@pytest.mark.parametrize(
  ("successes", "runs", "expected"),
  [
    # Newcombe 1998, table I; and the ends.
    (81, 263, (0.2553, 0.3662)),
    (15, 148, (0.0624, 0.1605)),
    (0, 20, (0.0, 0.1611)),
    (1, 29, (0.0061, 0.1718)),
    (20, 20, (0.8389, 1.0)),
  ],
)
def test_wilson_interval(successes, runs, expected):
  assert run_tables.wilson(successes, runs) == pytest.approx(expected, abs=5e-5)


BAD_DOCUMENTS = {
  "no blocks": ("nothing", "--output is"),
  "one figure twice": (
    2 * "<!-- report: curves ours.jsonl -->\n<!-- /report -->\n",
    "two blocks 'curves' whose figure is",
  ),
  "not closed": ("<!-- report: success ours.jsonl -->\n", "--output is"),
  "not opened": ("<!-- /report -->\n", "--output is"),
  "kind": ("<!-- report: tables ours.jsonl -->\n<!-- /report -->", "'tables"),
  "no kind": ("<!-- report: -->\n<!-- /report -->", "--output holds"),
  "no file": ("<!-- report: success -->\n<!-- /report -->", "'success'"),
  "other file": (
    "<!-- report: success no.jsonl -->\n<!-- /report -->",
    "expected records in no.jsonl",
  ),
  "setting": (
    "<!-- report: success ours.jsonl threshold=high -->\n<!-- /report -->",
    "threshold=PERCENTAGE",
  ),
}


@pytest.mark.parametrize(
  ("document", "expected"), BAD_DOCUMENTS.values(), ids=BAD_DOCUMENTS
)
def test_bad_documents(folder, document, expected, capsys):
  (folder / "RESULTS.md").write_text(document)
  assert run_report(folder) == 2
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert expected in error
  assert (folder / "RESULTS.md").read_text() == document


def test_a_document_that_is_not_text(folder, capsys):
  document = folder / "RESULTS.md"
  content = "Größe\n".encode("latin-1") + DOCUMENT.encode()
  document.write_bytes(content)
  assert run_report(folder) == 2
  assert "expected a document in UTF-8" in capsys.readouterr().err
  assert document.read_bytes() == content
