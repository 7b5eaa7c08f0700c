"""TensorBoard's files, read back."""

import re
import types

import numpy as np
import pytest
import tensorflow as tf
from tensorboard import context
from tensorboard.backend.event_processing import (
  data_provider,
  event_accumulator,
  plugin_event_multiplexer,
)
from tensorboard.plugins import base_plugin
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.plugins.hparams import (
  api_pb2,
  backend_context,
  list_session_groups,
)
from tensorboard.plugins.hparams import metadata as hparams_metadata

from air.evaluation import ImageMetrics
from air.model import AIRModel
from air.viz import summaries
from air.viz.summaries import SummaryWriter

# The tags of the blog's code, with and without its baseline.
BLOG_TAGS = {
  "loss",
  "rec_loss",
  "num_step_acc",
  "num_step",
  "prior_loss",
  "kl_num_steps",
  "kl_what",
  "kl_where",
}
BLOG_BASELINE_TAGS = {"baseline_loss", "reinforce_loss", "imp_weight"}
OUR_TAGS = {
  "ELBO",
  "Accuracy/sampled_n",
  "Accuracy/most_probable_n",
  "num_step_acc_of_0",
  "num_step_acc_of_1",
}


def event_files(run_dir):
  return sorted(run_dir.glob(summaries.EVENT_FILES))


def events_of(path):
  """The events of a file, without its first, the file's version."""
  version, *events = tf.compat.v1.train.summary_iterator(str(path))
  assert version.file_version
  return events


def values_of(path):
  """(step, tag) -> the tensor written."""
  return {
    (event.step, value.tag): tf.make_ndarray(value.tensor)
    for event in events_of(path)
    for value in event.summary.value
  }


def write_steps(run_dir, steps):
  writer = SummaryWriter(run_dir)
  for step in steps:
    writer.scalars({"a": step + 0.5, "b/test": -step}, step)
  writer.close()


class TestWriter:
  def test_scalars(self, tmp_path):
    writer = SummaryWriter(tmp_path)
    writer.scalars({"loss/train": 1.5, "loss/test": 2.5}, 10)
    writer.scalars({"loss/train": np.float32(0.25)}, 2**40)
    writer.close()
    (path,) = event_files(tmp_path)
    assert values_of(path) == {
      (10, "loss/train"): 1.5,
      (10, "loss/test"): 2.5,
      (2**40, "loss/train"): 0.25,
    }

  def test_flush_brings_it_to_the_file(self, tmp_path):
    writer = SummaryWriter(tmp_path)
    writer.scalars({"a": 1.0}, 3)
    writer.flush()
    assert values_of(*event_files(tmp_path)) == {(3, "a"): 1.0}
    writer.close()

  def test_image(self, tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, [7, 5, 3], np.uint8)
    writer = SummaryWriter(tmp_path)
    writer.image("progress", rgb, 4)
    writer.close()
    ((key, value),) = values_of(*event_files(tmp_path)).items()
    assert key == (4, "progress")
    width, height, png = value
    assert (int(width), int(height)) == (5, 7)
    np.testing.assert_array_equal(tf.io.decode_png(png), rgb)

  def test_text(self, tmp_path):
    writer = SummaryWriter(tmp_path)
    writer.text("config", "# Größe\n`1`", 0)
    writer.close()
    ((key, value),) = values_of(*event_files(tmp_path)).items()
    assert key == (0, "config")
    assert value.item().decode() == "# Größe\n`1`"

  def test_gradients(self, tmp_path):
    weights = tf.Variable([[3.0, 4.0]], name="head/w")
    bias = tf.Variable([0.0], name="head/b")
    writer = SummaryWriter(tmp_path)
    gradients = [tf.constant([[0.6, 0.8]]), tf.constant([0.0])]
    writer.gradients([weights, bias], gradients, 6)
    writer.close()
    values = values_of(*event_files(tmp_path))
    assert set(values) == {
      (6, f"diagnostics/{kind}/head/{name}")
      for kind in ("gradient", "gradient_to_weight")
      for name in ("w", "b")
    }
    assert values[6, "diagnostics/gradient_to_weight/head/w"] == pytest.approx(
      0.2
    )
    assert values[6, "diagnostics/gradient_to_weight/head/b"] == 0.0
    left, right, count = values[6, "diagnostics/gradient/head/w"].T
    assert left[0] == pytest.approx(0.6)
    assert right[-1] == pytest.approx(0.8)
    assert count.sum() == 2.0

  def test_wants_a_gradient_for_each_variable(self, tmp_path):
    writer = SummaryWriter(tmp_path)
    with pytest.raises(ValueError, match="zip"):
      writer.gradients([tf.Variable(1.0)], [], 0)
    writer.close()

  def test_tensorboard_reads_it(self, tmp_path):
    write_steps(tmp_path, [0, 100, 200])
    accumulator = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
    events = accumulator.Tensors("a")
    assert [event.step for event in events] == [0, 100, 200]
    read = [float(tf.make_ndarray(event.tensor_proto)) for event in events]
    assert read == [0.5, 100.5, 200.5]


