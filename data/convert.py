r"""Writes images of another format as one npz file, for --data of training.

  python -m data.convert --source=FOLDER --out=mine.npz --preview=mine.png
  python -m data.convert --source=scenes.h5 --images=x --counts=y --out=mine.npz

--source is one of

  a folder of PNG and JPEG files, or of the folders train, and perhaps test and
      validation, of them
  npz, HDF5      --images names the array, and --counts that of the counts
  npy, IDX       a single array; --counts is another file of one
  *.tfrecord(s)  Multi-dSprites, Tetrominoes, CLEVR with masks and Objects Room

Splits that the source does not have are held out of its images, drawn at random
by --seed. Videos become images, and all frames of a video come to one split.
The file holds {train,validation,test}_{images,counts}.
"""

import contextlib
import dataclasses
import functools
import math
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from absl import flags
from PIL import Image

from air import images
from air.images import Reading
from data import command_line, pictures, sources, tfrecords
from data import counts as counts_lib
from data.dataset import Dataset, Split
from data.errors import DataError, expanded, require

_SPLITS = ("train", "validation", "test")
_HELD_OUT = 0.1  # by default, of each of the splits that the source lacks
_MAX_HELD_OUT = 10_000
_LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601


def run(argv: Sequence[str] | None = None) -> int:
  """Does what the command line says, see `command_line.run`."""
  return command_line.run("convert", __doc__, define_flags, _main, argv)


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this command line's flags."""
  define = functools.partial(command_line.define, flag_values)
  text = functools.partial(define, flags.DEFINE_string)
  integer = functools.partial(define, flags.DEFINE_integer, lower_bound=0)
  choice = functools.partial(define, flags.DEFINE_enum)
  text(
    "source",
    None,
    "file or folder of the training images, or of all",
    required=True,
  )
  command_line.define_output(flag_values)
  text(
    "images",
    "",
    "array of the images in an npz or HDF5 file; empty: the only one",
  )
  text(
    "counts",
    "",
    "numbers of objects: an array in an npz or HDF5 file, else an npy or IDX"
    " file; empty: none",
  )
  for split in ("validation", "test"):
    text(f"{split}_source", "", f"file or folder of the {split} images")
    text(f"{split}_images", "", "their array; empty: --images, of another file")
    text(
      f"{split}_counts",
      "",
      "their counts; empty: --counts, if it is an array, of another file",
    )
    text(
      f"{split}_size",
      "",
      f"how many images to hold out for {split} if the source has none: a"
      " number, or a share of them below 1; empty: a tenth, at most 10,000",
    )
  integer("seed", 0, "seed of what is held out")
  integer(
    "num_images", 0, "only the first so many images of each source; 0: all"
  )
  command_line.define_tuple_flag(
    int,
    name="resize",
    default=(),
    help="height,width in pixels; empty: as they are",
    flag_values=flag_values,
    module_name=command_line.GROUP,
  )
  choice(
    "grey",
    "max",
    "what becomes of colours: max, the brightest channel of a pixel, so that an"
    " object is as bright in blue as in white; luminance, as the eye sees it",
    enum_values=["max", "luminance"],
  )
  define(
    flags.DEFINE_bool,
    "invert",
    False,
    "whether objects are dark on a bright ground",
  )
  define(
    flags.DEFINE_float,
    "max_value",
    0.0,
    "what the brightest possible pixel is stored as; 0: 255 of uint8, 1 of"
    " floats and bool; other types have to state it",
  )
  choice(
    "axes",
    "auto",
    "of an array: N images or videos, T frames, H, W, C channels; auto: C is"
    " last, and of two before H and W the shorter is T",
    enum_values=list(sources.AXES),
  )
  choice(
    "counts_as",
    "auto",
    "how counts are stored: as a number; onehot, a 1 in the column of the"
    " number; unary, so many ones, then zeros; auto: as they can be",
    enum_values=list(counts_lib.FORMATS),
  )


