"""Carries out one command, and ends all of it when the pipe at its standard input closes. A program of its own.

Whoever wants the build ended closes the pipe; whoever is killed closes it too. So no build is ever left running
behind a `crossfade build` that is gone, and writes into what the next one makes. It imports nothing of ours: it is
started for each build.

    python -I -S launcher.py GRACE COMMAND…        GRACE: seconds between TERM and KILL
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

END = b"e"
"""Written to the pipe to end the command: TERM, and KILL after the grace. So does the end of the pipe."""
KILL = b"k"
"""Written to the pipe by who cannot wait for that."""
NOT_STARTED = 127
_SET_CHILD_SUBREAPER = 36


def main(grace: float, command: list[str]) -> int:
    """Run `command` until it ends or the pipe closes; its exit code, 128 + N when signal N ended it."""
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error.strerror or error}\n")
        return NOT_STARTED
    _attend(child, wake, grace)
    _signal(child.pid, signal.SIGKILL)  # what it left running goes with it
    code = child.wait()
    return code if code >= 0 else 128 - code


def _attend(child: subprocess.Popen[bytes], wake: int, grace: float) -> None:
    """Return once the command has ended by itself, or nothing of its group is left to wait for."""
    deadline: float | None = None
    watched = [0, wake]
    while child.poll() is None or (deadline is not None and _alive(child.pid)):
        left = None if deadline is None else max(0.0, min(0.05, deadline - time.monotonic()))
        ready, _, _ = select.select(watched, [], [], left)
        if wake in ready:
            os.read(wake, 64)
        if 0 in ready:
            said = os.read(0, 1)
            if said == KILL:
                return
            if not said:
                watched = [wake]
            if deadline is None:
                deadline = time.monotonic() + grace
                _adopt_orphans()
                _signal(child.pid, signal.SIGTERM)
        if deadline is not None and time.monotonic() >= deadline:
            return


def _adopt_orphans() -> None:
    """Become the parent of what loses its own, so that who has ended is seen to have ended; Linux alone knows this."""
    with contextlib.suppress(OSError, AttributeError, ImportError):
        import ctypes  # noqa: PLC0415 - takes a while, and is seldom needed

        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)


def _alive(group: int) -> bool:
    with contextlib.suppress(OSError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return True


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
