"""What pods printed: by the cluster's log API while they are there, and from files once they are gone.

The cluster forgets a pod's log with the pod. So whoever stops a slot listens until its pods are gone and keeps the last
lines, as the newest thing that is known of each.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

from crossfade.cluster.api import CORE, Cluster, Json, path
from crossfade.cluster.names import Target
from crossfade.core.errors import CrossfadeError
from crossfade.runtimes.kubernetes.specification import CONTAINER
from crossfade.runtimes.port import LogLine
from crossfade.traffic.port import Slot

SAVED: Final = 1000
"""Lines that are kept of a pod that is gone."""
_KEPT: Final = 12
"""Pods of one slot whose last lines are kept."""
_POLL: Final = 0.3


class Saved:
    """The last lines of pods that are gone, in `folder/SLOT/POD.log`, each line with its time in front."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def listen(self, cluster: Cluster, target: Target, slot: Slot, pod: Json) -> None:
        """Keep what `pod` prints until its end; also when this is cancelled."""
        name = pod["metadata"]["name"]
        lines: deque[str] = deque(maxlen=SAVED)
        wanted = {"container": CONTAINER, "timestamps": "true", "tailLines": str(SAVED), "follow": "true"}
        try:
            with contextlib.suppress(CrossfadeError):
                async for line in cluster.lines(path(CORE, target.namespace, "pods", name, "log"), **wanted):
                    lines.append(line)
        finally:
            if lines:
                self._write(slot, name, lines)

    def lines(self, slot: Slot, count: int, without: set[str]) -> list[list[LogLine]]:
        """The newest `count` lines of each pod that is gone."""
        return [
            _parsed(each.stem, deque(each.read_text(errors="replace").splitlines(), maxlen=count))
            for each in self._files(slot)
            if each.stem not in without
        ]

    def _files(self, slot: Slot) -> list[Path]:
        with contextlib.suppress(OSError):
            return sorted((self._folder / slot).glob("*.log"), key=lambda each: each.stat().st_mtime)
        return []

    def _write(self, slot: Slot, name: str, lines: Iterable[str]) -> None:
        folder = self._folder / slot
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f".{name}"
        fresh.write_text("\n".join(lines) + "\n")
        fresh.replace(folder / f"{name}.log")
        for old in self._files(slot)[:-_KEPT]:
            old.unlink(missing_ok=True)


async def newest_lines(
    cluster: Cluster, target: Target, pods: list[Json], *, saved: Saved, slots: Iterable[Slot], count: int
) -> list[LogLine]:
    """The newest `count` lines of each pod, those that are gone among them, ordered by time."""
    there = await asyncio.gather(*(_tail(cluster, target, each["metadata"]["name"], count) for each in pods))
    known = {each[0].instance for each in there if each}
    gone = [each for slot in slots for each in saved.lines(slot, count, known)]
    return list(heapq.merge(*there, *gone, key=lambda each: each.at))


async def follow_logs(
    cluster: Cluster, target: Target, pods: Callable[[], Awaitable[list[Json]]]
) -> AsyncIterator[LogLine]:
    """What pods print from now on, those that come later from their first line."""
    came: asyncio.Queue[LogLine] = asyncio.Queue(10_000)
    readers: dict[str, asyncio.Task[None]] = {}
    first = True
    try:
        while True:
            for each in await pods():
                name = each["metadata"]["name"]
                if name not in readers:
                    readers[name] = asyncio.create_task(_follow(cluster, target, name, came, late=not first))
            first = False
            with contextlib.suppress(TimeoutError):
                line = await asyncio.wait_for(came.get(), _POLL)
                yield line
                while not came.empty():
                    yield came.get_nowait()
    finally:
        for task in readers.values():
            task.cancel()
        await asyncio.gather(*readers.values(), return_exceptions=True)


async def _tail(cluster: Cluster, target: Target, name: str, count: int) -> list[LogLine]:
    where = path(CORE, target.namespace, "pods", name, "log")
    status, text = await cluster.text(where, container=CONTAINER, timestamps="true", tailLines=str(count))
    return _parsed(name, text.splitlines()) if status == 200 else []  # noqa: PLR2004 - a pod that has not begun is no fault


async def _follow(cluster: Cluster, target: Target, name: str, came: asyncio.Queue[LogLine], *, late: bool) -> None:
    """Lines of one pod, over its restarts; of one that came late also those that it printed before we saw it."""
    where, newest = path(CORE, target.namespace, "pods", name, "log"), 0.0
    begin = {} if late else {"tailLines": "0"}
    while True:
        wanted = {"container": CONTAINER, "timestamps": "true", "follow": "true"}
        with contextlib.suppress(CrossfadeError):
            known = newest
            async for text in cluster.lines(where, **wanted, **begin):
                for line in _parsed(name, (text,)):
                    if line.at > known:
                        newest = line.at
                        await came.put(line)
            begin = {}
        await asyncio.sleep(_POLL)


def _parsed(instance: str, lines: Iterable[str]) -> list[LogLine]:
    found: list[LogLine] = []
    for line in lines:
        stamp, _, text = line.partition(" ")
        try:
            at = datetime.fromisoformat(stamp).timestamp()
        except ValueError:
            at, text = (found[-1].at if found else 0.0), line
        found.append(LogLine(at, instance, "out", text))
    return found