@dataclasses.dataclass(frozen=True)
class _Source:
  """Where the images of a split are.

  Attributes:
    flag: that names the file or folder.
    name: of the file or folder.
    images: array of the images, or "".
    counts: array or file of the counts, or "".
    prefix: of the flags that name these.
  """

  flag: str
  name: str
  images: str
  counts: str
  prefix: str


def _main(values: dict[str, Any]) -> None:
  command_line.check_output(values)
  size = values["resize"]
  require(
    len(size) in (0, 2) and all(1 <= side <= 1 << 12 for side in size),
    "resize",
    size,
    "height,width",
  )
  reading = Reading(values["invert"], values["max_value"])
  splits, videos = {}, {}
  for name, source in _sources(values).items():
    splits[name], videos[name] = _read(source, size, reading, values)
  # Before any are held out: what is drawn of few images may well be black.
  images.check_sets(
    {f"{n}_images": split.images for n, split in splits.items()}
  )
  total = len(splits["train"].images)
  for name in ("test", "validation"):
    if name not in splits:
      splits["train"], splits[name], videos["train"] = _hold_out(
        splits["train"],
        videos["train"],
        name,
        _size(name, total, values),
        values["seed"],
      )
    elif values[f"{name}_size"]:
      raise DataError(
        f"{name}_size is {values[f'{name}_size']}, expected none: the source"
        f" has images for {name}"
      )
  sizes = {name: splits[name].images.shape[1:] for name in _SPLITS}
  if len(set(sizes.values())) > 1:
    raise DataError(
      "source has images of different sizes, expected the same in all splits"
      " (--resize): "
      + ", ".join(f"{name} {h}x{w}" for name, (h, w) in sizes.items())
    )
  name = pathlib.Path(values["source"]).absolute().name
  dataset = Dataset(**splits, digit_source=name)
  command_line.write_output(values, dataset)
  for name in _SPLITS:
    print(_described(name, splits[name]))


def _sources(values: dict[str, Any]) -> dict[str, _Source]:
  """Returns where the images are of the splits that there are."""
  found = {
    "train": _Source(
      "source", values["source"], values["images"], values["counts"], ""
    )
  }
  folder = expanded("source", values["source"])
  is_split = folder.is_dir() and (folder / "train").is_dir()
  if is_split:
    found["train"] = dataclasses.replace(
      found["train"], name=str(folder / "train")
    )
  for name in ("validation", "test"):
    own = {
      field: values[f"{name}_{field}"]
      for field in ("source", "images", "counts")
    }
    if is_split and (folder / name).is_dir():
      own["source"] = own["source"] or str(folder / name)
    if own["source"]:  # another file, with the same arrays
      flag = f"{name}_source"
      keyed = _is_keyed(flag, own["source"])
      own["images"] = own["images"] or values["images"]
      own["counts"] = own["counts"] or (values["counts"] if keyed else "")
    elif own["images"]:  # another array of the same file
      flag, own["source"] = "source", values["source"]
    elif own["counts"]:
      raise DataError(
        f'{name}_counts is "{own["counts"]}", expected {name}_source or'
        f" {name}_images too"
      )
    else:
      continue
    found[name] = _Source(
      flag, own["source"], own["images"], own["counts"], f"{name}_"
    )
  return found


def _is_keyed(flag: str, name: str) -> bool:
  path = expanded(flag, name)
  return path.is_file() and sources.has_keys(path)


