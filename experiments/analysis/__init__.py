"""Looking closer at runs: `python -m experiments.analysis.NAME`."""
