"""The pictures: of the blog post, and of scenes. `charts` has the others.

They are made without pyplot, which needs a backend and keeps what it makes.
"""

import pathlib
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import patches
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from air import policy, transformer
from air.outputs import AIROutput
from air.storage import files
from air.viz import style

# Pixels: the side of an annotated image, about, and of what is said of it.
_ANNOTATED_SIDE = 200
_CAPTION_WIDTH = 120
_CAPTION_HEIGHT = 20
_CAPTION_SIZE = 13
# Bins of a scan policy, and the share of them that are not the brightest.
_BINS = 50
_BRIGHTEST = 0.98
TITLE: dict[str, Any] = {"size": style.TEXT_SIZE, "pad": 3.0}


def save(figure: Figure, path: pathlib.Path) -> np.ndarray:
  """Draws a figure and writes it as PNG.

  Args:
    figure: to be drawn.
    path: of the PNG file.

  Returns:
    `[H, W, 3]` uint8, the same picture.
  """
  rgb = rendered(figure)
  with files.replacing(path) as temporary:
    Image.fromarray(rgb).save(temporary, format="png")
  return rgb


def rendered(figure: Figure) -> np.ndarray:
  """Returns a figure as it is drawn, `[H, W, 3]` uint8."""
  canvas = FigureCanvasAgg(figure)
  canvas.draw()
  return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def progress(
  output: AIROutput, canvas_multiplier: float, num_images: int
) -> Figure:
  """What each step does, as in the blog post: a column for each image.

  From above: the input, with the number n of objects that was sampled; the
  canvas after each step, with the step's window in its colour if it exists;
  what each step painted, with q(n|z), the probability that it was the last.

  Args:
    output: of the model, as numpy arrays.
    canvas_multiplier: see `ModelConfig`.
    num_images: draw the first so many, or all if there are fewer.
  """
  num_steps, available = output.steps.window.shape[:2]
  num_images = min(num_images, available)
  probs = output.num_steps_posterior().probs().numpy()  # [B, T + 1]
  # Columns of at most an inch; rows of images, and of titles and legend.
  width = min(style.WIDTH, 1.0 + num_images)
  side = (width - 0.6) / num_images
  image_shape, glimpse_shape = (
    images.shape[-2] / images.shape[-1]
    for images in (output.images, output.glimpses)
  )
  height = (1 + num_steps) * (image_shape * side + 0.03)
  height += num_steps * (glimpse_shape * side + 0.19) + 0.6
  figure = style.figure(height, width)
  axes = figure.subplots(1 + 2 * num_steps, num_images, squeeze=False)
  for i in range(num_images):
    show(axes[0, i], output.images[i])
    axes[0, i].set_title(f"n = {output.num_steps[i]}", **TITLE)
    for step in range(num_steps):
      n = min(step + 1, output.num_steps[i])
      show(axes[1 + step, i], output.canvases[n, i])
      axis = axes[1 + num_steps + step, i]
      if step < output.num_steps[i]:
        _draw_window(axes[1 + step, i], output, step, i)
        show(axis, canvas_multiplier * output.glimpses[step, i])
        axis.spines[:].set(color=style.step_colour(step), linewidth=1.5)
      else:
        axis.set(xticks=[], yticks=[], facecolor=style.ABSENT)
        axis.set_box_aspect(glimpse_shape)
        axis.spines[:].set_visible(False)
        axis.text(
          0.5, 0.5, "no step", color=style.GREY, size=style.TEXT_SIZE,
          ha="center", va="center", transform=axis.transAxes,
        )  # fmt: skip
      axis.set_title(f"q(n={step + 1}) = {probs[i, step + 1]:.2f}", **TITLE)
  labels = ["input"]
  labels += [f"canvas after\nstep {step + 1}" for step in range(num_steps)]
  labels += [f"step {step + 1}\npainted" for step in range(num_steps)]
  for axis, label in zip(axes[:, 0], labels, strict=True):
    axis.set_ylabel(label, size=style.TEXT_SIZE)
  _add_legend(figure, num_steps)
  return figure


