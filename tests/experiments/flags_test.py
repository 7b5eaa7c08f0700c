"""Flags, flagfiles and bad input, in process."""

import dataclasses
import pathlib

import numpy as np
import pytest
from absl import flags

from air import config as config_lib
from air.training import Trainer
from experiments import (
  compare,
  configuration,
  evaluate,
  import_blog_checkpoint,
  init_sensitivity,
  launcher,
  report,
  runs,
  scan_policy,
  sweep,
  train,
)

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
    *("blog", "blog_code", "default", "paper", "small_digits")
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
def test_every_flagfile_trains(path):
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


BAD_INPUT = {
  "no run_dir": (train, [], "--run_dir"),
  "unknown flag": (train, ["--run_dir=x", "--lerning_rate=1"], "lerning_rate"),
  "unknown flagfile": (train, ["--run_dir=x", "--flagfile=no"], "no"),
  "stray argument": (train, ["--run_dir=x", "blog"], "'blog'"),
  "not a number": (train, ["--run_dir=x", "--num_steps=many"], "num_steps"),
  "not a list": (train, ["--run_dir=x", "--hidden_sizes=a,b"], "hidden_sizes"),
  "estimator": (train, ["--run_dir=x", "--estimator=magic"], "estimator"),
  "iterations": (train, ["--run_dir=x", "--iterations=0"], "--iterations"),
  "cadence": (train, ["--run_dir=x", "--eval_every=-5"], "--eval_every"),
  "no data": (train, ["--run_dir=x", "--data=/no/such.npz"], "such.npz"),
  "no digits": (train, ["--run_dir=x", "--mnist=/no/such"], "/no/such"),
  "counts": (train, ["--run_dir=x", "--counts=-1"], "--counts"),
  "digit size": (train, ["--run_dir=x", "--digit_size=80"], "digit_size"),
  "no training images": (
    train,
    ["--run_dir=x", "--num_images=0"],
    "--num_images",
  ),
  "data seed": (train, ["--run_dir=x", "--data_seed=-1"], "--data_seed"),
  "a file": (evaluate, [f"--run_dir={__file__}"], "--run_dir"),
  "no run": (evaluate, ["--run_dir=/no/run"], "--run_dir"),
  "split": (evaluate, ["--run_dir=x", "--split=train"], "split"),
  "no seeds": (sweep, ["--out=x"], "--seeds"),
  "no out": (sweep, ["--seeds=1"], "--out"),
  "seeds": (sweep, ["--out=x", "--seeds=9-1"], "--seeds"),
  "one seed": (sweep, ["--out=x", "--seeds=1", "--seed=1"], "'seed'"),
  "jobs": (sweep, ["--out=x", "--seeds=1", "--jobs=0"], "--jobs"),
  "part of GPUs": (
    sweep,
    ["--out=x", "--seeds=1", "--gpus_per_run=1.5"],
    "--gpus_per_run",
  ),
  "configuration": (
    sweep,
    ["--out=x", "--seeds=1", "--configs=default,nope"],
    "--configs holds 'nope', expected blog, blog_code, default, paper",
  ),
  "not a setting": (
    sweep,
    ["--out=x", "--seeds=1", "--configs=default:what_size"],
    "expected NAME=VALUE",
  ),
  "setting of a configuration": (
    sweep,
    ["--out=x", "--seeds=1", "--configs=default:whatsize=3"],
    "'default:whatsize=3': Unknown",
  ),
  "value of a setting": (
    sweep,
    ["--out=x", "--seeds=1", "--configs=default:what_size=0"],
    "what_size is 0",
  ),
  "flag of training": (
    sweep,
    ["--out=x", "--seeds=1", "--what_size=many"],
    "--what_size",
  ),
  "nobody at the address": (
    sweep,
    ["--out=x", "--seeds=1", "--ray_address=127.0.0.1:1"],
    "--ray_address is '127.0.0.1:1'",
  ),
  "no such run": (compare, ["--runs=/no/run"], "--runs holds '/no/run'"),
  "a run twice": (compare, ["--runs=a,b,a"], "--runs is 'a,b,a'"),
  "no policy": (scan_policy, ["--run_dirs=/no/run"], "/no/run, expected"),
  "a policy twice": (scan_policy, ["--run_dirs=x,x"], "--run_dirs is 'x,x'"),
  "empty grid": (
    init_sensitivity,
    ["--out=x", "--seeds=1", "--presence_bias_grid="],
    "--presence_bias_grid is empty",
  ),
  "estimators": (
    init_sensitivity,
    ["--out=x", "--seeds=1", "--estimators=magic"],
    "estimator=magic",
  ),
  "what the grid sets": (
    init_sensitivity,
    ["--out=x", "--seeds=1", "--presence_bias=1"],
    "'presence_bias'",
  ),
  "no checkpoint": (
    import_blog_checkpoint,
    ["--run_dir=x", "--checkpoint=/no/checkpoint"],
    "--checkpoint is /no/checkpoint",
  ),
  "no document": (report, ["--output=no.md"], "--output is no.md"),
  "samples": (evaluate, ["--run_dir=x", "--iwae_samples=-1"], "iwae_samples"),
}


@pytest.mark.parametrize(
  ("binary", "arguments", "expected"), BAD_INPUT.values(), ids=BAD_INPUT
)
def test_bad_input_is_one_clear_line(
  binary, arguments, expected, capsys, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  assert call(binary, *arguments) == 2
  captured = capsys.readouterr()
  assert captured.out == ""
  lines = captured.err.splitlines()
  if lines and "using the 5,000 digits" in lines[0]:
    lines = lines[1:]
  assert len(lines) == 1, captured.err
  assert expected in lines[0]
  assert "Traceback" not in captured.err
  assert list(tmp_path.iterdir()) == []


BAD_SETTINGS = {
  "--learning_rate=-1": "--learning_rate",
  "--learning_rate=nan": "--learning_rate",
  "--num_steps=0": "--num_steps",
  "--glimpse_size=60,60": "--glimpse_size",
  "--glimpse_size=5": "--glimpse_size",
  "--where_scale_prior_std=0": "--where_scale_prior_std",
  "--steps_prior_final=0": "--steps_prior_final",
  "--steps_prior_initial=1.5": "--steps_prior_initial",
  "--presence_floor_initial=1": "--presence_floor_initial",
  "--rmsprop_momentum=1": "--rmsprop_momentum",
  "--batch_size=1000": "--batch_size",
  "--seed=-1": "--seed",
}


@pytest.mark.parametrize(("setting", "expected"), BAD_SETTINGS.items())
def test_impossible_settings_name_their_flag(
  setting, expected, tiny_flags, capsys, tmp_path
):
  run_dir = tmp_path / "run"
  assert call(train, f"--run_dir={run_dir}", *tiny_flags, setting) == 2
  error = capsys.readouterr().err
  assert error.startswith(f"train: {expected} is ")
  assert error.count("\n") == 1
  assert not run_dir.exists()
