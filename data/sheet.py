"""A sheet of the first images of a data set."""

from PIL import Image, ImageDraw

from data.dataset import Split

_ROWS, _COLUMNS, _ZOOM, _MARGIN, _CAPTION = 6, 10, 2, 8, 14
_COLOURS = ("#ff5252", "#40c4ff", "#ffd740", "#69f0ae", "#e040fb")


def draw(split: Split) -> Image.Image:
  """Draws the first images, with what is known of them.

  Args:
    split: of images. Their boxes are drawn in colour, and their counts and
      labels below.
  """
  height, width = (_ZOOM * side for side in split.images.shape[1:])
  cell_height = height + _CAPTION + _MARGIN
  cell_width = width + _MARGIN
  sheet = Image.new(
    "RGB",
    (_MARGIN + _COLUMNS * cell_width, _MARGIN + _ROWS * cell_height),
    "#303030",
  )
  drawing = ImageDraw.Draw(sheet)
  for index in range(min(_ROWS * _COLUMNS, len(split.images))):
    row, column = divmod(index, _COLUMNS)
    left, top = _MARGIN + column * cell_width, _MARGIN + row * cell_height
    tile = Image.fromarray(split.images[index])
    sheet.paste(
      tile.resize((width, height), Image.Resampling.NEAREST), (left, top)
    )
    if split.counts is None:
      continue
    caption = str(split.counts[index])
    count = split.counts[index]
    if split.boxes is not None:
      for digit, box in enumerate(split.boxes[index, :count].tolist()):
        y0, x0, y1, x1 = (_ZOOM * end for end in box)
        drawing.rectangle(
          (left + x0 - 1, top + y0 - 1, left + x1, top + y1),
          outline=_COLOURS[digit % len(_COLOURS)],
        )
    if split.labels is not None and count:
      labels = " ".join(str(v) for v in split.labels[index, :count])
      caption += f": {labels}"
    drawing.text((left, top + height + 1), caption, fill="white")
  return sheet
