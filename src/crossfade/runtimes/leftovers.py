"""What a killed shim left behind: found by the marker variable and by recorded pids, and ended.

A recorded pid counts only together with the time at which that process started, so a number that the
system gave away again is never signalled.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable

import psutil

from crossfade.runtimes.shim.folder import LINUX, MARKER, Folder, boot, born, holder, read_json


def find(folders: Iterable[Folder]) -> list[psutil.Process]:
    """Processes that carry the marker of one of `folders`, or that its `state.json` names as its command.

    Call it only for folders whose lock is free: a living shim's command carries the marker too.
    """
    paths = {folder.path: folder for folder in folders}
    if not paths:
        return []
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARKER) in paths:
                found[process.pid] = process
    for folder in paths.values():
        recorded = _recorded(folder)
        if recorded is not None:
            found.setdefault(recorded.pid, recorded)
    return [process for process in found.values() if _lives(process)]


async def end(folders: Iterable[Folder], grace: float) -> int:
    """TERM what is left of `folders`, KILL what is still there after `grace` seconds; how many there were."""
    folders = list(folders)
    count = 0
    deadline = time.monotonic() + grace
    termed: set[int] = set()
    while left := await asyncio.to_thread(find, folders):
        late = time.monotonic() >= deadline
        for process in left:
            if late or process.pid not in termed:
                count += process.pid not in termed
                termed.add(process.pid)
                with contextlib.suppress(psutil.Error):
                    # psutil compares the start time first: a reused pid is not signalled.
                    (process.kill if late else process.terminate)()
        await asyncio.sleep(0.05)
    return count


def kill_shim(instance: Folder) -> None:
    """KILL a shim that does not end: only the process that holds this folder's lock, proven by its command line."""
    held = holder(instance)
    with contextlib.suppress(psutil.Error):
        if held is not None and held[0]:
            process = psutil.Process(held[0])
            if process.cmdline()[-1:] == [instance.path] and holder(instance) is not None:
                process.kill()


def _recorded(folder: Folder) -> psutil.Process | None:
    state = read_json(folder.state)
    command = state and state.get("command")
    if not state or not command or not command.get("born") or not LINUX or state["supervisor"].get("boot") != boot():
        return None
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(command["pid"])
        if born(process.pid) == command["born"]:
            return process
    return None


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
