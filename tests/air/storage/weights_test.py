import json
import math

import numpy as np
import pytest
import tensorflow as tf

from air.errors import CheckpointError, ConfigError
from air.model import AIRModel
from air.storage import weights

DAIR = {
  "step_input": "difference",
  "glimpse_input": "difference",
  "memory": False,
  "latent_feedback": False,
}


@pytest.fixture
def file(small_config, tmp_path):
  path = tmp_path / "small.safetensors"
  weights.write(path, AIRModel(small_config()), iteration=7)
  return path


@pytest.mark.parametrize(
  "settings",
  [{}, DAIR, {"estimator": "reinforce", "where_parametrization": "3d"}],
)
def test_reads_what_was_written_in_half_precision(
  settings, small_config, small_images, tmp_path
):
  model = AIRModel(small_config(seed=3, **settings))
  path = tmp_path / "new" / "model.safetensors"
  weights.write(path, model, iteration=20, counts=[0, 1])
  read, others = weights.read(path)
  assert others == {"iteration": 20, "counts": [0, 1]}
  assert read.config == model.config
  for ours, theirs in zip(
    read.model_variables, model.model_variables, strict=True
  ):
    half = theirs.numpy().astype(np.float16)
    np.testing.assert_array_equal(ours.numpy(), half.astype(np.float32))
  images = tf.constant(small_images / np.float32(255))
  noise = model.zero_noise(len(images))
  np.testing.assert_allclose(
    read(images, noise).canvases, model(images, noise).canvases, atol=0.01
  )
  values = sum(math.prod(v.shape) for v in model.model_variables)
  assert path.stat().st_size < 2 * values + 8_000


def test_the_header_says_what_is_where(file):
  """By the format's definition, as the page of `demo/` reads it."""
  content = file.read_bytes()
  length = int.from_bytes(content[:8], "little")
  header = json.loads(content[8 : 8 + length])
  metadata = header.pop("__metadata__")
  described = json.loads(metadata["model"])
  assert described["iteration"] == 7
  assert described["air"]["model"]["image_size"] == [12, 10]
  model, _ = weights.read(file)
  variables = model.model_variables
  expected = dict(zip(weights.names(model, variables), variables, strict=True))
  assert header.keys() == expected.keys()
  assert {"cell/lstm/w_i", "decoder/mlp/linear_0/w"} < header.keys()
  for name, entry in header.items():
    assert entry["dtype"] == "F16"
    begin, end = entry["data_offsets"]
    array = np.frombuffer(content[8 + length :][begin:end], "<f2")
    np.testing.assert_array_equal(
      array.reshape(entry["shape"]), expected[name].numpy()
    )


def test_the_same_model_is_the_same_file(file, small_config, tmp_path):
  path = tmp_path / "again.safetensors"
  weights.write(path, AIRModel(small_config()), iteration=7)
  assert path.read_bytes() == file.read_bytes()


def test_a_weight_that_does_not_fit(small_config, tmp_path):
  model = AIRModel(small_config())
  model.cell.lstm.b.assign_add(70_000 * np.ones_like(model.cell.lstm.b))
  path = tmp_path / "model.safetensors"
  with pytest.raises(CheckpointError, match="cell/lstm/b has a weight that"):
    weights.write(path, model)
  assert not path.exists()


def replaced(old, new):
  assert len(old) == len(new)
  return lambda content: content.replace(old, new, 1)


@pytest.mark.parametrize(
  ("change", "error", "message"),
  [
    (lambda content: b"", CheckpointError, "is damaged"),
    (lambda content: content[:-2], CheckpointError, "is damaged"),
    (replaced(b"metadata", b"METADATA"), CheckpointError, "is damaged"),
    (
      replaced(b'\\"format\\": 2', b'\\"format\\": 1'),
      CheckpointError,
      "version",
    ),
    (
      replaced(b'\\"air\\":', b'\\"aer\\":'),
      ConfigError,
      "has no configuration",
    ),
    (replaced(b"lstm_size", b"size_lstm"), ConfigError, "another version"),
    (
      replaced(b'lstm_size\\": 8', b'lstm_size\\": 9'),
      CheckpointError,
      "weights of another model",
    ),
  ],
)
def test_files_that_are_refused(change, error, message, file):
  content = file.read_bytes()
  file.write_bytes(change(content))
  assert file.read_bytes() != content
  with pytest.raises(error, match=message) as caught:
    weights.read(file)
  assert "\n" not in str(caught.value)