def stages(outputs: Mapping[str, AIROutput], num_images: int) -> Figure:
  """What the model does with the same images at several stages of a run.

  In the first row are the inputs, in one for each stage the canvases, with the
  window of each step that exists in its colour.

  Args:
    outputs: of the model, title to arrays, at least one.
    num_images: draw the first so many, or all if there are fewer.
  """
  first = next(iter(outputs.values()))
  figure, rows = _rows(["input", *outputs], first, num_images)
  for axis, image in zip(rows[0], first.images, strict=False):
    show(axis, image)
  for row, output in zip(rows[1:], outputs.values(), strict=True):
    _draw_canvases(row, output)
  return figure


def reconstructions(
  outputs: Mapping[str, AIROutput], num_images: int
) -> Figure:
  """Images, and below them what models make of them, as in `stages`.

  Args:
    outputs: of models on images of their own, all of one size, title to
      arrays, at least one.
    num_images: draw the first so many of each.
  """
  titles = [title for name in outputs for title in (name, "")]
  figure, rows = _rows(titles, next(iter(outputs.values())), num_images)
  for inputs, row, output in zip(
    rows[::2], rows[1::2], outputs.values(), strict=True
  ):
    for axis, image in zip(inputs, output.images, strict=False):
      show(axis, image)
    _draw_canvases(row, output)
  return figure


def _rows(
  titles: Sequence[str], output: AIROutput, num_images: int
) -> tuple[Figure, np.ndarray]:
  """Returns a figure with rows of images, and their axes.

  Args:
    titles: of the rows.
    output: of one of them, or of images as large.
    num_images: in a row; or all, if there are fewer.
  """
  num_images = min(num_images, len(output.images))
  label_width = 1.2
  width = min(style.WIDTH, label_width + num_images)
  side = (width - label_width) / num_images
  row_height = side * output.images.shape[1] / output.images.shape[2] + 0.05
  figure = style.figure(len(titles) * row_height + 0.35, width)
  axes = figure.subplots(len(titles), num_images, squeeze=False)
  for axis, title in zip(axes[:, 0], titles, strict=True):
    axis.set_ylabel(
      textwrap.fill(title, 18), rotation="horizontal", size=style.TEXT_SIZE,
      ha="right", va="center",
    )  # fmt: skip
  _add_legend(figure, len(output.steps.window))
  return figure, axes


def _draw_canvases(row: Sequence[Axes], output: AIROutput) -> None:
  """Shows canvases, with the window of each step that exists."""
  for i, axis in enumerate(row):
    n = output.num_steps[i]
    show(axis, output.canvases[n, i])
    for step in range(n):
      _draw_window(axis, output, step, i)


def show(axis: Axes, image: np.ndarray) -> None:
  """Shows an image `[H, W]`; 1 is white."""
  # Edges at whole numbers: pixel i covers [i, i + 1), as boxes have it.
  extent = (0, image.shape[1], image.shape[0], 0)
  axis.imshow(image, cmap="gray", vmin=0.0, vmax=1.0, extent=extent)
  axis.set(xticks=[], yticks=[])


def _draw_window(axis: Axes, output: AIROutput, step: int, image: int) -> None:
  """Draws the window of a step in its colour."""
  box = transformer.boxes(
    output.steps.window[step, image], output.images.shape[1:]
  ).numpy()
  draw_box(axis, box, step)


def draw_box(axis: Axes, box: np.ndarray, step: int) -> None:
  """Draws a box (y0, x0, y1, x1), in pixels, in the colour of a step."""
  y0, x0, y1, x1 = box
  axis.add_patch(
    patches.Rectangle(
      (x0, y0),
      x1 - x0,
      y1 - y0,
      fill=False,
      edgecolor=style.step_colour(step),
      linewidth=1.5,
    )
  )


def _add_legend(figure: Figure, num_steps: int) -> None:
  """Says below a figure which step has which colour."""
  figure.legend(
    handles=style.step_patches(num_steps), loc="outside lower center",
    ncols=num_steps, fontsize=style.TEXT_SIZE, frameon=False,
    handlelength=1.0,
  )  # fmt: skip