class TestDropAfter:
  @pytest.mark.parametrize("last", [0, 1, 30, 35, 59])
  def test_keeps_what_is_not_later(self, tmp_path, last):
    steps = range(0, 60, 10)
    write_steps(tmp_path, steps)
    (path,) = event_files(tmp_path)
    before = values_of(path)
    summaries.drop_after(tmp_path, last)
    assert event_files(tmp_path) == [path]
    assert values_of(path) == {k: v for k, v in before.items() if k[0] <= last}
    assert {step for step, _ in values_of(path)} == {
      step for step in steps if step <= last
    }

  def test_keeps_earlier_events_that_come_later(self, tmp_path):
    write_steps(tmp_path, [10, 30, 20, 40, 5])
    (path,) = event_files(tmp_path)
    summaries.drop_after(tmp_path, 20)
    assert [event.step for event in events_of(path)] == [10, 10, 20, 20, 5, 5]

  def test_does_not_touch_a_file_without_later_events(self, tmp_path):
    write_steps(tmp_path, [0, 10])
    (path,) = event_files(tmp_path)
    before, status = path.read_bytes(), path.stat()
    summaries.drop_after(tmp_path, 10)
    assert path.read_bytes() == before
    assert path.stat().st_ino == status.st_ino
    assert path.stat().st_mtime_ns == status.st_mtime_ns

  def test_every_file(self, tmp_path):
    write_steps(tmp_path, [0, 10, 20])
    write_steps(tmp_path, [10, 20, 30])
    write_steps(tmp_path, [20, 30])
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    summaries.drop_after(tmp_path, 10)
    kept = [{s for s, _ in values_of(path)} for path in event_files(tmp_path)]
    assert sorted(map(sorted, kept)) == [[0, 10], [10]]
    assert (tmp_path / "metrics.jsonl").read_text() == "{}\n"

  def test_no_files(self, tmp_path):
    summaries.drop_after(tmp_path, 10)
    assert not list(tmp_path.iterdir())

  @pytest.mark.parametrize("cut", [1, 4, 5, 20, -1, -5, -11, -12, -13])
  def test_survives_a_record_that_was_cut_off(self, tmp_path, cut):
    # Negative: so many bytes of the last record are left.
    write_steps(tmp_path, [0, 10])
    (path,) = event_files(tmp_path)
    before = values_of(path)
    whole = path.read_bytes()
    event = events_of(path)[-1].ByteSize()
    record = event + 16  # length, its sum, and the data's
    size = len(whole) - (cut if cut > 0 else record + cut)
    assert len(whole) - record < size < len(whole)
    path.write_bytes(whole[:size])
    summaries.drop_after(tmp_path, 100)
    # A tag an event: all but the last of them.
    assert values_of(path) == dict(list(before.items())[:-1])
    if cut > 0 or cut < -12:  # else no length is left, as at a file's end
      assert path.read_bytes() == whole[: len(whole) - record]

  def test_drops_what_follows_a_damaged_record(self, tmp_path):
    write_steps(tmp_path, [0, 10, 20])
    (path,) = event_files(tmp_path)
    data = bytearray(path.read_bytes())
    record = events_of(path)[-1].ByteSize() + 16
    data[-3 * record - 10] ^= 0xFF  # in the second event of three times two
    path.write_bytes(data)
    summaries.drop_after(tmp_path, 100)
    steps = [event.step for event in events_of(path)]
    assert steps in ([0, 0], [0, 0, 10])

  def test_an_empty_file(self, tmp_path):
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_bytes(b"")
    summaries.drop_after(tmp_path, 10)
    assert path.read_bytes() == b""

  def test_what_cannot_be_read(self, tmp_path):
    path = tmp_path / "events.out.tfevents.1.host"
    path.mkdir()
    with pytest.raises(OSError, match=path.name):
      summaries.drop_after(tmp_path, 10)

  def test_goes_on_as_if_never_interrupted(self, tmp_path):
    whole, interrupted = tmp_path / "whole", tmp_path / "interrupted"
    write_steps(whole, range(0, 50, 10))
    write_steps(interrupted, [0, 10, 20, 30])
    summaries.drop_after(interrupted, 20)
    write_steps(interrupted, [30, 40])
    histories = []
    for run_dir in (whole, interrupted):
      accumulator = event_accumulator.EventAccumulator(str(run_dir)).Reload()
      histories.append(
        [
          (event.step, float(tf.make_ndarray(event.tensor_proto)))
          for event in accumulator.Tensors("a")
        ]
      )
    assert histories[0] == histories[1]


