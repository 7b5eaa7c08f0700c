"""Trains the runs of a sweep on Ray, as many at a time as there is room for."""

import contextlib
import itertools
import logging
import os
import pathlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags

from air.storage import files
from experiments.common import configuration, launcher, machine, opening
from experiments.common.launcher import UsageError
from experiments.common.stopping import StopSignal
from experiments.sweeps import plan, records, worker
from experiments.sweeps.plan import SweepRun
from experiments.sweeps.table import Table

GROUP = "sweep"
_TRAIN = (sys.executable, "-m", "experiments.train")
_SECONDS_BETWEEN_LOOKS = 1.0
_CONNECT_SECONDS = 10.0
# Little more than Ray's minimum; all that tasks return is a number.
_OBJECT_STORE_BYTES = 80 * 2**20


def define_sweep_flags(flag_values: flags.FlagValues) -> None:
  """Defines the flags of `run`."""
  options = {"flag_values": flag_values, "module_name": GROUP}
  flags.DEFINE(
    plan.SeedsParser(),
    "seeds",
    None,
    "seeds of each configuration: 0-19, or 0,3,7-9",
    required=True,
    **options,
  )
  flags.DEFINE_string(
    "out", None, "the folder of the runs' folders", required=True, **options
  )
  flags.DEFINE_string(
    "results",
    None,
    "the file of their records; by default OUT/results.jsonl",
    **options,
  )
  flags.DEFINE_integer(
    "jobs", 1, "runs at the same time", lower_bound=1, **options
  )
  flags.DEFINE_integer(
    "cpus_per_run",
    None,
    "threads of a run; by default the cores of this machine over --jobs, with"
    " --ray_address 1",
    lower_bound=1,
    **options,
  )
  flags.DEFINE_float(
    "gpus_per_run", 0, "GPUs of a run, or a part of one", lower_bound=0,
    **options,
  )  # fmt: skip
  flags.DEFINE_integer(
    "retries",
    1,
    "how often a run goes on after its process was killed or its machine lost;"
    " after bad input or divergence it never does",
    lower_bound=0,
    **options,
  )
  flags.DEFINE_string(
    "ray_address",
    "",
    "of a Ray cluster, HOST:PORT or auto; empty: Ray on this machine; where"
    " the cluster wants a token, set RAY_AUTH_MODE=token",
    **options,
  )
  configuration.define_training_flags(flag_values)
  del flag_values.seed


def results_file(flag_values: flags.FlagValues) -> pathlib.Path:
  """Returns the file of the runs' records."""
  if flag_values.results:
    return launcher.output_file("results", flag_values.results)
  return _out(flag_values) / "results.jsonl"


def _out(flag_values: flags.FlagValues) -> pathlib.Path:
  return launcher.output_folder("out", flag_values.out).resolve()


def run(configs: Sequence[str], flag_values: flags.FlagValues) -> int:
  """Trains what is not trained yet.

  Args:
    configs: see `plan.make`.
    flag_values: parsed, see `define_sweep_flags`.

  Returns:
    The exit status: 0, 1 if a run is not done or could not be recorded, or 128
    and the number of the signal that stopped it.
  """
  gpus = flag_values.gpus_per_run
  if gpus > 1 and gpus != int(gpus):
    raise UsageError(f"gpus_per_run is {gpus}, expected a part of 1 or a whole")
  results = results_file(flag_values)
  sweep = plan.make(
    configs,
    flag_values.seeds,
    _out(flag_values),
    training_flags(flag_values),
  )
  if results.exists():
    records.check_same(results, sweep)
  settled = [run for run in sweep if run.state != "waiting"]
  if settled:
    records.update(results, map(_record, settled))
  stopped_by = None
  with contextlib.ExitStack() as stack:
    ray = None
    if len(settled) < len(sweep):
      ray = stack.enter_context(_ray(flag_values))
    table = stack.enter_context(Table(sweep))
    if ray is not None:
      stopped_by = _train(sweep, table, ray, results, flag_values)
  if results.exists():
    print(f"records: {results}")
  if stopped_by is not None:
    print("stopped; the same command goes on from there", file=sys.stderr)
    return 128 + stopped_by
  return int(any(run.state != "done" for run in sweep))


def ended_runs(
  configs: Sequence[str], flag_values: flags.FlagValues
) -> list[dict[str, Any]]:
  """Returns the records of the runs that came to their end, after `run`.

  Says of each other one that it is left out, and why.

  Args:
    configs: of the sweep.
    flag_values: of the sweep.
  """
  path = results_file(flag_values)
  recorded = {
    (record["config"], record["seed"]): record
    for record in (records.read(path) if path.exists() else [])
  }
  found = []
  for config, seed in itertools.product(configs, flag_values.seeds):
    record = recorded.get((config, seed))
    if record and records.ended(record):
      found.append(record)
    else:
      why = record["error"] if record else "it has not ended"
      print(f"left out: {config}, seed {seed}: {why}")
  return found


def training_flags(flag_values: flags.FlagValues) -> list[str]:
  """Returns the flags of experiments.train that were given."""
  own = {flag.name for flag in flag_values.flags_by_module_dict()[GROUP]}
  return [
    flag_values[name].serialize()
    for name in flag_values
    if flag_values[name].present and name not in {*own, "flagfile", "undefok"}
  ]


def _record(run: SweepRun) -> dict[str, Any]:
  return records.make(run.folder, run.config, run.seed, run.error)


