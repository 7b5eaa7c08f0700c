"""Multi-MNIST and other image sets: numpy in, numpy out, no TensorFlow."""

from data import interrupt

interrupt.end_at_once()  # of data.generate; experiments does so itself
