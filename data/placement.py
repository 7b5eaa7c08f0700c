"""Where boxes lie on a canvas: uniformly, and without overlap if asked for."""

import numpy as np

from data.errors import DataError

_REJECTION_ROUNDS = 500
_UNIFORM_RESTARTS = 50
_PACKED_RESTARTS = 150


def place(
  sizes: np.ndarray,
  canvas_size: tuple[int, ...],
  overlap: bool,
  rng: np.random.Generator,
  single_on_diagonal: bool = False,
) -> np.ndarray:
  """Places the boxes of images that have the same number of them.

  A box alone, or any box with `overlap`, is uniform over all the positions
  where it fits; a box alone with `single_on_diagonal` is as far down as to the
  right, as fractions of the room that it leaves. Several boxes are uniform over
  their joint placements without overlap: all the positions in an image are
  drawn anew until no two boxes overlap. Images that fail `_REJECTION_ROUNDS`
  times are crowded; `_place_in_turn` places their boxes, in another
  distribution.

  Args:
    sizes: int `[N, C, 2]`, heights and widths, pixels, none larger than the
      canvas.
    canvas_size: (H, W), pixels.
    overlap: whether boxes may overlap.
    rng: source of the positions.
    single_on_diagonal: see above.

  Returns:
    int `[N, C, 2]`, (y0, x0) of the boxes, pixels.

  Raises:
    DataError: if boxes cannot be placed, or a bounded search finds no place.
  """
  room = np.asarray(canvas_size) - sizes + 1  # [N, C, 2]
  if single_on_diagonal and sizes.shape[1] == 1:
    return (rng.random([len(sizes), 1, 1]) * room).astype(np.int64)
  origins = rng.integers(room)
  if overlap or sizes.shape[1] < 2:
    return origins
  _check_room(sizes, canvas_size)
  pending = np.flatnonzero(_any_overlap(origins, sizes))
  for _ in range(_REJECTION_ROUNDS):
    if not pending.size:
      break
    origins[pending] = rng.integers(room[pending])
    pending = pending[_any_overlap(origins[pending], sizes[pending])]
  for row in pending:
    origins[row] = _place_in_turn(sizes[row], canvas_size, rng)
  return origins


def _any_overlap(origins: np.ndarray, sizes: np.ndarray) -> np.ndarray:
  """Returns bool `[N]`, whether any two of an image's boxes overlap."""
  ends = origins + sizes
  result = np.zeros(len(sizes), bool)
  for k in range(1, sizes.shape[1]):
    starts_before = origins[:, k, None] < ends[:, :k]  # [N, k, 2]
    ends_after = origins[:, :k] < ends[:, k, None]
    result |= (starts_before & ends_after).all(-1).any(-1)
  return result


def _check_room(sizes: np.ndarray, canvas_size: tuple[int, ...]) -> None:
  """Raises a DataError if any image's boxes obviously do not fit."""
  canvas = np.asarray(canvas_size)
  impossible = sizes.prod(-1).sum(-1) > canvas.prod()  # [N]
  for k in range(1, sizes.shape[1]):
    # Two boxes fit one above the other or side by side, or not at all.
    both = sizes[:, :k] + sizes[:, k, None]  # [N, k, 2]
    impossible |= (both > canvas).all(-1).any(-1)
  if impossible.any():
    raise _crowded(sizes[impossible.argmax()], canvas_size, "cannot")


def _crowded(
  sizes: np.ndarray, canvas_size: tuple[int, ...], verb: str
) -> DataError:
  shapes = ", ".join(f"{h}x{w}" for h, w in sizes[:8].tolist())
  shapes += ", ..." if len(sizes) > 8 else ""
  return DataError(
    f"canvas_size is {canvas_size}, expected room for {len(sizes)} digits of"
    f" {shapes} pixels, which {verb} be placed without overlap: enlarge"
    " canvas_size, reduce counts or digit_size, or allow overlap"
  )


def _place_in_turn(
  sizes: np.ndarray, canvas_size: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray:
  """Places the boxes of one crowded image one after the other.

  The largest goes first, and each lies uniformly over the positions that are
  free of those before it; if one finds none, all start again. After
  `_UNIFORM_RESTARTS` of that, boxes go in a random order, each to the first
  free position from the top left, which packs tighter.

  Args:
    sizes: int `[C, 2]`, heights and widths, pixels.
    canvas_size: (H, W), pixels.
    rng: source of the positions.

  Returns:
    int `[C, 2]`, (y0, x0) of the boxes, pixels.

  Raises:
    DataError: if no attempt finds a place for every box.
  """
  largest_first = np.argsort(-sizes.prod(-1), kind="stable")
  for _ in range(_UNIFORM_RESTARTS):
    origins = _try_in_turn(sizes, canvas_size, largest_first, rng)
    if origins is not None:
      return origins
  for _ in range(_PACKED_RESTARTS):
    order = rng.permutation(len(sizes))
    origins = _try_in_turn(sizes, canvas_size, order, rng=None)
    if origins is not None:
      return origins
  raise _crowded(sizes, canvas_size, "could not")


def _try_in_turn(
  sizes: np.ndarray,
  canvas_size: tuple[int, ...],
  order: np.ndarray,
  rng: np.random.Generator | None,
) -> np.ndarray | None:
  """Places boxes in an order: uniformly, or without `rng` at the first place.

  Returns:
    int `[C, 2]`, (y0, x0) of the boxes, or None if one finds no free position.
  """
  height, width = canvas_size
  origins = np.zeros_like(sizes)
  placed: list[tuple[int, int, int, int]] = []
  for k in order.tolist():
    h, w = sizes[k].tolist()
    free = np.ones((height - h + 1, width - w + 1), bool)
    for y0, x0, y1, x1 in placed:
      free[max(0, y0 - h + 1) : y1, max(0, x0 - w + 1) : x1] = False
    positions = np.flatnonzero(free)
    if not positions.size:
      return None
    choice = 0 if rng is None else rng.integers(positions.size)
    y, x = divmod(int(positions[choice]), free.shape[1])
    origins[k] = y, x
    placed.append((y, x, y + h, x + w))
  return origins
