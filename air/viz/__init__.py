"""Pictures, charts and TensorBoard: the only users of matplotlib."""
