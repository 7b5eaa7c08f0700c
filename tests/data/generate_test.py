import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from data import dataset, generate, mnist
from data.mnist import Digits, DigitSet

_ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def digits(monkeypatch):
  images = np.zeros((10, 28, 28), np.uint8)
  images[:, 4:24, 6:20] = 200
  digit_set = DigitSet(images, np.arange(10, dtype=np.uint8))
  made = Digits(digit_set, digit_set, digit_set, "rectangles")
  monkeypatch.setattr(mnist, "load_digits", lambda *_: made)


def _run(*arguments):
  return generate.run(["generate.py", *arguments])


def test_writes_what_load_arrays_reads(tmp_path, capsys):
  out, preview = tmp_path / "new" / "set.npz", tmp_path / "sheet.png"
  status = _run(
    f"--out={out}",
    f"--preview={preview}",
    "--canvas_size=30,40",
    "--counts=1,3",
    "--count_probs=.25,.75",
    "--digit_size=10,12",
    "--overlap",
    "--num_images=50",
    "--validation_size=7",
    "--test_size=8",
    "--data_seed=5",
  )
  assert status == 0
  assert "rectangles" in capsys.readouterr().out
  made = dataset.load_arrays(out)
  assert [len(split.images) for split in made[:3]] == [50, 7, 8]
  assert made.train.images.shape == (50, 30, 40)
  assert set(made.train.counts.tolist()) == {1, 3}
  with np.load(out) as npz:
    assert len(npz.files) == 12
    assert npz["test_labels"].shape == (8, 3)
    assert npz["validation_boxes"].shape == (7, 3, 4)
  sheet = Image.open(preview).convert("RGB")
  assert sheet.width >= 10 * 2 * 40
  assert sheet.height >= 6 * 2 * 30
  colours = {colour for _, colour in sheet.getcolors(1 << 20)}
  assert len([c for c in colours if len(set(c)) > 1]) == 3  # a digit each


def test_the_same_flags_write_the_same_file(tmp_path):
  sizes = ("--num_images=9", "--validation_size=2", "--test_size=2")
  for name in "ab":
    assert _run(f"--out={tmp_path / name}.npz", *sizes) == 0
  first, second = (tmp_path / f"{name}.npz" for name in "ab")
  assert first.read_bytes() == second.read_bytes()


def test_from_the_root_without_a_preview(tmp_path, monkeypatch):
  """Which is no folder of anything."""
  monkeypatch.chdir("/")
  sizes = ("--num_images=9", "--validation_size=2", "--test_size=2")
  assert _run(f"--out={tmp_path}/a.npz", *sizes) == 0


def test_a_name_that_cannot_be(tmp_path, capsys):
  sizes = ("--num_images=9", "--validation_size=2", "--test_size=2")
  assert _run(f"--out={tmp_path}/{'a' * 300}.npz", *sizes) in (1, 2)
  error = capsys.readouterr().err
  assert error.count("\n") == 1
  assert error.startswith("generate: --out is ")
  assert list(tmp_path.iterdir()) == []


def test_help(capsys):
  assert _run("--help") == 0
  captured = capsys.readouterr()
  assert "--canvas_size" in captured.out
  assert not captured.err


def test_module_is_the_command():
  done = subprocess.run(
    [sys.executable, "-m", "data.generate", "--counts=,"],
    cwd=_ROOT,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 2
  assert done.stderr == "generate: expected --out; see --help\n"


def test_importing_the_generator_imports_no_flags():
  check = (
    "import sys, data.dataset, data.multi_mnist;"
    "print([m for m in ('absl', 'tensorflow', 'mlxtend') if m in sys.modules])"
  )
  done = subprocess.run(
    [sys.executable, "-c", check],
    cwd=_ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  assert done.stdout.strip() == "[]"
