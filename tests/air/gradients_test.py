"""Statistics of gradients against numpy."""

import numpy as np
import tensorflow as tf

from air.gradients import RunningMoments, parameter_groups
from air.model import AIRModel


def test_moments_are_those_of_all_vectors():
  rng = np.random.default_rng(0)
  vectors = rng.normal(1e3, 0.1, [50, 7]).astype(np.float32)
  moments = RunningMoments(7)
  for vector in vectors:
    moments.add(tf.constant(vector))
  expected = vectors.astype(np.float64)
  np.testing.assert_allclose(moments.mean(), expected.mean(0), rtol=1e-12)
  variance = expected.var(0, ddof=1)
  np.testing.assert_allclose(moments.variance(), variance, rtol=1e-9)
  np.testing.assert_allclose(moments.squared_error(), variance / 50, rtol=1e-9)


def test_every_parameter_is_in_one_group(small_config):
  model = AIRModel(small_config(estimator="reinforce"))
  groups = parameter_groups(model)
  size = sum(v.shape.num_elements() for v in model.model_variables)
  np.testing.assert_array_equal(sum(groups.values()), np.ones(size))
  for name, module in (
    ("decoder", model.decoder),
    ("presence_head", model.presence_head),
  ):
    flat = np.concatenate([v.numpy().ravel() for v in model.model_variables])
    expected = [v.numpy().ravel() for v in module.trainable_variables]
    np.testing.assert_array_equal(flat[groups[name]], np.concatenate(expected))
