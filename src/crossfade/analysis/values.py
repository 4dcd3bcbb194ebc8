"""What the judge reads and what it says: frozen values, no I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Arm = Literal["stable", "canary"]
Verdict = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Latency:
    """A histogram: `le` are ascending upper bounds in milliseconds, `counts` has one bin more."""

    le: tuple[float, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.le) + 1:
            msg = f"{len(self.le)} bounds need {len(self.le) + 1} counts, not {len(self.counts)}"
            raise ValueError(msg)
        if any(later <= earlier for earlier, later in pairwise(self.le)):
            msg = "the bounds of a histogram must ascend"
            raise ValueError(msg)
        if any(count < 0 for count in self.counts):
            msg = "a histogram's counts cannot be negative"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class ArmSample:
    """What one arm did in one bucket."""

    requests: int
    errors: int
    latency: Latency | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.errors <= self.requests:
            msg = f"{self.errors} errors of {self.requests} requests cannot be"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Sample:
    """One bucket of both arms: `at` is its start in seconds, `seconds` its length.

    `warm` is False while instances of the canary are within their warm-up: the guard reads the bucket,
    the comparison does not.
    """

    at: float
    seconds: float
    stable: ArmSample
    canary: ArmSample
    warm: bool = True


@dataclass(frozen=True, slots=True)
class Evidence:
    """One test's running total against its bound, as a person may check it: `value` ≥ `bound` decides."""

    test: str
    """`errors`, `latency p50`, `latency p90`, `latency p99`, `combined`, `guard`, `pass`."""
    value: float
    bound: float


@dataclass(frozen=True, slots=True)
class Alert:
    """A rule that has fired: its text, what it has seen as a sentence, and what it asks for."""

    cause: str
    reason: str
    action: Literal["rollback", "pause", "notify", "scale"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What the judge says after the newest bucket.

    `cause` is a short word: `errors`, `latency`, `combined`, `guard`, `alone` (under all of the traffic), a rule's text, `proven`,
    `starved`, `blind`, `undecided`. `ratio` is the anytime-valid confidence interval of canary errors to
    stable errors (high may be infinite). `reason` is the arithmetic as a sentence:
    `error ratio 6.1 [2.3, ∞) > 1`. `progress` is 0..1: evidence for failing, on a log scale, to its bound.
    """

    verdict: Verdict
    cause: str
    at: float
    reason: str
    evidence: tuple[Evidence, ...] = ()
    ratio: tuple[float, float] | None = None
    progress: float = 0.0
    stage: float = 0.0
    """When the stage began that this is about (seconds)."""
    missing: str = ""
    """Why there is not enough evidence (starved or blind), whatever a rule may say besides; empty otherwise."""
    watched: float = 0.0
    """Seconds of closed buckets, with data of both arms' source, since the stage began: what a stage's
    length is measured in, so that neither a blind source nor a stepping clock ends a watch."""
    canary_requests: int = 0
    """Totals since the rollout began (not only of the stage)."""
    canary_errors: int = 0
    stable_requests: int = 0
    stable_errors: int = 0
    action: Literal["rollback", "pause", "notify", "scale"] = "rollback"
    """What a failing rule asks for; the comparison and the guard always ask for a rollback."""
    also: tuple[Alert, ...] = ()
    """Every other rule that has fired as well, the gravest first."""
    unknown: tuple[str, ...] = ()
    """Rules about which too little is known, each with the reason."""
    measured: tuple[str, ...] = ()
    """Every other rule as its value beside its bound: `canary cpu 45% ≤ 90% (mean of 12 in the last 1m)`."""
