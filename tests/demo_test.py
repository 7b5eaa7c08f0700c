"""The page in `demo/`, in a browser: its numbers are the library's.

Needs Debian's `chromium` and `chromium-driver`, or others of these names.
"""

import base64
import contextlib
import json
import pathlib
import shutil
import threading

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from selenium import webdriver
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By

from air import transformer
from air.config import AIRConfig, ModelConfig, PriorConfig
from air.model import AIRModel
from air.storage import weights
from data import mnist, multi_mnist
from experiments import demo

PAGE = pathlib.Path(__file__).parents[1] / "demo"
MODELS = PAGE / "models"
TOLERANCE = 1e-3
NUM_IMAGES = 50


def shipped_digits():
  """The digits that ship, `[40, 28, 28]` uint8, in rows of 0..9."""
  sheet = np.asarray(Image.open(MODELS / "digits.png"))
  digits = sheet.reshape(-1, 28, 10, 28).transpose(0, 2, 1, 3)
  labels = np.tile(np.arange(10, dtype=np.uint8), len(digits))
  return mnist.DigitSet(digits.reshape(-1, 28, 28), labels)


@pytest.fixture(scope="module")
def scenes():
  """Images of 0 to 2 of these digits, and the truth about them."""
  spec = multi_mnist.MultiMNISTSpec(num_images=NUM_IMAGES)
  return multi_mnist.generate(spec, shipped_digits(), np.random.default_rng(0))


@contextlib.contextmanager
def served(folder):
  """Serves a folder, and yields its address."""
  with demo.Server(folder, 0) as server:
    threading.Thread(target=server.serve_forever).start()
    yield server.address
    server.shutdown()


@pytest.fixture(scope="module")
def address():
  with served(PAGE) as url:
    yield url


@pytest.fixture(scope="module")
def browser():
  """Chromium; without it there is nothing to be tested, and the tests fail."""
  program, driver = map(shutil.which, ("chromium", "chromedriver"))
  assert program, "chromium is not installed"
  assert driver, "chromedriver (chromium-driver) is not installed"
  options = webdriver.ChromeOptions()
  options.binary_location = program
  for argument in (
    *("--headless=new", "--no-sandbox", "--disable-gpu"),
    *("--disable-dev-shm-usage", "--window-size=1200,1000"),
  ):
    options.add_argument(argument)
  logs = {"browser": "ALL", "performance": "ALL"}
  options.set_capability("goog:loggingPrefs", logs)
  with webdriver.Chrome(options, Service(driver)) as chrome:
    yield chrome


def call(browser, code, *arguments):
  """Returns what code returns, where `page` is the page, `a` the arguments."""
  result = browser.execute_async_script(
    f"""
    const [a, done] = [[...arguments].slice(0, -1), [...arguments].at(-1)];
    page.then((page) => {{ {code} }})
      .then((result) => done({{result}}), (e) => done({{error: e.stack}}));
    """,
    *arguments,
  )
  assert "error" not in result, result["error"]
  return result["result"]


def messages(browser):
  """Returns what has been in the console since the last time."""
  return [entry["message"] for entry in browser.get_log("browser")]


def hosts(browser):
  """Returns the schemes and hosts that were asked for since the last time."""
  found = set()
  for entry in browser.get_log("performance"):
    message = json.loads(entry["message"])["message"]
    if message["method"] == "Network.requestWillBeSent":
      url = message["params"]["request"]["url"]
      found.add("/".join(url.split("/")[:3]))
  return found


def animate(browser, is_wanted):
  """Has the page believe that its user likes animations, or does not."""
  wish = {
    "name": "prefers-reduced-motion",
    "value": "no-preference" if is_wanted else "reduce",
  }
  browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [wish]})


@pytest.fixture
def opened(browser, address):
  """The page, just opened, in which two digits lie.

  What it does meanwhile gives no error, and asks no other host for anything.
  """
  hosts(browser), messages(browser)
  animate(browser, False)
  browser.get(f"{address}?seed=5")
  assert call(browser, "return page.picture.digits.length") == 2
  yield browser
  assert messages(browser) == []
  assert hosts(browser) == {address.rstrip("/")}


