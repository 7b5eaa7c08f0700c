"""The progress figure at several checkpoints of a run."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from air.viz import figures
from experiments.analysis import stages


def test_one_part_for_each_checkpoint(
  call, tmp_path, tiny_run, tiny_data, monkeypatch, capsys, eagerly
):
  drawn = {}
  draw = figures.stages

  def spy(outputs, *arguments):
    drawn.update(outputs)
    return draw(outputs, *arguments)

  monkeypatch.setattr(figures, "stages", spy)
  run_dir = shutil.copytree(tiny_run, tmp_path / "run")
  path = run_dir / "figures" / "stages.png"
  arguments = [f"--run_dir={run_dir}"]
  assert call(stages, *arguments) == 0

  before, after = drawn.values()
  with np.load(tiny_data) as arrays:
    images = arrays["validation_images"]
    counts = arrays["validation_counts"]
  for output in (before, after):
    np.testing.assert_allclose(output.images, images / 255.0, rtol=1e-6)
  assert not np.allclose(before.canvases, after.canvases, atol=1e-4)
  assert list(drawn) == [
    f"iteration {iteration}: counts"
    f" {np.mean(output.num_steps == counts):.1%} right"
    for iteration, output in ((0, before), (4, after))
  ]
  assert capsys.readouterr().out.splitlines()[:2] == list(drawn)
  numbers = json.loads((run_dir / "analysis" / "stages.json").read_text())
  assert numbers["num_images"] == len(images)
  assert numbers["stages"] == [
    {
      "iteration": iteration,
      "count_accuracy": pytest.approx(np.mean(output.num_steps == counts)),
    }
    for iteration, output in ((0, before), (4, after))
  ]
  with Image.open(path) as two:
    width, height = two.size
  one_path = tmp_path / "one.png"
  one = [f"--figure={one_path}", "--iterations=4"]
  assert call(stages, *arguments, *one) == 0
  with Image.open(one_path) as one:
    assert one.width == width
    assert one.height < height
