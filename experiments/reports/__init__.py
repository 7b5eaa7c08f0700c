"""What `experiments.report` consists of."""
