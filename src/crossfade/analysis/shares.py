"""Where a recorded canary's share of traffic changed: the stages of a trace.

A share is never exactly its weight: each request is split on its own, so it has binomial noise, and more than that when users
stick to an arm. A new stage begins where the share of the next 2, 6 or 12 buckets lies more than 6 standard deviations *and* more
than a tenth (of the smaller arm) from the share of the stage so far; the bucket is the one that splits the two most likely. A jump
of one bucket is not a change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from crossfade.analysis.values import Sample

_AHEAD = (2, 6, 12)
_DEVIATIONS = 6.0
_RELATIVE = 0.1


def stage_starts(recorded: Sequence[Sample]) -> tuple[float, ...]:
    """Start of every stage in seconds, the first bucket's included.

    >>> from crossfade.analysis.values import ArmSample
    >>> shares = [50] * 20 + [250] * 20
    >>> stage_starts([Sample(5.0 * i, 5.0, ArmSample(1000 - m, 0), ArmSample(m, 0)) for i, m in enumerate(shares)])
    (0.0, 100.0)
    """
    pairs = [(s.canary.requests, s.canary.requests + s.stable.requests) for s in recorded]
    starts, first, i = [recorded[0].at], 0, 1
    while i < len(pairs):
        ahead = next((n for n in _AHEAD if _differs(pairs[first:i], pairs[i : i + n])), None)
        if ahead is None:
            i += 1
            continue
        cut = max(
            range(i, min(i + ahead, len(pairs))), key=lambda k: _split_likelihood(pairs[first : i + ahead], k - first)
        )
        starts.append(recorded[cut].at)
        first, i = cut, cut + 1
    return tuple(starts)


def _differs(before: Sequence[tuple[int, int]], after: Sequence[tuple[int, int]]) -> bool:
    """Whether the share of `after` is another than that of `before`, well beyond noise."""
    if len(after) < _AHEAD[0]:
        return False
    c_1, m_1 = _total(_without_the_oddest(before))
    c_2, m_2 = _total(after)
    if m_1 == 0 or m_2 == 0:
        return False
    old, new, both = c_1 / m_1, c_2 / m_2, (c_1 + c_2) / (m_1 + m_2)
    noise = math.sqrt(both * (1 - both) * (1 / m_1 + 1 / m_2))
    smaller = min(max(old, new), 1 - min(old, new))
    # Every part must differ, so that one odd bucket is not taken for a change.
    parts = [c / m for c, m in after if m]
    half = len([part for part in parts if (part > (old + new) / 2) == (new > old)])
    return abs(new - old) > max(_DEVIATIONS * noise, _RELATIVE * smaller) and half >= _AHEAD[0]


def _without_the_oddest(pairs: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    """Leave out the bucket furthest from the share of all, so that one odd bucket does not move a stage's share."""
    c, m = _total(pairs)
    if len(pairs) < _AHEAD[0] + 1 or m == 0:
        return pairs
    oddest = max(range(len(pairs)), key=lambda i: abs(pairs[i][0] - pairs[i][1] * c / m))
    return [*pairs[:oddest], *pairs[oddest + 1 :]]


def _split_likelihood(pairs: Sequence[tuple[int, int]], k: int) -> float:
    """Log likelihood of one share before bucket `k` and another from it on."""
    return _log_likelihood(pairs[:k]) + _log_likelihood(pairs[k:])


def _log_likelihood(pairs: Sequence[tuple[int, int]]) -> float:
    c, m = _total(pairs)
    return sum(part * math.log(part / m) for part in (c, m - c) if part)


def _total(pairs: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(c for c, _ in pairs), sum(m for _, m in pairs)
