"""Processes that outlive us: started once, found again, ended by name.

A child is a folder with a lock and a pid. The child itself holds the lock for as long as it lives
(it inherits the open file), and its pid is on disk before its program begins; so a starter that is
killed at any instant leaves nothing that the next one cannot find.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_STARTED: list[subprocess.Popen[bytes]] = []
"""Children of this very process, kept so that they can be reaped."""

_WRITE_PID_THEN_BECOME = 'echo $$ > "$0.new" && mv "$0.new" "$0" && exec "$@"'


@dataclass(frozen=True, slots=True)
class Child:
    """One long-lived process, known by `folder/name.pid` and `folder/name.lock`."""

    folder: Path
    name: str

    @property
    def errors(self) -> Path:
        """What it wrote to its standard error since it was last started."""
        return self.folder / f"{self.name}.err"

    def running(self) -> bool:
        """Whether it lives, or is being started at this moment."""
        _reap()
        try:
            with self._lock.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def pid(self) -> int | None:
        """The pid of the running child; None when there is none, or not yet."""
        if self.running():
            with contextlib.suppress(FileNotFoundError, ValueError):
                return int(self._pid.read_text())
        return None

    def start(
        self, argv: Sequence[str], environment: Mapping[str, str], prepare: Callable[[], None] = lambda: None
    ) -> bool:
        """Start it in a session of its own; False when it runs already or another is starting it.

        `prepare` is called once nobody else can start it; when it raises, nothing is started.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock.open("ab") as lock:
            if not _locked(lock):
                return False
            prepare()
            self._pid.unlink(missing_ok=True)
            with self.errors.open("wb") as errors:
                process = subprocess.Popen(
                    ["/bin/sh", "-c", _WRITE_PID_THEN_BECOME, str(self._pid), *argv],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    cwd=self.folder,
                    env=dict(environment),
                    pass_fds=(lock.fileno(),),
                    start_new_session=True,
                )
            _STARTED.append(process)
        return True

    async def stop(self, grace: float = 10.0) -> None:
        """TERM, then KILL after `grace` seconds; returns once it is gone."""
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
            signalled = False
            for _ in range(int(patience / 0.02) + 1):
                if not self.running():
                    return
                pid = self.pid()  # None for the instant in which it is being started
                if pid is not None and not signalled:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
                    signalled = True
                await asyncio.sleep(0.02)

    @property
    def _lock(self) -> Path:
        return self.folder / f"{self.name}.lock"

    @property
    def _pid(self) -> Path:
        return self.folder / f"{self.name}.pid"


def _locked(lock: IO[bytes]) -> bool:
    """Whether the lock is ours now; those who only look hold it for an instant, a child for its life."""
    for _ in range(20):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.002)
        else:
            return True
    return False


def _reap() -> None:
    for process in tuple(_STARTED):
        if process.poll() is not None:
            with contextlib.suppress(ValueError):  # another thread was quicker
                _STARTED.remove(process)
