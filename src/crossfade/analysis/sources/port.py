"""The Source port: one method, and a value that says how far the truth reaches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from crossfade.analysis.values import Sample


@dataclass(frozen=True, slots=True)
class Reading:
    """Complete buckets, oldest first, and the time up to which the source vouches for them.

    `newest_at` is None when the source did not answer or knows nothing: the judge is blind then, never wrong. It goes straight
    into `finding(newest_sample_at=…)`. `detail` tells a person why. `read_to` is the `since` of the next read.
    """

    samples: tuple[Sample, ...]
    newest_at: float | None
    read_to: float
    detail: str = ""


class Source(Protocol):
    """Both arms' counts. `read` never raises for a source that is down: it says so in the reading."""

    async def read(
        self, since: float, *, now: float, warm_from: float | None = None, until: float | None = None
    ) -> Reading:
        """Complete buckets that start at or after `since`, at time `now` (epoch seconds).

        Buckets before `warm_from` are marked as not warm. `until` is the time of a change of weight, which no bucket spans.
        """
        ...