def annotated(
  image: np.ndarray, canvas: np.ndarray, boxes: np.ndarray
) -> np.ndarray:
  """An image with its objects' boxes, and beside it what the model paints.

  The boxes have the colours of the steps.

  Args:
    image: `[H, W]` uint8, or floats in [0, 1].
    canvas: `[H, W]`, the model's.
    boxes: `[count, 4]`, (y0, x0, y1, x1) in pixels.

  Returns:
    `[z H, 2 z W, 3]` uint8, enlarged by a whole number z.
  """
  zoom = max(1, round(_ANNOTATED_SIDE / max(image.shape)))

  def enlarged(values: np.ndarray) -> Image.Image:
    if values.dtype != np.uint8:
      values = np.round(255.0 * np.clip(values, 0.0, 1.0)).astype(np.uint8)
    size = (zoom * values.shape[1], zoom * values.shape[0])
    picture = Image.fromarray(values).convert("RGB")
    return picture.resize(size, Image.Resampling.NEAREST)

  left = enlarged(image)
  draw = ImageDraw.Draw(left)
  for step, (y0, x0, y1, x1) in enumerate(zoom * boxes):
    # The last pixel belongs to the rectangle.
    draw.rectangle(
      (x0, y0, x1 - 1, y1 - 1), outline=style.step_colour(step), width=2
    )
  return np.concatenate([left, enlarged(canvas)], axis=1)


