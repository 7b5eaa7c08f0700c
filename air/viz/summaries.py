"""TensorBoard: what runs write, under the tags of the blog's code.

There `<tag>/train` and `<tag>/test` are the training images and images held
out; so they are here, with the validation images as `test`: a run of either
code overlays the other's in one chart.

Tags of our own are in groups: `Accuracy`, with what the blog calls num_step_acc
once more, and `ELBO`, in capitals, which TensorBoard sorts first; `schedules`;
and `diagnostics`.
"""

import contextlib
import itertools
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import message
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.util import tensor_util

from air.evaluation import ImageMetrics
from air.storage import files
from air.training import BASELINE_RATE_RATIO, Trainer, rate_factor

EVENT_FILES = "events.out.tfevents.*"
SPEED = "diagnostics/iterations_per_second"
# The custom-scalars dashboard: category to chart to the pattern of its tags.
_LAYOUT = {
  "counting accuracy": {
    "counting accuracy": r"Accuracy/",
    "counting accuracy by number of objects": r"num_step_acc_of_\d+/test",
  },
  "ELBO": {"ELBO": r"ELBO/"},
  "terms": {
    "reconstruction error": r"rec_loss/",
    "KL terms, under the annealed priors": r"kl_\w+/test",
  },
  "schedules": {
    "learning rate": r"schedules/learning_rate",
    "presence floor": r"schedules/presence_floor",
    "success probability of the prior": r"schedules/prior_success_probability",
  },
}


def evaluation_scalars(
  image_metrics: ImageMetrics, summary: Mapping, has_baseline: bool
) -> dict[str, float]:
  """Returns the scalars of an evaluation under the original's names.

  All but `ELBO` are under the priors at the evaluation's iteration.

  Args:
    image_metrics: of the images, see `air.evaluation`.
    summary: of the same, see `air.evaluation.summarize`.
    has_baseline: also those of the score function and its baseline.

  Returns:
    tag, without the split, to value in nats, or fraction of images.
  """
  mean = {k: float(np.mean(v)) for k, v in image_metrics._asdict().items()}
  kls = {
    "kl_num_steps": mean["kl_num_steps_annealed"],
    "kl_what": mean["kl_what"],
    "kl_where": mean["kl_where_annealed"],
  }
  if "kl_background" in summary:
    kls["kl_background"] = mean["kl_background"]
  prior_loss = sum(kls.values())
  scalars = {
    "loss": mean["reconstruction"] + prior_loss,
    "rec_loss": mean["reconstruction"],
    "prior_loss": prior_loss,
    **kls,
    "num_step": mean["num_steps"],
    "ELBO": mean["elbo"],
  }
  if has_baseline:
    scalars["reinforce_loss"] = mean["reinforce_loss"]
    scalars["baseline_loss"] = mean["baseline_loss"]
    scalars["imp_weight"] = mean["learning_signal"]
  if "count_accuracy" in summary:
    scalars["num_step_acc"] = summary["count_accuracy"]
    scalars["Accuracy/sampled_n"] = summary["count_accuracy"]
    scalars["Accuracy/most_probable_n"] = summary["count_accuracy_mode"]
    for count, accuracy in summary["count_accuracy_per_count"].items():
      scalars[f"num_step_acc_of_{count}"] = accuracy
  return scalars


class SummaryWriter:
  """Writes the event file of a run."""

  def __init__(self, run_dir: pathlib.Path):
    """Opens a new event file in the run's folder.

    Methods raise OSError if it cannot be written. TensorFlow does not notice
    if only the last part of an event does not fit on a disk; what is written
    next does not fit either, and `drop_after` removes such a part.
    """
    self._folder = run_dir
    with files.tensorflow_errors(run_dir):
      self._writer = tf.summary.create_file_writer(str(run_dir))

  @contextlib.contextmanager
  def _at(self, iteration: int) -> Iterator[None]:
    """Has what is written in its body be of an iteration."""
    with (
      files.tensorflow_errors(self._folder),
      self._writer.as_default(step=iteration),
    ):
      yield

  def scalars(self, values: Mapping[str, float], iteration: int) -> None:
    """Writes a scalar for each tag."""
    with self._at(iteration):
      for tag, value in values.items():
        tf.summary.scalar(tag, value)

  def image(self, tag: str, rgb: np.ndarray, iteration: int) -> None:
    """Writes an image `[H, W, 3]` uint8."""
    with self._at(iteration):
      tf.summary.image(tag, rgb[None])

  def text(self, tag: str, markdown: str, iteration: int) -> None:
    """Writes a text in Markdown."""
    with self._at(iteration):
      tf.summary.text(tag, markdown)

  def layout(self) -> None:
    """Writes which charts the custom-scalars dashboard shows."""
    layout = layout_pb2.Layout(
      category=[
        layout_pb2.Category(
          title=category,
          chart=[
            layout_pb2.Chart(
              title=title, multiline=layout_pb2.MultilineChartContent(tag=[tag])
            )
            for title, tag in charts.items()
          ],
        )
        for category, charts in _LAYOUT.items()
      ]
    )
    with self._at(0):
      tf.summary.experimental.write_raw_pb(
        custom_scalar.pb(layout).SerializeToString()
      )

  def hparams(self, settings: Mapping[str, Any]) -> None:
    """Writes what the HParams dashboard compares runs by.

    Without a trial's name it takes the run's path in TensorBoard's folder, and
    so tells runs of equal settings apart, also when they are moved or copied.

    Args:
      settings: of the run, by flag: those that are to be compared.
    """
    values = {
      flag: value if isinstance(value, (bool, int, float, str)) else str(value)
      for flag, value in settings.items()
    }
    with self._at(0):
      hparams.hparams(values, trial_id="")

  def gradients(
    self,
    variables: Iterable[tf.Variable],
    gradients: Iterable[tf.Tensor],
    iteration: int,
  ) -> None:
    """Writes each gradient's histogram and its size relative to the weights.

    Args:
      variables: of the model.
      gradients: in each of them.
      iteration: at which they were taken.
    """
    with self._at(iteration):
      for variable, gradient in zip(variables, gradients, strict=True):
        name = variable.name.split(":")[0]
        tf.summary.histogram(f"diagnostics/gradient/{name}", gradient)
        ratio = tf.norm(gradient) / (tf.norm(variable) + 1e-12)
        tf.summary.scalar(f"diagnostics/gradient_to_weight/{name}", ratio)

  def flush(self) -> None:
    """Brings everything written so far to the file."""
    with files.tensorflow_errors(self._folder):
      self._writer.flush()

  def close(self) -> None:
    """Flushes and closes the file."""
    with files.tensorflow_errors(self._folder):
      self._writer.close()


