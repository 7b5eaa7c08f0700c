"""TensorBoard's projector: what the model says of single objects, to look at.

Of every object found in some images: its code z_what, the digit that it is,
and its picture. The projector lays the codes out in two or three dimensions.
"""

import math
import pathlib
import shutil

import numpy as np
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins import projector

from air import metrics, transformer
from air.outputs import AIROutput
from air.storage import files

_CONFIG = projector.metadata.PROJECTOR_FILENAME
_FOLDER = "projector"
_CODES = "codes.tsv"
_OBJECTS = "objects.tsv"
_GLIMPSES = "glimpses.png"


def write(
  run_dir: pathlib.Path,
  output: AIROutput,
  labels: np.ndarray | None,
  boxes: np.ndarray | None,
) -> None:
  """Writes the objects found in N images for the projector.

  What was there of other images goes, also if no object is found. Codes, labels
  and pictures are always of one and the same call.

  Args:
    run_dir: the run's folder, of which TensorBoard reads the files.
    output: of the model, as numpy arrays; the first `num_steps` steps of an
      image are its objects.
    labels: int `[N, M]`, the classes of the M true objects, -1 where there is
      none; None: not known.
    boxes: `[N, M, 4]`, their boxes (y0, x0, y1, x1), pixels.
  """
  folder, config_path = run_dir / _FOLDER, run_dir / _CONFIG
  steps, images = np.nonzero(
    np.arange(len(output.steps.what))[:, None] < output.num_steps
  )
  if not len(images):
    config_path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    return
  columns = {"image": images, "step": steps + 1}
  if labels is not None and boxes is not None:
    found = transformer.boxes(
      output.steps.window[steps, images], output.images.shape[1:]
    ).numpy()
    matched = metrics.matched_labels(found, labels[images], boxes[images])
    columns = {"digit": np.where(matched < 0, "none", matched), **columns}
  codes = output.steps.what_loc[steps, images]
  glimpses = output.steps.glimpse[steps, images]
  with files.new_folder(folder) as temporary:
    np.savetxt(temporary / _CODES, codes, fmt="%.5g", delimiter="\t")
    rows = [columns, *zip(*columns.values(), strict=True)]
    lines = ["\t".join(str(value) for value in row) + "\n" for row in rows]
    (temporary / _OBJECTS).write_text("".join(lines), encoding="utf-8")
    Image.fromarray(_sprite(glimpses)).save(temporary / _GLIMPSES)
    # The folder keeps its name, which a TensorBoard that runs remembers; the
    # configuration names it only while it is whole.
    config_path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
  config = projector.ProjectorConfig()
  embedding = config.embeddings.add()
  embedding.tensor_name = "z_what"
  embedding.tensor_path = f"{_FOLDER}/{_CODES}"
  embedding.metadata_path = f"{_FOLDER}/{_OBJECTS}"
  embedding.sprite.image_path = f"{_FOLDER}/{_GLIMPSES}"
  embedding.sprite.single_image_dim.extend(glimpses.shape[:0:-1])
  files.write_text(config_path, text_format.MessageToString(config))


def _sprite(pictures: np.ndarray) -> np.ndarray:
  """Returns pictures `[K, h, w]` in [0, 1] as one, row by row, in uint8."""
  count, height, width = pictures.shape
  side = math.ceil(math.sqrt(count))
  padded = np.zeros([side * side, height, width], np.uint8)
  padded[:count] = np.round(255.0 * np.clip(pictures, 0.0, 1.0))
  grid = padded.reshape([side, side, height, width]).swapaxes(1, 2)
  return grid.reshape([side * height, side * width])
