"""Samples scenes from a trained model, and draws latent traversals.

  python -m experiments.sample --run_dir=runs/default --out=OUT
  python -m experiments.sample --model=multi_mnist --out=OUT

Writes these files to OUT:

  samples.png, samples.npz  the scenes; `air.Scenes` documents the arrays
  traversal_what.png        one object, while one entry of z_what at a time goes
                            from -2 to 2; the entries that change it most
  traversal_where.png       the same for each entry of z_where, within 2
                            standard deviations of its prior's mean
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
from absl import flags
from etils import epy

import air
from experiments.common import launcher, trained
from experiments.common.launcher import UsageError
from experiments.common.progress import Task

with epy.lazy_imports():
  from air.viz import figures

_COLUMNS = 8
# Of a traversal: how many entries of z_what, and standard deviations.
_ENTRIES = 8
_VALUES = np.linspace(-2.0, 2.0, 9)
_WHERE_NAMES = {3: ("s", "tx", "ty"), 4: ("sx", "tx", "sy", "ty")}


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  trained.define_flags(flag_values)
  flags.DEFINE_integer(
    "num", 8 * _COLUMNS, "scenes to draw", lower_bound=1, upper_bound=2**31 - 1,
    flag_values=flag_values, module_name="run",
  )  # fmt: skip
  trained.define_count_probs_flag(flag_values, "equal")
  trained.define_seed_flag(flag_values)


def _sheet(images: np.ndarray) -> np.ndarray:
  """Returns images `[N, H, W]` in rows, `[R, C, H, W]`, the rest black."""
  columns = min(_COLUMNS, len(images))
  padded = np.pad(images, [(0, -len(images) % columns), (0, 0), (0, 0)])
  return padded.reshape([-1, columns, *images.shape[1:]])


def _traverse(latent: np.ndarray, steps: np.ndarray) -> np.ndarray:
  """Returns latents with one entry at a time changed, `[S, V, S]`.

  Args:
    latent: `[S]`, to be changed.
    steps: `[V, S]`, the values that each entry takes in turn.
  """
  size = len(latent)
  varied = np.tile(latent, [size, len(steps), 1])
  for k in range(size):
    varied[k, :, k] = steps[:, k]
  return varied


def _paint(
  model: air.TrainedModel, what: np.ndarray, where: np.ndarray
) -> np.ndarray:
  """Returns objects `[R, C, H, W]`.

  Args:
    model: that paints them.
    what: `[R, C, Z]`, z_what; or `[Z]`, the same for all.
    where: `[R, C, D]`, z_where; or `[D]`.
  """
  grid = np.broadcast_shapes(what.shape[:-1], where.shape[:-1])
  flat = [
    np.broadcast_to(z, [*grid, z.shape[-1]]).reshape(-1, z.shape[-1])
    for z in (what, where)
  ]
  return model.paint(*flat).reshape([*grid, *model.image_size])


def _caption(num: int, choice: str, probs: Sequence[float] | None) -> str:
  """Returns what stands above the scenes.

  Args:
    num: of scenes.
    choice: what --count_probs says.
    probs: what that means, see `trained.count_probs`.
  """
  if probs is None:
    counts = "drawn from its prior"
  elif choice == "equal":
    counts = f"1 to {len(probs) - 1}, equally probable"
  else:
    shares = ", ".join(f"{prob:.2g}" for prob in probs)
    counts = f"0 to {len(probs) - 1} with probabilities {shares}"
  return (
    f"{num} scenes drawn from the model. Number of objects: {counts}"
    f" (--count_probs={choice}). What and where: drawn from their priors."
  )


def main(flag_values: flags.FlagValues) -> None:
  """Draws the sheet and the traversals, then shows --out."""
  with trained.new_output(flag_values) as out, Task("drawing scenes"):
    model = trained.load_model(flag_values)
    num, probs = flag_values.num, trained.count_probs(flag_values, model)
    try:
      scenes = model.sample(num, flag_values.seed, probs)
    except MemoryError as error:
      raise UsageError(
        f"num is {num}, expected scenes that fit into memory: {error}"
      ) from error
    np.savez(out / "samples.npz", **scenes._asdict())
    figures.save(
      figures.sheet(
        _sheet(scenes.canvas),
        title=_caption(num, flag_values.count_probs, probs),
      ),
      out / "samples.png",
    )

    # The first object that was drawn, where objects are expected.
    prior = model.network.final_priors().where
    what, where = scenes.z_what[0, 0], prior.loc.numpy()
    columns = [f"{value:+.1f}" for value in _VALUES]

    of_what = _paint(
      model, _traverse(what, np.tile(_VALUES[:, None], len(what))), where
    )  # [Z, V, H, W]
    change = of_what.std(axis=1).sum(axis=(1, 2))
    entries = np.argsort(-change)[:_ENTRIES]
    figures.save(
      figures.sheet(
        of_what[entries],
        [f"z_what {k}" for k in entries],
        columns,
        "An object: in each row one entry of z_what takes these values.",
      ),
      out / "traversal_what.png",
    )

    steps = where + _VALUES[:, None] * prior.scale.numpy()  # [V, D]
    figures.save(
      figures.sheet(
        _paint(model, what, _traverse(where, steps)),
        _WHERE_NAMES[len(where)],
        columns,
        "An object: in each row one entry of z_where takes these values, in"
        " standard deviations of its prior from its mean.",
      ),
      out / "traversal_where.png",
    )
  print(
    f"{flag_values.out}: samples.png, samples.npz, traversal_what.png,"
    " traversal_where.png"
  )


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
