"""The Source port: one method, and a value that says how far the truth reaches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from crossfade.analysis.rules import Points, Reasons
from crossfade.analysis.values import Sample


@dataclass(frozen=True, slots=True)
class Reading:
    """Complete buckets, oldest first, and the time up to which the source vouches for them.

    `newest_at` is None when the source did not answer or knows nothing: the judge is blind then, never wrong. It goes straight
    into `finding(newest_sample_at=…)`. `detail` tells a person why. `read_to` is the `since` of the next read.

    `named` holds the values of named metrics, as far back as a rule looks; `unknown` says why a metric of an arm has none.
    `patience` is how long (seconds) this source may be silent before that means anything.
    """

    samples: tuple[Sample, ...]
    newest_at: float | None
    read_to: float
    detail: str = ""
    named: Points = field(default_factory=dict)
    unknown: Reasons = field(default_factory=dict)
    patience: float = 0.0


class Source(Protocol):
    """Both arms' counts. `read` never raises for a source that is down: it says so in the reading."""

    async def read(
        self, since: float, *, now: float, warm_from: float | None = None, until: float | None = None
    ) -> Reading:
        """Complete buckets that start at or after `since`, at time `now` (epoch seconds).

        Buckets before `warm_from` are marked as not warm. `until` is the time of a change of weight, which no bucket spans.
        """
        ...