def captioned(picture: np.ndarray, num_steps: int) -> Image.Image:
  """What `annotated` returns, with the names of its halves and a legend.

  Args:
    picture: `[h, w, 3]` uint8.
    num_steps: of so many steps the legend names the colours.
  """
  height, width = picture.shape[:2]
  half = max(width // 2, _CAPTION_WIDTH)
  page = Image.new("RGB", (2 * half + 1, height + 2 * _CAPTION_HEIGHT), "white")
  draw = ImageDraw.Draw(page)
  font = ImageFont.load_default(_CAPTION_SIZE)
  # Both halves are black: a line between them is left white.
  for x, pixels, name in (
    (0, picture[:, : width // 2], "input"),
    (half + 1, picture[:, width // 2 :], "reconstruction"),
  ):
    page.paste(Image.fromarray(pixels), (x, _CAPTION_HEIGHT))
    draw.text((x + 2, 2), name, "black", font)
  y = height + _CAPTION_HEIGHT
  for step in range(num_steps):
    x = 2 + 60 * step
    draw.rectangle((x, y + 6, x + 9, y + 15), fill=style.step_colour(step))
    draw.text((x + 14, y + 2), f"step {step + 1}", "black", font)
  return page


def gallery(
  pictures: Sequence[np.ndarray],
  titles: Sequence[str],
  num_steps: int,
  columns: int = 3,
) -> Figure:
  """What `annotated` returns of several images, with a title each, in rows.

  Args:
    pictures: at least one, `[h, w, 3]` uint8 of the same size.
    titles: of each.
    num_steps: so many steps are named in the legend.
    columns: pictures in a row.
  """
  columns = min(columns, len(pictures))
  rows = -(-len(pictures) // columns)
  height, width = pictures[0].shape[:2]
  side = style.WIDTH / 3
  figure = style.figure(
    rows * (side * height / width + 0.36) + 0.25, columns * side
  )
  axes = figure.subplots(rows, columns, squeeze=False)
  for axis, picture, title in zip(axes.flat, pictures, titles, strict=False):
    axis.imshow(picture)
    axis.axvline(width / 2 - 0.5, color=style.GREY, linewidth=1.0)
    axis.set_title(title, **TITLE)
    axis.set_xticks(
      [width / 4, 3 * width / 4], ["input", "reconstruction"],
      size=style.TEXT_SIZE - 1,
    )  # fmt: skip
    axis.tick_params(length=0, pad=2.0)
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
  for axis in axes.flat[len(pictures) :]:
    axis.set_axis_off()
  _add_legend(figure, num_steps)
  return figure


def sheet(
  images: np.ndarray,
  row_labels: Sequence[str] = (),
  column_labels: Sequence[str] = (),
  title: str = "",
) -> Figure:
  """Images in rows and columns.

  Args:
    images: `[R, C, H, W]`; 1 is white. Or `[R, C, H, W, 3]`, colours.
    row_labels: R texts, or none.
    column_labels: C texts, or none.
    title: what they are; it is broken into lines.
  """
  rows, columns, height, width, *colours = images.shape
  tiles = np.pad(
    np.clip(images, 0.0, 1.0),
    [(0, 0), (0, 0), (1, 1), (1, 1), *[(0, 0)] * len(colours)],
    constant_values=0.4,
  )
  # The longest label takes the place of so many inches.
  label_width = 0.07 * max(map(len, row_labels), default=-1) + 0.15
  side = min(1.0, (style.WIDTH - label_width) / columns)
  figure_width = max(label_width + side * columns, 3.0)
  lines = textwrap.wrap(title, int(figure_width / 0.07))
  figure = style.figure(
    side * rows * height / width
    + 0.15 * len(lines)
    + (0.3 if column_labels else 0.15),
    figure_width,
  )
  axis = figure.subplots()
  # Edges at whole numbers, one for each image.
  axis.imshow(
    tiles.swapaxes(1, 2).reshape(
      rows * (height + 2), columns * (width + 2), *colours
    ),
    cmap="gray", vmin=0.0, vmax=1.0,
    extent=(0, columns, rows, 0),
    aspect=height / width,
  )  # fmt: skip
  axis.set_xticks(np.arange(len(column_labels)) + 0.5, column_labels)
  axis.set_yticks(np.arange(len(row_labels)) + 0.5, row_labels)
  axis.tick_params(
    length=0, labeltop=True, labelbottom=False, labelsize=style.TEXT_SIZE
  )
  axis.spines[:].set_visible(False)
  if lines:
    figure.suptitle(
      "\n".join(lines), fontsize=style.TEXT_SIZE, x=0.01, ha="left"
    )
  return figure


def scan_policy(windows: np.ndarray, num_steps: np.ndarray) -> Figure:
  """Where each step looks: density of the glimpses' centres, as in the post.

  Each step has its colour; only steps that exist count.

  Args:
    windows: `[N, T, 4]`, (sx, tx, sy, ty) of each image's steps.
    num_steps: `[N]`, how many of them exist.
  """
  return scan_policies({"": (windows, num_steps)})


def scan_policies(
  panels: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> Figure:
  """The scan policies of several runs, a panel each.

  Args:
    panels: title to windows and numbers of steps, see `scan_policy`.
  """
  columns = min(len(panels), 3)
  rows = -(-len(panels) // columns)
  side = style.WIDTH / 3
  heads = [style.wrapped(title, 38) for title in panels]
  figure = style.figure(
    rows * (side - 0.1 + 0.15 * max(map(len, heads))), max(columns * side, 4.0)
  )
  axes = figure.subplots(rows, columns, squeeze=False)
  for axis, head, steps in zip(axes.flat, heads, panels.values(), strict=False):
    _draw_scan_policy(axis, *steps)
    axis.set_title("\n".join(head), size=style.TEXT_SIZE, pad=18)
  for axis in axes.flat[len(panels) :]:
    axis.set_axis_off()
  return figure


def _draw_scan_policy(
  axis: Axes, windows: np.ndarray, num_steps: np.ndarray
) -> None:
  max_steps = windows.shape[1]
  edges = np.linspace(-1.0, 1.0, _BINS + 1)
  rgb = np.zeros([_BINS, _BINS, 3])
  for step in range(max_steps):
    x, y = policy.centres(windows[num_steps > step, step]).T
    density = np.histogram2d(y, x, bins=(edges, edges))[0]
    found = density[density > 0]
    # Not of the maximum, in whose light the others would be dim.
    bright = np.quantile(found, _BRIGHTEST) if found.size else 1.0
    share = np.minimum(density / bright, 1.0)
    rgb += share[..., None] ** 0.5 * to_rgb(style.step_colour(step))
  axis.imshow(np.clip(rgb, 0.0, 1.0), extent=(-1, 1, 1, -1))
  ticks = [-1, -0.5, 0, 0.5, 1]
  axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
  axis.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
  axis.tick_params(labelsize=style.TEXT_SIZE)
  axis.set_xlabel("x of the glimpse's centre", size=style.TEXT_SIZE)
  axis.set_ylabel("y", size=style.TEXT_SIZE)
  handles = style.step_patches(max_steps)
  for step, handle in enumerate(handles):
    handle.set_label(f"step {step + 1} ({np.sum(num_steps > step)})")
  axis.legend(
    handles=handles, loc="lower center", ncols=3, fontsize=7,
    bbox_to_anchor=(0.5, 1.0), handlelength=0.8, handletextpad=0.4,
    columnspacing=0.8, frameon=False, borderaxespad=0.2,
  )  # fmt: skip
