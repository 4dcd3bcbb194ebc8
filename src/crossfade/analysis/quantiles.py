"""Quantiles of latency from histograms, and requests slower than stable used to be.

To compare latency, requests above a bound are counted like errors. The bound comes from the stable arm's *earlier* buckets,
so it is fixed before the requests that it judges arrive: that alone is what the guarantee needs. It is always an upper bound
of a histogram bin, so the count above it is exact, whatever the bins' width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from crossfade.analysis.values import Latency

LEVELS = (0.5, 0.9, 0.99)
"""Quantiles of the stable arm that are watched: p50, p90, p99."""

MEMORY = 300.0
"""Seconds after which an earlier bucket weighs half: the bound follows the day's load."""

_FEWEST_ABOVE = 5
"""Requests that must lie above a quantile on average before it is worth using."""


def quantile(latency: Latency, q: float) -> float | None:
    """The q-quantile in milliseconds, linear within its bin.

    None for an empty histogram, infinite when it lies above the last bound.

    >>> quantile(Latency((10, 20, 40), (50, 30, 20, 0)), 0.9)
    30.0
    """
    total = sum(latency.counts)
    if total == 0:
        return None
    wanted = q * total
    below = 0.0
    lower = 0.0
    for bound, count in zip(latency.le, latency.counts, strict=False):
        if count and below + count >= wanted:
            return lower + (bound - lower) * max(0.0, wanted - below) / count
        below += count
        lower = bound
    return math.inf


def bound_at(le: Sequence[float], counts: Sequence[float], q: float) -> int | None:
    """Index of the smallest bound with at least the share `q` of `counts` at or below it.

    None when there are too few counts to know, or when that share ends above the last bound.

    >>> bound_at((10, 20, 40), (500, 300, 200, 0), 0.9)
    2
    """
    total = math.fsum(counts)
    if total * (1 - q) < _FEWEST_ABOVE:
        return None
    wanted = q * total
    for i, at_or_below in enumerate(accumulate(counts[: len(le)])):
        if at_or_below >= wanted:
            return i
    return None


def remember(memory: Sequence[float], latency: Latency, seconds: float) -> tuple[float, ...]:
    """The stable arm's histogram with one more bucket of `seconds`, older ones fading.

    >>> [round(count) for count in remember((100, 0), Latency((10,), (7, 1)), 300.0)]
    [57, 1]
    """
    fade = 0.5 ** (seconds / MEMORY)
    if len(memory) != len(latency.counts):
        return tuple([float(count) for count in latency.counts])
    return tuple([round(old * fade, 3) + count for old, count in zip(memory, latency.counts, strict=True)])
