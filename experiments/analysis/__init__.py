"""Analyses of runs: `python -m experiments.analysis.NAME`."""
