"""Whether the files of a run are whole, and two runs alike."""

import pathlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins import projector

from air.errors import CheckpointError
from air.storage import checkpoints, files
from air.viz import summaries
from experiments.common import configuration, runs

# Of TensorBoard's events, those that hold a clock.
_TIMED_EVENTS = (summaries.SPEED, "_hparams_/session_start_info")
_PNG_END = b"IEND\xaeB`\x82"
# What differs between equal runs: times, in metrics.jsonl, and identities.
_OF_RUN = re.compile(rb'"(seconds|id)": [^,}]*')


def broken_files(folder: pathlib.Path, ended: bool = False) -> Iterator[str]:
  """Yields what is wrong with a run's files that claim to be whole.

  Args:
    folder: of the run.
    ended: it has come to its end. Before, a file of events may be cut off,
      which is read up to there, and incomplete files may be left behind.
  """
  newest = -1
  for path in checkpoints.find(folder / "checkpoints"):
    newest = max(newest, checkpoints.iteration_of(path))
    try:
      checkpoints.verify(path)
    except CheckpointError as error:
      yield str(error)
  for path in _other_files(folder):
    try:
      _check(path)
    except (
      *(OSError, ValueError, SyntaxError),
      *(flags.Error, text_format.ParseError),
    ) as error:
      yield f"{path} is broken: {error}"
  if ended:
    for path in sorted(folder.glob(summaries.EVENT_FILES)):
      if not summaries.read_records(path)[1]:
        yield f"{path} is broken: it is cut off or damaged"
    for path in incomplete(folder):
      yield f"{path} was left behind"
  try:
    lines = files.read_text(folder / "metrics.jsonl").splitlines()
    evaluated = {files.parse_json(line)["iteration"] for line in lines}
  except FileNotFoundError:
    evaluated = set()
  except ValueError:
    return  # which is said above
  logged = summaries.read_scalars(folder, ["ELBO/test"]).get("ELBO/test", {})
  for iteration in sorted(evaluated ^ logged.keys()):
    if iteration <= newest:
      yield (
        f"{folder} has lost the evaluation of iteration {iteration}, or its"
        " events"
      )


def incomplete(folder: pathlib.Path) -> list[pathlib.Path]:
  """Returns what claims to be incomplete, but for what is in it."""
  return [
    path
    for path in sorted(folder.rglob(f"{files.PARTIAL}*"))
    if files.PARTIAL not in str(path.parent.relative_to(folder))
  ]


def _other_files(folder: pathlib.Path) -> list[pathlib.Path]:
  """Returns a run's whole files, but for events, checkpoints and the lock."""
  return [
    path
    for path in sorted(folder.rglob("*"))
    if path.is_file()
    and path.name != ".lock"
    and not path.match(summaries.EVENT_FILES)
    and not path.is_relative_to(folder / "checkpoints")
    and files.PARTIAL not in str(path.relative_to(folder))
  ]


def _check(path: pathlib.Path) -> None:
  """Raises an error if a file of a run is broken."""
  if path.suffix == ".png":
    with Image.open(path) as image:
      image.verify()
    if not path.read_bytes().endswith(_PNG_END):
      raise ValueError("it is cut off")
    return
  text = files.read_text(path)
  if text and not text.endswith("\n"):
    raise ValueError("it is cut off")
  if path.suffix == ".jsonl":
    for line in text.splitlines():
      files.parse_json(line)
  elif path.suffix == ".json":
    files.parse_json(text)
  elif path.name == "flags.txt":
    known = flags.FlagValues()
    runs.define_run_dir_flag(known)
    configuration.define_training_flags(known)
    known(["train", f"--run_dir={path.parent}", f"--flagfile={path}"])
    if runs.flags_text(known) != text:
      raise ValueError("it does not hold all flags")
  elif path.suffix == ".pbtxt":
    config = text_format.Parse(text, projector.ProjectorConfig())
    for embedding in config.embeddings:
      _check_embedding(path.parent, embedding)


def _check_embedding(
  folder: pathlib.Path, embedding: projector.EmbeddingInfo
) -> None:
  """Raises a ValueError if codes, objects and pictures are not as many."""
  codes = (folder / embedding.tensor_path).read_text().splitlines()
  objects = (folder / embedding.metadata_path).read_text().splitlines()[1:]
  width, height = embedding.sprite.single_image_dim
  with Image.open(folder / embedding.sprite.image_path) as image:
    places = (image.width // width) * (image.height // height)
  if not len(codes) == len(objects) <= places:
    raise ValueError(
      f"codes: {len(codes)}, objects: {len(objects)}, places: {places}"
    )


def _contents(folder: pathlib.Path) -> Iterator[tuple[str, Any]]:
  """Yields names and contents of all that is in a finished run, but clocks."""
  for path in checkpoints.find(folder / "checkpoints"):
    try:
      checkpoints.verify(path)
    except CheckpointError:
      continue
    reader = tf.train.load_checkpoint(str(path / "state"))
    for name in reader.get_variable_to_shape_map():
      # A description of the Python objects, not part of the state.
      if name != "_CHECKPOINTABLE_OBJECT_GRAPH":
        tensor = np.asarray(reader.get_tensor(name))
        yield f"{name} of {path.name}", tensor.tobytes()
  for path in _other_files(folder):
    content = path.read_bytes()
    if path.name in ("metrics.jsonl", "config.json"):
      content = _OF_RUN.sub(b"", content)
    yield str(path.relative_to(folder)), content
  events: dict[str, list[tuple[int, bytes]]] = {}
  for path in folder.glob(summaries.EVENT_FILES):
    for record in summaries.read_records(path)[0]:
      event = tf.compat.v1.Event.FromString(record)
      for value in event.summary.value:
        tag = value.tag
        content = b"" if tag in _TIMED_EVENTS else value.SerializeToString()
        events.setdefault(tag, []).append((event.step, content))
  for tag, values in events.items():
    yield f"events {tag}", sorted(values)


def differences(run: pathlib.Path, other: pathlib.Path) -> list[str]:
  """Returns in what two finished runs of the same flags differ.

  Args:
    run: its folder.
    other: the other's.
  """
  a, b = dict(_contents(run)), dict(_contents(other))
  names = sorted(a.keys() | b.keys())
  return [name for name in names if a.get(name) != b.get(name)]