def _read(
  source: _Source,
  size: tuple[int, ...],
  reading: Reading,
  values: dict[str, Any],
) -> tuple[Split, np.ndarray]:
  """Returns a split, and the video that each image is of (itself, if none)."""
  path = expanded(source.flag, source.name)
  is_records = ".tfrecord" in path.name
  is_pictures = path.is_dir() or path.suffix.lower() in pictures.SUFFIXES
  if source.images and (is_records or is_pictures):
    raise DataError(
      f'{source.prefix}images is "{source.images}", expected it only with an'
      " npz or HDF5 file"
    )
  if source.counts and is_records:
    raise DataError(
      f'{source.prefix}counts is "{source.counts}", expected none: TFRecords'
      " say what is visible"
    )
  counts: np.ndarray | None = None
  of_records: list[np.ndarray | None] = []
  num_images, videos, frames = values["num_images"], 0, 1
  with contextlib.ExitStack() as stack:
    if is_records:
      records = tfrecords.read(
        sources.existing(source.flag, source.name), num_images
      )
      parts = _images_of(records, of_records)
    elif is_pictures:
      paths = pictures.find(source.flag, source.name)
      videos = len(paths)
      parts = _pictures(source.flag, paths[: num_images or None], size)
    else:
      key_flag = f"{source.prefix}images"
      array = stack.enter_context(
        sources.opened(source.flag, source.name, key_flag, source.images)
      )
      axes = sources.axes_of(source.name, array.shape, values["axes"])
      shape = dict(zip(axes, array.shape, strict=True))
      videos, frames = shape["N"], shape.get("T", 1)
      if "T" in axes:
        print(f"{source.name}: {videos} videos of {frames} frames ({axes})")
      parts = sources.parts(array, axes, num_images)
    prepared = (
      _resized(_grey(p, values["grey"]), size, reading) for p in parts
    )
    pixels = sources.joined(source.name, prepared)
  read = images.read(source.name, pixels, reading, rounded=True)
  if source.counts:
    counts = _counts(source, videos, frames, values["counts_as"])[: len(read)]
  elif of_records and all(part is not None for part in of_records):
    counts = np.concatenate([p for p in of_records if p is not None])
  return Split(read, counts), np.arange(len(read)) // frames


def _images_of(
  records: Iterator[tuple[np.ndarray, np.ndarray | None]],
  counts: list[np.ndarray | None],
) -> Iterator[np.ndarray]:
  """Yields the images of records, and collects their counts."""
  for pixels, part in records:
    counts.append(part)
    yield pixels


def _pictures(
  flag: str, paths: Sequence[pathlib.Path], size: tuple[int, ...]
) -> Iterator[np.ndarray]:
  # To be resized, they may be of different sizes.
  for group in [[path] for path in paths] if size else [paths]:
    pixels = pictures.read(flag, group)
    yield pixels * np.uint8(255) if pixels.dtype == bool else pixels


def _grey(part: np.ndarray, grey: str) -> np.ndarray:
  """Returns `[N, H, W]`, or with an opacity `[N, H, W, 4]`, if by luminance."""
  if grey == "max" or part.ndim == 3 or part.shape[-1] == 1:
    return part
  weights = np.array(_LUMINANCE, np.float32)
  mean = part[..., :3].astype(np.float32) @ weights
  if part.dtype.kind in "iu":
    mean = np.round(mean)
  mean = mean.astype(part.dtype if part.dtype != bool else np.float32)
  if part.shape[-1] == 3:
    return mean
  opacity = part[..., 3].astype(mean.dtype)
  return np.stack([mean, mean, mean, opacity], axis=-1)


def _resized(
  part: np.ndarray, size: tuple[int, ...], reading: Reading
) -> np.ndarray:
  """Returns images of another size, each pixel a weighted mean of others.

  Args:
    part: `[N, H, W]` or `[N, H, W, C]`.
    size: (H, W), or empty.
    reading: of the images; if it states a maximum, which may be small, what is
      between two pixels is not rounded.
  """
  if not size or part.shape[1:3] == tuple(size):
    return part
  if not part.size:
    return np.zeros((len(part), *size, *part.shape[3:]), part.dtype)
  height, width = size
  channels = part.reshape(*part.shape[:3], -1)
  result = np.empty((len(part), *size, channels.shape[-1]), np.float32)
  for i, image in enumerate(channels):
    for c in range(image.shape[-1]):
      plane = Image.fromarray(image[..., c].astype(np.float32))
      resized = plane.resize((width, height), Image.Resampling.BILINEAR)
      result[i, ..., c] = np.asarray(resized)
  if part.dtype == np.uint8 and not reading.max_value:
    result = np.round(result).astype(np.uint8)
  return result.reshape(*result.shape[:3], *part.shape[3:])


