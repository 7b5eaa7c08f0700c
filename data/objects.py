"""How large objects are, by the images alone: connected parts of bright ink.

Objects that touch are one part, and one object may be several. The median is
right as long as most parts are objects.
"""

import numpy as np
from scipy import ndimage

_IMAGES = 1_000  # that are looked at, the first ones
_INK = 128  # the darkest pixel of an object
_FEWEST_PIXELS = 8  # of a part; others are noise
_FEWEST_PARTS = 10
_MARGIN = 2  # pixels, of a window beyond its object


def median_side(images: np.ndarray) -> float | None:
  """Returns the longer side of objects, pixels: the median over all parts.

  Args:
    images: uint8 `[N, H, W]`, objects bright on a darker ground.

  Returns:
    The side; None: there are too few parts to tell.
  """
  sides: list[int] = []
  for image in images[:_IMAGES]:
    parts, _ = ndimage.label(image >= _INK, structure=np.ones((3, 3)))
    areas = np.bincount(parts.ravel())
    for label, box in enumerate(ndimage.find_objects(parts), start=1):
      if areas[label] >= _FEWEST_PIXELS:
        sides.append(max(axis.stop - axis.start for axis in box))
  return float(np.median(sides)) if len(sides) >= _FEWEST_PARTS else None


def window_prior_mean(side: float, image_size: tuple[int, ...]) -> float:
  """Returns a mean of the prior on window sizes, a logit.

  Args:
    side: of the objects, pixels.
    image_size: (H, W), pixels.
  """
  # One prior serves both axes.
  share = min((side + _MARGIN) / float(np.mean(image_size)), 0.9)
  return float(np.log(share / (1 - share)))


def described(images: np.ndarray) -> str | None:
  """Returns how large objects are, and the flag that says so; None: unknown.

  Args:
    images: see `median_side`.
  """
  side = median_side(images)
  if side is None:
    return None
  mean = window_prior_mean(side, images.shape[1:])
  return (
    f"objects: about {side:.0f} pixels (median of connected ink), which"
    f" --where_scale_prior_mean={mean:.1f} --where_scale_prior_std=0.3 fit"
  )
