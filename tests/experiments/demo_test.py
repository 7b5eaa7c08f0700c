"""The server of the page, and the page with other models.

What is on the page has tests of its own: tests/demo_test.py.
"""

import http.client
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import air
from air.storage import weights
from data import mnist
from data.dataset import load_arrays
from experiments import demo
from experiments.common import page

PAGE = pathlib.Path(__file__).parents[2] / "demo"
FILES = {"index.html", "style.css", "demo.js", "icon.svg", "models"}


@pytest.fixture
def ten_digits(monkeypatch):
  """Five digits of each class, whose brightness is their place."""
  images = (
    np.ones([50, 28, 28], np.uint8)
    * np.arange(50, dtype=np.uint8)[:, None, None]
  )
  digits = mnist.DigitSet(images, np.repeat(np.arange(10, dtype=np.uint8), 5))
  all_digits = mnist.Digits(digits, digits, digits, "made up")
  monkeypatch.setattr(mnist, "_load_auto", lambda: all_digits)


def get(port, path):
  connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
  connection.request("GET", path)
  response = connection.getresponse()
  return response.status, response.headers, response.read()


@pytest.mark.parametrize(
  ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_serves_the_page_until_it_is_interrupted(number, status):
  process = subprocess.Popen(
    [sys.executable, "-m", "experiments.demo", "--port=0"],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  line = process.stdout.readline()
  address = re.fullmatch(
    r"http://127\.0\.0\.1:(\d+)/  \(Ctrl-C stops it\)\n", line
  )
  port = int(address[1])
  for path, kind in {
    "/": "text/html; charset=utf-8",
    "/demo.js": "text/javascript; charset=utf-8",
    "/models/models.json": "application/json",
    "/models/air.safetensors": "application/octet-stream",
  }.items():
    code, headers, content = get(port, path)
    assert (code, headers["Content-Type"]) == (200, kind)
    assert headers["Content-Security-Policy"] == "default-src 'self'"
    file = PAGE / (path[1:] or "index.html")
    assert content == file.read_bytes()
  for path in ("/models/", "/nothing", "/../setup.py", "/%2e%2e/setup.py"):
    assert get(port, path)[0] == 404, path
  process.send_signal(number)
  assert process.communicate(timeout=20) == ("", "")
  assert process.returncode == status


def test_a_port_that_is_taken(call, capsys):
  with socket.create_server(("127.0.0.1", 0)) as taken:
    port = taken.getsockname()[1]
    assert call(demo, f"--port={port}") == 2
  assert capsys.readouterr().err == (
    f"demo: --port is {port}, which cannot be used (Address already in use);"
    " expected another one, or 0 for any that is free\n"
  )


def test_writes_the_page_with_ones_own_model(
  call, tiny_run, tiny_data, ten_digits, tmp_path, capsys
):
  out = tmp_path / "page"
  assert call(demo, f"--run_dirs={tiny_run}", f"--out={out}") == 0
  assert capsys.readouterr().out == f"{out}: index.html, models/\n"
  assert {path.name for path in out.iterdir()} == FILES
  for name in FILES - {"models"}:
    assert (out / name).read_bytes() == (PAGE / name).read_bytes()
  listed = json.loads((out / "models" / "models.json").read_text())
  assert listed["digit_size"] == 28
  [entry] = listed["models"]
  assert (entry["name"], entry["file"]) == ("AIR", "air.safetensors")
  model, others = weights.read(out / "models" / "air.safetensors")
  assert others == {"iteration": 4, "counts": [0, 1, 2]}
  assert model.config == air.load(tiny_run).network.config
  images = load_arrays(tiny_data).validation.images
  assert entry["reference"] == page.reference(model, images)
  sheet = np.asarray(Image.open(out / "models" / "digits.png"))
  assert sheet.shape == (4 * 28, 10 * 28)
  places = sheet[::28, ::28]
  np.testing.assert_array_equal(
    places, np.arange(4)[:, None] + 5 * np.arange(10)
  )
  # Again, over itself.
  stale = out / "models" / "stale.safetensors"
  stale.touch()
  assert call(demo, f"--run_dirs={tiny_run}", f"--out={out}") == 0
  assert not stale.exists()


def test_several_models(call, tiny_run, ten_digits, tmp_path):
  config = json.loads((tiny_run / "config.json").read_text())
  copies = [tmp_path / name for name in ("second", "third")]
  for copy in copies:
    shutil.copytree(tiny_run, copy)
  config["air"]["model"]["step_input"] = "difference"
  (copies[1] / "config.json").write_text(json.dumps(config))
  for checkpoint in (copies[1] / "checkpoints").iterdir():
    # Of before checkpoints said what model they are of.
    (checkpoint / "run.json").unlink()
    sums = json.loads((checkpoint / "manifest.json").read_text())
    del sums["run.json"]
    (checkpoint / "manifest.json").write_text(json.dumps(sums))
  out = tmp_path / "page"
  folders = ",".join(map(str, [tiny_run, *copies]))
  assert call(demo, f"--run_dirs={folders}", f"--out={out}") == 0
  listed = json.loads((out / "models" / "models.json").read_text())["models"]
  assert [(entry["name"], entry["file"]) for entry in listed] == [
    ("AIR", "air.safetensors"),
    ("AIR 2", "air-2.safetensors"),
    ("DAIR", "dair.safetensors"),
  ]
  for entry in listed:
    assert (out / "models" / entry["file"]).is_file()


def test_images_of_several_sizes(call, tiny_run, tmp_path, capsys):
  other = tmp_path / "other"
  shutil.copytree(tiny_run, other)
  text = (other / "config.json").read_text()
  config = json.loads(text)
  config["air"]["model"]["image_size"] = [20, 20]
  (other / "config.json").write_text(json.dumps(config))
  out = tmp_path / "page"
  assert call(demo, f"--run_dirs={tiny_run},{other}", f"--out={out}") == 2
  assert "--run_dirs holds runs on images of" in capsys.readouterr().err
  assert not out.exists()


def test_a_folder_that_is_no_page(call, tiny_run, tmp_path, capsys):
  (tmp_path / "models").mkdir()
  (tmp_path / "models" / "mine.txt").write_text("42")
  before = sorted(tmp_path.rglob("*"))
  assert call(demo, f"--run_dirs={tiny_run}", f"--out={tmp_path}") == 2
  error = capsys.readouterr().err
  assert error == (
    f"demo: --out is {tmp_path}, where models exists and is no part of the"
    " page\n"
  )
  assert sorted(tmp_path.rglob("*")) == before


def test_what_is_surprising_is_what_few_images_are(small_scores):
  model, images, counts, points = small_scores
  found = page.reference(model, images)
  assert set(found["by_count"]) == {str(n) for n in np.unique(counts)}
  distances = []
  for count, point in zip(counts, points, strict=True):
    same = points[counts == count]
    offset = point - same.mean(axis=0)
    covariance = np.cov(same.T) + np.eye(2)
    distances.append(offset @ np.linalg.solve(covariance, offset))
  values = found["distances"]["values"]
  factor = found["distances"]["factor"]
  for power, value in enumerate(values):
    share = np.mean(np.array(distances) >= value - 1e-4)
    assert abs(share - factor**power) < 1.5 / len(images)
  assert factor ** (len(values) - 1) >= 1 / len(images)


@pytest.fixture(scope="module")
def small_scores():
  """A model, images, and the count, ELBO and norm of each."""
  model = air.AIRModel(
    air.AIRConfig(
      air.ModelConfig(
        image_size=(14, 14), glimpse_size=(6, 6), num_steps=2, what_size=3,
        hidden_sizes=(8,), presence_hidden_sizes=(8,), lstm_size=8,
      )
    )
  )  # fmt: skip
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, [120, 14, 14], np.uint8)
  images = (images * rng.uniform(0, 1, [120, 1, 1])).astype(np.uint8)
  pixels = images / np.float32(255)
  output = model(tf.constant(pixels), model.zero_noise(120))
  terms = model.elbo_terms(output, model.final_priors())
  elbo = -terms.expected_reconstruction() - terms.kl()
  norm = np.linalg.norm(pixels.reshape(120, -1), axis=1) / 0.3
  counts = output.num_steps_posterior().mode().numpy()
  return model, images, counts, np.stack([elbo.numpy(), norm], axis=1)
