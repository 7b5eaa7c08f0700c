r"""Asks what z_what says of the digit that an object is.

  python -m experiments.analysis.probes --run_dirs=runs/default,runs/dair

The objects are those found in the images at the means of z, with the most
probable n. An object is the digit whose true box has the largest intersection
over union with its own; objects whose box meets no true box are left out.

linear probe  logistic regression on z_what: the digits of how many unseen
              objects are right, over the number of labels
k-means       ten clusters, without labels; each is then given a digit of its
              own, so that as many as possible are right
neighbours    how many of the ten nearest objects are the same digit

The same is done with the pixels of the glimpses in place of z_what; DAIR's
glimpses show what earlier steps have not painted yet. The probe's objects, the
clusters and the neighbours are from training images.

For one run, writes RUN_DIR/figures/probes.png with the accuracies,
RUN_DIR/figures/probes-neighbours.png with the nearest neighbours of some
objects, and RUN_DIR/analysis/probes.json. For several, writes probes.png and
probes.json to their common parent folder, and the neighbours in the first run.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import flags
from etils import epy

from air import metrics
from air.storage import files, run_folder
from data import command_line
from data.dataset import Split
from experiments.common import launcher, runs, trained
from experiments.common.launcher import UsageError
from experiments.common.outputs import Outputs
from experiments.common.progress import Task

with epy.lazy_imports():
  from scipy import optimize
  from sklearn import cluster, linear_model, neighbors

  from air.viz import charts, figures
  from experiments.common import codes as codes_lib

_NUM_DIGITS = 10
_NUM_NEIGHBOURS = 10
# What a probe is trained on, and what its seeds differ in.
_NUM_SEEDS = 5
_MAX_ITERATIONS = 1000
_TRAINING_IMAGES = 20_000
_OUTPUTS = Outputs("probes")


class Objects(NamedTuple):
  """K objects that are found in images.

  Attributes:
    codes: `[K, Z]`, the means of q(z_what).
    glimpses: `[K, h, w]`.
    digits: `[K]`, what they are.
    left_out: how many more are found that are no digit.
    num_true: how many digits the images hold.
  """

  codes: np.ndarray
  glimpses: np.ndarray
  digits: np.ndarray
  left_out: int
  num_true: int

  def features(self) -> dict[str, np.ndarray]:
    """Returns what is asked, by name, `[K, F]`."""
    return {
      "z_what": self.codes,
      "pixels": self.glimpses.reshape([len(self.glimpses), -1]),
    }


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  options = {"flag_values": flag_values, "module_name": "run"}
  runs.define_run_dirs_flag(flag_values)
  _OUTPUTS.define_flags(flag_values)
  flags.DEFINE_enum(
    "split", "test", ["test", "validation"], "images to test on", **options
  )
  command_line.define_tuple_flag(
    int,
    name="labels",
    default=(10, 100, 1000, 10_000),
    help="how many labels a probe is given",
    **options,
  )
  trained.define_dataset_flags(flag_values)


def find(codes: codes_lib.Codes, split: Split) -> Objects:
  """Returns the objects in images.

  Args:
    codes: of the images, with glimpses.
    split: the images, with labels and boxes.
  """
  assert split.labels is not None
  assert split.boxes is not None
  exists = np.arange(codes.what.shape[1]) < codes.count[:, None]  # [N, T]
  image, _ = np.nonzero(exists)
  digits = metrics.matched_labels(
    codes.boxes[exists], split.labels[image], split.boxes[image]
  )
  known = digits >= 0
  return Objects(
    codes.what[exists][known],
    codes.glimpses[exists][known],
    digits[known],
    int(np.sum(~known)),
    int(np.sum(split.labels >= 0)),
  )


def probe(
  features: np.ndarray,
  digits: np.ndarray,
  features_of_others: np.ndarray,
  digits_of_others: np.ndarray,
) -> float:
  """Returns how many digits of other objects a linear probe gets right.

  Args:
    features: `[K, F]`, that it is trained on.
    digits: `[K]`.
    features_of_others: `[M, F]`.
    digits_of_others: `[M]`.
  """
  if len(set(digits)) == 1:  # there is nothing to tell apart
    return float(np.mean(digits_of_others == digits[0]))
  # On validation images the default penalty suits both, z_what and pixels.
  model = linear_model.LogisticRegression(max_iter=_MAX_ITERATIONS)
  return float(
    model.fit(features, digits).score(features_of_others, digits_of_others)
  )


def cluster_accuracy(clusters: np.ndarray, digits: np.ndarray) -> float:
  """Returns how many digits clusters get right, each with the best digit.

  Args:
    clusters: `[K]` in 0..9.
    digits: `[K]` in 0..9.
  """
  together = np.zeros([_NUM_DIGITS, _NUM_DIGITS], np.int64)
  np.add.at(together, (clusters, digits), 1)
  best = optimize.linear_sum_assignment(together, maximize=True)
  return float(together[best].sum() / len(digits))


def nearest(features: np.ndarray, of: np.ndarray) -> np.ndarray:
  """Returns the nearest neighbours, the nearest first.

  Args:
    features: `[K, F]`, of those that can be neighbours.
    of: `[M, F]`, of those whose neighbours are looked for.

  Returns:
    `[M, 10]`, or as many as there are, indices into the first.
  """
  number = min(_NUM_NEIGHBOURS, len(features))
  search = neighbors.NearestNeighbors(n_neighbors=number).fit(features)
  return search.kneighbors(of, return_distance=False)


def describe(
  known: Objects, others: Objects, labels: Sequence[int], task: Task
) -> dict[str, Any]:
  """Returns what codes and pixels say of digits, ready for JSON.

  Args:
    known: objects in training images.
    others: objects in other images.
    labels: the numbers of labels of the probes.
    task: is told of every one that is measured.
  """
  result: dict[str, Any] = {
    "num_objects": len(others.digits),
    "left_out": others.left_out,
    "num_true": others.num_true,
  }
  for (name, features), of_others in zip(
    known.features().items(), others.features().values(), strict=True
  ):
    accuracies: dict[str, list[float]] = {}
    for number in labels:
      for seed in range(_NUM_SEEDS):
        rng = np.random.default_rng(seed)
        chosen = rng.permutation(len(features))[:number]
        accuracy = probe(
          features[chosen], known.digits[chosen], of_others, others.digits
        )
        accuracies.setdefault(str(number), []).append(accuracy)
        task.advance()
    k_means = cluster.KMeans(_NUM_DIGITS, n_init=10, random_state=0)
    clusters = k_means.fit(features).predict(of_others)
    neighbours = known.digits[nearest(features, of_others)]
    result[name] = {
      "linear_probe": accuracies,
      "k_means": cluster_accuracy(clusters, others.digits),
      "neighbours": float(np.mean(neighbours == others.digits[:, None])),
    }
  return result


def draw(described: Mapping[str, Mapping[str, Any]]) -> figures.Figure:
  """Returns the accuracies over the number of labels, a panel for each run.

  Args:
    described: what `describe` returns, by run.
  """
  panels: dict[str, dict[str, dict[int, Any]]] = {}
  references = []
  for run, result in described.items():
    panels[run] = {}
    for name in ("z_what", "pixels"):
      by_labels = {
        int(number): accuracies
        for number, accuracies in result[name]["linear_probe"].items()
      }
      panels[run][f"linear probe on {name}"] = by_labels
    for name in ("z_what", "pixels"):
      reference = f"k-means of {name}, no labels"
      references.append(reference)
      panels[run][reference] = dict.fromkeys(by_labels, result[name]["k_means"])
  return charts.curves(
    panels,
    x_labels=dict.fromkeys(panels, "labels"),
    y_label="digits that are right",
    limits=dict.fromkeys(panels, (0.0, 1.02)),
    references=references,
    log_x=True,
  )


def draw_neighbours(known: Objects, others: Objects) -> figures.Figure:
  """Returns the nearest neighbours in z_what of an object of each digit.

  Args:
    known: objects in training images.
    others: objects in other images, the first of each digit of which is drawn.
  """
  digits, first = np.unique(others.digits, return_index=True)
  neighbours = nearest(known.codes, others.codes[first])  # [R, 10]
  pictures = np.concatenate(
    [others.glimpses[first][:, None], known.glimpses[neighbours]], axis=1
  )
  return figures.sheet(
    pictures,
    row_labels=[str(digit) for digit in digits],
    column_labels=["object", *map(str, range(1, 1 + neighbours.shape[1]))],
    title="Glimpses of objects, and of those nearest to them in z_what.",
  )


def _objects(
  run: runs.Run, flag_values: flags.FlagValues
) -> tuple[int, Objects, Objects]:
  """Returns an iteration and the objects of training and of other images."""
  runs.require_digits(run)
  dataset = trained.load_dataset_of(run, flag_values)
  model, iteration = run_folder.restore_model(run.folder, run.air, run.id)
  splits = (
    dataset.train.first(_TRAINING_IMAGES),
    getattr(dataset, flag_values.split),
  )
  with Task(f"looking for objects with {run.folder}"):
    known, others = (
      find(codes_lib.infer(model, split.images, with_glimpses=True), split)
      for split in splits
    )
  return iteration, known, others


def _check(
  run: runs.Run, known: Objects, others: Objects, labels: Sequence[int]
) -> None:
  """Checks that there are objects enough."""
  most = len(known.digits)
  if not labels or min(labels) < 1 or max(labels) > most:
    raise UsageError(
      f"labels is '{','.join(map(str, labels))}', expected numbers of 1 to"
      f" {most}, the objects found with {run.folder}"
    )
  if most < _NUM_DIGITS or not len(others.digits):
    raise UsageError(
      f"run_dirs holds {run.folder}, which finds {most} objects in training"
      f" images and {len(others.digits)} in others; expected {_NUM_DIGITS} and"
      " one at least"
    )


def main(flag_values: flags.FlagValues) -> None:
  """Asks the runs; prints, draws and writes what they say."""
  folders = [launcher.expanded("run_dirs", f) for f in flag_values.run_dirs]
  by_name = runs.names("run_dirs", folders)
  figure, numbers = _OUTPUTS.files(flag_values, folders)
  neighbours = figure.with_stem(f"{figure.stem}-neighbours")
  labels = flag_values.labels
  described: dict[str, dict[str, Any]] = {}
  for name, folder in by_name.items():
    run = runs.load(folder)
    iteration, known, others = _objects(run, flag_values)
    _check(run, known, others, labels)
    with Task(f"asking {name}", 2 * _NUM_SEEDS * len(labels)) as task:
      described[name] = {
        "iteration": iteration,
        **describe(known, others, labels, task),
      }
    print("\n".join(_lines(name, described[name])))
    if len(described) == 1:
      figures.save(draw_neighbours(known, others), neighbours)
  figures.save(draw(described), figure)
  files.write_json(numbers, {"split": flag_values.split, "runs": described})
  print(f"figures: {figure}, {neighbours}\nnumbers: {numbers}")


def _lines(name: str, result: Mapping[str, Any]) -> list[str]:
  """Returns what is shown of a run."""
  lines = [
    f"{name}: {result['num_objects']:,} objects; {result['left_out']:,} more"
    " are no digit"
  ]
  for features in ("z_what", "pixels"):
    found = result[features]
    probes = ", ".join(
      f"{np.median(accuracies):.1%} of {int(number):,} labels"
      for number, accuracies in found["linear_probe"].items()
    )
    lines.append(
      f"  {features}: linear probe {probes}; k-means {found['k_means']:.1%};"
      f" neighbours {found['neighbours']:.1%}"
    )
  return lines


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