COUNTED = {
  "count_accuracy": 0.6,
  "count_accuracy_mode": 0.7,
  "count_accuracy_per_count": {"0": 0.5, "1": 0.8},
  "count_confusion": [[1]],
}


class TestEvaluationScalars:
  METRICS = ImageMetrics(
    num_steps=np.array([1, 2]),
    num_steps_mode=np.array([1, 1]),
    elbo=np.array([-3.0, -5.0]),
    reconstruction=np.array([10.0, 20.0]),
    kl_num_steps=np.array([7.0, 7.0]),
    kl_num_steps_annealed=np.array([1.0, 3.0]),
    kl_what=np.array([4.0, 6.0]),
    kl_where=np.array([8.0, 8.0]),
    kl_where_annealed=np.array([0.5, 1.5]),
    kl_background=np.zeros(2),
    windows=np.zeros([2, 3, 4], np.float32),
    reinforce_loss=np.array([0.1, 0.1]),
    baseline_loss=np.array([0.2, 0.2]),
    learning_signal=np.array([0.3, 0.3]),
  )

  def test_the_tags_are_those_of_the_blog(self):
    scalars = summaries.evaluation_scalars(self.METRICS, COUNTED, True)
    assert set(scalars) == BLOG_TAGS | BLOG_BASELINE_TAGS | OUR_TAGS
    scalars = summaries.evaluation_scalars(self.METRICS, COUNTED, False)
    assert set(scalars) == BLOG_TAGS | OUR_TAGS
    scalars = summaries.evaluation_scalars(self.METRICS, {}, False)
    assert set(scalars) == BLOG_TAGS - {"num_step_acc"} | {"ELBO"}

  def test_values(self):
    scalars = summaries.evaluation_scalars(self.METRICS, COUNTED, True)
    assert scalars == pytest.approx(
      {
        "loss": 15.0 + 2.0 + 5.0 + 1.0,
        "rec_loss": 15.0,
        "prior_loss": 8.0,
        "kl_num_steps": 2.0,
        "kl_what": 5.0,
        "kl_where": 1.0,
        "num_step": 1.5,
        "ELBO": -4.0,
        "reinforce_loss": 0.1,
        "baseline_loss": 0.2,
        "imp_weight": 0.3,
        "num_step_acc": 0.6,
        "Accuracy/sampled_n": 0.6,
        "Accuracy/most_probable_n": 0.7,
        "num_step_acc_of_0": 0.5,
        "num_step_acc_of_1": 0.8,
      }
    )
    assert all(type(value) is float for value in scalars.values())


