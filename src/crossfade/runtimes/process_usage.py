"""What the processes of instances use: each instance's command and everything that it started."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

import psutil

from crossfade.runtimes.port import Usage
from crossfade.runtimes.shim.folder import LINUX, Folder, born, holder, parents, read_json
from crossfade.traffic.port import Slot


def measure(instances: Iterable[tuple[str, Slot, Folder]]) -> Mapping[str, Usage]:
    """The usage of every instance (name, slot, folder) whose command runs, by its name; one look at the process table for all.

    Memory is the resident set: pages that processes share are counted in each. Processor time is that of all living processes
    and of those that they have waited for.
    """
    commands = {name: (slot, pid) for name, slot, folder in instances if (pid := _command(folder)) is not None}
    below = _children() if commands else {}
    found: dict[str, Usage] = {}
    for name, (slot, pid) in commands.items():
        known = [each for one in _tree(pid, below) if (each := _used(one)) is not None]
        if known:
            seconds, memory = sum(each[0] for each in known), sum(each[1] for each in known)
            found[name] = Usage(slot, memory, cpu_seconds=seconds)
    return found


def _command(folder: Folder) -> int | None:
    """The pid of an instance's command; None where none runs, or the number belongs to another process by now."""
    with contextlib.suppress(OSError, KeyError, TypeError):
        state = read_json(folder.state)
        command = (state or {}).get("command")
        if command and holder(folder) is not None and (not LINUX or born(command["pid"]) == command["born"]):
            return int(command["pid"])
    return None


def _children() -> Mapping[int, list[int]]:
    below: dict[int, list[int]] = {}
    for pid, parent in parents() if LINUX else _parents():
        below.setdefault(parent, []).append(pid)
    return below


def _parents() -> Iterator[tuple[int, int]]:
    """Every process and its parent, where there is no `/proc`: several times slower."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            yield process.pid, process.ppid()


def _tree(root: int, below: Mapping[int, list[int]]) -> list[int]:
    found, ends = [root], [root]
    while ends:
        more = below.get(ends.pop(), [])
        found += more
        ends += more
    return found


def _used(pid: int) -> tuple[float, int] | None:
    """Seconds of processor time and bytes of one process; None when it has ended."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            waited = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
            return times.user + times.system + waited, process.memory_info().rss
    except (psutil.Error, OSError):
        return None
