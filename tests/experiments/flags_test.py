"""Flags, flagfiles and bad input, in process."""

import dataclasses
import importlib
import os
import pathlib
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from absl import flags

from air import config as config_lib
from air.training import Trainer
from data import command_line
from data.config import DataConfig
from experiments import sweep, train
from experiments.analysis import import_blog_checkpoint, init_sensitivity
from experiments.common import configuration, launcher, runs

REPOSITORY = pathlib.Path(__file__).parents[2]
CONFIGS = sorted(REPOSITORY.glob("experiments/configs/*.flags"))


def parse(*arguments):
  flag_values = flags.FlagValues()
  train.define_flags(flag_values)
  flag_values(["train", "--run_dir=x", *arguments])
  return flag_values


def config_of(*arguments):
  return configuration.air_config_for(parse(*arguments), (50, 50))


def call(binary, *arguments):
  name = binary.__name__.split(".")[-1]
  return launcher.run(
    binary.__doc__, binary.define_flags, binary.main, [name, *arguments]
  )


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
    *("small_digits", "small_digits_64", "more_objects", "dair", "worlds"),
    *("omniglot", "omniglot_characters"),
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
  for name, config in by_name.items():
    is_dair = name in ("dair", "omniglot")
    assert config.model.memory != is_dair
    observed = "difference" if is_dair else "image"
    assert config.model.step_input == config.model.glimpse_input == observed


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
  assert fields - {"image_size", "init_from", "seed"} <= named


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
  for part in [*parts, DataConfig()]:
    for field in dataclasses.fields(part):
      if field.name != "image_size":
        assert flag_values[field.name].help
        assert flag_values[field.name].value == getattr(part, field.name)


def binaries():
  """Yields the modules that are run by a user."""
  yield "data.generate"
  for path in sorted(REPOSITORY.glob("experiments/**/*.py")):
    if "launcher.run(__doc__" in path.read_text():
      yield ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)


# Runs a binary as `python -m` does, and says what it has imported of these.
RUN = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
  runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
finally:
  heavy = {"tensorflow", "sonnet", "matplotlib", "tensorboard", "ray", "rich"}
  print(*sorted(heavy & sys.modules.keys()), file=sys.stderr)
"""


def shown_flags(text):
  """Returns the lines with the names of flags."""
  return [line for line in text.splitlines() if line.startswith("  --")]


@pytest.mark.parametrize("module", [*binaries()])
def test_help(module):
  process = subprocess.run(
    [sys.executable, "-c", RUN, module, "--help"],
    capture_output=True,
    text=True,
    check=False,
  )
  assert (process.returncode, process.stderr) == (0, "\n")
  doc = importlib.import_module(module).__doc__
  assert process.stdout.startswith(doc.strip() + "\n\nFlags:\n  --")
  assert process.stdout.endswith("\n\n--helpfull shows all flags.\n")
  assert max(map(len, process.stdout.splitlines())) <= 80
  required = [
    line.endswith("(required)") for line in shown_flags(process.stdout)
  ]
  assert required == sorted(required, reverse=True)
  only_defaults = {"demo", "report", "speed", "startup", "use"}
  assert any(required) == (module.split(".")[-1] not in only_defaults)


def test_help_shows_what_matters_first(capsys):
  assert call(train, "--help") == 0
  assert [
    line.split("=")[0].strip() for line in shown_flags(capsys.readouterr().out)
  ] == [
    *("--run_dir", "--iterations", "--seed", "--estimator", "--mnist"),
    *("--data", "--flagfile"),
  ]


GROUPS = {
  train: ["run"],
  sweep: ["sweep", "run"],
  init_sensitivity: ["sweep", "run"],
  import_blog_checkpoint: ["run"],
}


@pytest.mark.parametrize("binary", GROUPS)
def test_helpfull_shows_all_flags_in_groups(binary, capsys):
  assert call(binary, "--helpfull") == 0
  out = capsys.readouterr().out
  assert binary.__doc__.strip() in out
  groups = [*GROUPS[binary], "data", "model", "prior", "training"]
  assert re.findall(r"^(\w+):$", out, re.MULTILINE) == groups
  flag_values = flags.FlagValues()
  binary.define_flags(flag_values)
  found = re.findall(r"^  --(?:\[no\])?(\w+)", out, re.MULTILINE)
  assert len(found) == len(set(found))
  assert set(found) == {*flag_values, "flagfile"} - {"undefok"}


def test_helpfull_has_the_order_of_the_configuration(capsys):
  assert call(train, "--helpfull") == 0
  found = re.findall(
    r"^  --(?:\[no\])?(\w+)", capsys.readouterr().out, re.MULTILINE
  )
  for part in (
    *(DataConfig, config_lib.ModelConfig),
    *(config_lib.PriorConfig, config_lib.TrainingConfig),
  ):
    names = [f.name for f in dataclasses.fields(part) if f.name in found]
    first = found.index(names[0])
    assert found[first : first + len(names)] == names


def test_help_says_type_and_default():
  flag_values = flags.FlagValues()
  options = {"flag_values": flag_values, "module_name": "run"}
  flags.DEFINE_enum("kind", "a", ["a", "b"], "this or that", **options)
  flags.DEFINE_list("names", ["x", "y"], "of all", **options)
  flags.DEFINE_float("rate", 0.5, "speed", **options)
  flags.DEFINE_bool("fast", False, "word " * 20, **options)
  command_line.define_tuple_flag(
    int, name="sizes", default=(), help="none", flag_values=flag_values,
    module_name="run",
  )  # fmt: skip
  flags.DEFINE_integer("must", None, "be there", required=True, **options)
  assert (
    command_line.text("helpfull", "Doc.\n", flag_values, ["run"])
    == """Doc.

run:
  --kind=a|b  (default: a)
      this or that
  --names=TEXT,...  (default: x,y)
      of all
  --rate=NUMBER  (default: 0.5)
      speed
  --[no]fast  (default: false)
      word word word word word word word word word word word word word word word
      word word word word word
  --sizes=INTEGER,...
      none
  --must=INTEGER  (required)
      be there

  --flagfile=FILE
      flags from a file, one on each line"""
  )


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
sys.exit(generate.run(["generate", "--out=x.npz"]))
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