class TestOfATrainer:
  @pytest.fixture(params=["marginal", "reinforce"])
  def trainer(self, request, small_config):
    """What `schedule_scalars` reads of a trainer."""
    config = small_config(
      estimator=request.param,
      learning_rate=2e-4,
      learning_rate_final_ratio=0.01,
      learning_rate_hold=200,
      learning_rate_anneal=400,
      steps_prior_initial=1.0,
      steps_prior_final=1e-4,
      steps_prior_hold=100,
      steps_prior_anneal=200,
      presence_floor_initial=0.3,
      presence_floor_final=0.1,
      presence_floor_anneal=100,
    )
    return types.SimpleNamespace(
      config=config,
      model=AIRModel(config),
      iteration=tf.Variable(0, dtype=tf.int64),
    )

  @pytest.mark.parametrize(
    ("iteration", "success", "floor", "rate"),
    [
      (0, 1.0, 0.3, 2e-4),
      (50, 1.0, 0.2, 2e-4),
      (200, 1e-2, 0.1, 2e-4),
      (400, 1e-4, 0.1, 2e-5),
      (900, 1e-4, 0.1, 2e-6),
    ],
  )
  def test_schedule_scalars(self, trainer, iteration, success, floor, rate):
    trainer.iteration.assign(iteration)
    scalars = summaries.schedule_scalars(trainer)
    expected = {
      "schedules/learning_rate": rate,
      "schedules/prior_success_probability": success,
      "schedules/presence_floor": floor,
    }
    if trainer.config.training.estimator == "reinforce":
      expected["schedules/learning_rate_baseline"] = 10.0 * rate
    assert scalars == pytest.approx(expected, rel=1e-5)

  def test_every_gradient_has_a_tag_of_its_own(self, trainer, tmp_path):
    variables = trainer.model.trainable_variables
    writer = SummaryWriter(tmp_path)
    writer.gradients(variables, [tf.ones_like(v) for v in variables], 0)
    writer.close()
    values = values_of(*event_files(tmp_path))
    assert len(values) == 2 * len(variables)
    assert len({v.name for v in variables}) == len(variables)


def test_hparams_hold_every_setting(tmp_path):
  writer = SummaryWriter(tmp_path)
  settings = {
    "learning_rate": 5e-5,
    "num_steps": 3,
    "latent_feedback": True,
    "estimator": "marginal",
    "hidden_sizes": (256, 256),
  }
  writer.hparams(settings)
  writer.close()
  (path,) = event_files(tmp_path)
  (event,) = events_of(path)
  (value,) = event.summary.value
  assert value.metadata.plugin_data.plugin_name == "hparams"
  start = hparams_metadata.parse_session_start_info_plugin_data(
    value.metadata.plugin_data.content
  )
  read = {name: v.WhichOneof("kind") for name, v in start.hparams.items()}
  assert read == {
    "learning_rate": "number_value",
    "num_steps": "number_value",
    "latent_feedback": "bool_value",
    "estimator": "string_value",
    "hidden_sizes": "string_value",
  }
  assert start.hparams["learning_rate"].number_value == 5e-5
  assert start.hparams["hidden_sizes"].string_value == "(256, 256)"