def read_scalars(
  path: pathlib.Path, tags: Iterable[str]
) -> dict[str, dict[int, float]]:
  """Reads scalars that TensorFlow 1 or 2 wrote.

  A file is read up to where it is cut off or damaged. Where a writer started
  again from an earlier iteration, what it wrote is taken, as in TensorBoard.
  Files come in the order of their iterations: their names tell the clocks of
  machines, one of which may be ahead.

  Args:
    path: of an event file, or of a folder with some.
    tags: which scalars.

  Returns:
    For each tag that occurs, iteration to value.
  """
  wanted = set(tags)
  points = [
    [
      (event.step, value)
      for event in _events(file)
      for value in event.summary.value
      if value.tag in wanted
    ]
    for file in _event_files(path)
  ]
  points = [found for found in points if found]
  points.sort(key=lambda found: min(step for step, _ in found))
  scalars: dict[str, dict[int, float]] = {}
  for step, value in itertools.chain.from_iterable(points):
    array = tensor_util.make_ndarray(value.tensor)
    if array.size == 1:
      series = scalars.setdefault(value.tag, {})
      while series and next(reversed(series)) >= step:
        series.popitem()
      series[step] = float(array.item())
  return scalars


def has_hparams(run_dir: pathlib.Path) -> bool:
  """Returns whether a run's event files hold what `hparams` writes."""
  return any(
    value.tag == hparams_metadata.SESSION_START_INFO_TAG
    for file in _event_files(run_dir)
    for event in _events(file)
    for value in event.summary.value
  )


def _event_files(path: pathlib.Path) -> list[pathlib.Path]:
  """Returns an event file, or all in a folder, by name."""
  found = sorted(path.glob(EVENT_FILES)) if path.is_dir() else [path]
  return [file for file in found if file.is_file()]


def _events(path: pathlib.Path) -> Iterator[Any]:
  """Yields the events of a file up to its end, or to where it is damaged.

  Args:
    path: of the file.

  Raises:
    OSError: if it cannot be read.
  """
  with (
    files.tensorflow_errors(path),
    contextlib.suppress(message.DecodeError),  # a record, but no event
  ):
    yield from event_file_loader.EventFileLoader(str(path)).Load()


def schedule_scalars(trainer: Trainer) -> dict[str, float]:
  """Returns the scheduled quantities at the trainer's iteration."""
  iteration = trainer.iteration.numpy()
  training = trainer.config.training
  rate = training.learning_rate * float(rate_factor(training, iteration))
  log_success = trainer.model.log_success_probability(iteration)
  scalars = {
    "schedules/learning_rate": rate,
    "schedules/prior_success_probability": float(np.exp(log_success)),
    "schedules/presence_floor": float(trainer.model.presence_floor(iteration)),
  }
  if trainer.model.baseline is not None:
    scalars["schedules/learning_rate_baseline"] = rate * BASELINE_RATE_RATIO
  return scalars


def drop_after(run_dir: pathlib.Path, iteration: int) -> None:
  """Removes from the event files what was written after the iteration.

  A run that goes on from a checkpoint writes it again.

  Args:
    run_dir: the run's folder.
    iteration: events of later steps are dropped, and so is what follows a
      record that was cut off, and a file of which nothing is left.

  Raises:
    OSError: if a file cannot be read or written.
  """
  for path in sorted(run_dir.glob(EVENT_FILES)):
    records, whole = read_records(path)
    kept = [
      record
      for record in records
      if tf.compat.v1.Event.FromString(record).step <= iteration
    ]
    if whole and len(kept) == len(records):
      continue
    if len(kept) <= 1:  # but for the record of the file's version
      path.unlink()
      continue
    with (
      files.replacing(path) as temporary,
      files.tensorflow_errors(path),
      tf.io.TFRecordWriter(str(temporary)) as writer,
    ):
      for record in kept:
        writer.write(record)


def read_records(path: pathlib.Path) -> tuple[list[bytes], bool]:
  """Returns the events of a file up to its end, or to where it is damaged.

  Args:
    path: of an event file.

  Returns:
    The events, as TensorFlow's messages, and whether the file is whole.
  """
  found: list[bytes] = []
  records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
  with files.tensorflow_errors(path):
    while True:
      try:
        record = next(records)
        tf.compat.v1.Event.FromString(record)
      except StopIteration:
        return found, True
      except (tf.errors.DataLossError, message.DecodeError):
        return found, False
      found.append(record)