@contextlib.contextmanager
def _ray(flag_values: flags.FlagValues) -> Iterator[Any]:
  """Yields Ray, connected to the cluster or started here."""
  address = flag_values.ray_address
  os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
  if not address:
    # Despite its name: keeps Ray's ports, over which code is run, to loopback.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
  try:
    import ray
    import rich  # noqa: F401, for the table
  except ImportError:
    raise UsageError(
      "the sweep needs Ray, which the extra [cluster] brings: python -m pip"
      " install -c constraints.txt -e '.[cluster]'"
    ) from None
  options: dict[str, Any] = {"address": address}
  problem = f"ray_address is {address!r}, which cannot be used"
  if not address:
    options = {
      "address": "local",
      "num_cpus": flag_values.jobs * _cpus_per_run(flag_values),
      "include_dashboard": False,
      "object_store_memory": _OBJECT_STORE_BYTES,
    }
    problem = "Ray did not start on this machine"
  try:
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():  # Ray itself tries for minutes
      socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    with _for_oneself():
      ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
  except Exception as error:  # of any class, even of this one
    raise UsageError(f"{problem}: {error}") from error
  try:
    yield ray
  finally:
    ray.shutdown()


@contextlib.contextmanager
def _for_oneself() -> Iterator[None]:
  """Has what is made in the body, as Ray's token, be read by nobody else."""
  before = os.umask(0o077)
  try:
    yield
  finally:
    os.umask(before)


def _cpus_per_run(flag_values: flags.FlagValues) -> int:
  if flag_values.cpus_per_run:
    return flag_values.cpus_per_run
  if flag_values.ray_address:
    return 1
  return max(1, machine.processors() // flag_values.jobs)


def _train(
  sweep: list[SweepRun],
  table: Table,
  ray: Any,
  results: pathlib.Path,
  flag_values: flags.FlagValues,
) -> int | None:
  """Trains the runs that wait; returns the signal that stopped it, if any."""
  cpus, gpus = _cpus_per_run(flag_values), flag_values.gpus_per_run
  if not flag_values.ray_address:
    found = ray.cluster_resources().get("GPU", 0)
    if found < gpus:
      raise UsageError(f"gpus_per_run is {gpus}, expected the {found} here")
  _warn_of_resources(ray, cpus, gpus)
  names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
  environment = dict.fromkeys((*names, "OMP_NUM_THREADS"), str(cpus))
  if not gpus:
    environment["CUDA_VISIBLE_DEVICES"] = ""
  if 0 < gpus < 1:
    environment["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
  ray.cloudpickle.register_pickle_by_value(worker)
  task = ray.remote(worker.run).options(
    num_cpus=cpus,
    num_gpus=gpus,
    max_retries=flag_values.retries,
    retry_exceptions=[subprocess.CalledProcessError],
  )
  waiting = [run for run in sweep if run.state == "waiting"]
  active: dict[Any, SweepRun] = {}
  message = "stopping the runs, which save a checkpoint first"
  with StopSignal(message) as stop:
    while True:
      if stop.number is None:
        while waiting and len(active) < flag_values.jobs:
          run = waiting.pop(0)
          run.submitted()
          command = [*_TRAIN, *run.flags, f"--run_dir={run.folder}"]
          place = (os.getcwd(), str(run.log), environment, files.umask())
          active[task.remote(command, *place)] = run
      else:
        for ref in active:  # each time: one has been lost as a run began
          ray.cancel(ref)
      if not active:
        return stop.number
      ready, _ = ray.wait(list(active), timeout=_SECONDS_BETWEEN_LOOKS)
      for run in active.values():
        # What cannot be read for now must not end the runs.
        with contextlib.suppress(Exception):
          run.look()
      for ref in ready:
        run = active.pop(ref)
        stopping = stop.number is not None
        run.state, run.error = _outcome(ref, run.log, ray, stopping)
        try:
          run.look()
          if run.state in ("done", "failed"):
            records.update(results, [_record(run)])
        except Exception as error:  # of whatever file; the others go on
          run.state, run.error = "failed", f"it is not recorded: {error}"
      table.update()


def _warn_of_resources(ray: Any, cpus: int, gpus: float) -> None:
  """Says so if no machine of the cluster can take a run."""
  nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
  if not any(
    node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes
  ):
    print(
      "sweep: no machine of the cluster has what a run needs, CPUs:"
      f" {cpus} (--cpus_per_run), GPUs: {gpus:g} (--gpus_per_run); waiting for"
      " one",
      file=sys.stderr,
    )


def _outcome(
  ref: Any, log: pathlib.Path, ray: Any, stopping: bool
) -> tuple[str, str | None]:
  """Returns the state in which a run ended, and why if it failed.

  Args:
    ref: of its task, which has ended.
    log: of the run.
    ray: the module.
    stopping: whether the sweep is being stopped.
  """
  try:
    status = ray.get(ref)
  except ray.exceptions.TaskCancelledError:
    return "stopped", None
  except ray.exceptions.RayError as error:
    if not isinstance(error, subprocess.CalledProcessError):
      cause = getattr(error, "cause", error)  # without the traceback
      return "failed", " ".join(str(cause).split())
    status = error.returncode
    if status < 0:
      return "failed", f"ended by {signal.Signals(-status).name}"
  if status == 0:
    return "done", None
  if status == 128 + signal.SIGTERM and stopping:
    return "stopped", None
  last_line = log.read_text("utf-8", "replace").splitlines()[-1]
  return (
    "busy" if last_line.endswith(opening.BUSY) else "failed",
    last_line.removeprefix("train: "),
  )
