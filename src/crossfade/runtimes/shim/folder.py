"""An instance is a folder: its files, how they are written, and how it is known whether it lives.

    spec.json   what to run; never written while a shim lives. Removing it means: end. That takes no room
                on a full disk, and a shim that comes up late finds nothing to start
    lock        held (flock) by the shim for its whole life; holds its pid; its time of change is the
                heartbeat, on the monotonic clock, so that a step of the wall clock cannot age it
    state.json  what is true now; written by the shim only
    wake        a named pipe: a byte makes the shim look at once
    log/        00000001.log, …: the newest has the highest number

Imported by the shim as well: standard library only, and only its light part.
"""

# ruff: noqa: PTH104, PTH108, PTH116, PTH120, PTH123, PTH208 - pathlib is too heavy for a process of which every instance has one

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

PORT = "\0"
"""Stands for the port in a command, folder or variable of `spec.json`: no text of those can hold it."""

MARKER = "CROSSFADE_INSTANCE"
"""Variable that every process of an instance inherits: the path of its folder."""

PADDED = 4096
"""`state.json` always has this size, so that it can be overwritten in place when the disk is full."""

LINUX = sys.platform == "linux"


class Folder:
    """The paths of one instance's folder.

    >>> Folder("/x/instances/production/api/blue/0").state
    '/x/instances/production/api/blue/0/state.json'
    """

    __slots__ = ("lock", "log", "path", "spec", "state", "wake")

    def __init__(self, path: str) -> None:
        self.path = path
        self.spec = f"{path}/spec.json"
        self.state = f"{path}/state.json"
        self.lock = f"{path}/lock"
        self.wake = f"{path}/wake"
        self.log = f"{path}/log"


def read_json(path: str) -> dict[str, Any] | None:
    """The object in a file; None when there is none or it is being overwritten in place.

    Raises OSError when it may not be read.
    """
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_json(path: str, value: dict[str, Any]) -> None:
    """Replace a file by `value`, whole or not at all, also when the power fails; OSError when impossible."""
    write_whole(path, json.dumps(value, indent=1).encode(), durable=True)


def remove(path: str) -> None:
    """Remove a file if it is there, for good, also when the power fails."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
        with contextlib.suppress(OSError):
            _sync_folder(path)


def write_whole(path: str, data: bytes, *, durable: bool) -> None:
    """Replace a file by `data` through a temporary file beside it, readable by its owner only."""
    beside = f"{path}.tmp"
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        _write_all(handle, data)
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)
    os.rename(beside, path)
    if durable:
        _sync_folder(path)


def write_state(path: str, value: dict[str, Any]) -> None:
    """Replace `state.json`; in place when there is no room for a second file; OSError when neither goes."""
    value = dict(value)
    data = json.dumps(value).encode()
    while len(data) > PADDED and value.get("detail"):
        value["detail"] = value["detail"][: -max(64, (len(data) - PADDED) // 6)]
        data = json.dumps(value).encode()
    data = data.ljust(PADDED)
    try:
        write_whole(path, data, durable=False)
    except OSError:
        handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(handle, data, 0)
        finally:
            os.close(handle)


def _sync_folder(path: str) -> None:
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write_all(handle: int, data: bytes) -> None:
    while data:
        written = os.write(handle, data)
        if written == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        data = data[written:]


def claim(folder: Folder, patience: float = 5.0) -> int | None:
    """Take the folder's lock for as long as the returned handle stays open; None when a shim holds it.

    Whoever merely looks (`holder`) shares the lock for an instant. So when exclusive fails, a shared try
    tells the two apart: it fails only beside a shim.
    """
    handle = os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass
        else:
            return handle
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(handle, fcntl.LOCK_UN)
        except OSError:
            os.close(handle)
            return None
        if time.monotonic() > deadline:
            os.close(handle)
            return None
        time.sleep(0.001 + os.getpid() % 7 / 1000)


def sign(handle: int, pid: int) -> None:
    """Write into the lock who holds it (0: nobody yet), with a first heartbeat.

    Blanked before every launch: else the state that an earlier shim left would pass for the new one's
    until that has written its own.
    """
    with contextlib.suppress(OSError):
        os.pwrite(handle, f"{pid:<10}\n".encode(), 0)
    beat(handle)


def beat(handle: int) -> None:
    """Note on the lock that its holder is well; needs no room on the disk."""
    now = time.monotonic()
    with contextlib.suppress(OSError):
        os.utime(handle, (now, now))


def holder(folder: Folder) -> tuple[int, float] | None:
    """The pid of the living shim (0 while it has not signed yet) and the age of its heartbeat in seconds.

    None: no shim lives. The lock itself tells, not the pid, so a pid that was given away again cannot
    deceive. Raises OSError when the lock may not be read.
    """
    try:
        handle = os.open(folder.lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(handle, 10, 0).strip()
            age = time.monotonic() - os.fstat(handle).st_mtime
            return (int(text) if text.isdigit() else 0), age
        return None
    finally:
        os.close(handle)


def wake(folder: Folder) -> None:
    """Make the shim look at its folder now; it would within a second anyway."""
    with contextlib.suppress(OSError):
        handle = os.open(folder.wake, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(handle, b"\n")
        finally:
            os.close(handle)


def open_wake(folder: Folder) -> int | None:
    """The reading side of `wake`; None where the file system has no named pipes (then polling must do)."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkfifo(folder.wake, 0o600)
        if not stat.S_ISFIFO(os.stat(folder.wake).st_mode):
            return None
        return os.open(folder.wake, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None


def born(pid: int) -> int:
    """When a process started, in clock ticks since the machine did; 0 when it is gone or cannot be known.

    With the pid and the boot it names a process for ever; unlike an epoch time it does not move when
    the wall clock is set.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def boot() -> str:
    """The name of the machine's current boot; empty where the system has none."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def descendants(root: int) -> list[int]:
    """All living processes below `root`, from `/proc` (Linux); zombies count, as they are still to be reaped."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    open_ends = [root]
    while open_ends:
        below = children.get(open_ends.pop(), ())
        found.extend(below)
        open_ends.extend(below)
    return found


def parents() -> Iterator[tuple[int, int]]:
    """Every process and its parent, from `/proc` (Linux)."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    yield int(name), int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