LOOK = """
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const model = a[2] ? new Model(bytes(a[2]).buffer) : page.model;
  const images = new Float32Array(bytes(a[0]).buffer);
  const size = model.imageSize[0] * model.imageSize[1];
  const found = Array.from({length: images.length / size}, (_, i) => {
    const image = images.subarray(i * size, (i + 1) * size);
    const {count, probs, steps, canvases, elbo} =
      model.infer(image, a[1] && a[1][i]);
    const of = (name) => steps.map((step) => Array.from(step[name]));
    return {
      count, probs, elbo, boxes: of("box"), what: of("what"),
      glimpses: of("glimpse"), canvases: canvases.map((c) => Array.from(c)),
    };
  });
  return Object.keys(found[0]).map((name) => {
    const values = found.map((image) => image[name]).flat(4);
    const content = new Uint8Array(new Float32Array(values).buffer);
    return [name, content.reduce((s, b) => s + String.fromCharCode(b), "")];
  }).map(([name, text]) => [name, btoa(text)]);
"""


def as_text(content):
  """Returns bytes as the page's scripts take them."""
  return base64.b64encode(content).decode()


def seen_by_the_library(model, images, noise):
  output = model(tf.constant(images), noise)
  terms = model.elbo_terms(output, model.final_priors())
  posterior = output.num_steps_posterior()
  steps = output.steps
  size = model.config.model.image_size

  def batch_first(array):
    return np.moveaxis(np.asarray(array), 1, 0)

  return {
    "count": posterior.mode().numpy(),
    "probs": posterior.probs().numpy(),
    "elbo": (-terms.expected_reconstruction() - terms.kl()).numpy(),
    "boxes": batch_first(transformer.boxes(steps.window, size)),
    "what": batch_first(steps.what),
    "glimpses": batch_first(steps.glimpse),
    "canvases": batch_first(output.canvases),
  }


def check_same(browser, model, images, noise=None, content=None):
  """Checks that the page's numbers are the library's; returns the latter."""
  expected = seen_by_the_library(
    model, images, noise or model.zero_noise(len(images))
  )
  given = noise and [
    [
      {"where": noise.where[t, i].numpy().tolist(),
       "what": noise.what[t, i].numpy().tolist()}
      for t in range(model.config.model.num_steps)
    ]
    for i in range(len(images))
  ]  # fmt: skip
  images = np.asarray(images, "<f4")
  found = call(browser, LOOK, as_text(images.tobytes()), given, content)
  assert len(found) == len(expected)
  for name, text in found:
    ours = np.frombuffer(base64.b64decode(text), "<f4")
    theirs = expected[name].astype(np.float64).ravel()
    # The ELBO is a number of hundreds.
    scale = max(1, np.abs(theirs).max()) if name == "elbo" else 1
    np.testing.assert_allclose(
      ours / scale, theirs / scale, atol=TOLERANCE, rtol=0, err_msg=name
    )
  return expected


@pytest.fixture(scope="module")
def model():
  """The model that ships."""
  [entry, *_] = json.loads((MODELS / "models.json").read_text())["models"]
  return weights.read(MODELS / entry["file"])[0]


def test_the_numbers_are_those_of_the_library(opened, scenes, model):
  images = scenes.images / np.float32(255)
  seen = check_same(opened, model, images)
  assert np.mean(seen["count"] == scenes.counts) >= 0.96
  noise = model.sample_noise(tf.constant([3, 4]), 5)
  check_same(opened, model, images[:5], noise)


