"""Attend, Infer, Repeat (Eslami et al. 2016) in TensorFlow 2 and Sonnet 2."""

from air.api import TrainedModel, load
from air.cell import AIRCell
from air.checkpoints import CheckpointError
from air.config import (
  AIRConfig,
  ConfigError,
  ModelConfig,
  PriorConfig,
  TrainingConfig,
)
from air.inputs import InputError
from air.model import AIRModel, AIROutput
from air.prior import NumStepsDistribution
from air.run_folder import RunError
from air.scenes import Scenes

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
