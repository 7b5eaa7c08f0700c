"""What `experiments.sweep` consists of."""
