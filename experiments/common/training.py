"""A run from its start to its end: what happens at which iteration."""

import pathlib
import sys
from collections.abc import Iterable

from absl import flags

from air import surprise
from air.errors import DivergedError
from air.model import AIRModel
from air.storage import checkpoints, files, pretrained, run_folder
from air.training import StepMetrics, Trainer
from data.dataset import Dataset
from data.files import note
from experiments.common import (
  configuration,
  evaluations,
  opening,
  runs,
  xla_cache,
)
from experiments.common.launcher import UsageError
from experiments.common.progress import Progress, Task
from experiments.common.recorder import Recorder
from experiments.common.stopping import StopSignal

# Early evaluations are so many times denser, but so many iterations apart.
_EARLY = 10
_EARLY_EVERY = 100
# The images that others are compared with.
_REFERENCE_IMAGES = 4_000


def run(flag_values: flags.FlagValues) -> int:
  """Trains, or goes on; evaluates on the test images; says where to look.

  Args:
    flag_values: parsed, those of `experiments.train`.

  Returns:
    The exit status: 0, or 128 and the number of the signal that stopped it.

  Raises:
    UsageError: if the folder is not a run's, or not this one's.
    DivergedError: if a term of the loss has become NaN or infinite.
  """
  folder = runs.folder_of(flag_values)
  restarts = flag_values.restart and runs.exists(folder)
  if not restarts:
    opening.check_usable(folder)
  configuration.check_without_images(flag_values)
  data = configuration.data_config(flag_values)
  source = None
  is_new = restarts or not runs.exists(folder)
  if is_new:
    configuration.check_steps(flag_values)
    if flag_values.init_from:  # before the images, which take time
      pretrained.locate(flag_values.init_from, "init_from")
  else:
    source = runs.load(folder).digit_source
  dataset = runs.load_dataset(data, flag_values.data_cache, source)
  run = runs.describe(flag_values, dataset)
  if is_new:
    configuration.check_steps(flag_values, dataset)
  trainer = Trainer(
    run.air, dataset.train.images, jit_compile=flag_values.jit_compile
  )
  found = [] if is_new else checkpoints.find(run.checkpoints)
  iteration = max(map(checkpoints.iteration_of, found), default=0)
  if iteration > flag_values.iterations:
    raise UsageError(
      f"iterations is {flag_values.iterations}, expected at least the"
      f" {iteration} that the run has behind it"
    )
  if not found and flag_values.init_from:
    pretrained.initialize(trainer.model, flag_values.init_from, "init_from")
  if restarts:
    aside = opening.move_aside(folder)
    note(f"the old run is now in {aside}")
  with opening.opened(run, flag_values) as opened:
    if flag_values.jit_compile and iteration < flag_values.iterations:
      # Before anything else: it takes the most memory, and what was compiled
      # is only found if as many TensorFlow functions were made before it.
      with Task("compiling the training step", expected=xla_cache.expected()):
        trainer.compile()
      xla_cache.seal()
    return _train_and_evaluate(opened, trainer, dataset, flag_values)


def _train_and_evaluate(
  opened: opening.Opened,
  trainer: Trainer,
  dataset: Dataset,
  flag_values: flags.FlagValues,
) -> int:
  run = opened.run
  iteration = checkpoints.restore_newest(
    run.checkpoints,
    trainer,
    note,
    run.id,
  )
  if iteration is None:
    run.drop_after(-1)
    seconds_before = 0.0
  else:
    note(f"going on from iteration {iteration}")
    run.drop_after(iteration)
    seconds_before = checkpoints.seconds_at(run.checkpoints, iteration)
  recorder = Recorder(
    run, trainer, dataset, seconds_before, flag_values.hparams
  )
  status = _train(opened, trainer, recorder, flag_values)
  recorder.close()
  if status:
    return status
  iteration = int(trainer.iteration.numpy())
  keep_reference(run.folder, trainer.model, iteration, dataset)
  result = evaluations.evaluate_split(
    run,
    recorder.evaluator,
    dataset.test,
    "test",
    iteration,
    run.air.training.seed,
  )
  opened.check()
  files.write_json(run.evaluation, result)
  print(evaluations.format_table(result))
  print(f"figures:     {run.figures}")
  print(
    f"TensorBoard: {sys.executable} -m tensorboard.main"
    f" --logdir={run.folder.parent}"
  )
  return 0


