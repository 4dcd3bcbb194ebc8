"""The canary alone, once it has all of the traffic and nobody is left to compare it with.

A bet against "the error rate is at most p0", bucket by bucket: the mean of ln(1 + λ_k (x/m − p0)/p0), x of m
requests failed, λ_k as in the R test. Betting on a bounded mean (Waudby-Smith & Ramdas 2024) needs no
independence between requests, and holds at every look. What it cannot know is whether the world got worse for
everybody; so p0 leaves room: the tolerance, or twice what the stable version had.
"""

from __future__ import annotations

import math

from crossfade.analysis.evidence import STAKES, log_sum_exp
from crossfade.analysis.state import Totals

ROOM = 2.0
"""How many times stable's earlier error rate is still put down to the world."""
_HIGHEST = 0.9


def accepted_rate(stable: Totals, tolerance: float) -> float:
    """p0: the error rate that the version may have when it is alone.

    >>> accepted_rate(Totals(stable_requests=1000, stable_errors=20), tolerance=0.01)
    0.04
    """
    rate = stable.stable_errors / stable.stable_requests if stable.stable_requests else 0.0
    return min(max(tolerance, ROOM * rate), _HIGHEST)


def nothing_bet() -> tuple[float, ...]:
    """The state before the first bucket: ℓ_k for each stake."""
    return (0.0,) * len(STAKES)


def bet(logs: tuple[float, ...], errors: int, requests: int, accepted: float) -> tuple[float, ...]:
    """The state after one more bucket; a bucket without requests changes nothing.

    >>> [round(log, 2) for log in bet(nothing_bet(), 5, 100, 0.01)]
    [0.11, 0.34, 0.69, 1.1, 1.53]
    """
    if requests == 0:
        return logs
    surprise = (errors / requests - accepted) / accepted
    return tuple([log + math.log1p(stake * surprise) for log, stake in zip(logs, STAKES, strict=True)])


def log_evidence(logs: tuple[float, ...]) -> float:
    """Logarithm of the mean of e^ℓ_k."""
    return log_sum_exp(logs) - math.log(len(logs))
