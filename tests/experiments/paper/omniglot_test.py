"""Objects of characters against pen strokes, on made-up characters."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from data import omniglot as data
from data.config import DataConfig
from experiments import train
from experiments.common.progress import Task
from experiments.paper import omniglot
from experiments.paper import strokes as strokes_lib

ALPHABETS = ("Angelic", "Balinese", "Cyrillic", "Greek", "Korean")
# Points (x, y) in pixels of a drawing.
BARS = [[(40, y), (64, y)] for y in (20, 50, 80)]
OWN = [
  "--dataset=omniglot",
  "--counts=1",
  "--digit_size=20",
  "--num_images=12",
  "--validation_size=12",
]


def write_drawing(folder, name, bars):
  """Writes what a pen draws, and its strokes."""
  image = Image.new("L", (data.SIDE, data.SIDE), 255)
  draw = ImageDraw.Draw(image)
  lines = []
  for bar in bars:
    draw.line(bar, 0, width=5)
    points = "".join(f"{x},{-y},{time}\n" for time, (x, y) in enumerate(bar))
    lines.append(f"START\n{points}BREAK\n")
  path = folder / name
  path.parent.mkdir(parents=True, exist_ok=True)
  image.save(path.with_suffix(".png"))
  path.with_suffix(".txt").write_text("".join(lines))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  """Five alphabets, each of a character of one stroke and one of three."""
  folder = tmp_path_factory.mktemp("omniglot")
  for alphabet in ALPHABETS:
    for number, bars in (("01", BARS[:1]), ("02", BARS)):
      for drawer in ("01", "02"):
        name = f"{alphabet}/character{number}/00{number}_{drawer}"
        write_drawing(folder, name, bars)
  return folder


@pytest.fixture(scope="module")
def run_dir(call, tiny_world, source, tmp_path_factory, eager_execution):
  """The folder of a run, not to be changed."""
  folder = tmp_path_factory.mktemp("runs") / "tiny"
  with eager_execution():
    own = [f"--run_dir={folder}", f"--omniglot={source}", "--seed=3"]
    assert call(train, *own, *tiny_world, *OWN) == 0
  return folder


def test_every_held_out_drawing_is_compared(
  call, run_dir, source, tmp_path, eagerly, capsys
):
  numbers, figure = tmp_path / "numbers.json", tmp_path / "figure.png"
  own = [f"--run_dirs={run_dir}", f"--json={numbers}", f"--figure={figure}"]
  own += [f"--strokes={source}", "--split=validation"]
  (source / "Greek/character01/0001_02.txt").rename(tmp_path / "kept")
  try:
    assert call(omniglot, *own) == 0
  finally:
    (tmp_path / "kept").rename(source / "Greek/character01/0001_02.txt")
  record = json.loads(numbers.read_text())
  assert record["split"] == "validation"
  [run] = record["runs"]
  assert (run["run"], run["seed"], run["iterations"]) == ("tiny", 3, 2)
  assert (run["alphabets"], run["num_images"]) == (["Greek"], 3)
  assert run["without_strokes"] == 1
  assert [sum(row) for row in run["confusion"]] == [0, 1, 0, 2]
  assert run["best_constant"]["n"] == 3
  assert run["iou_pen"] > 0.6
  for name in omniglot._IOUS:
    assert 0 <= run[name] <= 1
    assert name in record["definitions"]
  assert "3 drawings of Greek" in capsys.readouterr().out
  with Image.open(figure) as image:
    assert min(image.size) > 100


def test_drawings_may_lie_elsewhere_now(
  call, run_dir, source, tmp_path, eagerly, capsys
):
  run, moved = tmp_path / "run", tmp_path / "moved"
  shutil.copytree(run_dir, run)
  shutil.copytree(source, moved)
  config = json.loads((run / "config.json").read_text())
  config["data"]["omniglot"] = str(tmp_path / "nowhere")
  (run / "config.json").write_text(json.dumps(config))
  own = [f"--run_dirs={run}", f"--strokes={moved}"]
  assert call(omniglot, *own, f"--omniglot={moved}") == 0
  record = json.loads((run / "analysis" / "omniglot.json").read_text())
  assert record["runs"][0]["alphabets"] == ["Korean"]
  assert record["runs"][0]["num_images"] == 4
  assert (run / "figures" / "omniglot.png").exists()
  # Others are not those that it was trained on.
  write_drawing(moved, "Korean/character02/0002_02", BARS[1:])
  capsys.readouterr()
  assert call(omniglot, *own, f"--omniglot={moved}") == 2
  assert "was started on other images" in capsys.readouterr().err


class Perfect:
  """A model that sees a fixed number of strokes, each as an object."""

  num_steps = 3

  def __init__(self, canvases, counts):
    self._canvases, self._counts = canvases, counts

  def infer_batches(self, images):
    for i, count in enumerate(self._counts):
      objects = np.zeros([1, 3, *images.shape[1:]])
      strokes = strokes_lib.of_strokes(
        self._canvases.ink[i], self._canvases.strokes[i]
      )
      objects[0, : len(strokes)] = strokes
      yield SimpleNamespace(count=np.array([count]), objects=objects)


def test_objects_that_are_strokes_are_found_to_be(source):
  characters = data.split(str(source)).test
  canvases = strokes_lib.on_canvases(
    characters,
    data.read_strokes(str(source)),
    DataConfig(dataset="omniglot", digit_size=(40,)),
    np.random.default_rng(0),
  )
  model = Perfect(canvases, [1, 0, 3, 2])
  found = omniglot.measure(model, canvases, Task("", 4))
  np.testing.assert_array_equal(found.strokes, [1, 1, 3, 3])
  np.testing.assert_array_equal(found.n, [1, 0, 3, 2])
  for name in ("iou_painted", "iou_ink"):
    np.testing.assert_allclose(found.ious[name], [1, 0, 1, 2 / 3])
  # Three bars apart are three clusters of ink.
  assert found.ious["iou_k_means"][[0, 2]].tolist() == [1, 1]
  assert 0 < found.ious["iou_k_means"][3] < 2 / 3


def test_numbers_of_a_run():
  strokes, n = np.array([1, 1, 2, 4, 7]), np.array([1, 2, 2, 3, 3])
  ious = {name: np.arange(5) / 4 for name in (*omniglot._IOUS, "iou_pen")}
  found = omniglot.Found(strokes, n, ious)
  result = omniglot.describe(found, 3)
  assert result["correlation"] == pytest.approx(np.corrcoef(strokes, n)[0, 1])
  assert result["mean_absolute_error"] == pytest.approx(6 / 5)
  constants = [np.mean(abs(strokes - c)) for c in range(8)]
  best = result["best_constant"]
  assert best["mean_absolute_error"] == min(constants) == constants[best["n"]]
  assert result["confusion"][1] == [0, 1, 1, 0]
  assert result["confusion"][7] == [0, 0, 0, 1]
  assert result["iou_ink"] == 0.5
  groups = result["by_strokes"]
  assert list(groups) == ["1", "2", "4", "6+"]
  assert groups["1"] == {"num_images": 2, "mean_n": 1.5} | dict.fromkeys(
    ious, 0.125
  )
  lines = omniglot.table(
    "name", {"seed": 5, "iterations": 1000, "alphabets": ["Greek"], **result}
  ).splitlines()
  assert lines[0].startswith("name: seed 5, 1,000 iterations; 5 drawings of")
  assert "(always 2: 1.80)" in lines[1]
  rows = [line.split() for line in lines[4:]]
  assert rows[0][:6] == ["1", "2", "0.0", "50.0", "50.0", "0.0"]
  assert rows[-2][:6] == ["6+", "1", "0.0", "0.0", "0.0", "100.0"]
  assert rows[-1] == [
    *("all", "5", "0.0", "20.0", "40.0", "40.0", "2.20"),
    *("0.500", "0.500", "0.500"),
  ]
  # Of one n for all there is no correlation.
  same = omniglot.describe(found._replace(n=np.full(5, 2)), 3)
  assert same["correlation"] is None
  assert "correlation -," in omniglot.table(
    "name", {"seed": 5, "iterations": 1, "alphabets": [], **same}
  )


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda folder: None, "--strokes is "),
    (
      lambda folder: write_drawing(folder, "Greek/character01/0001_01", BARS),
      "without strokes of Korean; expected some of these, the alphabets for",
    ),
    (
      lambda folder: write_drawing(
        folder, "Korean/character01/0001_01", [[(20, 60), (40, 70)]]
      ),
      "do not cover the drawings' ink (intersection over union 0.0",
    ),
  ],
)
def test_bad_strokes(call, run_dir, tmp_path, make, message, eagerly, capsys):
  make(tmp_path / "strokes")
  own = [f"--run_dirs={run_dir}", f"--json={tmp_path / 'numbers.json'}"]
  own += [f"--strokes={tmp_path / 'strokes'}", f"--figure={tmp_path / 'f.png'}"]
  assert call(omniglot, *own) == 2
  error = capsys.readouterr().err
  assert message in error
  assert len(error.splitlines()) == 1
  assert not (tmp_path / "numbers.json").exists()


@pytest.mark.parametrize(
  ("name", "value"),
  [("dataset", "multi_mnist"), ("counts", [0, 1]), ("data", "mine.npz")],
)
def test_runs_of_something_else(
  call, run_dir, source, tmp_path, name, value, capsys
):
  run = tmp_path / "run"
  shutil.copytree(run_dir, run)
  config = json.loads((run / "config.json").read_text())
  config["data"][name] = value
  (run / "config.json").write_text(json.dumps(config))
  assert call(omniglot, f"--run_dirs={run}", f"--strokes={source}") == 2
  error = capsys.readouterr().err
  assert "which is not of single characters; expected runs with" in error
  assert len(error.splitlines()) == 1
