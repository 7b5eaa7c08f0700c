r"""Trains AIR and evaluates it on images it never saw.

  python -m experiments.train --run_dir=runs/default
  python -m experiments.train --run_dir=runs/blog \
    --flagfile=experiments/configs/blog.flags

Started again on the same folder, it goes on where it stopped.
"""

import json
import math
import sys
import time
from typing import Any

import tensorflow as tf
from absl import flags

import experiments
from air import checkpoints, evaluation, files, projector, summaries
from air.evaluation import Evaluator, ImageMetrics
from air.training import DivergedError, StepMetrics, Trainer
from data.dataset import Dataset
from experiments import configuration, evaluate, launcher, runs, xla_cache
from experiments.launcher import UsageError
from experiments.progress import Progress
from experiments.stopping import StopSignal

# The training images on which `<tag>/train` is evaluated.
_TRAIN_IMAGES = 2_000


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  flags.DEFINE_string(
    "run_dir",
    None,
    "the run's folder",
    required=True,
    flag_values=flag_values,
    module_name="run",
  )
  define_training_flags(flag_values)


def define_training_flags(flag_values: flags.FlagValues) -> None:
  """Defines the flags of a run, wherever its folder is."""
  options = {"flag_values": flag_values, "module_name": "run"}
  for name, default, help_text in (
    ("iterations", 10_000, "iterations in all"),
    ("eval_every", 1_000, "iterations between evaluations"),
    ("figure_every", 2_500, "iterations between figures"),
    ("checkpoint_every", 1_000, "iterations between checkpoints"),
    ("keep_checkpoints", 3, "how many checkpoints are kept"),
  ):
    flags.DEFINE_integer(name, default, help_text, lower_bound=1, **options)
  flags.DEFINE_bool(
    "jit_compile", True, "compile the training step with XLA", **options
  )
  evaluate.define_data_cache_flag(flag_values)
  configuration.define_flags(flag_values)