def test_the_layout_has_charts_of_tags_that_are_written(small_config, tmp_path):
  """As the custom-scalars dashboard matches them."""
  writer = SummaryWriter(tmp_path)
  writer.layout()
  writer.close()
  accumulator = event_accumulator.EventAccumulator(str(tmp_path)).Reload()
  (event,) = accumulator.Tensors(custom_scalar.CONFIG_SUMMARY_TAG)
  assert event.step == 0
  layout = layout_pb2.Layout.FromString(
    tf.make_ndarray(event.tensor_proto).item()
  )
  assert [category.title for category in layout.category] == [
    *("counting accuracy", "ELBO", "terms", "schedules")
  ]
  scalars = summaries.evaluation_scalars(
    TestEvaluationScalars.METRICS, COUNTED, False
  )
  config = small_config(estimator="marginal")
  trainer = types.SimpleNamespace(
    config=config,
    model=AIRModel(config),
    iteration=tf.Variable(0, dtype=tf.int64),
  )
  tags = [f"{tag}/{split}" for tag in scalars for split in ("test", "train")]
  tags += summaries.schedule_scalars(trainer)
  shown = {
    chart.title: [tag for tag in tags if re.match(pattern, tag)]
    for category in layout.category
    for chart in category.chart
    for pattern in chart.multiline.tag
  }
  assert all(shown.values())
  assert shown["ELBO"] == ["ELBO/test", "ELBO/train"]
  assert len(shown["counting accuracy"]) == 4
  assert len(shown["KL terms, under the annealed priors"]) == 3


def test_trials_are_named_by_the_folders_of_their_runs(tmp_path):
  """As TensorBoard reads them: runs of equal settings are two trials."""
  names = ["ablation/default/seed-0", "sweep/default/seed-0"]
  for name in names:
    writer = SummaryWriter(tmp_path / name)
    writer.hparams({"seed": 0})
    writer.close()
  multiplexer = plugin_event_multiplexer.EventMultiplexer()
  multiplexer.AddRunsFromDirectory(str(tmp_path)).Reload()
  provider = data_provider.MultiplexerDataProvider(multiplexer, str(tmp_path))
  tensorboard = base_plugin.TBContext(data_provider=provider)
  trials = list_session_groups.Handler(
    request_context=context.RequestContext(),
    backend_context=backend_context.Context(tensorboard),
    experiment_id="",
    request=api_pb2.ListSessionGroupsRequest(
      allowed_statuses=api_pb2.Status.values(), slice_size=10
    ),
  ).run()
  assert sorted(trial.name for trial in trials.session_groups) == names


def test_read_scalars_where_a_writer_started_again(tmp_path):
  """What the first wrote after the second's start is not taken."""
  write_steps(tmp_path, [0, 10, 20, 30, 40])
  write_steps(tmp_path, [20, 40, 60])
  assert len(event_files(tmp_path)) == 2
  read = summaries.read_scalars(tmp_path, ["a", "c"])
  assert read == {"a": {step: step + 0.5 for step in (0, 10, 20, 40, 60)}}


def test_read_scalars_where_a_clock_was_ahead(tmp_path):
  """The names of the files are in the wrong order, not their iterations."""
  write_steps(tmp_path, [0, 10, 20])
  [first] = event_files(tmp_path)
  first.rename(tmp_path / "events.out.tfevents.9999999999.ahead")
  write_steps(tmp_path, [30, 40])
  assert event_files(tmp_path)[-1].name.endswith("ahead")
  read = summaries.read_scalars(tmp_path, ["a"])
  assert read == {"a": {step: step + 0.5 for step in (0, 10, 20, 30, 40)}}


def test_a_record_that_is_no_event_is_damage(tmp_path):
  write_steps(tmp_path, [0, 10])
  [path] = event_files(tmp_path)
  records, whole = summaries.read_records(path)
  assert whole
  with tf.io.TFRecordWriter(str(path)) as writer:
    for record in (*records[:3], b"\xff no event", *records[3:]):
      writer.write(record)
  assert summaries.read_records(path) == (records[:3], False)
  read = summaries.read_scalars(tmp_path, ["a"])
  assert read == {"a": {0: 0.5}}
  assert not summaries.has_hparams(tmp_path)
  summaries.drop_after(tmp_path, 10)
  assert summaries.read_records(path) == (records[:3], True)
