"""Attend, Infer, Repeat (Eslami et al. 2016) in TensorFlow 2 and Sonnet 2."""

from air.cell import AIRCell
from air.config import (
  AIRConfig,
  ConfigError,
  ModelConfig,
  PriorConfig,
  TrainingConfig,
)
from air.model import AIRModel, AIROutput
from air.prior import NumStepsDistribution

__all__ = [
  "AIRCell",
  "AIRConfig",
  "AIRModel",
  "AIROutput",
  "ConfigError",
  "ModelConfig",
  "NumStepsDistribution",
  "PriorConfig",
  "TrainingConfig",
]
