"""Speed and robustness: `python -m experiments.benchmarks.NAME`."""
