"""Reading what instances printed: the newest lines of each, merged by time, then what comes."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from crossfade.runtimes.port import LogLine

_POLL = 0.1
_BLOCK = 1 << 16


async def read_logs(sources: Callable[[], Mapping[str, Path]], *, lines: int, follow: bool) -> AsyncIterator[LogLine]:
    """Lines of all `sources` (instance id → log folder); asks for the sources again while it follows."""
    tails: dict[str, Tail] = {}
    newest: list[list[LogLine]] = []
    for name, folder in sources().items():
        tails[name] = Tail(name, folder)
        newest.append(await asyncio.to_thread(tails[name].newest, lines))
    for line in heapq.merge(*newest, key=lambda each: each.at):
        yield line
    while follow:
        came: list[list[LogLine]] = []
        for name, folder in sources().items():
            tail = tails.setdefault(name, Tail(name, folder))
            came.append(await asyncio.to_thread(tail.more))
        for line in heapq.merge(*came, key=lambda each: each.at):
            yield line
        if not any(came):
            await asyncio.sleep(_POLL)


class Tail:
    """A place in one instance's log files, which it follows over rotation."""

    def __init__(self, instance: str, folder: Path) -> None:
        self._instance = instance
        self._folder = folder
        self._number = 0
        self._offset = 0
        self._at = 0.0

    def newest(self, lines: int) -> list[LogLine]:
        """The newest `lines` lines; the place is then behind the last of them."""
        parts: deque[bytes] = deque()
        found = 0
        for number in reversed(_numbers(self._folder)):
            data = _whole_lines(self._path(number), 0)
            if not self._number:
                self._number, self._offset = number, len(data)
            parts.appendleft(data)
            found += data.count(b"\n")
            if found >= lines:
                break
        raw = [line for part in parts for line in part.split(b"\n") if line]
        return list(self._parse(raw[-lines:] if lines else []))

    def more(self) -> list[LogLine]:
        """What has come since, at most a few blocks at a time."""
        numbers = [number for number in _numbers(self._folder) if number >= self._number]
        if not numbers:
            return []
        if numbers[0] != self._number:
            # The first, or ours has been pruned meanwhile.
            self._number, self._offset = numbers[0], 0
        data = _whole_lines(self._path(self._number), self._offset, limit=_BLOCK * 16)
        self._offset += len(data)
        if not data and len(numbers) > 1:
            self._number, self._offset = numbers[1], 0
            return self.more()
        return list(self._parse([line for line in data.split(b"\n") if line]))

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08d}.log"

    def _parse(self, raw: list[bytes]) -> Iterator[LogLine]:
        for line in raw:
            stamp, _, rest = line.decode("utf-8", "replace").partition(" ")
            stream, _, text = rest.partition(" ")
            try:
                self._at = datetime.fromisoformat(stamp).timestamp()
            except ValueError:
                # Not written by a shim: shown as it is, at the time of the line before.
                text = line.decode("utf-8", "replace")
            yield LogLine(self._at, self._instance, "err" if stream == "err" else "out", text)


def _numbers(folder: Path) -> list[int]:
    try:
        return sorted(int(each.stem) for each in folder.iterdir() if each.suffix == ".log" and each.stem.isdigit())
    except OSError:
        return []


def _whole_lines(path: Path, offset: int, limit: int = -1) -> bytes:
    """What is behind `offset`, up to the last end of a line."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(limit)
    except OSError:
        return b""
    return data[: data.rfind(b"\n") + 1]
