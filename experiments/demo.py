"""Shows a trained model at work, in the browser: draw, drag, and it looks.

  python -m experiments.demo

Serves the page in demo/, with models that ship, on this machine. The model
runs in the browser. To see models of your own:

  python -m experiments.demo --run_dirs=runs/default,runs/dair

With --out the page is written to a folder, for any static host:

  python -m experiments.demo --run_dirs=runs/default --out=FOLDER
"""

from __future__ import annotations

import functools
import http.server
import pathlib
import sys
import tempfile

from absl import flags

from experiments.common import launcher, page, trained
from experiments.common.launcher import UsageError
from experiments.common.progress import Task

_HOST = "127.0.0.1"


def define_flags(flag_values: flags.FlagValues) -> None:
  """Defines this binary's flags."""
  options = {"flag_values": flag_values, "module_name": "run"}
  flags.DEFINE_integer(
    "port", 8000, "of the page's address; 0: any that is free", lower_bound=0,
    upper_bound=65535, **options,
  )  # fmt: skip
  flags.DEFINE_list(
    "run_dirs",
    [],
    "folders of runs whose models are shown, separated by commas; empty: models"
    " that ship",
    **options,
  )
  flags.DEFINE_string(
    "out",
    "",
    "a folder that the page is written to; empty: it is served",
    **options,
  )
  trained.define_dataset_flags(flag_values)


class _Handler(http.server.SimpleHTTPRequestHandler):
  """Serves files, and says nothing of it."""

  # What the system has to say of types is at times wrong.
  extensions_map = {  # noqa: RUF012
    "": "application/octet-stream",
    ".css": "text/css",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
  }

  def end_headers(self) -> None:
    self.send_header("Cache-Control", "no-cache")
    self.send_header("Content-Security-Policy", "default-src 'self'")
    self.send_header("X-Content-Type-Options", "nosniff")
    super().end_headers()

  def list_directory(self, path: object) -> None:
    del path
    self.send_error(http.HTTPStatus.NOT_FOUND)

  def log_message(self, *args: object) -> None:
    del args


class Server(http.server.ThreadingHTTPServer):
  """Serves a folder on this machine."""

  daemon_threads = True

  def __init__(self, folder: pathlib.Path, port: int):
    """Makes the server, which then listens.

    Args:
      folder: with an index.html.
      port: of the address; 0: any that is free.

    Raises:
      UsageError: if the port cannot be used.
    """
    handler = functools.partial(_Handler, directory=str(folder))
    try:
      super().__init__((_HOST, port), handler)
    except OSError as error:
      raise UsageError(
        f"port is {port}, which cannot be used ({error.strerror}); expected"
        " another one, or 0 for any that is free"
      ) from error

  @property
  def address(self) -> str:
    """The address of the folder."""
    return f"http://{_HOST}:{self.server_port}/"

  def handle_error(self, request: object, client_address: object) -> None:
    """Reports an error, but not that a browser has gone."""
    if not isinstance(sys.exc_info()[1], ConnectionError):
      super().handle_error(request, client_address)


def _serve(folder: pathlib.Path, port: int) -> None:
  """Serves a folder until the process is interrupted."""
  with Server(folder, port) as server:
    print(f"{server.address}  (Ctrl-C stops it)", flush=True)
    server.serve_forever()


def main(flag_values: flags.FlagValues) -> None:
  """Serves the page, or writes it."""
  folders = [launcher.expanded("run_dirs", f) for f in flag_values.run_dirs]
  if flag_values.out:
    out = launcher.output_folder("out", flag_values.out)
    if not folders:
      raise UsageError(
        f"out is {flag_values.out}, expected --run_dirs with it; the page with"
        f" models that ship is in {page.FOLDER}"
      )
    with Task("making the page"):
      page.write(out, folders, flag_values)
    print(f"{flag_values.out}: index.html, models/")
  elif folders:
    with tempfile.TemporaryDirectory() as name:
      with Task("making the page"):
        page.write(pathlib.Path(name), folders, flag_values)
      _serve(pathlib.Path(name), flag_values.port)
  else:
    _serve(page.FOLDER, flag_values.port)


if __name__ == "__main__":
  sys.exit(launcher.run(__doc__, define_flags, main))
