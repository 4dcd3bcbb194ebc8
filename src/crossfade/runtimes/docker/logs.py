"""What containers print: asked of the engine stream by stream, in the form in which all our logs stand.

A line is `TIME STREAM TEXT`, as in the files of other runtimes, so what has been saved is read as those are.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from crossfade.core.errors import CrossfadeError
from crossfade.runtimes.docker.engine import Engine
from crossfade.runtimes.docker.seeing import Seen
from crossfade.runtimes.log_reading import Tail
from crossfade.runtimes.port import LogLine

_POLL: Final = 0.25
SAVED: Final = 10_000_000
"""Bytes of the newest lines that are kept of an instance that is removed."""
_WORDS: Final = 400
"""Characters of last words in an instance's detail."""

Look = Callable[[], Awaitable[Mapping[str, tuple[Seen | None, Path | None]]]]
"""Where each instance's lines are: its container, and the folder of what its removed container printed."""


async def read(engine: Engine, look: Look, *, lines: int, follow: bool) -> AsyncIterator[LogLine]:
    """The newest `lines` lines of each instance by time, then what comes."""
    heard: dict[str, str] = {}
    newest: list[list[LogLine]] = []
    for name, (seen, saved) in (await look()).items():
        old = await asyncio.to_thread(Tail(name, saved).newest, lines) if saved is not None else []
        new: list[LogLine] = []
        if seen is not None:
            raw = await _fetch(engine, seen.id, tail=lines)
            heard[seen.id] = raw[-1].partition(" ")[0] if raw else ""
            new = _parse(name, raw)
        newest.append((old + new)[-lines:] if lines else [])
    for line in heapq.merge(*newest, key=lambda each: each.at):
        yield line
    while follow:
        came: list[list[LogLine]] = []
        for name, (seen, _) in (await look()).items():
            if seen is not None:
                before = heard.get(seen.id, "")
                raw = [line for line in await _fetch(engine, seen.id, since=before) if line.partition(" ")[0] > before]
                heard[seen.id] = raw[-1].partition(" ")[0] if raw else before
                came.append(_parse(name, raw))
        for line in heapq.merge(*came, key=lambda each: each.at):
            yield line
        if not any(came):
            await asyncio.sleep(_POLL)


async def last_words(engine: Engine, seen: Seen) -> str:
    """The last lines of a container in one line; empty where nothing can be read."""
    try:
        raw = await _fetch(engine, seen.id, tail=5)
    except CrossfadeError:
        return ""
    return " | ".join(line.split(" ", 2)[2] for line in raw[-5:])[-_WORDS:]


async def whole(engine: Engine, container: str, most: int) -> bytes:
    """At most `most` bytes of the newest that a container printed, in our form."""
    data = "".join(f"{line}\n" for line in await _fetch(engine, container)).encode()
    if len(data) <= most:
        return data
    kept = data[-most:]
    return kept[kept.find(b"\n") + 1 :]


async def _fetch(engine: Engine, container: str, *, tail: int | None = None, since: str = "") -> list[str]:
    """Lines in our form, by time. The engine's `since` knows seconds with a fraction."""
    try:
        out, err = await asyncio.gather(*(_stream(engine, container, each, tail, since) for each in ("out", "err")))
    except CrossfadeError as error:
        if error.code == "docker.missing":
            return []
        raise
    found = sorted([*out, *err], key=lambda line: line.partition(" ")[0])
    return found if tail is None else found[-tail:] if tail else []


async def _stream(engine: Engine, container: str, stream: str, tail: int | None, since: str) -> list[str]:
    def ask(client: Any) -> bytes:
        settings: dict[str, Any] = {"since": _seconds(since)} if since else {}
        data: bytes = client.logs(
            container,
            stdout=stream == "out",
            stderr=stream == "err",
            timestamps=True,
            tail="all" if tail is None else tail,
            **settings,
        )
        return data

    text = (await engine.call(ask)).decode("utf-8", "replace")
    split = (line.partition(" ") for line in text.split("\n") if line)
    return [f"{_even(stamp)} {stream} {rest.rstrip(chr(13))}" for stamp, _, rest in split]


def _even(stamp: str) -> str:
    """The engine drops trailing zeros; with all nine digits, times compare as texts.

    >>> _even("2026-11-21T16:29:48.7Z"), _even("2026-11-21T16:29:48Z")
    ('2026-11-21T16:29:48.700000000Z', '2026-11-21T16:29:48.000000000Z')
    """
    whole_, _, fraction = stamp.rstrip("Z").partition(".")
    return f"{whole_}.{fraction:0<9}Z"


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp() if stamp else 0.0


def _parse(name: str, raw: list[str]) -> list[LogLine]:
    lines = (line.split(" ", 2) for line in raw)
    return [LogLine(_seconds(stamp), name, _side(stream), text) for stamp, stream, text in lines]


def _side(stream: str) -> Literal["out", "err"]:
    return "err" if stream == "err" else "out"
