"""Takes the pictures of the page in `demo/` that the documents show.

  python docs/demo_pictures.py

Needs `chromium` and `chromedriver`, as the page's tests do. Writes
docs/images/demo.webp, which moves, and docs/images/demo-phone.png.
"""

import io
import itertools
import pathlib
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

_ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(_ROOT))

from experiments import demo  # noqa: E402

_IMAGES = _ROOT / "docs" / "images"
_DESKTOP = (1100, 1300)
_PHONE = (360, 770)
_MARGIN = 30
_SEED = 43
_MILLISECONDS = 80  # of a frame
_HOLD = 1_200
_PHASES = 4  # of a step: looks, crops, paints, adds

# The mouse, which a screenshot does not have.
_POINTER = """
  const svg = "http://www.w3.org/2000/svg";
  const pointer = document.createElementNS(svg, "svg");
  const arrow = document.createElementNS(svg, "path");
  pointer.setAttribute("viewBox", "0 0 24 24");
  arrow.setAttribute(
    "d", "M4 2 L4 19 L8.5 15 L11.5 22 L14.5 20.7 L11.5 14 L17.5 14 Z");
  arrow.setAttribute("fill", "#fff");
  arrow.setAttribute("stroke", "#000");
  arrow.setAttribute("stroke-width", "1.5");
  pointer.append(arrow);
  Object.assign(pointer.style, {
    position: "fixed", width: "26px", pointerEvents: "none", display: "none",
  });
  document.body.append(pointer);
  page.pointAt = ([x, y]) => {
    const {left, top, width} = document.getElementById("picture")
      .getBoundingClientRect();
    pointer.style.display = "";
    pointer.style.left = `${left + (x / 50) * width - 4}px`;
    pointer.style.top = `${top + (y / 50) * width - 2}px`;
  };
  page.pointAway = () => { pointer.style.display = "none"; };
"""
# A three, in pixels of the picture.
_THREE = [
  *((18, 17), (21, 15), (25, 15), (27, 18), (26, 21), (22, 23), (26, 25)),
  *((28, 28), (26, 31), (22, 32), (18, 31)),
]


def _browser() -> webdriver.Chrome:
  options = webdriver.ChromeOptions()
  options.binary_location = shutil.which("chromium") or "chromium"
  for argument in (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
    "--disable-dev-shm-usage",
  ):
    options.add_argument(argument)
  return webdriver.Chrome(options, Service(shutil.which("chromedriver")))


def _open(
  browser: webdriver.Chrome, url: str, size: tuple[int, int], scheme: str
) -> None:
  """Opens the page, without its animation.

  Args:
    browser: that shows it.
    url: of the page.
    size: width and height, pixels of a device that has two for each.
    scheme: light or dark.
  """
  width, height = size
  browser.execute_cdp_cmd(
    "Emulation.setDeviceMetricsOverride",
    {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": False},
  )
  features = {
    "prefers-color-scheme": scheme,
    "prefers-reduced-motion": "reduce",
  }
  browser.execute_cdp_cmd(
    "Emulation.setEmulatedMedia",
    {"features": [{"name": k, "value": v} for k, v in features.items()]},
  )
  browser.get(f"{url}?seed={_SEED}")


def _run(browser: webdriver.Chrome, code: str, *arguments: Any) -> Any:
  return browser.execute_async_script(
    "const a = arguments; page.then((page) => {"
    + code
    + "}).then(a[a.length - 1])",
    *arguments,
  )


def _shot(browser: webdriver.Chrome, top: int, bottom: int) -> Image.Image:
  """Returns what is seen of the page, between two heights."""
  shot = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
  shot = shot.crop((0, 2 * top, shot.width, 2 * bottom))
  return shot.resize((shot.width // 2, shot.height // 2), Image.Resampling.BOX)


def _along(points: Sequence[Sequence[float]], num: int) -> np.ndarray:
  """Returns points at equal distances along a line, `[num, 2]`."""
  corners = np.array(points, float)
  lengths = np.linalg.norm(np.diff(corners, axis=0), axis=1)
  places = np.concatenate([[0], np.cumsum(lengths)])
  wanted = np.linspace(0, places[-1], num)
  return np.stack(
    [np.interp(wanted, places, axis) for axis in corners.T], axis=1
  )


def _story(browser: webdriver.Chrome) -> Iterator[tuple[Image.Image, int]]:
  """Yields frames, and how long each stands, ms."""

  def frame(code: str, *arguments: Any, hold: int = _MILLISECONDS):
    _run(browser, code, *arguments)
    return _shot(browser, top - _MARGIN, bottom + _MARGIN), hold

  _run(browser, _POINTER)
  # From the picture to the steps.
  top, bottom = _run(
    browser,
    "return ['.stage', '.details'].map((name) =>"
    " document.querySelector(name).getBoundingClientRect())"
    ".map(({top, bottom}, i) => Math.round(i ? bottom : top));",
  )
  count = _run(browser, "return page.seen.count")
  # The steps, one by one.
  progress = "page.started = 1; page.progress = a[0]; page.drawSteps();"
  for phase in np.arange(0, _PHASES * count, 0.25):
    yield frame(progress, float(phase))
  yield frame("page.stop();", hold=_HOLD)
  # A digit is dragged, beside the other and away again.
  x, y, width, height = _run(
    browser,
    "const {x, y, glyph} = page.picture.digits[0];"
    " return [x, y, glyph.width, glyph.height];",
  )
  drag = (
    "const [x, y] = a[0]; const [digit] = page.picture.digits;"
    " page.picture.move(digit, x, y); page.changed(); page.pointAt(a[1]);"
  )
  way = [(x, y), (4, 24), (12, 30), (28, 30)]
  for place in _along(way, 18):
    middle = place + np.array([width, height]) / 2
    yield frame(drag, place.tolist(), middle.tolist())
  yield frame("page.pointAway();", hold=_HOLD)
  # One is drawn.
  yield frame("page.picture.clear(); page.changed();", hold=_HOLD // 2)
  draw = "page.picture.stroke(a[0], a[1]); page.changed(); page.pointAt(a[1]);"
  line = _along(_THREE, 24).tolist()
  for before, after in itertools.pairwise(line):
    yield frame(draw, before, after)
  yield frame("page.pointAway();", hold=2 * _HOLD)


def _with_page(do: Callable[[webdriver.Chrome, str], None]) -> None:
  with demo.Server(_ROOT / "demo", 0) as server, _browser() as browser:
    threading.Thread(target=server.serve_forever).start()
    try:
      do(browser, server.address)
    finally:
      server.shutdown()


def _take(browser: webdriver.Chrome, url: str) -> None:
  _open(browser, url, _DESKTOP, "light")
  frames, durations = zip(*_story(browser), strict=True)
  frames[0].save(
    _IMAGES / "demo.webp", save_all=True, append_images=frames[1:],
    duration=durations, loop=0, lossless=True, method=6, minimize_size=True,
  )  # fmt: skip
  _open(browser, url, _PHONE, "dark")
  _run(browser, "document.querySelector('.stage').scrollIntoView();"
       " scrollBy(0, -16);")  # fmt: skip
  (_IMAGES / "demo-phone.png").write_bytes(browser.get_screenshot_as_png())


if __name__ == "__main__":
  _with_page(_take)
