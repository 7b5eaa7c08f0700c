"""The pictures: of the blog post, and of scenes. `charts` has the others.

They are made without pyplot, which needs a backend and keeps what it makes.
"""

import pathlib
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import patches
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, FigureBase
from PIL import Image, ImageDraw

from air import policy, transformer
from air.outputs import AIROutput
from air.storage import files

_STEP_COLOURS = ("red", "green", "blue", "gold", "magenta", "cyan")
_ANNOTATED_SIDE = 200  # pixels, about


def save(figure: Figure, path: pathlib.Path) -> np.ndarray:
  """Draws a figure and writes it as PNG.

  Args:
    figure: to be drawn.
    path: of the PNG file.

  Returns:
    `[H, W, 3]` uint8, the same picture.
  """
  canvas = FigureCanvasAgg(figure)
  canvas.draw()
  rgb = np.asarray(canvas.buffer_rgba())[..., :3].copy()
  with files.replacing(path) as temporary:
    Image.fromarray(rgb).save(temporary, format="png")
  return rgb


def progress(
  output: AIROutput, canvas_multiplier: float, num_images: int = 10
) -> Figure:
  """Inputs, canvases with glimpse boxes, and glimpses, as in the blog post.

  Row 1: inputs. Rows 2..T+1: the canvas after each step, with the window in
  red where the step exists. The next T rows: the decoded glimpses, black where
  the step does not exist, each titled "presence with p(n) = ...".

  Args:
    output: of the model, as numpy arrays.
    canvas_multiplier: see `ModelConfig`.
    num_images: draw the first so many, or all if there are fewer.
  """
  figure = Figure(
    figsize=_progress_size(output, num_images), layout="constrained"
  )
  _draw_progress(figure, output, canvas_multiplier, num_images)
  return figure


def stages(
  outputs: Mapping[str, AIROutput], canvas_multiplier: float, num_images: int
) -> Figure:
  """The figures of `progress` at several stages of a run, side by side.

  Args:
    outputs: of the model, title to arrays, at least one.
    canvas_multiplier: see `ModelConfig`.
    num_images: in each; draw the first so many, or all if there are fewer.
  """
  [width, height] = _progress_size(next(iter(outputs.values())), num_images)
  figure = Figure(
    figsize=(len(outputs) * (width + 0.3), height + 0.4), layout="constrained"
  )
  parts = figure.subfigures(1, len(outputs), squeeze=False, wspace=0.02)
  for part, (title, output) in zip(parts[0], outputs.items(), strict=True):
    part.suptitle(title, fontsize=12)
    _draw_progress(part, output, canvas_multiplier, num_images)
  return figure


def _progress_size(output: AIROutput, num_images: int) -> tuple[float, float]:
  """Returns width and height of what `_draw_progress` draws, inches."""
  num_steps, available = output.steps.window.shape[:2]
  return 1.15 * min(num_images, available), 1.25 * (1 + 2 * num_steps)


