"""Proof that the canary's error rate is below the tolerance: what lets a stage end early.

On the canary's bad events x of m requests, against every rate ≥ τ:
mean_f exp{x ln f + (m − x)[ln(1 − fτ) − ln(1 − τ)]}, f ∈ `FRACTIONS`: a mixture of likelihood ratios of the rates fτ against τ,
a test martingale at rate τ and falling above it. A stage passes at S/α_p; with a restart at each of S stages, the chance that a
version at or above the tolerance passes *any* of them is at most α_p. Source: Robbins 1970; Waudby-Smith & Ramdas 2024.
"""

from __future__ import annotations

import math

from crossfade.analysis.evidence import log_sum_exp

FRACTIONS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
"""Alternatives, as fractions of the tolerance."""


def log_proof(bad: int, requests: int, tolerance: float) -> float:
    """Logarithm of the evidence that the rate behind `bad` of `requests` lies below `tolerance`.

    It needs the totals only, so a stage's state is two numbers.

    >>> round(math.exp(log_proof(0, 1000, 0.01)))
    6569
    >>> log_proof(10, 1000, 0.01) < 0
    True
    """
    rest = math.log1p(-tolerance)
    good = requests - bad
    terms = [bad * math.log(f) + good * (math.log1p(-f * tolerance) - rest) for f in FRACTIONS]
    return log_sum_exp(terms) - math.log(len(FRACTIONS))


def requests_needed(tolerance: float, bound: float) -> int:
    """Requests without a bad one after which the proof reaches `bound`.

    >>> requests_needed(0.01, 60)
    492
    """
    low, high = 0, 1
    while math.exp(min(log_proof(0, high, tolerance), 700.0)) < bound:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if log_proof(0, middle, tolerance) < math.log(bound):
            low = middle
        else:
            high = middle
    return high
