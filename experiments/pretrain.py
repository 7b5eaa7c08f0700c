r"""Makes the models that ship with the package, from scratch.

  python -m experiments.pretrain --jobs=2 --out=runs/pretrain

Trains a model of each kind with its flagfile and seed 0, tests it, and writes
its weights in half precision to air/pretrained/NAME/, with a card of what it
was trained on and what it measures. air/pretrained/README.md shows all cards.
Runs start, stop and resume as in experiments.sweep. Flags of experiments.train
apply to all runs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from etils import epy

from air.errors import CheckpointError
from air.storage import files, pretrained, run_folder
from data import command_line
from data.dataset import Dataset
from experiments.common import launcher, runs, trained
from experiments.common.launcher import UsageError
from experiments.sweeps import plan, runner

with epy.lazy_imports():
  from air import evaluation
  from air import model as model_lib
  from air.storage import weights
  from experiments.common import evaluations, training

_SEED = 0
_IWAE_IMAGES, _IWAE_SAMPLES = 1_000, 100
# By how much half precision may change an accuracy.
_TOLERANCE = 0.0005
_README = "README.md"
# Flags that change no number of a model that ships.
_FREE = {
  *("names", "out", "results", "pretrained", "jobs", "cpus_per_run"),
  *("gpus_per_run", "retries", "ray_address", "mnist", "data_cache"),
  *("eval_every", "figure_every", "checkpoint_every", "keep_checkpoints"),
}


@dataclasses.dataclass(frozen=True)
class Kind:
  """A model that ships.

  Attributes:
    config: the name of its flagfile.
    images: that it is trained on.
    limits: what it cannot do.
  """

  config: str
  images: str
  limits: str


KINDS = {
  "multi_mnist": Kind(
    "default",
    "0 to 2 MNIST digits, up to 28x28 pixels, apart, on 50x50 black images",
    "It counts up to 3 objects and has seen up to 2. It merges digits that"
    " nearly touch, and has not seen digits that overlap.",
  ),
  "small_digits": Kind(
    "small_digits",
    "0 to 2 MNIST digits, up to 14x14 pixels, apart, on 50x50 black images",
    "It counts up to 3 objects and has seen up to 2. Digits of 28x28 pixels are"
    " too large for it.",
  ),
  "more_objects": Kind(
    "more_objects",
    "0 to 4 MNIST digits of 14 to 20 pixels, apart, on 50x50 black images",
    "It counts up to 5 objects and has seen up to 4. It is wrong for one in"
    " ten images of four digits.",
  ),
  "dair": Kind(
    "dair",
    "0 to 2 MNIST digits, up to 28x28 pixels, apart, on 50x50 black images",
    "It counts up to 5 objects and has seen up to 2. The more there are, the"
    " more often it is wrong. It merges digits that nearly touch.",
  ),
}


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  runner.define_sweep_flags(flag_values)
  flag_values.set_default("seeds", str(_SEED))
  command_line.define_choices_flag(
    "names", KINDS, "which of them",
    flag_values=flag_values, module_name=runner.GROUP,
  )  # fmt: skip
  flags.DEFINE_string(
    "pretrained",
    str(pretrained.FOLDER),
    "the folder that the models are written to",
    flag_values=flag_values,
    module_name=runner.GROUP,
  )


def make(
  name: str, run: runs.Run, dataset: Dataset, folder: pathlib.Path
) -> None:
  """Writes the weights and the card of a trained run.

  Args:
    name: of the model.
    run: trained to its end.
    dataset: of the run.
    folder: that the model's folder is in.

  Raises:
    UsageError: if the true counts are not known.
    CheckpointError: if half precision changes the accuracy.
    RunError: if there is no checkpoint.
    OSError: if it cannot be written.
  """
  full, iteration = run_folder.restore_model(run.folder, run.air, run.id)
  if dataset.test.counts is None:
    raise UsageError("data has no counts of the test images, expected them")
  exact = _evaluate(run, full, dataset, iteration)
  with files.new_folder(folder / name, replace=True) as temporary:
    path = temporary / pretrained.WEIGHTS
    counts = dataset.train.distinct_counts()
    weights.write(path, full, iteration=iteration, counts=counts)
    model, _ = weights.read(path)  # rounded
    result = _evaluate(run, model, dataset, iteration, _IWAE_SAMPLES)
    for key in ("count_accuracy", "count_accuracy_mode"):
      if abs(result[key] - exact[key]) > _TOLERANCE:
        raise CheckpointError(
          f"{run.folder} has {key} {exact[key]}, which half precision changes"
          f" to {result[key]}, expected no more than {_TOLERANCE} of a change"
        )
    training.keep_reference(temporary, model, iteration, dataset)
    card = {
      "name": name,
      **dataclasses.asdict(KINDS[name]),
      "seed": run.air.training.seed,
      "iterations": iteration,
      "machine": run.machine,
      "megabytes": round(path.stat().st_size / 1e6, 2),
      "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
      "test": result,
      "float32": {
        key: exact[key]
        for key in ("count_accuracy", "count_accuracy_mode", "elbo")
      },
    }
    files.write_json(temporary / pretrained.CARD, card)


def _evaluate(
  run: runs.Run,
  model: model_lib.AIRModel,
  dataset: Dataset,
  iteration: int,
  iwae_samples: int = 0,
) -> dict[str, Any]:
  """Returns an evaluation on the test images, see `evaluations`."""
  evaluator, seed = evaluation.Evaluator(model), run.air.training.seed
  result = evaluations.evaluate_split(
    run, evaluator, dataset.test, "test", iteration, seed
  )
  if iwae_samples:
    images = dataset.test.first(_IWAE_IMAGES).images
    bound = evaluator.iwae(images, iteration, iwae_samples, seed).mean()
    result |= {
      "iwae": float(bound),
      "iwae_samples": iwae_samples,
      "iwae_images": len(images),
    }
  return result


def cards(folder: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the cards of the models in a folder, in the order of `KINDS`."""
  paths = [folder / name / pretrained.CARD for name in KINDS]
  return [files.read_json(path) for path in paths if path.exists()]


