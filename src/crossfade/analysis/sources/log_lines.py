"""A named metric from what instances print: how many lines match a pattern.

Logs are followed, not read again: each line comes once, whatever number of patterns there is, and only the times of those that
match are kept. A line is looked at up to a length, by expressions whose time grows with that length alone, so neither a line nor a
pattern can hold the engine up.
"""

from __future__ import annotations

import asyncio
import math
import weakref
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping

from crossfade.analysis.sources.port import ARMS, Answer, Series, Unknown
from crossfade.analysis.values import Arm
from crossfade.config.named_metrics import compiled
from crossfade.core.errors import CrossfadeError
from crossfade.runtimes.port import LogLine, Runtime
from crossfade.traffic.port import Slot

_LOOKED_AT = 4096
"""Characters of a line in which a pattern is looked for."""
_BEFORE = 1000
"""Lines of each instance that are read when Crossfade starts: what it missed while it was away."""
_KEPT = 100_000
"""Matches that are kept for each arm and pattern."""
_IDLE = 0.5
"""Seconds without a line after which everything that was printed before has been read."""
_SETTLE = 0.15
"""Seconds in which a line that was printed just now arrives."""
_BREATH = 200
"""Lines after which others have their turn."""


class Logs:
    """The logs of a rollout's instances, followed once for all `patterns`."""

    def __init__(self, runtime: Runtime, patterns: Iterable[str], *, slots: Mapping[Arm, Slot]) -> None:
        wanted = tuple(dict.fromkeys(patterns))
        self._arms = {arm: _Followed(runtime, slots[arm], wanted) for arm in ARMS}

    async def matches(self, pattern: str, begin: float) -> Mapping[Arm, Answer]:
        """One point for each line since `begin` that matches, at the time it was printed."""
        for each in self._arms.values():
            each.go_on()
        await asyncio.sleep(_SETTLE)
        return {arm: each.seen.told(pattern, begin) for arm, each in self._arms.items()}


class LogLines:
    """Lines of `logs` that match one of its patterns; see `port.Metric`. It is counted: values are added up."""

    def __init__(self, logs: Logs, pattern: str) -> None:
        self._logs = logs
        self._pattern = pattern

    async def ask(self, *, window: float, now: float) -> Mapping[Arm, Answer]:
        """The lines of the last `window` seconds."""
        return await self._logs.matches(self._pattern, now - window)


class _Followed:
    """One slot's logs. The task that follows them ends with this object."""

    def __init__(self, runtime: Runtime, slot: Slot, patterns: tuple[str, ...]) -> None:
        self._runtime = runtime
        self._slot = slot
        self._patterns = patterns
        self._task: asyncio.Task[None] | None = None
        self.seen = _Seen(patterns)

    def go_on(self) -> None:
        """Follow the logs, or follow them again after a fault."""
        if self._task is not None and not self._task.done():
            return
        fault, self.seen = self.seen.fault, _Seen(self._patterns)
        self.seen.fault = fault
        self._task = asyncio.create_task(_follow(self._runtime, self._slot, self.seen))
        weakref.finalize(self, _end, self._task)


def _end(task: asyncio.Task[None]) -> None:
    if not task.done() and not task.get_loop().is_closed():
        task.get_loop().call_soon_threadsafe(task.cancel)


class _Seen:
    """Times of the lines that matched each pattern; `since` is how far back the logs were read."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.fault = "the logs are still being read"
        """Why nothing is known; empty once what was printed before has been read."""
        self._since = -math.inf
        self._expressions = {pattern: compiled(pattern) for pattern in patterns}
        self._times: dict[str, deque[float]] = {pattern: deque(maxlen=_KEPT) for pattern in self._expressions}
        self._lines: dict[str, int] = {}
        self._oldest: dict[str, float] = {}

    def heed(self, line: LogLine) -> None:
        """Take one line in. Where as many lines came of an instance as were asked for, there may be older ones."""
        count = self._lines[line.instance] = self._lines.get(line.instance, 0) + 1
        oldest = self._oldest.setdefault(line.instance, line.at)
        if self.fault and count >= _BEFORE:
            self._since = max(self._since, oldest)
        text = line.text[:_LOOKED_AT]
        for pattern, expression in self._expressions.items():
            if expression.isinstance_python(text):
                self._times[pattern].append(line.at)

    def told(self, pattern: str, begin: float) -> Answer:
        """What is known since `begin`, or why nothing is."""
        if self.fault:
            return Unknown(self.fault, passing=True)
        times = self._times[pattern]
        while times and times[0] < begin:
            times.popleft()
        since = max(self._since, times[0]) if len(times) == _KEPT else self._since
        return Series(tuple([(at, 1.0) for at in sorted(times)]), since)


async def _follow(runtime: Runtime, slot: Slot, seen: _Seen) -> None:
    """Take in every line that a slot's instances print, until cancelled; a fault is kept for whoever asks."""
    try:
        await _take(runtime.logs(slot=slot, lines=_BEFORE, follow=True), seen)
        seen.fault = "the logs ended"
    except CrossfadeError as error:
        seen.fault = error.what
    except OSError as error:
        seen.fault = f"the logs cannot be read: {error.strerror or type(error).__name__}"


async def _take(lines: AsyncIterator[LogLine], seen: _Seen) -> None:
    taken = 0
    coming: asyncio.Future[LogLine] = asyncio.ensure_future(anext(lines))
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=_IDLE if seen.fault else None)
            if not done:
                seen.fault = ""
                continue
            seen.heed(coming.result())
            taken += 1
            if taken % _BREATH == 0:
                await asyncio.sleep(0)
            coming = asyncio.ensure_future(anext(lines))
    except StopAsyncIteration:
        return
    finally:
        coming.cancel()
