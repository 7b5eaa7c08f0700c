"""What is printed, and what is not, when TensorFlow is imported."""

import os
import subprocess
import sys

import pytest

FAKE = """
import os
os.write(2, b"built with care\\n")
os.write(2, os.environ["TF_CPP_MIN_LOG_LEVEL"].encode() + b"\\n")
"""


def python(code, **environment):
  """Runs code in a process without the settings of the tests."""
  inherited = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
  return subprocess.run(
    [sys.executable, "-c", code],
    env={**inherited, **environment},
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.fixture
def fake(tmp_path):
  """A function that runs code where TensorFlow is a module that we write."""

  def run(code, module=FAKE, **environment):
    (tmp_path / "tensorflow.py").write_text(module)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"
    return python(code, **environment)

  return run


def test_air_alone_imports_no_tensorflow():
  done = python(
    "import sys, air\n"
    "from air import config, errors\n"
    "from air.storage import files, inputs, run_folder\n"
    "assert set(air.__all__) <= set(dir(air))\n"
    "air.AIRConfig(), air.RunError\n"
    "assert not sys.modules.keys() & {'tensorflow', 'matplotlib', 'sonnet'}\n"
  )
  assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_nothing_is_printed(run_dir):
  done = python(
    f"import air\nfrom air.model import AIRModel\nair.load({str(run_dir)!r})"
  )
  assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_everything_is_printed_if_asked_for():
  done = python("import air.model", TF_CPP_MIN_LOG_LEVEL="0")
  assert "oneDNN" in done.stderr
  assert done.returncode == 0


@pytest.mark.parametrize("level", ["1", "2", "3"])
def test_a_level_of_the_user_is_kept(level, fake):
  code = "import air, os, tensorflow; print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
  done = fake(code, TF_CPP_MIN_LOG_LEVEL=level)
  assert (done.stdout, done.stderr) == (f"{level}\n", "")


def test_the_import_alone_is_silent(fake):
  done = fake(
    "import os, air\n"
    "os.write(2, b'before\\n')\n"
    "import tensorflow\n"
    "os.write(2, b'after\\n')\n"
  )
  assert done.stderr == "before\nafter\n"
  assert done.returncode == 0


def test_an_import_that_fails_says_all(fake):
  done = fake("import air, tensorflow", f"{FAKE}\nraise ImportError('no GPU')")
  assert done.stderr.startswith("built with care\n3\n")
  assert done.stderr.endswith("ImportError: no GPU\n")
  assert done.returncode == 1


def test_without_stderr(fake):
  code = "import os, air; os.close(2); import tensorflow; print('done')"
  done = fake(code, module="")
  assert (done.stdout, done.returncode) == ("done\n", 0)


def test_what_is_to_happen_before(fake):
  done = fake(
    "from air import tensorflow_import\n"
    "tensorflow_import.before(lambda: print('action'))\n"
    "print('first')\n"
    "import tensorflow\n"
    "tensorflow_import.before(lambda: print('at once'))\n",
    "print('module')",
  )
  assert done.stdout == "first\naction\nmodule\nat once\n"
