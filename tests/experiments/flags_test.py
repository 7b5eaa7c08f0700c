"""Flags, flagfiles and bad input, in process."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
from absl import flags

from air import config as config_lib
from air.training import Trainer
from experiments import evaluate, report, sweep, train
from experiments.analysis import (
  compare,
  import_blog_checkpoint,
  init_sensitivity,
  scan_policy,
)
from experiments.common import configuration, launcher, runs

CONFIGS = sorted(pathlib.Path(train.__file__).parent.glob("configs/*.flags"))


def parse(*arguments):
  flag_values = flags.FlagValues()
  train.define_flags(flag_values)
  flag_values(["train", "--run_dir=x", *arguments])
  return flag_values


def config_of(*arguments):
  return configuration.air_config_for(parse(*arguments), (50, 50))


def test_without_flags_the_defaults_of_the_library():
  assert config_of() == config_lib.AIRConfig()
  spec = configuration.data_config(parse()).spec()
  assert spec == type(spec)()


def test_the_default_flagfile_says_what_the_flags_say():
  path = next(p for p in CONFIGS if p.stem == "default")
  with_file = parse(f"--flagfile={path}")
  assert runs.flags_text(with_file) == runs.flags_text(parse())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_flagfile_is_a_configuration(path):
  config = config_of(f"--flagfile={path}")
  assert (config == config_lib.AIRConfig()) == (path.stem == "default")


def test_flagfiles_have_the_published_numbers():
  by_name = {p.stem: config_of(f"--flagfile={p}") for p in CONFIGS}
  assert set(by_name) == {
    *("blog", "blog_code", "default", "paper"),
    *("small_digits", "small_digits_64", "more_objects"),
  }
  blog, code, paper = (by_name[n] for n in ("blog", "blog_code", "paper"))
  assert blog.training.estimator == paper.training.estimator == "reinforce"
  assert code.training.estimator == "reinforce_broadcast"
  for config in (blog, code, paper):
    assert config.prior.steps_prior_anneal == 100_000
    assert config.training.learning_rate == 1e-4
    assert config.prior.where_scale_prior_std == 1.0
  assert blog.model.latent_feedback
  assert not code.model.latent_feedback
  assert code.prior.steps_prior_final == 1e-7
  assert paper.model.where_parametrization == "3d"
  assert paper.model.hidden_sizes == (200,)


@pytest.mark.parametrize("name", ["blog", "blog_code", "paper"])
def test_published_settings_do_not_depend_on_the_defaults(name):
  path = next(p for p in CONFIGS if p.stem == name)
  lines = path.read_text().splitlines()
  named = {
    line[2:].split("=")[0].removeprefix("no")
    for line in lines
    if line.startswith("--")
  }
  fields = {
    field.name
    for part in dataclasses.fields(config_lib.AIRConfig)
    for field in dataclasses.fields(part.default_factory())
  }
  assert fields - {"image_size", "seed"} <= named


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_flagfile_trains(path, eagerly):
  # While it warms up, presence has no gradient.
  config = config_of(
    f"--flagfile={path}", "--batch_size=2", "--presence_warmup=0"
  )
  sizes = ("hidden_sizes", "presence_hidden_sizes", "baseline_hidden_sizes")
  model = dataclasses.replace(
    config.model,
    image_size=(12, 12),
    glimpse_size=(5, 5),
    lstm_size=8,
    what_size=4,
    **{name: (8,) * len(getattr(config.model, name)) for name in sizes},
  )
  config = dataclasses.replace(config, model=model)
  images = np.random.default_rng(0).integers(0, 256, [4, 12, 12], np.uint8)
  trainer = Trainer(config, images, jit_compile=False)
  before = [v.numpy() for v in trainer.model.trainable_variables]
  assert np.all(np.isfinite(trainer.train(1)))
  for old, new in zip(before, trainer.model.trainable_variables, strict=True):
    assert not np.array_equal(old, new), new.name


def test_every_field_is_a_flag_with_help():
  flag_values = parse()
  parts = [
    f.default_factory() for f in dataclasses.fields(config_lib.AIRConfig)
  ]
  for part in [*parts, configuration.DataConfig()]:
    for field in dataclasses.fields(part):
      if field.name != "image_size":
        assert flag_values[field.name].help
        assert flag_values[field.name].value == getattr(part, field.name)


def call(binary, *arguments):
  name = binary.__name__.split(".")[-1]
  return launcher.run(
    binary.__doc__, binary.define_flags, binary.main, [name, *arguments]
  )


BINARIES = {
  train: "run_dir",
  evaluate: "run_dir",
  sweep: "out",
  report: "output",
  compare: "runs",
  scan_policy: "run_dirs",
  init_sensitivity: "decoder_init_scale_grid",
  import_blog_checkpoint: "checkpoint",
}


@pytest.mark.parametrize(("binary", "flag"), BINARIES.items())
def test_help_shows_the_flags_in_groups(binary, flag, capsys):
  assert call(binary, "--help") == 0
  out = capsys.readouterr().out
  assert binary.__doc__ in out
  groups = ["run"]
  if binary in (sweep, init_sensitivity):
    groups = ["sweep", "run"]
  if binary in (train, sweep, init_sensitivity, import_blog_checkpoint):
    groups += ["data", "model", "prior", "training"]
  positions = [out.index(f"\n{group}:\n") for group in groups]
  assert positions == sorted(positions)
  assert f"--{flag}" in out


def test_help_that_nobody_reads_to_its_end():
  process = subprocess.Popen(
    [sys.executable, "-m", "experiments.train", "--help"],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  process.stdout.close()  # as `head` does
  assert process.wait() == 128 + signal.SIGPIPE
  assert process.stderr.read() == ""


LAUNCHER = """
from experiments.common import launcher
sys.exit(launcher.run("", lambda _: None, lambda _: print("done")))
"""
GENERATE = """
from data import generate
generate._main = lambda _: print("done")
sys.exit(generate.run())
"""


@pytest.mark.parametrize("code", [LAUNCHER, GENERATE])
@pytest.mark.parametrize("full", [True, False])
def test_output_that_nobody_takes(code, full, tmp_path):
  """It is written at the end, as Python holds back what goes to no terminal."""
  binary = tmp_path / "generate.py"
  binary.write_text(f"import sys\n{code}")
  environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
  reader, writer = os.pipe()
  os.close(reader)
  with open("/dev/full", "w") if full else os.fdopen(writer, "w") as stdout:
    process = subprocess.run(
      [sys.executable, binary],
      env=environment | {"PYTHONPATH": str(pathlib.Path(__file__).parents[2])},
      stdout=stdout,
      stderr=subprocess.PIPE,
      text=True,
      check=False,
    )
  if full:
    assert process.returncode == 1
    message = "generate: [Errno 28] No space left on device\n"
    assert process.stderr == message
  else:
    assert process.returncode == 128 + signal.SIGPIPE
    assert process.stderr == ""
