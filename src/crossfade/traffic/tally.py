"""Requests of one target added up by second and slot: pure, told the time.

A bucket is one second. Buckets of the last twenty minutes are kept; totals are kept for good.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from crossfade.traffic.port import SLOTS, ArmCounts, Counts, Slot

CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
KEPT_SECONDS = 1200

BOUNDS_MS: tuple[float, ...] = tuple(round(1.2**step, 3) for step in range(62))
"""Upper bounds of the latency bins, each 20 % above the last: a quantile is known within 10 %."""


def bin_of(ms: float) -> int:
    """The bin that a latency falls into; the last one has no upper bound.

    >>> bin_of(0.4), bin_of(1.0), bin_of(1.1), bin_of(1e9) == len(BOUNDS_MS)
    (0, 0, 1, True)
    """
    return bisect_left(BOUNDS_MS, ms)


def class_of(status: int) -> int:
    """The place in `CLASSES` of a status; anything that is none counts as no answer.

    >>> [CLASSES[class_of(s)] for s in (0, 101, 200, 404, 503)]
    ['none', '1xx', '2xx', '4xx', '5xx']
    """
    return status // 100 if 100 <= status < 600 else 0  # noqa: PLR2004 - the range of HTTP statuses


@dataclass(slots=True)
class Sums:
    """Requests by class, by latency bin, and the sum of all latencies in ms."""

    classes: list[int] = field(default_factory=lambda: [0] * len(CLASSES))
    bins: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_MS) + 1))
    total_ms: float = 0.0

    def add(self, status: int, ms: float | None) -> None:
        """Count one request; `ms` is None for one without a latency of its own (a websocket)."""
        self.classes[class_of(status)] += 1
        if ms is not None:
            self.bins[bin_of(ms)] += 1
            self.total_ms += ms


class Tally:
    """The counts of one target."""

    def __init__(self) -> None:
        self.totals: dict[Slot, Sums] = {slot: Sums() for slot in SLOTS}
        self.dropped_total = 0
        self.alive_at: float | None = None
        self._seconds: deque[tuple[int, dict[Slot, Sums]]] = deque()
        self._drops: deque[tuple[int, int]] = deque()

    def add(self, now: float, slot: Slot, status: int, ms: float | None) -> None:
        """Count a request that ended at `now`."""
        sums = self._second(int(now)).get(slot)
        if sums is None:
            sums = self._seconds[-1][1][slot] = Sums()
        sums.add(status, ms)
        self.totals[slot].add(status, ms)

    def drop(self, now: float, lost: int) -> None:
        """Note that `lost` requests were not counted."""
        self.dropped_total += lost
        self._drops.append((int(now), lost))
        while self._drops[0][0] < now - KEPT_SECONDS:
            self._drops.popleft()

    def prove(self, now: float) -> None:
        """A sign of life came the whole way that requests come: all up to `now` is counted."""
        self.alive_at = now

    def counts(self, since: float, now: float) -> Counts:
        """The closed buckets that start at or after `since`."""
        buckets = tuple(
            ArmCounts(float(at), 1.0, slot, _named(sums.classes), tuple(sums.bins))
            for at, slot, sums in self._all()
            if since <= at <= now - 1
        )
        dropped = sum(lost for at, lost in tuple(self._drops) if at >= since)
        return Counts(buckets, BOUNDS_MS, self.alive_at, dropped)

    def _second(self, second: int) -> dict[Slot, Sums]:
        while self._seconds and self._seconds[-1][0] > second:
            self._seconds.pop()  # the clock was set back: what was counted under times to come is void
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append((second, {}))
            while self._seconds[0][0] < second - KEPT_SECONDS:
                self._seconds.popleft()
        return self._seconds[-1][1]

    def _all(self) -> Iterator[tuple[int, Slot, Sums]]:
        for at, slots in tuple(self._seconds):
            for slot in SLOTS:
                if (sums := slots.get(slot)) is not None:
                    yield at, slot, sums


def _named(classes: list[int]) -> dict[str, int]:
    return {name: count for name, count in zip(CLASSES, classes, strict=True) if count}
