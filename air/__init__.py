"""Attend, Infer, Repeat (Eslami et al. 2016) in TensorFlow 2 and Sonnet 2."""

from air.api import TrainedModel, load
from air.cell import AIRCell
from air.config import (
  AIRConfig,
  ConfigError,
  ModelConfig,
  PriorConfig,
  TrainingConfig,
)
from air.model import AIRModel
from air.outputs import AIROutput
from air.prior import NumStepsDistribution
from air.scenes import Scenes
from air.storage.checkpoints import CheckpointError
from air.storage.inputs import InputError
from air.storage.run_folder import RunError

__all__ = [
  "AIRCell",
  "AIRConfig",
  "AIRModel",
  "AIROutput",
  "CheckpointError",
  "ConfigError",
  "InputError",
  "ModelConfig",
  "NumStepsDistribution",
  "PriorConfig",
  "RunError",
  "Scenes",
  "TrainedModel",
  "TrainingConfig",
  "load",
]
