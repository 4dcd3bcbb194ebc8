"""From a router's one-second counts to the judge's buckets.

Only complete buckets come out: a second that the source has not vouched for (`Counts.alive_at`) is a gap, and the bucket
waits for it. A second without a row that the source *has* vouched for is silence: nobody asked anything, and zeros come out.
So a dead source makes the judge blind, and a quiet night makes it starved.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from crossfade.analysis.values import ArmSample, Latency, Sample
from crossfade.traffic.port import ArmCounts, Counts, Slot


def samples(
    counts: Counts,
    *,
    stable: Slot,
    since: float,
    seconds: float,
    warm_from: float = -math.inf,
    until: float | None = None,
) -> tuple[Sample, ...]:
    """Every complete bucket of `seconds` (rounded up to whole ones) from `since` on, oldest first.

    `stable` is the slot of the trusted version. Buckets that begin before `warm_from` are marked as not warm. `until` is the
    time of a change of weight: the last bucket before it is cut short, so that no bucket spans the change. Go on with
    `since` = the end of the last bucket.

    >>> rows = tuple(ArmCounts(100.0 + i, 1, slot, {"2xx": 9}) for i in range(7) for slot in ("blue", "green"))
    >>> [(s.at, s.stable.requests) for s in samples(Counts(rows, (), 107.0), stable="blue", since=100.0, seconds=5)]
    [(100.0, 45)]
    """
    if counts.alive_at is None:
        return ()
    length = float(max(1, math.ceil(seconds)))
    complete_to = counts.alive_at if until is None else min(counts.alive_at, math.floor(until))
    begin = float(math.ceil(since))
    rows = [row for row in counts.buckets if begin <= row.at and row.at + row.seconds <= complete_to + 1e-6]
    made = []
    while begin < complete_to:
        end = begin + length
        if end > complete_to + 1e-6:
            if until is None or counts.alive_at < math.floor(until):
                break
            end = complete_to
        inside = [row for row in rows if begin <= row.at < end]
        made.append(
            Sample(
                at=begin,
                seconds=end - begin,
                stable=_arm((row for row in inside if row.slot == stable), counts.bounds_ms),
                canary=_arm((row for row in inside if row.slot != stable), counts.bounds_ms),
                warm=begin >= warm_from,
            )
        )
        begin = end
    return tuple(made)


def _arm(rows: Iterable[ArmCounts], bounds: tuple[float, ...]) -> ArmSample:
    """One arm's rows added up; a row that brings no histogram leaves the others' as they are."""
    requests = errors = 0
    bins = [0] * (len(bounds) + 1)
    for row in rows:
        requests += row.requests
        errors += row.errors
        for i, count in enumerate(row.latency[: len(bins)]):
            bins[i] += count
    return ArmSample(requests, errors, Latency(bounds, tuple(bins)) if bounds else None)
