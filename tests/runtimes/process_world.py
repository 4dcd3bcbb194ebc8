"""The workloads of these tests, and how to find every process that came of them."""

import contextlib
import os
import sys
from pathlib import Path

import psutil

from crossfade.config.model import Component, Drain, Health, Logs, Ready
from crossfade.runtimes.port import Release
from crossfade.runtimes.shim.folder import MARKER
from crossfade.runtimes.specification import Restarts

APP = str(Path(__file__).with_name("programs") / "app.py")
QUICK = Restarts(first=0.05, factor=2, cap=0.5, stable=5)


def workload(*arguments, grace=2.0, ready=None, logs=None, environment=None, interval=0.1, timeout=2.0, failures=3):
    return Component(
        command=(sys.executable, "-S", APP, "{port}", *arguments),
        environment={"GREETING": "bonjour {version} {port}", **(environment or {})},
        health=Health(interval=interval, timeout=timeout, failures=failures),
        ready=Ready(path=ready),
        drain=Drain(grace=grace),
        logs=logs or Logs(),
    )


def release(version="1.0.0", *arguments, **settings):
    return Release(version, workload(*arguments, **settings))


def processes_of(place):
    """Every process that belongs to an instance under `place`: shims and what carries the marker."""
    shims, marked = [], []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            command = process.cmdline()
            if len(command) > 1 and command[-2].endswith("__main__.py") and command[-1].startswith(f"{place}/"):
                shims.append(process)
            elif process.environ().get(MARKER, "").startswith(f"{place}/"):
                marked.append(process)
    return shims, marked


def is_root():
    return os.geteuid() == 0
