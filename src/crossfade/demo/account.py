"""What the visitors lived through, as figures: pure functions over what became of their requests."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from crossfade.traffic.load import Sample


@dataclass(frozen=True, slots=True)
class Arm:
    """One version within a span of time; `share` is its part of all answers, latencies are in milliseconds."""

    version: str
    requests: int
    failed: int
    share: float
    p50: float
    p99: float


def arms(samples: Iterable[Sample]) -> dict[str, Arm]:
    """Every version that answered, with its figures.

    >>> some = [Sample(0.0, "get", 200, "1.0.0", 2.0)] * 3 + [Sample(0.0, "get", 500, "1.1.0", 4.0, "status")]
    >>> arms(some)["1.1.0"]
    Arm(version='1.1.0', requests=1, failed=1, share=0.25, p50=4.0, p99=4.0)
    """
    by_version: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.version:
            by_version.setdefault(sample.version, []).append(sample)
    total = sum(map(len, by_version.values()))
    return {version: _arm(version, those, total) for version, those in by_version.items()}


def _arm(version: str, samples: Sequence[Sample], total: int) -> Arm:
    times = sorted(s.ms for s in samples)
    return Arm(
        version=version,
        requests=len(samples),
        failed=sum(s.failed for s in samples),
        share=len(samples) / total,
        p50=quantile(times, 0.5),
        p99=quantile(times, 0.99),
    )


def quantile(ascending: Sequence[float], q: float) -> float:
    """The nearest-rank quantile.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5), quantile([], 0.5)
    (2.0, nan)
    """
    return ascending[max(0, math.ceil(q * len(ascending)) - 1)] if ascending else math.nan


def bad_span(samples: Iterable[Sample], version: str, *, slow: bool = False) -> float | None:
    """Seconds from the first bad answer of `version` to its last; None where there was none.

    A bad answer is one that failed. Of a version that is `slow` and never failed, every answer is bad.

    >>> bad_span([Sample(t, "get", 500, "1.1.0", 0.0, "status") for t in (3.0, 4.5)], "1.1.0")
    1.5
    """
    answers = [s for s in samples if s.version == version]
    bad = [s for s in answers if s.failed] or (answers if slow else [])
    ends = [s.at + s.ms / 1000 for s in bad]
    return max(ends) - min(ends) if ends else None


def started_after(samples: Iterable[Sample], version: str, moment: float) -> int:
    """Requests that `version` answered although they were sent after `moment` (epoch seconds).

    >>> started_after([Sample(t, "get", 200, "1.1.0", 9.0) for t in (1.0, 2.0)], "1.1.0", 1.5)
    1
    """
    return sum(1 for s in samples if s.version == version and s.at > moment)
