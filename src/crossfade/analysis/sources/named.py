"""Named metrics beside any source of counts: read together, each with its own time, each failing alone.

Counts are never kept waiting: a metric that has not answered soon goes on in the background, and what it said last holds until it
is stale. What a server remembers is taken as it tells it; of what only knows the present, the values are remembered here, and
nothing before the first of them is claimed to be known.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from crossfade.analysis.rules import Points, Reasons
from crossfade.analysis.sources.port import ARMS, Answer, Metric, Reading, Series, Source, Unknown, Value
from crossfade.analysis.values import Arm
from crossfade.core.durations import format_duration
from crossfade.core.errors import CrossfadeError

_SOON = 0.5
"""Seconds that counts wait for named metrics."""
_SELDOM = 300.0
"""Longest pause (seconds) between two tries after faults, where the server does not want a longer one."""
_LONGEST = 3600.0
"""Longest pause (seconds) that a server may want."""
_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Asked:
    """How one metric is asked: over `window` seconds, `every` so often, each time within `timeout`, believed for `stale_after`.

    Where it is `counted`, its values are added up over a rule's window.
    """

    metric: Metric
    window: float
    every: float
    timeout: float
    stale_after: float
    counted: bool = False


class NamedSource:
    """The counts of `counts`, and the metrics of `asked` by name. Counts wait `soon` seconds for metrics at most."""

    def __init__(self, counts: Source, asked: Mapping[str, Asked], *, soon: float = _SOON) -> None:
        self._counts = counts
        self._soon = soon
        self._watches = {name: _Watch(each) for name, each in asked.items()}
        self._counted = frozenset(name for name, each in asked.items() if each.counted)

    async def read(
        self, since: float, *, now: float, warm_from: float | None = None, until: float | None = None
    ) -> Reading:
        """The counts' own reading, and what is known of every metric; see `port.Source`."""
        reading, _ = await asyncio.gather(
            self._counts.read(since, now=now, warm_from=warm_from, until=until), self._answers(now)
        )
        named: dict[tuple[Arm, str], tuple[tuple[float, float], ...]] = {}
        unknown: dict[tuple[Arm, str], str] = {}
        begun: dict[tuple[Arm, str], float] = {}
        for name, watch in self._watches.items():
            for arm in ARMS:
                known = watch.known(arm, now)
                if isinstance(known, str):
                    unknown[arm, name] = known
                else:
                    named[arm, name] = tuple(known.points)
                    begun[arm, name] = known.since
        points: Points = {**reading.named, **named}
        reasons: Reasons = {**reading.unknown, **unknown}
        return replace(reading, named=points, unknown=reasons, begun=begun, counted=self._counted)

    async def _answers(self, now: float) -> None:
        running = [task for watch in self._watches.values() if (task := watch.begin(now)) is not None]
        if running:
            await asyncio.wait(running, timeout=self._soon)


@dataclass(slots=True)
class _Arm:
    """What is known of one arm: `points` as the server told them, or as they were remembered since `since`."""

    points: deque[tuple[float, float]] = field(default_factory=deque)
    since: float = math.inf
    fault: str = ""
    """Why the last try told nothing; empty where it did."""


class _Watch:
    """One metric: when it is due, what is under way, and what it said."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._arms: dict[Arm, _Arm] = {arm: _Arm() for arm in ARMS}
        self._due = -math.inf
        self._faults = 0
        self._last = -math.inf
        """Time of the last answer that was no passing fault."""
        self._task: asyncio.Task[None] | None = None

    def begin(self, now: float) -> asyncio.Task[None] | None:
        """A new try where it is time. One that is under way already has been waited for, and is let be."""
        if self._due > now + _LONGEST + self._asked.every:
            self._due = now  # the clock was set back
        if now < self._due or (self._task is not None and not self._task.done()):
            return None
        self._due = now + self._asked.every
        self._task = asyncio.create_task(self._ask(now))
        return self._task

    async def _ask(self, now: float) -> None:
        """Ask once; whatever goes wrong becomes the reason why nothing is known."""
        asked = self._asked
        try:
            async with asyncio.timeout(asked.timeout):
                answers = await asked.metric.ask(window=asked.window, now=now)
        except TimeoutError:
            answers = dict.fromkeys(ARMS, Unknown(f"no answer within {format_duration(asked.timeout)}", passing=True))
        except CrossfadeError as error:
            answers = dict.fromkeys(
                ARMS, Unknown(f"{error.what}; {error.next}" if error.next else error.what, passing=True)
            )
        except Exception as error:  # noqa: BLE001 - a metric that breaks must not take the counts with it
            answers = dict.fromkeys(ARMS, Unknown(f"it broke: {type(error).__name__}", passing=True))
        for arm in ARMS:
            self._heed(arm, answers[arm], now)
        self._pace([each for each in answers.values() if isinstance(each, Unknown) and each.passing], now)

    def _heed(self, arm: Arm, answer: Answer, now: float) -> None:
        held = self._arms[arm]
        match answer:
            case Series(points, since):
                held.points, held.since, held.fault = deque(points), since, ""
            case Value(value):
                if held.since > now:
                    held.since = now - self._asked.every
                held.points.append((now, value))
                while held.points and held.points[0][0] < now - self._asked.window:
                    held.points.popleft()
                held.fault = ""
            case Unknown(why, passing):
                held.fault = why
                if not passing:
                    held.points.clear()
                    held.since = math.inf

    def _pace(self, faults: Iterable[Unknown], now: float) -> None:
        """Ask less often after every passing fault in a row, and not before the server wants it."""
        waits = [fault.wait for fault in faults]
        self._faults = self._faults + 1 if waits else 0
        if not waits:
            self._last = now
            return
        pause = self._asked.every * 2.0 ** min(self._faults, 16)
        self._due = now + max(min(_SELDOM, pause), min(_LONGEST, max(waits)))

    def known(self, arm: Arm, now: float) -> Series | str:
        """What is known of an arm, or why nothing is."""
        held, asked = self._arms[arm], self._asked
        told = asked.counted and held.since < math.inf
        if not held.points and not told:
            return (held.fault or "it has not answered yet")[:_SHOWN]
        age = now - (self._last if asked.counted else held.points[-1][0])
        if age > asked.stale_after:
            why = f"the newest value is {format_duration(round(age))} old"
            return f"{why}: {held.fault}"[:_SHOWN] if held.fault else why
        return Series(tuple(held.points), held.since)