def readme(found: Sequence[Mapping[str, Any]]) -> str:
  """Returns all cards as a document.

  Args:
    found: the cards.
  """
  lines = [
    "# Models that ship",
    "",
    "`air.load(NAME)` loads one of these, offline."
    " `experiments.infer`, `sample` and `export` take `--model=NAME`."
    " `experiments.train --init_from=NAME` goes on from its weights.",
    "",
    "`python -m experiments.pretrain --out=runs/pretrain` makes them from"
    " scratch, and writes this file.",
    "",
    "| name | most probable n, % | n sampled, % | ELBO | IWAE, 1,000 images"
    " | MB |",
    "|---|---|---|---|---|---|",
  ]
  for card in found:
    test = card["test"]
    lines.append(
      f"| `{card['name']}` | {_percent(test['count_accuracy_mode'])}"
      f" | {_percent(test['count_accuracy'])} | {test['elbo']:.1f}"
      f" | {test['iwae']:.1f} | {card['megabytes']:.1f} |"
    )
  lines += [
    "",
    "n is the number of objects; the table has the share of 10,000 test images"
    " that are counted right. ELBO is that of these images, and IWAE the"
    f" importance-weighted bound of the first {_IWAE_IMAGES:,} with"
    f" {found[0]['test']['iwae_samples']} samples each, in nats. All is"
    " measured with the weights that ship, which are in half precision.",
  ]
  for card in found:
    lines += ["", *_section(card)]
  return "\n".join(lines) + "\n"


def _percent(share: float) -> str:
  return f"{100 * share:.2f}"


def _section(card: Mapping[str, Any]) -> list[str]:
  """Returns a card as lines."""
  test, machine = card["test"], card["machine"] or {}
  by_count = test["count_accuracy_per_count_mode"]
  rows = {
    "images": card["images"],
    "digits from": test["digit_source"],
    "settings": f"[{card['config']}.flags]"
    f"(../../experiments/configs/{card['config']}.flags),"
    f" seed {card['seed']}, {card['iterations']:,} iterations",
    "right, by the true n": ", ".join(
      f"{count}: {_percent(share)} %" for count, share in by_count.items()
    ),
    "in single precision": f"{_percent(card['float32']['count_accuracy_mode'])}"
    f" %, ELBO {card['float32']['elbo']:.1f}",
    "limits": card["limits"],
    "machine": f"{machine.get('processor')}, threads: {machine.get('threads')},"
    f" TensorFlow {machine.get('tensorflow')}",
    "commit of the training": machine.get("commit"),
    "command": f"`python -m experiments.pretrain --names={card['name']}"
    " --out=runs/pretrain`",
  }
  return [
    f"## {card['name']}",
    "",
    "| | |",
    "|---|---|",
    *(f"| {name} | {text} |" for name, text in rows.items()),
  ]


def _check_settings(
  folder: pathlib.Path, flag_values: flags.FlagValues
) -> None:
  """Checks that what ships has the settings of its flagfile."""
  groups = flag_values.flags_by_module_dict()
  changed = [
    flag.name
    for group in ("data", "model", "prior", "training", "run", runner.GROUP)
    for flag in groups.get(group, [])
    if flag.name not in _FREE and not flag.using_default_value
  ]
  if changed and folder.resolve() == pretrained.FOLDER:
    raise UsageError(
      f"{changed[0]} is {flag_values[changed[0]].value}, expected the settings"
      " of the flagfiles for models that ship; for others --pretrained names"
      " another folder"
    )


def main(flag_values: flags.FlagValues) -> int:
  """Trains what is not trained yet, writes it; returns the exit status."""
  if len(flag_values.seeds) != 1:
    raise UsageError(
      f"seeds is {','.join(map(str, flag_values.seeds))}, expected one"
    )
  folder = launcher.output_folder("pretrained", flag_values.pretrained)
  _check_settings(folder, flag_values)
  names = list(dict.fromkeys(flag_values.names))
  status = runner.run([KINDS[name].config for name in names], flag_values)
  if status:
    return status
  out = launcher.output_folder("out", flag_values.out).resolve()
  for name in names:
    path = plan.folder_of(KINDS[name].config, *flag_values.seeds, out)
    run = runs.load(path)
    make(name, run, trained.load_dataset_of(run, flag_values), folder)
  found = cards(folder)
  files.write_text(folder / _README, readme(found))
  print(f"{folder}: {_README}, {', '.join(card['name'] for card in found)}")
  return 0


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
