"""Two small ports: `Source`, both arms' counts, and `Metric`, one named value of both arms. Each says how far the truth reaches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from crossfade.analysis.rules import Beginnings, Points, Reasons
from crossfade.analysis.values import Arm, Sample

ARMS: tuple[Arm, Arm] = ("stable", "canary")


@dataclass(frozen=True, slots=True)
class Reading:
    """Complete buckets, oldest first, and the time up to which the source vouches for them.

    `newest_at` is None when the source did not answer or knows nothing: the judge is blind then, never wrong. It goes straight
    into `finding(newest_sample_at=…)`. `detail` tells a person why. `read_to` is the `since` of the next read.

    `named` holds the values of named metrics, as far back as a rule looks; `unknown` says why a metric of an arm has none. `begun`
    is since when one is known, where that is not always; the values of those that are `counted` are added up, not averaged.
    `patience` is how long (seconds) this source may be silent before that means anything.
    """

    samples: tuple[Sample, ...]
    newest_at: float | None
    read_to: float
    detail: str = ""
    named: Points = field(default_factory=dict)
    unknown: Reasons = field(default_factory=dict)
    patience: float = 0.0
    begun: Beginnings = field(default_factory=dict)
    counted: AbstractSet[str] = frozenset()


class Source(Protocol):
    """Both arms' counts. `read` never raises for a source that is down: it says so in the reading."""

    async def read(
        self, since: float, *, now: float, warm_from: float | None = None, until: float | None = None
    ) -> Reading:
        """Complete buckets that start at or after `since`, at time `now` (epoch seconds).

        Buckets before `warm_from` are marked as not warm. `until` is the time of a change of weight, which no bucket spans.
        """
        ...


@dataclass(frozen=True, slots=True)
class Series:
    """(time, value) of the window that was asked for, oldest first; what was before `since` is not known."""

    points: Sequence[tuple[float, float]]
    since: float = -math.inf


@dataclass(frozen=True, slots=True)
class Value:
    """What is true now, of something that remembers nothing."""

    value: float

    @staticmethod
    def of(found: object) -> Value | None:
        """What was found, where it is a finite number.

        >>> Value.of(3), Value.of("3"), Value.of(True), Value.of(math.inf)
        (Value(value=3.0), None, None, None)
        """
        if isinstance(found, bool) or not isinstance(found, int | float | Decimal) or not math.isfinite(found):
            return None
        return Value(float(found))


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why there is no value, without a secret in it.

    `passing` is a fault that says nothing of the value (a server that is away): what was known before still holds until it is
    stale. After a `passing` fault it is asked less and less often, and not before `wait` seconds where the server says so.
    """

    why: str
    passing: bool = False
    wait: float = 0.0


Answer = Series | Value | Unknown


class Metric(Protocol):
    """One named metric of both arms."""

    async def ask(self, *, window: float, now: float) -> Mapping[Arm, Answer]:
        """Both arms over the last `window` seconds at time `now` (epoch seconds). May be cancelled at any time."""
        ...
