"""The paper's other experiments: generalisation and downstream tasks."""