class Recorder:
  """Evaluates, draws and logs a run while it trains."""

  def __init__(
    self,
    run: runs.Run,
    trainer: Trainer,
    dataset: Dataset,
    seconds_before: float,
  ):
    """Opens the run's log, to go on from the trainer's iteration.

    Args:
      run: to be recorded.
      trainer: of the run.
      dataset: of the run.
      seconds_before: how long earlier processes trained up to here.
    """
    self._seconds_before = seconds_before
    self._run = run
    self._trainer = trainer
    self._dataset = dataset
    self._train_split = dataset.train.first(_TRAIN_IMAGES)
    self.evaluator = Evaluator(trainer.model)
    self._validated: tuple[int, ImageMetrics] | None = None
    self.evaluations = run.read_metrics()
    described = summaries.has_hparams(run.folder)
    self._writer = summaries.SummaryWriter(run.folder)
    if not described:
      settings = run.settings()
      text = json.dumps(settings, indent=2)
      self._writer.text("configuration", f"```\n{text}\n```", 0)
      self._writer.hparams(settings)

  def seconds(self) -> float:
    """Returns how long the run has trained, start of the process included."""
    elapsed = time.monotonic() - experiments.STARTED
    return round(self._seconds_before + elapsed, 3)

  def _validation_metrics(self) -> ImageMetrics:
    """Returns the metrics of the validation images, evaluated only once."""
    iteration = int(self._trainer.iteration.numpy())
    if self._validated is None or self._validated[0] != iteration:
      image_metrics = self.evaluator.evaluate(
        self._dataset.validation.images,
        iteration,
        self._run.air.training.seed,
      )
      self._validated = (iteration, image_metrics)
    return self._validated[1]

  def evaluate(self) -> dict[str, Any]:
    """Evaluates on validation and training images and logs the results."""
    trainer = self._trainer
    iteration = int(trainer.iteration.numpy())
    train_metrics = self.evaluator.evaluate(
      self._train_split.images, iteration, self._run.air.training.seed
    )
    results = {}
    for name, split, image_metrics in (
      ("test", self._dataset.validation, self._validation_metrics()),
      ("train", self._train_split, train_metrics),
    ):
      results[name] = evaluation.summarize(
        image_metrics, split.counts, self._run.air.model.num_steps
      )
      scalars = summaries.evaluation_scalars(
        image_metrics, results[name], trainer.model.baseline is not None
      )
      self._writer.scalars(
        {f"{tag}/{name}": value for tag, value in scalars.items()}, iteration
      )
    self._writer.scalars(summaries.schedule_scalars(trainer), iteration)
    self._log_gradients(iteration)
    self._writer.flush()
    result = {
      "iteration": iteration,
      "split": "validation",
      "seconds": self.seconds(),
      **results["test"],
    }
    self.evaluations.append(result)
    self._run.write_metrics(self.evaluations)
    return result

  def _log_gradients(self, iteration: int) -> None:
    model = self._trainer.model
    _, *gradients = self._trainer.next_gradients()
    norm = tf.linalg.global_norm(gradients[0])
    self._writer.scalars({"gradient_norm": float(norm)}, iteration)
    variables = (model.model_variables, model.baseline_variables)
    for pair in zip(variables, gradients, strict=True):
      self._writer.gradients(*pair, iteration)

  def log_speed(self, iterations_per_second: float) -> None:
    """Logs the speed of training."""
    self._writer.scalars(
      {"iterations_per_second": iterations_per_second},
      int(self._trainer.iteration.numpy()),
    )

  def draw(self) -> None:
    """Draws the figures, and writes objects for TensorBoard's projector."""
    from air import charts, figures  # now: a run needs no matplotlib to start

    iteration = int(self._trainer.iteration.numpy())
    seed = self._run.air.training.seed
    folder = self._run.figures
    split = self._dataset.validation.first(evaluation.BATCH_SIZE)
    output = self.evaluator.infer(split.images, iteration, seed)
    projector.write(self._run.folder, output, split.labels, split.boxes)
    progress = figures.progress(output, self._run.air.model.canvas_multiplier)
    rgb = figures.save(progress, self._run.progress(iteration))
    self._writer.image("progress", rgb, iteration)
    self._writer.flush()
    image_metrics = self._validation_metrics()
    scan_policy = figures.scan_policy(
      image_metrics.windows, image_metrics.num_steps
    )
    figures.save(scan_policy, folder / "scan_policy.png")
    counted = [e for e in self.evaluations if "count_accuracy" in e]
    if counted:
      curve = charts.accuracy_curve(counted)
      figures.save(curve, folder / "accuracy.png")

  def close(self) -> None:
    """Closes the event file."""
    self._writer.close()


def _check_finite(metrics: StepMetrics, run: runs.Run, iteration: int) -> None:
  """Stops the run if a term of the loss has become NaN or infinite.

  Args:
    metrics: of the last iterations.
    run: that they are of.
    iteration: that they end at.
  """
  broken = [
    f"{name} is {value}"
    for name, value in metrics._asdict().items()
    if not math.isfinite(value)
  ]
  if broken:
    # The loss is the sum of its terms; one of them says more.
    terms = [text for text in broken if not text.startswith("loss ")]
    kept = [str(path) for path in checkpoints.find(run.checkpoints)]
    raise DivergedError(
      f"the run stopped, for {', '.join(terms or broken)} at iteration"
      f" {iteration}; its last good checkpoint is {[*kept, 'none'][0]}; try a"
      " lower --learning_rate"
    )


