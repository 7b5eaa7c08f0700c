"""The SavedModel, loaded where there is no `air`."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import air
from air.errors import InputError
from air.model import AIRModel
from air.storage import export

COUNT_PROBS = [0.1, 0.2, 0.3, 0.4]

# Without Sonnet and TensorFlow Probability either.
ELSEWHERE = """
import sys
for name in ("air", "sonnet", "tensorflow_probability"):
  sys.modules[name] = None  # cannot be imported
import numpy as np
import tensorflow as tf

folder, given, results = sys.argv[1:]
images = np.load(given)
signatures = tf.saved_model.load(folder).signatures
assert set(signatures) == {"serving_default", "infer", "infer_uint8", "sample"}
inferred = signatures["infer"](images=images, seed=tf.constant(3))
served = signatures["serving_default"](images=images)
in_bytes = signatures["infer_uint8"](
  images=np.round(255 * images).astype(np.uint8), seed=tf.constant(0)
)
sampled = signatures["sample"](n=tf.constant(5), seed=tf.constant(4))
made = {
  "inferred": inferred, "served": served, "in_bytes": in_bytes,
  "sampled": sampled,
}
np.savez(
  results,
  **{f"{name}_{k}": v for name, it in made.items() for k, v in it.items()},
)
"""


def test_gives_the_numbers_of_the_api_without_air(
  run_dir, user_images, tmp_path
):
  model = air.load(run_dir)
  # More than one batch, and the last one not full.
  images = np.concatenate([user_images] * 5)[:70] / np.float32(255)
  folder, given = tmp_path / "saved", tmp_path / "images.npy"
  export.save(model.network, folder, COUNT_PROBS)
  np.save(given, images)
  process = subprocess.run(
    [sys.executable, "-c", ELSEWHERE, folder, given, tmp_path / "results.npz"],
    cwd=tmp_path,
    capture_output=True,
    text=True,
    check=False,
  )
  assert process.returncode == 0, process.stderr
  with np.load(tmp_path / "results.npz") as results:
    for name, scenes in (
      ("inferred", model.infer(images, 3)),
      ("served", model.infer(images)),
      ("in_bytes", model.infer(images)),
      ("sampled", model.sample(5, 4, COUNT_PROBS)),
    ):
      for field, expected in scenes._asdict().items():
        found = results[f"{name}_{field}"]
        assert found.dtype == expected.dtype, field
        np.testing.assert_allclose(
          found, expected, rtol=1e-4, atol=1e-4, err_msg=field
        )


@pytest.fixture(scope="module")
def signatures(run_dir, tmp_path_factory):
  folder = tmp_path_factory.mktemp("export") / "saved"
  export.save(air.load(run_dir).network, folder)
  return tf.saved_model.load(folder).signatures


@pytest.mark.parametrize(
  ("name", "arguments", "message"),
  [
    ("sample", {"n": -1, "seed": 0}, r"n is -1, expected an integer in 1\.\.2"),
    ("sample", {"n": 0, "seed": 0}, r"n is 0, expected an integer in 1\.\.2"),
    ("sample", {"n": 1, "seed": -1}, "seed is -1, expected an integer in 0"),
    ("infer", {"seed": -2}, "seed is -2, expected an integer in 0"),
  ],
)
def test_wrong_integers_are_refused(
  signatures, user_images, name, arguments, message
):
  given = {k: tf.constant(v) for k, v in arguments.items()}
  if name == "infer":
    given["images"] = tf.constant(user_images / np.float32(255))
  with pytest.raises(tf.errors.InvalidArgumentError, match=message):
    signatures[name](**given)


def test_of_a_model_with_a_variance_normaliser(small_config, tmp_path):
  network = AIRModel(small_config(estimator="reinforce", normalize_signal=True))
  export.save(network, tmp_path / "saved")
  images = np.zeros([2, 12, 10], np.float32)
  infer = tf.saved_model.load(tmp_path / "saved").signatures["infer"]
  found = infer(images=tf.constant(images), seed=tf.constant(0))
  assert found["count"].shape == (2,)


def test_probabilities_are_checked(run_dir, tmp_path):
  model = air.load(run_dir).network
  with pytest.raises(InputError, match="count_probs is"):
    export.save(model, tmp_path / "saved", [0.5, 0.5])
  assert not (tmp_path / "saved").exists()
