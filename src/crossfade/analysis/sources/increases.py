"""From scraped counters to what happened in a bucket: increases, resets, births. Pure.

A counter that falls was reset: what it shows then happened since. A counter that appears while its neighbours were being
scraped was born: it counted from zero (an error counter often appears with the first error, and must not lose it). One that
appears after a gap of everything is only a new baseline. An increase belongs to the time of the scrape that shows it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import median

from crossfade.analysis.values import Latency

Points = Sequence[tuple[float, float]]
"""(time, value) of one counter, oldest first."""

_NEIGHBOUR = 1.6
"""Scrape intervals within which another counter must have been seen for a new one to count as born."""


def scrape_interval(series: Iterable[Points]) -> float | None:
    """Median time between two scrapes; None when nothing was scraped twice.

    >>> scrape_interval([[(0, 1), (15, 2), (30, 2)], [(1, 7)]])
    15.0
    """
    gaps = [later - earlier for points in series for (earlier, _), (later, _) in pairwise(points)]
    return median(gaps) if gaps else None


def increases(points: Points, *, seen: Sequence[float], interval: float) -> list[tuple[float, float]]:
    """(time, increase) at every scrape of one counter.

    `seen` are the times at which anything was scraped, ascending; `interval` is the time between two scrapes.

    >>> increases([(15, 2), (30, 5), (45, 1)], seen=[0, 15, 30, 45], interval=15)
    [(15, 2), (30, 3), (45, 1)]
    >>> increases([(100, 900), (115, 905)], seen=[0, 100, 115], interval=15)
    [(115, 5)]
    """
    if not points:
        return []
    first_at, first = points[0]
    tolerance = interval / 2
    born = any(first_at - _NEIGHBOUR * interval <= at < first_at - tolerance for at in seen)
    made = [(first_at, first)] if born else []
    for (_, before), (at, after) in pairwise(points):
        made.append((at, after - before if after >= before else after))
    return made


def within(made: Iterable[tuple[float, float]], begin: float, end: float) -> float:
    """The increase in (begin, end]."""
    return math.fsum(increase for at, increase in made if begin < at <= end)


def histogram(by_bound: Mapping[float, float]) -> Latency | None:
    """A histogram in milliseconds from cumulative increases by upper bound in seconds (infinite: all of them).

    >>> histogram({0.1: 90.0, 0.5: 99.0, math.inf: 100.0})
    Latency(le=(100.0, 500.0), counts=(90, 9, 1))
    """
    finite = sorted(bound for bound in by_bound if math.isfinite(bound))
    if not finite or math.inf not in by_bound:
        return None
    cumulative = [0.0, *(by_bound[bound] for bound in finite), by_bound[math.inf]]
    bins = [max(0, round(later) - round(earlier)) for earlier, later in pairwise(cumulative)]
    return Latency(tuple([round(1000 * bound, 6) for bound in finite]), tuple(bins))