def _next_stop(iteration: int, last: int, *cadences: int) -> int:
  """Returns the next iteration at which something is due."""
  return min(last, *((iteration // c + 1) * c for c in cadences))


def train(
  run: runs.Run,
  trainer: Trainer,
  recorder: Recorder,
  flag_values: flags.FlagValues,
) -> int:
  """Trains to the last iteration; returns the exit status.

  Args:
    run: to be trained.
    trainer: at the iteration where the run stands.
    recorder: of the run.
    flag_values: parsed.
  """
  last = flag_values.iterations
  cadences = (
    flag_values.eval_every,
    flag_values.figure_every,
    flag_values.checkpoint_every,
  )

  def save() -> None:
    checkpoints.save(
      run.checkpoints,
      trainer,
      flag_values.keep_checkpoints,
      recorder.seconds(),
    )

  iteration = int(trainer.iteration.numpy())
  saved = iteration
  progress = Progress(iteration, last)
  with StopSignal("stopping after the present iterations") as stop:
    if not recorder.evaluations:
      progress.evaluated(recorder.evaluate())
    while iteration < last and stop.number is None:
      target = _next_stop(iteration, last, *cadences)
      count = min(target - iteration, trainer.iterations_per_call)
      progress.start()
      metrics = trainer.train(count)
      iteration = int(trainer.iteration.numpy())
      _check_finite(metrics, run, iteration)
      progress.advance(count)
      evaluates, draws, saves = (
        iteration % cadence == 0 or iteration == last for cadence in cadences
      )
      if evaluates:
        recorder.log_speed(progress.speed)
        progress.evaluated(recorder.evaluate())
      if draws:
        recorder.draw()
      # After what was logged up to here, so that nothing logged is lost.
      if saves:
        save()
        saved = iteration
    if saved < iteration:
      save()
  progress.close()
  if iteration < last and stop.number is not None:
    print(
      f"stopped at iteration {iteration}; the same command goes on from there",
      file=sys.stderr,
    )
    return 128 + stop.number
  return 0


def main(flag_values: flags.FlagValues) -> int:
  """Trains, or goes on; evaluates on the test images; says where to look."""
  runs.check_usable(runs.folder_of(flag_values))
  dataset = runs.load_dataset(
    configuration.data_config(flag_values), flag_values.data_cache
  )
  run = runs.describe(flag_values, dataset)
  trainer = Trainer(
    run.air, dataset.train.images, jit_compile=flag_values.jit_compile
  )
  behind = [
    checkpoints.iteration_of(path) for path in checkpoints.find(run.checkpoints)
  ]
  iteration = max(behind, default=0)
  if iteration > flag_values.iterations:
    raise UsageError(
      f"iterations is {flag_values.iterations}, expected at least the"
      f" {iteration} that the run has behind it"
    )
  with runs.opened(run, flag_values):
    if flag_values.jit_compile and iteration < flag_values.iterations:
      # Before anything else: it takes the most memory, and what was compiled
      # is only found if as many TensorFlow functions were made before it.
      print("compiling the training step", file=sys.stderr)
      trainer.compile()
      xla_cache.seal()
    return _train_and_evaluate(run, trainer, dataset, flag_values)


def _train_and_evaluate(
  run: runs.Run,
  trainer: Trainer,
  dataset: Dataset,
  flag_values: flags.FlagValues,
) -> int:
  iteration = checkpoints.restore_newest(
    run.checkpoints, trainer, lambda message: print(message, file=sys.stderr)
  )
  if iteration is None:
    run.drop_after(-1)
    seconds_before = 0.0
  else:
    print(f"going on from iteration {iteration}", file=sys.stderr)
    run.drop_after(iteration)
    seconds_before = checkpoints.seconds_at(run.checkpoints, iteration)
  recorder = Recorder(run, trainer, dataset, seconds_before)
  status = train(run, trainer, recorder, flag_values)
  recorder.close()
  if status:
    return status
  result = evaluate.evaluate_split(
    run,
    recorder.evaluator,
    dataset.test,
    "test",
    int(trainer.iteration.numpy()),
    run.air.training.seed,
  )
  files.write_json(run.evaluation, result)
  print(evaluate.format_table(result))
  print(f"figures:     {run.figures}")
  print(
    f"TensorBoard: {sys.executable} -m tensorboard.main"
    f" --logdir={run.folder.parent}"
  )
  return 0


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