SETTINGS = {
  "dair": {
    "step_input": "difference", "glimpse_input": "difference",
    "memory": False, "latent_feedback": False,
  },
  "dair with memory": {"step_input": "difference"},
  "3d": {
    "where_parametrization": "3d", "latent_feedback": False,
    "where_squash": "none", "steps_prior_final": 0.3,
  },
  "code": {
    "where_init": "code", "where_squash": "locations", "presence_bias": -0.5,
  },
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_other_models(name, opened, small_model, small_images, tmp_path):
  path = tmp_path / "small.safetensors"
  weights.write(path, small_model(**SETTINGS[name]))
  model, _ = weights.read(path)
  images = small_images[:3] / np.float32(255)
  noise = model.sample_noise(tf.constant([1, 2]), 3)
  content = as_text(path.read_bytes())
  check_same(opened, model, images, noise, content)


@pytest.fixture(scope="module")
def small_model():
  """A function that returns a small model; keywords replace its settings."""

  def make(steps_prior_final=1e-5, **settings):
    sizes = dict.fromkeys(("hidden_sizes", "presence_hidden_sizes"), (8, 8))
    config = ModelConfig(
      image_size=(12, 10), glimpse_size=(6, 5), what_size=4, lstm_size=8,
      num_steps=4, **sizes, **settings,
    )  # fmt: skip
    prior = PriorConfig(steps_prior_final=steps_prior_final)
    return AIRModel(AIRConfig(config, prior))

  return make


@pytest.fixture(scope="module")
def small_images():
  return np.random.default_rng(5).integers(0, 256, [3, 12, 10], np.uint8)


def state(browser):
  return call(
    browser,
    """
    return {
      count: page.seen.count, digits: page.picture.digits.map(
        ({x, y, glyph}) => ({x, y, label: glyph.label})),
      boxes: page.seen.steps.slice(0, page.seen.count).map((s) => s.box),
      ink: Array.from(page.picture.ink), milliseconds: page.milliseconds,
      caption: document.querySelector(".panels .note").textContent,
      shown: document.querySelectorAll("#picture rect").length,
      surprise: page.model.surprise(page.seen),
      edited: page.edited !== null, playing: page.started !== null,
    };
    """,
  )


def click(browser, element):
  browser.find_element(By.ID, element).click()


def test_a_digit_is_dragged(opened):
  before = state(opened)
  assert before["count"] == before["shown"] == 2
  assert before["caption"].startswith("It finds two objects")
  button = opened.find_element(By.CSS_SELECTOR, "#digits button")
  digit = before["digits"][0]
  x, y = 1 - digit["x"], 22 - digit["y"]
  pixel = opened.find_element(By.ID, "picture").size["width"] / 50
  ActionChains(opened, 0).click_and_hold(button).move_by_offset(
    round(x * pixel), round(y * pixel)
  ).release().perform()
  after = state(opened)
  assert (after["digits"][0]["x"], after["digits"][0]["y"]) == (1, 22)
  assert after["digits"][1] == before["digits"][1]
  assert not any(after["ink"])  # nothing was drawn
  # A box has followed it.
  assert any(box[1] < 8 and 14 < box[0] < 28 for box in after["boxes"])


def draw(browser, points, kind="mouse"):
  """Draws a line through points (x, y), in pixels of the picture.

  Args:
    browser: that shows the page.
    points: of the line.
    kind: of what draws, mouse or touch.
  """
  frame = browser.find_element(By.ID, "picture")
  side = frame.size["width"]
  places = [
    (round((x / 50 - 0.5) * side), round((y / 50 - 0.5) * side))
    for x, y in points
  ]
  actions = ActionBuilder(browser, PointerInput(kind, kind), duration=0)
  pointer = actions.pointer_action
  pointer.move_to(frame, *places[0]).pointer_down()
  for place in places[1:]:
    pointer.move_to(frame, *place)
  pointer.pointer_up()
  actions.perform()


def circle(x, y, width, height):
  angles = np.linspace(0, 2 * np.pi, 20)
  return np.stack(
    [x + width * np.sin(angles), y - height * np.cos(angles)], axis=1
  )


STROKES = {
  "a one": [[(25, 16), (24, 34)]],
  "a zero": [circle(30, 22, 6, 9)],
  "a seven": [[(12, 14), (24, 14), (17, 33)]],
  "a four": [[(14, 14), (13, 24), (25, 24)], [(23, 13), (22, 34)]],
  "a zero and a one": [circle(12, 14, 6, 9), [(38, 24), (37, 44)]],
}


@pytest.mark.parametrize("name", STROKES)
def test_what_is_drawn_is_counted(name, opened):
  click(opened, "clear")
  assert state(opened)["count"] == 0
  for stroke in STROKES[name]:
    draw(opened, stroke, "touch" if name == "a zero" else "mouse")
  seen = state(opened)
  assert seen["count"] == 1 + (" and " in name)
  assert seen["digits"] == []
  points = np.concatenate(STROKES[name])
  # The strokes of MNIST are as wide: of its ink per length of a stroke.
  ink = np.reshape(seen["ink"], [50, 50])
  assert ink.max() > 0.9
  rows, columns = np.nonzero(ink > 0.5)
  assert abs(rows.min() - points[:, 1].min()) < 3
  assert abs(columns.max() - points[:, 0].max()) < 3


def test_strokes_are_as_wide_as_those_of_mnist(opened):
  ones = shipped_digits()
  ones = ones.images[ones.labels == 1] / 255
  click(opened, "clear")
  draw(opened, [(25, 15), (25, 35)])
  ink = np.reshape(state(opened)["ink"], [50, 50])
  width = ink[20:30].sum(axis=1).mean()
  rows = ones.sum(axis=2)  # ink in each row
  of_mnist = [one[one > 0][3:-3].mean() for one in rows]
  assert min(of_mnist) < width < max(of_mnist)


def test_a_look_takes_less_than_50_ms(opened):
  took = call(
    opened,
    """
    const times = [];
    for (let i = 0; i < 30; i++) {
      const began = performance.now();
      page.shuffle();
      times.push(performance.now() - began);
    }
    return times;
    """,
  )
  # What other processes take of the machine is not the page's.
  assert np.quantile(took, 0.2) < 50


def test_keyboard(opened):
  opened.execute_script("document.body.focus()")
  names = []
  for _ in range(20):
    ActionChains(opened, 0).send_keys(Keys.TAB).perform()
    active = opened.switch_to.active_element
    names.append(
      active.get_attribute("id")
      or active.get_attribute("aria-label")
      or active.text
    )
  assert names[:2] == ["The post", "The paper"]
  assert [name[:6] for name in names[2:4]] == ["Digit "] * 2
  assert names[4:8] == ["new", "add", "clear", "file"]
  assert names[8:11] == ["AIR paints", "DAIR paints", "play"]

  digit = opened.find_element(By.CSS_SELECTOR, "#digits button")
  opened.execute_script("arguments[0].focus()", digit)
  before = state(opened)["digits"]
  across = Keys.LEFT if before[0]["x"] > 25 else Keys.RIGHT
  ActionChains(opened, 0).send_keys(across, across, Keys.UP).key_down(
    Keys.SHIFT
  ).send_keys(across).key_up(Keys.SHIFT).perform()
  after = state(opened)["digits"]
  moved = after[0]["x"] - before[0]["x"]
  assert moved == (-7 if across == Keys.LEFT else 7)
  assert after[0]["y"] == before[0]["y"] - 1
  assert after[1] == before[1]
  name = opened.switch_to.active_element.get_attribute("aria-label")
  assert name == (
    f"Digit {after[0]['label']}, {after[0]['x']} across, {after[0]['y']} down"
  )
  ActionChains(opened, 0).send_keys(Keys.DELETE).perform()
  assert state(opened)["digits"] == before[1:]
  assert state(opened)["count"] == 1
  active = opened.switch_to.active_element.get_attribute("aria-label")
  assert active.startswith("Digit ")
  ActionChains(opened, 0).send_keys(Keys.DELETE).perform()
  assert state(opened)["count"] == 0
  active = opened.switch_to.active_element.get_attribute("id")
  assert active == "add"
  ActionChains(opened, 0).send_keys(Keys.ENTER).perform()
  assert len(state(opened)["digits"]) == 1


DROP = """
  const bytes = Uint8Array.from(atob(a[0]), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], "picture.png", {type: "image/png"}));
  const ready = new Promise((resolve) => {
    const changed = page.changed;
    page.changed = function () {
      delete page.changed;
      changed.call(page);
      resolve();
    };
  });
  const options = {dataTransfer: data, bubbles: true, cancelable: true};
  document.body.dispatchEvent(new DragEvent("drop", options));
  return ready;
"""


def test_a_picture_is_dropped(opened, scenes, tmp_path):
  for count in (1, 2):
    image = scenes.images[np.flatnonzero(scenes.counts == count)[1]]
    large = Image.fromarray(image).resize((600, 600), Image.Resampling.NEAREST)
    variants = {
      "as it is": Image.fromarray(image),
      "large": large,
      "dark on bright": large.point(lambda v: 255 - 0.8 * v),
      "colours": Image.merge(
        "RGB", [large, large.point(lambda v: v // 2), large]
      ),
      "ink on nothing": Image.merge("LA", [large.point(lambda v: 255), large]),
    }
    for name, picture in variants.items():
      path = tmp_path / "picture.png"
      picture.save(path)
      content = as_text(path.read_bytes())
      call(opened, DROP, content)
      seen = state(opened)
      ink = np.reshape(seen["ink"], [50, 50])
      np.testing.assert_allclose(ink, image / 255, atol=0.02, err_msg=name)
      assert seen["count"] == count, name
      assert seen["digits"] == []


def test_a_file_is_opened(opened, scenes, tmp_path):
  image = scenes.images[np.flatnonzero(scenes.counts == 2)[0]]
  Image.fromarray(image).save(tmp_path / "two.png")
  chooser = opened.find_element(By.ID, "file")
  chooser.send_keys(str(tmp_path / "two.png"))
  wait(opened, "page.picture.digits.length === 0 && page.seen.count === 2")
  (tmp_path / "none.png").write_bytes(b"not what it seems")
  chooser.send_keys(str(tmp_path / "none.png"))
  wait(opened, "!document.getElementById('problem').hidden")
  problem = opened.find_element(By.ID, "problem").text
  assert problem == "none.png is no picture that this browser can read."
  assert state(opened)["count"] == 2


def wait(browser, condition):
  call(
    browser,
    f"""
    return new Promise((resolve, reject) => {{
      const until = performance.now() + 5000;
      const check = () => {{
        if ({condition}) resolve();
        else if (performance.now() > until) reject(new Error("too late"));
        else setTimeout(check, 20);
      }};
      check();
    }});
    """,
  )


def test_surprise(opened, scenes):
  """An ordinary picture, five digits, and what is no digit at all."""
  shares = {}
  for name, code in {
    "ordinary": "for (let i = 0; i < 40; i++) { page.shuffle(); f(); }",
    "five": """for (let k = 0; k < 20; k++) {
      page.shuffle(); for (let i = 0; i < 3; i++) page.addDigit();
      page.changed(); f(); }""",
    "bright": "page.picture.clear(); page.picture.ink.fill(1); page.changed();"
    " f();",
  }.items():
    shares[name] = call(
      opened,
      "const found = []; const f = () =>"
      f" found.push(page.model.surprise(page.seen)); {code} return found;",
    )
  assert 0.2 < np.median(shares["ordinary"]) < 0.9
  assert np.median(shares["five"]) < 0.01
  assert shares["bright"] == [0]
  gauge = opened.find_element(By.ID, "gauge")
  assert gauge.get_attribute("aria-valuenow") == "4.00"
  text = opened.find_element(By.ID, "surprise").text
  assert text == "No ordinary picture surprises it as much."


def painted(browser):
  """Returns what the page shows as painted, `[50, 50]` in 0..255."""
  values = call(
    browser,
    """
    const {data} = page.panels[0].canvas.getContext("2d").getImageData(
      0, 0, 50, 50);
    return Array.from(data.filter((_, i) => i % 4 === 0));
    """,
  )
  return np.reshape(values, [50, 50]).astype(float)


def test_sliders(opened, model):
  before = painted(opened)
  seen = state(opened)
  slider = opened.find_element(
    By.CSS_SELECTOR, "#where label:nth-child(4) input"
  )
  opened.execute_script("arguments[0].focus()", slider)
  y0, _, y1, _ = seen["boxes"][0]
  upwards = y0 + y1 > 50
  keys = (Keys.LEFT if upwards else Keys.RIGHT) * 40
  ActionChains(opened, 0).send_keys(keys).perform()
  assert state(opened)["edited"]
  after = painted(opened)
  change = after - before
  rows = np.arange(50)[:, None]
  centre = (rows * np.abs(change) * (change > 0)).sum() / change.clip(0).sum()
  assert (centre < (y0 + y1) / 2) == upwards
  # The library's picture of the same latents.
  what, where = call(
    opened,
    "return [page.edited.what, page.edited.where].map((z) => Array.from(z));",
  )
  latents = [tf.constant([[z]], tf.float32) for z in (what, where)]
  expected = model.paint(*latents)[0, 0].numpy()
  found = call(
    opened, "return Array.from(page.model.paint(a[0], a[1]))", what, where
  )
  np.testing.assert_allclose(np.reshape(found, [50, 50]), expected, atol=1e-3)
  # One of z_what, and back.
  slider = opened.find_element(By.CSS_SELECTOR, "#what input")
  opened.execute_script("arguments[0].focus()", slider)
  ActionChains(opened, 0).send_keys(Keys.HOME).perform()
  assert np.abs(painted(opened) - after).max() > 20
  click(opened, "reset")
  assert not state(opened)["edited"]
  np.testing.assert_array_equal(painted(opened), before)


def test_scenes_from_the_prior(opened):
  counts, brightest = call(
    opened,
    """
    const scenes = Array.from(
      {length: 300}, () => page.model.sample(page.random));
    return [
      scenes.map((s) => s.count),
      scenes.map((s) => s.canvas.reduce((m, v) => Math.max(m, v), 0)),
    ];
    """,
  )
  shares = np.bincount(counts, minlength=4) / 300
  assert shares[0] == 0
  np.testing.assert_allclose(shares[1:], 1 / 3, atol=0.09)
  assert np.median(brightest) > 0.5
  dreams = opened.find_elements(By.CSS_SELECTOR, "#dreams button")
  assert len(dreams) == 8
  opened.execute_script("arguments[0].click()", dreams[2])
  seen = state(opened)
  assert seen["digits"] == []
  assert max(seen["ink"]) > 0.3
  assert dreams[2].get_attribute("aria-label").startswith("Look at scene 3, of")


def test_steps_are_played(opened):
  animate(opened, True)
  click(opened, "play")
  assert opened.find_element(By.ID, "play").text == "Stop"
  shown = call(
    opened,
    """
    return new Promise((resolve) => {
      const found = [];
      const look = () => {
        const drawn = [...document.querySelectorAll("#steps canvas")];
        found.push(drawn.map((c) => Number(c.style.opacity)).slice(0, 8));
        if (found.at(-1)[4] > 0) resolve(found);
        else setTimeout(look, 50);
      };
      look();
    });
    """,
  )
  assert len(shown) > 5
  # Looks, crops, paints and adds, one after the other.
  assert np.all(np.diff(shown, axis=0) >= 0)
  assert np.all(np.diff(shown, axis=1) <= 0)
  assert sum(shown[0]) < 1
  assert min(shown[-1][:4]) == 1
  click(opened, "play")
  assert opened.find_element(By.ID, "play").text == "Play"
  assert state(opened)["shown"] == 2


READABLE = """
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/[0-9.]+/g).map((v) => {
      const c = v / 255;
      return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = luminance(getComputedStyle(document.body).backgroundColor);
  const texts = [
    ...document.querySelectorAll("h1, h2, p, a, th, dt, dd span"),
  ].filter((e) => e.offsetParent && e.textContent.trim());
  const controls = [...document.querySelectorAll("button, input, canvas")];
  return {
    cut: document.documentElement.scrollWidth > innerWidth,
    dark: ground < 0.2,
    contrasts: texts.map((e) => {
      const text = luminance(getComputedStyle(e).color);
      const [low, high] = [text, ground].sort((x, y) => x - y);
      return (high + 0.05) / (low + 0.05);
    }),
    sizes: texts.map((e) => parseFloat(getComputedStyle(e).fontSize)),
    named: controls.map((e) => Boolean(
      e.textContent.trim() || e.labels?.length
      || e.closest("[aria-label]"))),
  };
"""


def test_nothing_is_cut_off_and_all_can_be_read(opened):
  for width in (320, 360, 800, 1200):
    opened.execute_cdp_cmd(
      "Emulation.setDeviceMetricsOverride",
      {"width": width, "height": 700, "deviceScaleFactor": 1, "mobile": False},
    )
    for scheme in ("light", "dark"):
      opened.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
      )
      found = call(opened, READABLE)
      assert not found["cut"], width
      assert found["dark"] == (scheme == "dark")
      assert len(found["contrasts"]) > 20
      assert min(found["contrasts"]) > 4.5
      assert min(found["sizes"]) >= 12
      assert all(found["named"])
  opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_what_ships_is_small_and_whole():
  listed = json.loads((MODELS / "models.json").read_text())["models"]
  assert {path.name for path in MODELS.iterdir()} == {
    *("models.json", "digits.png"), *(entry["file"] for entry in listed)
  }  # fmt: skip
  for entry in listed:
    assert (MODELS / entry["file"]).stat().st_size < 6e6
    assert set(entry["reference"]) == {"by_count", "distances"}
  assert len(shipped_digits().images) == 40


def test_air_beside_dair(browser, tmp_path):
  """Of the second model it is not known what surprises it."""
  folder = tmp_path / "demo"
  shutil.copytree(PAGE, folder)
  config = ModelConfig(
    step_input="difference", glimpse_input="difference", memory=False,
    latent_feedback=False, num_steps=5, hidden_sizes=(16,),
    presence_hidden_sizes=(16,),
  )  # fmt: skip
  models = folder / "models"
  weights.write(models / "small.safetensors", AIRModel(AIRConfig(config)))
  listed = json.loads((models / "models.json").read_text())
  listed["models"][1:] = [{"name": "DAIR", "file": "small.safetensors"}]
  (models / "models.json").write_text(json.dumps(listed))
  messages(browser)
  with served(folder) as url:
    browser.get(url)
    assert call(browser, "return page.models.length") == 2
    panels = browser.find_elements(By.CSS_SELECTOR, ".panels .panel")
    titles = [panel.find_element(By.TAG_NAME, "button") for panel in panels]
    assert [title.text for title in titles] == ["AIR paints", "DAIR paints"]

    def rows():
      found = browser.find_elements(By.CSS_SELECTOR, "#steps tbody tr")
      bars = browser.find_elements(By.CSS_SELECTOR, "#bars div")
      pressed = [title.get_attribute("aria-pressed") for title in titles]
      return len(found), len(bars), pressed

    assert rows() == (3, 4, ["true", "false"])
    titles[1].click()
    assert rows() == (5, 6, ["false", "true"])
    assert not browser.find_element(By.ID, "gauge").is_displayed()
    sides = {panel.find_element(By.TAG_NAME, "canvas").rect["y"]
             for panel in panels}  # fmt: skip
    assert len(sides) == 1
    assert messages(browser) == []
