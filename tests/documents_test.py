"""Every command in README.md and RESULTS.md is one that its binary takes."""

import importlib
import pathlib
import re
import shutil
import subprocess

import pytest
from absl import flags

from data import generate
from experiments import report
from experiments.common import launcher
from experiments.sweeps import plan, runner

ROOT = pathlib.Path(__file__).parents[1]
# Commands of a document are run by a shell for which `python` prints its
# arguments, each line of them ended by an empty one, and others do nothing.
PRELUDE = """
python() { printf '%s\\n' "$@" ''; }
make() { :; }
source() { :; }
"""


def commands(document, path):
  """Returns the arguments of each `python -m ...` in a document's code."""
  text = (ROOT / document).read_text(encoding="utf-8")
  fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
  blocks = [code for _, code in fenced if "python -m" in code]
  inline = re.findall(r"(?<!`)`(python -m [^`]+)`(?!`)", text)
  done = subprocess.run(
    [shutil.which("bash"), "-e", "-u", "-c", PRELUDE + "\n".join(blocks)],
    env={"PATH": str(path)},
    cwd=path,
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert not done.stderr
  found = [c.split("\n") for c in done.stdout.strip("\n").split("\n\n")]
  found += [c.replace("\\|", "|").split()[1:] for c in inline]
  return [
    command[1:]
    for command in found
    if command[0] == "-m"
    and command[1].split(".")[0] in ("data", "experiments")
    and "..." not in command
  ]


def parsed(module, arguments):
  """Returns the flags of a binary, parsed."""
  flag_values = flags.FlagValues()
  if module == "data.generate":
    generate.define_flags(flag_values)
  else:
    importlib.import_module(module).define_flags(flag_values)
  there = [a for a in arguments if not a.startswith("--flagfile=runs/")]
  assert flag_values([module, *there])[1:] == []
  return flag_values


@pytest.mark.parametrize(
  ("document", "at_least"), [("README.md", 25), ("RESULTS.md", 18)]
)
def test_commands(document, at_least, tmp_path, monkeypatch):
  monkeypatch.chdir(ROOT)
  found = commands(document, tmp_path)
  assert len(found) >= at_least
  for module, *arguments in found:
    try:
      flag_values = parsed(module, arguments)
      if module == "experiments.sweep" and flag_values["configs"].present:
        plan.make(
          flag_values.configs,
          [0],
          tmp_path / "out",
          runner.training_flags(flag_values),
        )
    except Exception as error:
      raise AssertionError(f"{module} {' '.join(arguments)}") from error


@pytest.mark.parametrize("document", ["RESULTS.md", "results/archive.md"])
def test_results_are_those_of_the_records(document, monkeypatch, capsys):
  monkeypatch.chdir(ROOT)
  status = launcher.run(
    report.__doc__,
    report.define_flags,
    report.main,
    ["report", f"--output={document}", "--check"],
  )
  assert status == 0, capsys.readouterr()


def test_results_are_short():
  assert len((ROOT / "RESULTS.md").read_text("utf-8").split()) <= 4000
