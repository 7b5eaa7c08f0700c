"""The binaries that use a trained model: infer, sample, export."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import air
from air.viz import figures
from experiments import export, infer, sample
from experiments.common import launcher


def call(binary, *arguments):
  name = binary.__name__.split(".")[-1]
  return launcher.run(
    binary.__doc__, binary.define_flags, binary.main, [name, *arguments]
  )


def names(folder):
  return sorted(path.name for path in folder.iterdir())


class TestInfer:
  def test_pictures_and_lines(self, run_dir, user_images, tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "new" / "out"
    folder.mkdir()
    for i in range(3):
      Image.fromarray(user_images[i]).save(folder / f"image-{i}.png")
    flags = [f"--run_dir={run_dir}", f"--images={folder}", f"--out={out}"]
    assert call(infer, *flags, "--seed=3") == 0
    assert names(out.parent) == ["out"]
    assert names(out) == ["pictures", "scenes.jsonl"]
    pictures = [f"{i:06d}-image-{i}.png" for i in range(3)]
    assert names(out / "pictures") == pictures
    scenes = air.load(run_dir).infer(user_images[:3], seed=3)
    expected_surprise = air.load(run_dir).surprise(user_images[:3], seed=3)
    lines = (out / "scenes.jsonl").read_text().splitlines()
    for i, line in enumerate(map(json.loads, lines)):
      count = scenes.count[i]
      assert line["index"] == i
      assert line["file"] == str(folder / f"image-{i}.png")
      assert line["picture"] == f"pictures/{pictures[i]}"
      assert line["count"] == count
      np.testing.assert_allclose(
        line["count_probs"], scenes.count_probs[i], atol=1e-6
      )
      for name in ("boxes", "z_where"):
        expected = getattr(scenes, name)[i, :count]
        found = np.reshape(line[name], expected.shape)
        np.testing.assert_allclose(found, expected, atol=1e-5)
      for name in ("elbo", "p_value"):
        expected = getattr(expected_surprise, name)[i]
        assert line[name] == pytest.approx(float(expected), abs=1e-6)
    assert len(lines) == 3
    printed, said = capsys.readouterr()
    assert not said
    for count in range(4):
      images = np.sum(scenes.count == count)
      objects = "1 object" if count == 1 else f"{count} objects"
      assert f"images with {objects}: {images}\n" in printed
    picture = np.asarray(Image.open(out / "pictures" / pictures[0]))
    assert picture.shape == (20 + 200 + 20, 200 + 1 + 200, 3)
    expected = figures.annotated(
      user_images[0], scenes.canvas[0], scenes.boxes[0, : scenes.count[0]]
    )
    np.testing.assert_array_equal(picture[20:-20, :200], expected[:, :200])
    np.testing.assert_array_equal(picture[20:-20, 201:], expected[:, 200:])

  @pytest.mark.parametrize(
    ("number", "said"),
    [
      (1, "infer: 1 of 1 image is unlike the training images"),
      (3, "infer: 3 of 3 images are unlike the training images"),
    ],
  )
  def test_says_of_unlike_images(self, run_dir, tmp_path, capsys, number, said):
    path, out = tmp_path / "unlike.npz", tmp_path / "out"
    images = np.zeros([number, 50, 50], np.uint8)
    images[:, 20:22, 20:22] = 255
    np.savez(path, images=images)
    flags = [f"--run_dir={run_dir}", f"--images={path}", f"--out={out}"]
    assert call(infer, *flags) == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == (
      f"{said} (p_value at most 0.01 in scenes.jsonl): do not trust what is"
      " found in them"
    )

  def test_says_if_it_cannot_say(self, run_dir, user_images, tmp_path, capsys):
    """What is found is the same then."""
    path, folder = tmp_path / "images.npz", tmp_path / "run"
    np.savez(path, images=user_images)
    shutil.copytree(run_dir, folder)
    (folder / "surprise.json").unlink()
    flags = [f"--images={path}", f"--out={tmp_path / 'other'}"]
    assert call(infer, f"--run_dir={folder}", *flags) == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"infer: TrainedModel({folder}, iteration 20, 50x50")
    assert "it has no surprise.json of this iteration" in last
    flags = [f"--images={path}", f"--out={tmp_path / 'one'}"]
    assert call(infer, f"--run_dir={run_dir}", *flags) == 0
    lines = [
      [json.loads(line) for line in text.read_text().splitlines()]
      for text in sorted(tmp_path.glob("o*/scenes.jsonl"))
    ]
    for one, other in zip(*lines, strict=True):
      assert other == {**one, "p_value": None}
      assert one["p_value"] is not None


def test_names_of_pictures_are_shortened(run_dir, user_images, tmp_path):
  """As a number goes before them; one that is not UTF-8 is read as well."""
  names_given = ["a" * 250, "b" + "é" * 120, "c\udcff"]
  for name, image in zip(names_given, user_images, strict=False):
    Image.fromarray(image).save(tmp_path / "picture.png")
    (tmp_path / "in").mkdir(exist_ok=True)
    (tmp_path / "picture.png").rename(tmp_path / "in" / f"{name}.png")
  out = tmp_path / "out"
  flags = [f"--run_dir={run_dir}", f"--images={tmp_path / 'in'}"]
  assert call(infer, *flags, f"--out={out}") == 0
  assert names(out / "pictures") == [
    f"000000-{'a' * 200}.png",
    f"000001-b{'é' * 99}.png",
    "000002-c.png",
  ]
  lines = (out / "scenes.jsonl").read_text().splitlines()
  assert [json.loads(line)["file"] for line in lines] == [
    str(tmp_path / "in" / f"{name}.png") for name in names_given
  ]


class TestOut:
  def test_an_empty_folder_behind_a_link(self, run_dir, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to("out")
    flags = [f"--run_dir={run_dir}", f"--out={tmp_path / 'link'}", "--num=1"]
    assert call(sample, *flags) == 0
    assert "samples.npz" in names(tmp_path / "out")
    assert names(tmp_path) == ["link", "out"]

  def test_sigterm_leaves_nothing(self, run_dir, tmp_path, monkeypatch):
    def terminate(*_):
      os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(air, "load", terminate)
    flags = [f"--run_dir={run_dir}", f"--out={tmp_path / 'out'}"]
    with pytest.raises(SystemExit) as stopped:
      call(sample, *flags)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert names(tmp_path) == []


class TestSample:
  def test_sheets_and_arrays(self, run_dir, tmp_path):
    out = tmp_path / "out"
    out.mkdir()  # an empty folder will do
    flags = [f"--run_dir={run_dir}", f"--out={out}", "--num=11", "--seed=3"]
    assert call(sample, *flags, "--count_probs=0,.5,.5,0") == 0
    pictures = ["samples.png", "traversal_what.png", "traversal_where.png"]
    assert names(out) == sorted([*pictures, "samples.npz"])
    for name in pictures:
      assert np.ptp(Image.open(out / name).convert("L")) > 100
    expected = air.load(run_dir).sample(11, 3, [0, 0.5, 0.5, 0])
    with np.load(out / "samples.npz") as arrays:
      assert set(arrays) == set(expected._fields)
      for name, field in expected._asdict().items():
        np.testing.assert_array_equal(arrays[name], field, err_msg=name)

  @pytest.mark.parametrize(
    ("choice", "probs", "counts"),
    [
      ("equal", [0, 0.5, 0.5], "1 to 2, equally probable"),
      ("0,.3,.7", [0, 0.3, 0.7], "0 to 2 with probabilities 0, 0.3, 0.7"),
      ("prior", None, "drawn from its prior"),
    ],
  )
  def test_the_caption_says_where_counts_are_from(self, choice, probs, counts):
    assert sample._caption(9, choice, probs) == (
      f"9 scenes drawn from the model. Number of objects: {counts}"
      f" (--count_probs={choice}). What and where: drawn from their priors."
    )

  def test_by_default_no_scene_is_empty(self, run_dir, tmp_path):
    flags = [f"--run_dir={run_dir}", f"--out={tmp_path / 'out'}", "--num=30"]
    assert call(sample, *flags) == 0
    with np.load(tmp_path / "out" / "samples.npz") as arrays:
      assert set(arrays["count"]) == {1, 2, 3}

  @pytest.mark.parametrize("num", [1, 8, 11])
  def test_rows_of_eight(self, num):
    images = np.arange(1.0, num + 1)[:, None, None] * np.ones([2, 3])
    sheet = sample._sheet(images)
    assert sheet.shape[1:] == (min(num, 8), 2, 3)
    np.testing.assert_array_equal(sheet.reshape(-1, 2, 3)[:num], images)
    assert not np.any(sheet.reshape(-1, 2, 3)[num:])

  def test_a_traversal_moves_one_entry_at_a_time(self):
    steps = np.array([[-1.0, -2.0, -3.0], [1.0, 2.0, 3.0]])
    varied = sample._traverse(np.array([5.0, 6.0, 7.0]), steps)
    np.testing.assert_array_equal(
      varied,
      [
        [[-1.0, 6.0, 7.0], [1.0, 6.0, 7.0]],
        [[5.0, -2.0, 7.0], [5.0, 2.0, 7.0]],
        [[5.0, 6.0, -3.0], [5.0, 6.0, 3.0]],
      ],
    )


def test_export(run_dir, tmp_path, capsys):
  out = tmp_path / "out"
  flags = [f"--run_dir={run_dir}", f"--out={out}", "--count_probs=equal"]
  assert call(export, *flags) == 0
  assert names(tmp_path) == ["out"]
  assert capsys.readouterr().out.startswith(
    f"{out}: serving_default(images), infer(images, seed)"
  )
  scenes = tf.saved_model.load(out).signatures["sample"](
    n=tf.constant(2), seed=tf.constant(0)
  )
  np.testing.assert_allclose(
    scenes["count_probs"], [[0, 1 / 3, 1 / 3, 1 / 3]] * 2
  )


BINARIES = {"infer": infer, "sample": sample, "export": export}


@pytest.mark.parametrize("binary", BINARIES.values(), ids=BINARIES)
def test_help(binary, capsys):
  assert call(binary, "--help") == 0
  printed = capsys.readouterr().out
  assert binary.__doc__ in printed
  assert "--run_dir" in printed
  assert "--out" in printed
