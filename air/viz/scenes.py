"""Scenes as a picture: `air.plot`."""

import numpy as np
from PIL import Image

from air.scenes import Scenes
from air.viz import figures, style


def plot(
  scenes: Scenes, images: np.ndarray | None = None, num_images: int = 8
) -> Image.Image:
  """Returns a picture of scenes, a column for each, which notebooks show.

      >>> scenes = model.infer(images)
      >>> picture = air.plot(scenes, images)
      >>> picture.save("scenes.png")

  From above: the images, if they are given, with a box around each object; the
  canvas, which is the scene as the model paints it; and each of its objects.
  The colours of boxes and frames are those of the steps.

  Args:
    scenes: of `TrainedModel.infer` or `sample`.
    images: `[N, H, W]` uint8, or floats in [0, 1], that they are of.
    num_images: draw the first so many, or all if there are fewer.
  """
  num_images = min(num_images, len(scenes.count))
  num_steps = int(scenes.count[:num_images].max())
  rows = {"image": images} if images is not None else {}
  rows["canvas"] = scenes.canvas
  width = min(style.WIDTH, 0.7 + num_images)
  side = (width - 0.7) / num_images
  height, length = scenes.canvas.shape[-2:]
  figure = style.figure(
    (len(rows) + num_steps) * (side * height / length + 0.03) + 0.25, width
  )
  axes = figure.subplots(len(rows) + num_steps, num_images, squeeze=False)
  for i in range(num_images):
    for axis, pixels in zip(axes[:, i], rows.values(), strict=False):
      figures.show(axis, _as_floats(pixels[i]))
    for step in range(num_steps):
      axis = axes[len(rows) + step, i]
      if step < scenes.count[i]:
        figures.draw_box(axes[0, i], scenes.boxes[i, step], step)
        figures.show(axis, scenes.objects[i, step])
        axis.spines[:].set(color=style.step_colour(step), linewidth=1.5)
      else:
        axis.set_axis_off()
    axes[0, i].set_title(f"n = {scenes.count[i]}", **figures.TITLE)
  labels = [*rows, *(f"object {step + 1}" for step in range(num_steps))]
  for axis, label in zip(axes[:, 0], labels, strict=True):
    axis.axison = True
    axis.set_ylabel(label, size=style.TEXT_SIZE)
    if not axis.images:
      axis.spines[:].set_visible(False)
      axis.set(xticks=[], yticks=[])
  return Image.fromarray(figures.rendered(figure))


def _as_floats(pixels: np.ndarray) -> np.ndarray:
  return pixels / 255 if pixels.dtype == np.uint8 else pixels
