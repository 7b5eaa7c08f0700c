"""Multi-MNIST and other image sets: numpy in, numpy out, no TensorFlow."""
