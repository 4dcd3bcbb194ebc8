"""The run state of a target, in files: one process at a time, and one way to say that they cannot be reached."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path

from crossfade.core.errors import CrossfadeError

_ASK_EVERY = 0.02


@contextlib.asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Hold the lock of a file, of all processes here; the system lets go when one is killed. OSError where it cannot be had."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            await asyncio.sleep(_ASK_EVERY)
        yield
    finally:
        os.close(handle)


def inaccessible(error: OSError, where: str, folder: Path) -> CrossfadeError:
    """What to raise where a target's files in `folder` cannot be read or written; `where` is the target."""
    return CrossfadeError(
        "runtime.state-inaccessible",
        f"the state of {where} cannot be read or written: {error.strerror or error}",
        where=str(error.filename or folder),
        next="make room on the disk, or give this user the right to read and write there",
        retry=True,
    )