def _train(
  opened: opening.Opened,
  trainer: Trainer,
  recorder: Recorder,
  flag_values: flags.FlagValues,
) -> int:
  """Trains to the last iteration; returns the exit status.

  Args:
    opened: the folder of the run.
    trainer: at the iteration where the run stands.
    recorder: of the run.
    flag_values: parsed.

  Raises:
    RunError: if the folder is no longer there.
  """
  last = flag_values.iterations
  cadences = (
    flag_values.eval_every,
    flag_values.figure_every,
    flag_values.checkpoint_every,
  )
  early = early_evaluations(flag_values.eval_every)

  def save() -> None:
    opened.save(trainer, flag_values.keep_checkpoints, recorder.seconds())

  iteration = int(trainer.iteration.numpy())
  saved = iteration
  with StopSignal("stopping after the present iterations") as stop:
    result = None
    if not recorder.evaluations:
      with Task("evaluating the untrained model"):
        result = recorder.evaluate()
    progress = Progress(iteration, last)
    if result:
      progress.evaluated(result)
    while iteration < last and stop.number is None:
      target = _next_stop(iteration, last, early, *cadences)
      count = min(target - iteration, trainer.iterations_per_call)
      progress.start()
      metrics = trainer.train(count)
      iteration = int(trainer.iteration.numpy())
      _check_finite(metrics, opened.run, iteration)
      progress.advance(count)
      evaluates, draws, saves = (
        iteration % cadence == 0 or iteration == last for cadence in cadences
      )
      opened.check()
      if evaluates or iteration in early:
        recorder.log_speed(progress.speed)
        progress.evaluated(recorder.evaluate(early=not evaluates))
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
    note(
      f"stopped at iteration {iteration}; the same command goes on from there"
    )
    return 128 + stop.number
  return 0


def keep_reference(
  folder: pathlib.Path, model: AIRModel, iteration: int, dataset: Dataset
) -> None:
  """Writes what images are later compared with, see `air.surprise`.

  Args:
    folder: in which it is written.
    model: trained.
    iteration: at which it stands.
    dataset: that it was trained on.
  """
  images = dataset.validation.first(_REFERENCE_IMAGES).images
  if len(images) < surprise.FEWEST:
    return
  scores = surprise.Scorer(model)(images, seed=0)
  run_folder.write_reference(folder, iteration, scores)


def early_evaluations(eval_every: int) -> range:
  """Returns iterations to evaluate at before the first at the cadence.

  There most is learned.

  Args:
    eval_every: the cadence.
  """
  early_every = max(eval_every // _EARLY, _EARLY_EVERY)
  return range(early_every, eval_every, early_every)


def _next_stop(
  iteration: int, last: int, early: Iterable[int], *cadences: int
) -> int:
  """Returns the next iteration at which something is due."""
  return min(
    last,
    *(i for i in early if i > iteration),
    *((iteration // c + 1) * c for c in cadences),
  )


def _check_finite(metrics: StepMetrics, run: runs.Run, iteration: int) -> None:
  """Stops the run if a term of the loss has become NaN or infinite.

  Args:
    metrics: of the last iterations.
    run: that they are of.
    iteration: that they end at.
  """
  if broken := metrics.not_finite():
    kept = [str(path) for path in checkpoints.find(run.checkpoints)]
    raise DivergedError(
      f"the run stopped, for {', '.join(broken)} at iteration"
      f" {iteration}; its last good checkpoint is {[*kept, 'none'][0]}; try a"
      " lower --learning_rate"
    )
