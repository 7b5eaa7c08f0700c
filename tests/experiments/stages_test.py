"""The progress figure at several checkpoints of a run."""

import numpy as np
from PIL import Image

from air import figures
from experiments import stages


def test_one_part_for_each_checkpoint(
  call, tmp_path, tiny_run, tiny_data, monkeypatch, eagerly
):
  drawn = {}
  draw = figures.stages

  def spy(outputs, *arguments):
    drawn.update(outputs)
    return draw(outputs, *arguments)

  monkeypatch.setattr(figures, "stages", spy)
  path = tmp_path / "stages.png"
  assert call(stages, f"--run_dir={tiny_run}", f"--figure={path}") == 0

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
  with Image.open(path) as two:
    width, height = two.size
  one_path = tmp_path / "one.png"
  status = call(
    stages, f"--run_dir={tiny_run}", f"--figure={one_path}", "--iterations=4"
  )
  assert status == 0
  with Image.open(one_path) as one:
    assert (2 * one.width, one.height) == (width, height)