def _draw_progress(
  figure: FigureBase,
  output: AIROutput,
  canvas_multiplier: float,
  num_images: int,
) -> None:
  num_steps, available = output.steps.window.shape[:2]
  num_images = min(num_images, available)
  image_size = output.images.shape[1:]
  boxes = transformer.boxes(output.steps.window, image_size).numpy()
  probs = output.num_steps_posterior().probs().numpy()  # [B, T + 1]
  rows = 1 + 2 * num_steps
  axes = figure.subplots(rows, num_images, squeeze=False)

  def show(row, column, image):
    axis = axes[row, column]
    # Edges at whole numbers: pixel i covers [i, i + 1), as boxes have it.
    extent = (0, image.shape[1], image.shape[0], 0)
    axis.imshow(image, cmap="gray", vmin=0.0, vmax=1.0, extent=extent)
    axis.set(xticks=[], yticks=[])
    return axis

  for i in range(num_images):
    show(0, i, output.images[i])
    for step in range(num_steps):
      exists = step < output.num_steps[i]
      n = min(step + 1, output.num_steps[i])
      axis = show(1 + step, i, output.canvases[n, i])
      if exists:
        y0, x0, y1, x1 = boxes[step, i]
        box = patches.Rectangle(
          (x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor="red"
        )
        axis.add_patch(box)
      glimpse = canvas_multiplier * output.glimpses[step, i] * exists
      axis = show(1 + num_steps + step, i, glimpse)
      axis.set_title(
        f"{int(exists)} with p({step + 1}) = {probs[i, step + 1]:.2f}",
        fontsize=6,
      )
  labels = ["input"]
  labels += [f"canvas {step + 1}" for step in range(num_steps)]
  labels += [f"glimpse {step + 1}" for step in range(num_steps)]
  for axis, label in zip(axes[:, 0], labels, strict=True):
    axis.set_ylabel(label, fontsize=8)


def annotated(
  image: np.ndarray, canvas: np.ndarray, boxes: np.ndarray
) -> np.ndarray:
  """An image with its objects' boxes, and beside it what the model paints.

  Step 1 is red, 2 green, 3 blue.

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
    draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=_colour(step), width=2)
  return np.concatenate([left, enlarged(canvas)], axis=1)


def gallery(
  pictures: Sequence[np.ndarray], titles: Sequence[str], columns: int = 4
) -> Figure:
  """Pictures with a title each, row by row.

  Args:
    pictures: at least one, `[H, W, 3]` uint8 of the same size.
    titles: of each.
    columns: pictures in a row.
  """
  columns = min(columns, len(pictures))
  rows = -(-len(pictures) // columns)
  height, width = pictures[0].shape[:2]
  figure = Figure(
    figsize=(3.2 * columns, rows * (3.2 * height / width + 0.3)),
    layout="constrained",
  )
  axes = figure.subplots(rows, columns, squeeze=False)
  for axis in axes.flat:
    axis.set_axis_off()
  for axis, picture, title in zip(axes.flat, pictures, titles, strict=False):
    axis.imshow(picture)
    axis.set_title(title, fontsize=9)
  return figure


def sheet(
  images: np.ndarray,
  row_labels: Sequence[str] = (),
  column_labels: Sequence[str] = (),
) -> Figure:
  """Images in rows and columns.

  Args:
    images: `[R, C, H, W]`; 1 is white.
    row_labels: R texts, or none.
    column_labels: C texts, or none.
  """
  rows, columns, height, width = images.shape
  tiles = np.pad(
    np.clip(images, 0.0, 1.0),
    [(0, 0), (0, 0), (1, 1), (1, 1)],
    constant_values=0.4,
  )
  figure = Figure(
    figsize=(1.0 + 1.1 * columns, 0.5 + 1.1 * rows * height / width),
    layout="constrained",
  )
  axis = figure.subplots()
  # Edges at whole numbers, one for each image.
  axis.imshow(
    tiles.transpose(0, 2, 1, 3).reshape(rows * (height + 2), -1),
    cmap="gray", vmin=0.0, vmax=1.0,
    extent=(0, columns, rows, 0),
    aspect=height / width,
  )  # fmt: skip
  axis.set_xticks(np.arange(len(column_labels)) + 0.5, column_labels)
  axis.set_yticks(np.arange(len(row_labels)) + 0.5, row_labels)
  axis.tick_params(length=0, labeltop=True, labelbottom=False)
  axis.spines[:].set_visible(False)
  return figure


def scan_policy(windows: np.ndarray, num_steps: np.ndarray) -> Figure:
  """Where each step looks: density of the glimpses' centres, as in the post.

  Step 1 is red, 2 green, 3 blue; only steps that exist count.

  Args:
    windows: `[N, T, 4]`, (sx, tx, sy, ty) of each image's steps.
    num_steps: `[N]`, how many of them exist.
  """
  figure = Figure(figsize=(4.5, 4.5), layout="constrained")
  axis = figure.subplots()
  _draw_scan_policy(axis, windows, num_steps)
  return figure


def scan_policies(
  panels: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> Figure:
  """The scan policies of several runs, a panel each.

  Args:
    panels: title to windows and numbers of steps, see `scan_policy`.
  """
  columns = min(len(panels), 5)
  rows = -(-len(panels) // columns)
  figure = Figure(figsize=(3.8 * columns, 4.4 * rows), layout="constrained")
  axes = figure.subplots(rows, columns, squeeze=False)
  for axis, (title, steps) in zip(axes.flat, panels.items(), strict=False):
    _draw_scan_policy(axis, *steps)
    lines_of_title = [textwrap.fill(line, 44) for line in title.split("\n")]
    axis.set_title("\n".join(lines_of_title), fontsize=10, pad=26)
  for axis in axes.flat[len(panels) :]:
    axis.set_axis_off()
  return figure


def _draw_scan_policy(
  axis: Axes, windows: np.ndarray, num_steps: np.ndarray
) -> None:
  max_steps = windows.shape[1]
  bins = np.linspace(-1.0, 1.0, 51)
  rgb = np.zeros([50, 50, 3])
  for step in range(max_steps):
    x, y = policy.centres(windows[num_steps > step, step]).T
    density = np.histogram2d(y, x, bins=(bins, bins))[0]
    colour = np.array(to_rgb(_colour(step)))
    rgb += (density / max(density.max(), 1.0))[..., None] ** 0.5 * colour
  axis.imshow(np.clip(rgb, 0.0, 1.0), extent=(-1, 1, 1, -1))
  axis.set(xlabel="x of the glimpse's centre", ylabel="y")
  handles = [
    patches.Patch(
      color=_colour(step),
      label=f"step {step + 1} ({np.sum(num_steps > step)})",
    )
    for step in range(max_steps)
  ]
  axis.legend(
    handles=handles, loc="lower center", ncols=max_steps, fontsize=8,
    bbox_to_anchor=(0.5, 1.0), handlelength=1.0, columnspacing=1.0,
  )  # fmt: skip


def _colour(step: int) -> str:
  return _STEP_COLOURS[step % len(_STEP_COLOURS)]
