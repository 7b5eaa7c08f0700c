"""Attend, Infer, Repeat (Eslami et al. 2016) in TensorFlow 2 and Sonnet 2.

TensorFlow is imported once something that needs it is used.
"""

from etils import epy

from air import tensorflow_import  # noqa: F401

with epy.lazy_api_imports(globals()):
  from air.api import TrainedModel, load
  from air.cell import AIRCell
  from air.config import AIRConfig, ModelConfig, PriorConfig, TrainingConfig
  from air.errors import (
    CheckpointError,
    ConfigError,
    DivergedError,
    InputError,
    RunError,
  )
  from air.fitting import fit
  from air.model import AIRModel
  from air.outputs import AIROutput
  from air.prior import NumStepsDistribution
  from air.scenes import Scenes
  from air.surprise import Surprise
  from air.viz.scenes import plot

__version__ = "0.1.0"

__all__ = [
  "AIRCell",
  "AIRConfig",
  "AIRModel",
  "AIROutput",
  "CheckpointError",
  "ConfigError",
  "DivergedError",
  "InputError",
  "ModelConfig",
  "NumStepsDistribution",
  "PriorConfig",
  "RunError",
  "Scenes",
  "Surprise",
  "TrainedModel",
  "TrainingConfig",
  "fit",
  "load",
  "plot",
]