def _counts(
  source: _Source, videos: int, frames: int, counts_as: str
) -> np.ndarray:
  """Returns the counts of all images of a source, int32.

  Args:
    source: that has counts.
    videos: how many there are; or images.
    frames: of each; 1 of images.
    counts_as: see the flag.
  """
  flag = f"{source.prefix}counts"
  if _is_keyed(source.flag, source.name):
    opened = sources.opened(source.flag, source.name, flag, source.counts)
  else:
    opened = sources.opened(flag, source.counts, flag, "")
  with opened as array:
    name = f"{flag} {source.counts}"
    decoded = counts_lib.decoded(name, np.asarray(array), counts_as)
  if len(decoded) == videos:
    return np.repeat(decoded, frames)
  if len(decoded) != videos * frames:
    each = f" or {videos * frames}" if frames > 1 else ""
    raise DataError(
      f'{flag} is "{source.counts}" with {len(decoded)} counts, expected'
      f" {videos}{each}, as many as images"
    )
  return decoded


def _size(name: str, total: int, values: dict[str, Any]) -> int:
  """Returns how many images to hold out for a split, of so many."""
  flag = f"{name}_size"
  if not values[flag]:
    return min(_MAX_HELD_OUT, max(1, round(total * _HELD_OUT)))
  try:
    number = float(values[flag])
  except ValueError:
    number = math.nan
  if not (0 < number < 1 or (number >= 1 and number.is_integer())):
    raise DataError(
      f'{flag} is "{values[flag]}", expected a number of images, or a share'
      " between 0 and 1"
    )
  return max(1, round(total * number)) if number < 1 else int(number)


def _hold_out(
  split: Split, videos: np.ndarray, name: str, size: int, seed: int
) -> tuple[Split, Split, np.ndarray]:
  """Holds out all images of videos that are drawn at random; the order stays.

  Args:
    split: to hold them out of.
    videos: `[N]`, of each image, in order.
    name: of the split that they are for.
    size: how many images; or a few more, to the end of a video.
    seed: of what is drawn.

  Returns:
    What is left, what is held out, and the videos of what is left.
  """
  rng = np.random.default_rng([seed, _SPLITS.index(name)])
  drawn = rng.permutation(np.unique(videos))
  up_to = np.cumsum(np.bincount(videos)[drawn])
  chosen = drawn[: np.searchsorted(up_to, size) + 1]
  is_held_out = np.isin(videos, chosen)
  if is_held_out.all():
    raise DataError(
      f"{name}_size is {size}, expected fewer than there are images left, which"
      f" are {len(videos)}"
    )
  known = {k: v for k, v in split._asdict().items() if v is not None}
  left, held_out = (
    Split(**{k: v[where] for k, v in known.items()})
    for where in (~is_held_out, is_held_out)
  )
  return left, held_out, videos[~is_held_out]


def _described(name: str, split: Split) -> str:
  """Returns what a split is, as a line of text."""
  pixels = split.images
  text = (
    f"{name}: {len(pixels)} images of {pixels.shape[1]}x{pixels.shape[2]},"
    f" {pixels.min()} to {pixels.max()}"
  )
  if split.counts is None:
    return f"{text}, no counts"
  numbers = np.bincount(split.counts)
  counts = ", ".join(f"{n}: {numbers[n]}" for n in np.flatnonzero(numbers))
  return f"{text}, counts {counts}"


if __name__ == "__main__":
  sys.exit(run())
