"""Every command, link and example in the documents, and how long they are."""

import functools
import importlib
import importlib.util
import itertools
import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest
import yaml
from absl import flags
from tensorboard import program

import air
from air import estimators
from air.training import Trainer
from experiments import report
from experiments.common import launcher
from experiments.sweeps import plan, runner

ROOT = pathlib.Path(__file__).parents[1]
DOCUMENTS = sorted(
  path.relative_to(ROOT).as_posix()
  for folder in (".", "docs", "results", "air/pretrained")
  for path in (ROOT / folder).glob("*.md")
)
# It has the commands and flags of the commits that it names.
ARCHIVE = "results/archive.md"
CURRENT = [document for document in DOCUMENTS if document != ARCHIVE]
# The commands of a document are run by a shell in which these print their
# arguments, each line of them ended by an empty one, and others do nothing.
PRELUDE = """
for tool in python make tensorboard; do
  eval "$tool() { printf '%s\\n' $tool \\"\\$@\\" ''; }"
done
for tool in source cp mkdir; do eval "$tool() { :; }"; done
.venv/bin/python() { python "$@"; }
"""


def text_of(document):
  return (ROOT / document).read_text(encoding="utf-8")


def blocks(document):
  """Returns (language, code) of each fenced block."""
  found = re.findall(
    r"^( *)```(\w*)\n(.*?)^\1```$", text_of(document), re.MULTILINE | re.DOTALL
  )
  return [(language, code) for _, language, code in found]


def prose(document):
  """Returns the text without its fenced blocks."""
  return re.sub(
    r"^( *)```.*?^\1```$",
    "",
    text_of(document),
    flags=re.MULTILINE | re.DOTALL,
  )


def commands(document, path):
  """Returns the words of each command in a document's code."""
  scripts = [
    code
    for language, code in blocks(document)
    if language == "sh"
    or (not language and re.search(r"^(python|make) ", code, re.MULTILINE))
  ]
  done = subprocess.run(
    [shutil.which("bash"), "-e", "-u", "-c", PRELUDE + "\n".join(scripts)],
    env={"PATH": str(path), "HOME": str(path), "PWD": str(path)},
    cwd=path,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert not done.stderr
  found = [c.split("\n") for c in done.stdout.strip("\n").split("\n\n") if c]
  inline = re.findall(
    r"(?<!`)`(?:\w+=\w+ )?((?:python -m|make) [^`]+)`(?!`)", prose(document)
  )
  found += [c.replace("\\|", "|").replace("'", "").split() for c in inline]
  return [command for command in found if "..." not in command]


def defined(module):
  """Returns the flags of a binary."""
  flag_values = flags.FlagValues()
  binary = importlib.import_module(module)
  binary.define_flags(flag_values)
  return flag_values


def parsed(module, arguments):
  """Returns the flags of a binary, parsed."""
  flag_values = defined(module)
  there = [a for a in arguments if not a.startswith("--flagfile=runs/")]
  assert flag_values([module, *there])[1:] == []
  return flag_values


def check_binary(module, arguments, folder):
  if arguments in (["--help"], ["--helpfull"]):
    assert importlib.import_module(module).__doc__
    return
  flag_values = parsed(module, arguments)
  if module == "experiments.sweep" and flag_values["configs"].present:
    plan.make(
      flag_values.configs, [0], folder, runner.training_flags(flag_values)
    )


@functools.cache
def distribution():
  """Returns what setup.py says."""
  importlib.import_module("setuptools")  # has the distutils of any Python
  core = importlib.import_module("distutils.core")
  return core.run_setup(ROOT / "setup.py", stop_after="init")


def check_pip(arguments):
  assert arguments[0] in ("install", "wheel")
  for extra in re.findall(r"\[(\w+)\]", " ".join(arguments)):
    assert extra in distribution().extras_require


def check(command, folder):
  """Checks that a command can be given; does not do what it says."""
  tool, *arguments = command
  if tool == "make":
    subprocess.run(
      ["make", "--dry-run", *arguments], cwd=ROOT, check=True,
      capture_output=True,
    )  # fmt: skip
  elif tool == "tensorboard":
    program.TensorBoard().configure(["tensorboard", *arguments])
  else:
    assert tool == "python"
    assert arguments[0] == "-m"
    module, *arguments = arguments[1:]
    if module == "pip":
      check_pip(arguments)
    else:
      assert module.split(".")[0] in ("data", "experiments")
      check_binary(module, arguments, folder)


@pytest.mark.parametrize("document", CURRENT)
def test_commands(document, tmp_path, monkeypatch):
  monkeypatch.chdir(ROOT)
  for command in commands(document, tmp_path):
    try:
      check(command, tmp_path / "out")
    except Exception as error:
      raise AssertionError(" ".join(command)) from error


def test_there_are_commands(tmp_path):
  found = [commands(document, tmp_path) for document in DOCUMENTS]
  assert sum(map(len, found)) > 60
  binaries = {c[2] for c in itertools.chain(*found) if c[0] == "python"}
  assert binaries >= {
    f"experiments.{path.stem}"
    for path in (ROOT / "experiments").glob("*.py")
    if path.stem != "__init__"
  }


def test_the_archive_has_commands(tmp_path):
  for command in commands(ARCHIVE, tmp_path):
    assert command[:2] == ["python", "-m"]


def anchors(document):
  """Returns what GitHub calls the headings of a document."""
  headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
  plain = [re.sub(r"[^\w\- ]", "", h).lower() for h in headings]
  names = {heading.replace(" ", "-") for heading in plain}
  api = re.findall(r"^::: ([\w.]+)$", text_of(document), re.MULTILINE)
  return names | set(api)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links(document):
  found = re.findall(r"\]\(([^)\s]+)\)", prose(document))
  for link in found:
    if link.startswith(("http://", "https://")):
      continue
    path, _, anchor = link.partition("#")
    target = (ROOT / document).parent / path if path else ROOT / document
    assert target.exists(), link
    if anchor:
      name = target.resolve().relative_to(ROOT).as_posix()
      assert anchor in anchors(name), link


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_are_named_exist(document):
  found = re.findall(
    r"`((?:air|data|demo|docs|experiments|results|tests)/[\w./]*)`",
    prose(document),
  )
  for name in found:
    assert (ROOT / name).exists(), name


def test_results_are_reproduced_by_the_commands_that_made_them(tmp_path):
  of_results, of_page = (
    [
      sorted(c)
      for c in commands(document, tmp_path)
      if c[2:3] == ["experiments.sweep"]
    ]
    for document in ("RESULTS.md", "docs/reproduce.md")
  )
  assert of_page == of_results


@functools.cache
def all_flags():
  """Returns the names of the flags of all binaries."""
  binaries = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in ("data", "experiments")
    for path in (ROOT / folder).rglob("*.py")
    if all(
      part in path.read_text() for part in ("def define_flags", "__main__")
    )
  ]
  return {"help", "helpfull", "flagfile"}.union(*map(defined, binaries))


