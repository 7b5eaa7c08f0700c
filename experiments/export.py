"""Writes a trained model as a TensorFlow SavedModel.

  python -m experiments.export --run_dir=runs/default --out=OUT
  python -m experiments.export --model=multi_mnist --out=OUT

TensorFlow alone loads it. Its signatures return the fields of `air.Scenes`,
with the numbers of `air.TrainedModel`, and refuse what that does:

  serving_default: images [N, H, W] float32 in [0, 1]; seed 0
  infer:           the same, seed [] int32
  infer_uint8:     images [N, H, W] uint8, seed [] int32
  sample:          n [] int32, seed [] int32
"""

import sys

from absl import flags
from etils import epy

from air.storage import files
from experiments.common import launcher, trained
from experiments.common.launcher import UsageError
from experiments.common.progress import Task

with epy.lazy_imports():
  from air.storage import export


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  trained.define_flags(flag_values)
  trained.define_count_probs_flag(flag_values, "prior")


def main(flag_values: flags.FlagValues) -> None:
  """Exports the newest good checkpoint, then shows --out."""
  if files.is_pattern(launcher.expanded("out", flag_values.out).absolute()):
    raise UsageError(
      f"out is {flag_values.out}, from where TensorFlow cannot load a model, as"
      " there is a [ or a backslash in the path; expected another folder"
    )
  with trained.new_output(flag_values) as out, Task("exporting"):
    model = trained.load_model(flag_values)
    export.save(model.network, out, trained.count_probs(flag_values, model))
  print(
    f"{flag_values.out}: serving_default(images), infer(images, seed),"
    " infer_uint8(images, seed), sample(n, seed)"
  )


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
