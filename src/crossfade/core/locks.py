"""One at a time, over all processes of this machine: locks that are free once their holder ends, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

_ASK_EVERY = 0.005
"""Seconds: a shift of traffic may stand behind another, and a question takes some microseconds."""


@contextlib.asynccontextmanager
async def locked(path: Path, *, waiting: Callable[[], None] = lambda: None) -> AsyncIterator[None]:
    """Hold the lock of the file at `path`, without holding up the loop while somebody else has it.

    `waiting` is called once where it is not free at first. OSError where the file cannot be had.
    """
    handle = try_lock(path)
    if handle is None:
        waiting()
    while handle is None:
        await asyncio.sleep(_ASK_EVERY)
        handle = try_lock(path)
    try:
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked_in_thread(path: Path) -> Iterator[None]:
    """The same for a thread, which stands still until it is its turn. OSError where the file cannot be had."""
    handle = _opened(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def try_lock(path: Path) -> int | None:
    """The open file whose lock is ours now (closing it gives the lock up), or None where somebody else has it.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "lock"
    >>> ours = try_lock(file)
    >>> try_lock(file) is None
    True
    >>> os.close(ours)
    >>> os.close(try_lock(file))
    """
    handle = _opened(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _still_there(handle, path):
            return handle
    except BlockingIOError:
        pass
    os.close(handle)
    return None


def _opened(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)


def _still_there(handle: int, path: Path) -> bool:
    """Whether the file was not taken away between being opened and being locked."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False
