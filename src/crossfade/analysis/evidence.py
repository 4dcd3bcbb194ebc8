"""Evidence that the canary's rate of bad events is higher: a bet that nobody can win on an equal version.

Each test multiplies a stake by a fair (or losing) factor after every bucket as long as the canary is no worse than tolerated.
The stake's expectation then never exceeds 1, so by Ville's inequality the chance that it *ever* reaches 1/α is at
most α: looking after every bucket costs nothing.

Notation, per bucket: requests `m_c`, `m_s`; bad events `x_c`, `x_s`; n = x_c + x_s; w = m_c / (m_c + m_s), the
realised share; ρ0 ≥ 1, the tolerated ratio; w0 = w ρ0 / (1 − w + w ρ0), the canary's fair share of the bad events.

**What is assumed**: within one bucket, given the four totals' margins, the requests of both arms are exchangeable up to
an odds ratio of at most ρ0. Rates may drift, jump and correlate between buckets as they like, and the weight may
change between them. For ρ0 = 1 that is plain equality of rates. For ρ0 > 1 the exact promise is about the ratio of
*odds*; for rates of a few percent it is the ratio of rates.

**Why it holds.** Given m_c, m_s and n, x_c follows Fisher's noncentral hypergeometric law with odds ratio ω ≤ ρ0. Its
mean is at most n w0: the law's recurrence gives E[x(m_s − n + x)] = ω E[(m_c − x)(n − x)], whence
μ m_s − ω m_c (n − μ) = −(ω − 1) E[x(n − x)] ≤ 0 for ω ≥ 1. So R's factor has expectation ≤ 1. The law is also that of a
sum of at most n independent Bernoulli variables, so its generating function is at most that of a binomial(n, w0), and
U's factor has expectation ≤ 1 as well.

Sources: Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS B 2024 (R);
Lindon & Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022 (U); Shin, Ramdas & Rinaldo,
"E-detectors", 2022 (starts); Vovk & Wang, "E-values: calibration, combination and applications", Ann. Stat. 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

STAKES = (0.03, 0.1, 0.25, 0.5, 0.9)
"""λ of the R test: the part of the stake that is bet on every bucket."""

RATIOS = (1.5, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 40.0, 100.0, 400.0)
"""Alternatives of the U test, in multiples of the tolerated ratio (below it they would reward a better canary)."""

STARTS = 29
"""Late starts of the mixture, J."""

START_EVERY = 30.0
"""Seconds between two starts, unless the planned comparison is longer than 30 of them."""

LARGEST = 1e300
"""Evidence is reported no higher than this, so that it stays a number in JSON."""


def log_sum_exp(terms: Sequence[float]) -> float:
    """Logarithm of Σ e^t without overflow; -inf for no terms.

    >>> round(log_sum_exp([1000.0, 1000.0]), 4)
    1000.6931
    """
    top = max(terms, default=-math.inf)
    if top == -math.inf:
        return top
    return top + math.log(math.fsum(math.exp(term - top) for term in terms))


def bounded_exp(log: float) -> float:
    """e^log, capped at `LARGEST`.

    >>> bounded_exp(0.0), bounded_exp(5000.0)
    (1.0, 1e+300)
    """
    return LARGEST if log >= math.log(LARGEST) else math.exp(log)


def fair_share(w: float, tolerated: float) -> float:
    """The canary's share w0 of all bad events at the tolerated ratio.

    >>> fair_share(0.05, 1.0), round(fair_share(0.5, 2.0), 4)
    (0.05, 0.6667)
    """
    return w * tolerated / (1 - w + w * tolerated)


def robust_steps(x_c: int, n: int, w: float, tolerated: float) -> tuple[float, ...]:
    """R: what one bucket adds to each ℓ_k, ln(1 + λ_k (x_c/n − w0)/w0).

    It weighs every bucket the same however many errors it holds, so a burst of errors that come together
    (retries, one failing user) counts once. Needs n ≥ 1 and 0 < w < 1.

    >>> [round(step, 3) for step in robust_steps(1, 1, 0.05, 1.0)]
    [0.451, 1.065, 1.749, 2.351, 2.896]
    """
    w0 = fair_share(w, tolerated)
    surprise = (x_c / n - w0) / w0
    return tuple([math.log1p(stake * surprise) for stake in STAKES])


def independent_steps(x_c: int, n: int, w: float, tolerated: float) -> tuple[float, ...]:
    """U: what one bucket adds to each ℓ_k, the log likelihood ratio of the ratio r_k against the tolerated one.

    x_c ln(r_k/ρ0) − n ln[(1 − w + w r_k)/(1 − w + w ρ0)], r_k = ρ0 · `RATIOS`. Faster than R where the counted units
    are independent (distinct users, sessions), and wrong where they are not.

    >>> [round(step, 2) for step in independent_steps(2, 2, 0.05, 1.0)][:3]
    [0.76, 1.29, 2.01]
    """
    even = math.log(1 - w + w * tolerated)
    return tuple([x_c * math.log(r) - n * (math.log(1 - w + w * r * tolerated) - even) for r in RATIOS])


STEPS = {"requests": robust_steps, "users": independent_steps}
"""The test for each kind of counted unit (`Judge.units`)."""


@dataclass(frozen=True, slots=True)
class Process:
    """One metric's e-process: E = ½ mean_k e^ℓ_k + ½ (1/J) Σ_j mean_k e^(ℓ_k − ℓ_k(τ_j)).

    A fault that begins late would first have to win back what the quiet time before has lost; the second half restarts at
    J fixed times for that. Starts that lie ahead count 1. Only Σ_j e^(−ℓ_k(τ_j)) is needed of them, kept as its
    logarithm: the state is 2 K + 1 numbers, however long the rollout.

    >>> quiet = Process.new("requests")
    >>> round(quiet.value, 12)
    1.0
    >>> round(quiet.add(robust_steps(3, 3, 0.05, 1.0)).value, 3)
    4.382
    """

    logs: tuple[float, ...]
    """ℓ_k since the beginning."""
    starts: tuple[float, ...] = ()
    """ln Σ_j e^(−ℓ_k(τ_j)) over the starts so far; empty before the first."""
    started: int = 0

    @staticmethod
    def new(units: str) -> Process:
        """Nothing bet yet, for `requests` (R) or `users` (U)."""
        return Process((0.0,) * len(STAKES if units == "requests" else RATIOS))

    def add(self, steps: Sequence[float]) -> Process:
        """The process after one more bucket."""
        return Process(
            tuple([log + step for log, step in zip(self.logs, steps, strict=True)]), self.starts, self.started
        )

    def started_to(self, count: int) -> Process:
        """The process with `count` starts behind it (at most `STARTS`); those that are new start here."""
        fresh = min(count, STARTS) - self.started
        if fresh <= 0:
            return self
        earlier = self.starts or (-math.inf,) * len(self.logs)
        added = math.log(fresh)
        return Process(
            self.logs,
            tuple([log_sum_exp((start, added - log)) for start, log in zip(earlier, self.logs, strict=True)]),
            self.started + fresh,
        )

    @property
    def log_value(self) -> float:
        """Logarithm of E."""
        bets = len(self.logs)
        first = -math.log(2 * bets)
        terms = [first + log for log in self.logs]
        if self.started:
            late = first - math.log(STARTS)
            terms += [late + log + start for log, start in zip(self.logs, self.starts, strict=True)]
        if self.started < STARTS:
            terms.append(math.log((STARTS - self.started) / (2 * STARTS)))
        return log_sum_exp(terms)

    @property
    def value(self) -> float:
        """E, at most `LARGEST`."""
        return bounded_exp(self.log_value)


def combine(logs: Sequence[float], weights: Sequence[float]) -> float:
    """Logarithm of Σ ω_i E_i, a valid test under any dependence between the metrics when Σ ω_i = 1 (Vovk & Wang 2021).

    >>> round(combine([2.0, 0.0], [0.7, 0.3]), 3)
    1.7
    """
    return log_sum_exp([log + math.log(weight) for log, weight in zip(logs, weights, strict=True) if weight > 0])
