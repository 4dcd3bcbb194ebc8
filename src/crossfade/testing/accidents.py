"""Accidents for a router under test: its processes are killed, its address is somebody else's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

DEADLINE = 120.0
"""Seconds in which a killed process is gone."""


async def killed(pids: Callable[[], Sequence[int]]) -> None:
    """Kill the processes that `pids` names; returns once it names none any more."""
    for pid in pids():
        with contextlib.suppress(ProcessLookupError):  # it ended with the one before it
            os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(DEADLINE):
        while pids():  # noqa: ASYNC110 - the world is asked, it does not tell
            await asyncio.sleep(0.02)


@contextlib.contextmanager
def taken(address: str) -> Iterator[str]:
    """Somebody else, this process, listens on HOST:PORT for a while, and hangs up on whoever comes."""
    host, _, port = address.rpartition(":")
    with socket.socket() as holder:
        holder.bind((host, int(port)))
        holder.listen()
        porter = threading.Thread(target=_hang_up, args=(holder,), daemon=True)
        porter.start()
        try:
            yield address
        finally:
            holder.shutdown(socket.SHUT_RDWR)
            porter.join()


def _hang_up(holder: socket.socket) -> None:
    with contextlib.suppress(OSError):  # until it is shut
        while True:
            holder.accept()[0].close()
