"""What a training step cannot do without: its products and the state's pass.

The products are computed by XLA, as in training, and by NumPy. The time of the
faster ones and of the pass is a lower bound of a step's time on the same
machine and threads; `timing` divides one by the other.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from air.optimizers import RMSProp
from air.training import Trainer

_TRANSPOSED = {
  "MatMul": ("transpose_a", "transpose_b"),
  "BatchMatMulV2": ("adj_x", "adj_y"),
}


class Product(NamedTuple):
  """A product of matrices, or of a batch of them.

  Attributes:
    left: shape of the left factor.
    right: shape of the right factor.
    transpose_left: whether it is transposed first.
    transpose_right: whether the right factor is.
    result: shape of the result.
  """

  left: tuple[int, ...]
  right: tuple[int, ...]
  transpose_left: bool
  transpose_right: bool
  result: tuple[int, ...]

  def flops(self) -> int:
    """Returns the floating-point operations: multiplications and additions."""
    inner = self.left[-2] if self.transpose_left else self.left[-1]
    return 2 * inner * math.prod(self.result)


def products_of(trainer: Trainer) -> list[Product]:
  """Returns the products of a training step, in the order of its graph.

  Those on which no metric and no gradient depends are left out, for no
  compiler would compute them.

  Args:
    trainer: whose step it is.
  """

  def gradients(images, iteration):
    batch = trainer.batch(images, tf.constant([0, 0]))
    return trainer.gradients(*batch, iteration)

  config = trainer.config
  images = [config.training.batch_size, *config.model.image_size]
  graph = (
    tf.function(gradients)
    .get_concrete_function(
      tf.TensorSpec(images, tf.uint8), tf.TensorSpec([], tf.int64)
    )
    .graph
  )
  needed = {tensor.op.name for tensor in graph.outputs}
  products = []
  # In reverse, every consumer comes before what it consumes.
  for op in reversed(graph.get_operations()):
    if op.name not in needed:
      continue
    needed.update(tensor.op.name for tensor in op.inputs)
    if op.type in _TRANSPOSED:
      left, right = (tuple(tensor.shape) for tensor in op.inputs)
      flags = (op.get_attr(name) for name in _TRANSPOSED[op.type])
      products.append(Product(left, right, *flags, tuple(op.outputs[0].shape)))
  return products[::-1]


class Products(tf.Module):
  """Computes products, as often as asked, compiled with XLA.

  All of every product: one entry of the left factor changes each time, so that
  none is computed once for all, and the whole result is kept, so that no part
  is left out.

  Attributes:
    factors: of each product, left and right.
    results: of the products.
  """

  def __init__(self, products: list[Product]):
    """Makes factors of random numbers.

    Args:
      products: to be computed.
    """
    super().__init__(name="products")
    self._products = products
    self.factors = [
      (
        tf.Variable(tf.random.stateless_normal(product.left, [0, i])),
        tf.Variable(tf.random.stateless_normal(product.right, [1, i])),
      )
      for i, product in enumerate(products)
    ]
    self.results = [tf.Variable(tf.zeros(p.result)) for p in products]
    self.run = tf.function(self._run, jit_compile=True)

  def _run(self, times: tf.Tensor) -> tf.Tensor:
    """Computes all of them `times`, `[]` int32, times."""

    def body(i):
      for product, (left, right), result in zip(
        self._products, self.factors, self.results, strict=True
      ):
        first = [slice(0, 1)] * len(product.left)
        left[first].assign(
          tf.fill([1] * len(product.left), tf.cast(i, tf.float32))
        )
        result.assign(
          tf.matmul(
            left,
            right,
            transpose_a=product.transpose_left,
            transpose_b=product.transpose_right,
          )
        )
      return i + 1

    return tf.while_loop(lambda i: i < times, body, [tf.constant(0)])[0]


class NumPyProducts:
  """Computes the same products by NumPy's BLAS, which is mostly OpenBLAS.

  Attributes:
    factors: of each product, left and right, transposed where it says so.
    results: of the products.
  """

  def __init__(self, products: list[Product]):
    """Makes factors of random numbers.

    Args:
      products: to be computed.
    """
    rng = np.random.default_rng(0)

    def factor(shape, transpose):
      values = rng.standard_normal(shape, np.float32)
      return np.swapaxes(values, -1, -2) if transpose else values

    self.factors = [
      (factor(p.left, p.transpose_left), factor(p.right, p.transpose_right))
      for p in products
    ]
    self.results = [np.empty(p.result, np.float32) for p in products]

  def run(self, times: int) -> None:
    """Computes all of them `times` times."""
    for _ in range(times):
      for (left, right), result in zip(self.factors, self.results, strict=True):
        np.matmul(left, right, out=result)


class StatePass(tf.Module):
  """Reads a gradient and reads and writes variables and slots, once each.

  Attributes:
    slots: the variables, and three slots of each.
  """

  def __init__(self, optimizer: RMSProp, variables: tuple[tf.Variable, ...]):
    """Makes arrays of the shapes of the optimizer's.

    Args:
      optimizer: whose state it is.
      variables: that it trains.
    """
    super().__init__(name="state_pass")
    slots = (variables, optimizer.mean, optimizer.variance, optimizer.velocity)
    self.slots = [[tf.Variable(tf.ones(v.shape)) for v in s] for s in slots]
    self._gradients = [tf.Variable(tf.ones(v.shape)) for v in variables]
    self.run = tf.function(self._run, jit_compile=True)

  def _run(self, times: tf.Tensor) -> tf.Tensor:
    """Passes over all of it `times`, `[]` int32, times."""

    def body(i):
      first, *others = self.slots
      for gradient, variable in zip(self._gradients, first, strict=True):
        variable.assign(0.5 * variable + gradient)
      for slot in others:
        for variable in slot:
          variable.assign(0.5 * variable + 1.0)
      return i + 1

    return tf.while_loop(lambda i: i < times, body, [tf.constant(0)])[0]