@pytest.mark.parametrize("document", CURRENT)
def test_flags_that_are_named_exist(document):
  for name in re.findall(r"`--(\w+\*?)", prose(document)):
    if name.endswith("*"):
      assert any(flag.startswith(name[:-1]) for flag in all_flags()), name
    else:
      assert name.removeprefix("no") in all_flags() or name in all_flags(), name


@pytest.mark.parametrize(
  ("document", "most"), [("README.md", 900), ("RESULTS.md", 4_000)]
)
def test_words(document, most):
  assert len(text_of(document).split()) <= most


@pytest.mark.parametrize("document", ["RESULTS.md", ARCHIVE])
def test_results_are_those_of_the_records(document, monkeypatch, capsys):
  monkeypatch.chdir(ROOT)
  status = launcher.run(
    report.__doc__,
    report.define_flags,
    report.main,
    ["report", f"--output={document}", "--check"],
  )
  assert status == 0, capsys.readouterr()


def python_blocks(document):
  return [code for language, code in blocks(document) if language == "python"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python_compiles(document):
  for code in python_blocks(document):
    compile(code, document, "exec")


def test_the_estimator_that_the_page_adds(monkeypatch, eagerly):
  function, unbiasedness = python_blocks("docs/estimators.md")
  monkeypatch.setattr(estimators, "ESTIMATORS", dict(estimators.ESTIMATORS))
  exec(function, {**vars(estimators)})
  path = ROOT / "tests" / "air" / "estimators_test.py"
  spec = importlib.util.spec_from_file_location("estimators_test", path)
  there = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(there)
  exec(unbiasedness, vars(there))
  [name] = [n for n in vars(there) if n.startswith("test_leave_one_out")]
  getattr(there, name)()
  # And it trains.
  config = there.make_model("reinforce_leave_one_out").config
  images = np.random.default_rng(0).integers(0, 256, [64, 10, 9], np.uint8)
  trainer = Trainer(config, images, jit_compile=False)
  before = [v.numpy() for v in trainer.model.trainable_variables]
  assert np.all(np.isfinite(trainer.train(1)))
  for old, new in zip(before, trainer.model.trainable_variables, strict=True):
    assert not np.array_equal(old, new), new.name


def test_the_version_is_the_same_everywhere():
  assert distribution().get_version() == air.__version__
  citation = yaml.safe_load(text_of("CITATION.cff"))
  assert citation["version"] == air.__version__
  assert f"## {air.__version__}" in text_of("CHANGELOG.md")


def test_the_types_are_shipped():
  patterns = distribution().package_data["air"]
  assert patterns
  for pattern in patterns:
    found = list((ROOT / "air").glob(pattern))
    assert found
    assert all(path.is_file() for path in found)
