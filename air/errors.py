"""The errors that `air` raises. Each message is one line."""


class ConfigError(ValueError):
  """A value that cannot work. The message starts with the field's name."""


class InputError(ValueError):
  """An argument that cannot work. The message starts with its name."""


class RunError(Exception):
  """A folder that holds no run, or one that this version cannot read."""


class CheckpointError(Exception):
  """A checkpoint that is damaged, or is not of this model."""


class DivergedError(Exception):
  """A term of the loss or a variable is not finite; the message says which."""
