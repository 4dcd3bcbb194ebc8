"""Prometheus as a source: both arms' counters, read as they were scraped.

Raw samples are asked for (`query[window]`), not `rate()` or `increase()`: those extrapolate, and miss the first value of a
counter that is born. A query that is no plain selector is asked for as a subquery; then resets inside an aggregation and the age
of the newest scrape cannot be seen, so a plain selector is better.

A bucket is at least two scrapes long, since the arms are not scraped at the same instant. `newest_at` is the newest scrape that
*both* arms have reached: nothing later is known of one of them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from crossfade.analysis.sources.increases import Points, histogram, increases, scrape_interval, within
from crossfade.analysis.sources.port import ARMS, Reading
from crossfade.analysis.sources.prometheus_server import Matrix, PrometheusServer
from crossfade.analysis.sources.templates import Names, fill, for_promql
from crossfade.analysis.values import Arm, ArmSample, Sample
from crossfade.config.metrics import PrometheusMetrics
from crossfade.core.errors import UnreachableError

_SCRAPES = 2
_Series = dict[str, Points]


@dataclass(frozen=True, slots=True)
class _Scraped:
    """What was scraped of one arm; `latency` maps `le` (seconds) to its counters."""

    requests: _Series
    errors: _Series
    latency: Mapping[float, _Series]

    def all(self) -> list[Points]:
        """Every counter."""
        return [
            *self.requests.values(),
            *self.errors.values(),
            *(s for by in self.latency.values() for s in by.values()),
        ]

    @property
    def newest_at(self) -> float | None:
        """Time of the newest scrape of requests."""
        return max((points[-1][0] for points in self.requests.values() if points), default=None)


class PrometheusSource:
    """Counts of one rollout on `server`. `names` stand for the placeholders; `bucket` is `Judge.bucket` in seconds."""

    def __init__(self, metrics: PrometheusMetrics, server: PrometheusServer, *, names: Names, bucket: float) -> None:
        self._metrics = metrics
        self._server = server
        self._names = names
        self._bucket = bucket

    async def read(
        self, since: float, *, now: float, warm_from: float | None = None, until: float | None = None
    ) -> Reading:
        """Complete buckets that start at or after `since`; see `port.Source`."""
        counts = await self._counts(since, now, warm_from, until)
        return replace(counts, patience=self._metrics.stale_after)

    async def _counts(self, since: float, now: float, warm_from: float | None, until: float | None) -> Reading:
        """Complete buckets of both arms."""
        begin = since - self._metrics.stale_after
        try:
            stable, canary = await asyncio.gather(*(self._scraped(arm, begin, now) for arm in ARMS))
        except UnreachableError as error:
            return Reading((), None, since, str(error))
        newest = stable.newest_at
        if newest is None:
            return Reading(
                (), None, since, f"no series for the stable arm: {self._query(self._metrics.requests, 'stable')}"
            )
        detail = ""
        if canary.newest_at is None:
            detail = f"no series for the canary yet: {self._query(self._metrics.requests, 'canary')}"
        else:
            newest = min(newest, canary.newest_at)
        if now - newest > self._metrics.stale_after:
            late = min((stable, canary), key=lambda arm: math.inf if arm.newest_at is None else arm.newest_at)
            detail = (
                f"nothing newer for {self._query(self._metrics.requests, 'stable' if late is stable else 'canary')}"
            )
        made = _buckets({"stable": stable, "canary": canary}, self._bucket, since=since, newest=newest, until=until)
        warm = -math.inf if warm_from is None else warm_from
        marked = tuple([Sample(s.at, s.seconds, s.stable, s.canary, warm=s.at >= warm) for s in made])
        return Reading(marked, newest, marked[-1].at + marked[-1].seconds if marked else since, detail)

    async def _scraped(self, arm: Arm, begin: float, now: float) -> _Scraped:
        """One arm's counters in the window, asked for at once."""
        texts = [
            self._metrics.requests,
            self._metrics.errors,
            *([self._metrics.latency] if self._metrics.latency else []),
        ]
        requests, errors, *rest = await asyncio.gather(*(self._matrix(self._query(t, arm), begin, now) for t in texts))
        latency: dict[float, _Series] = {}
        for labels, points in rest[0] if rest else ():
            try:
                bound = float(labels["le"])
            except (KeyError, ValueError):
                continue
            latency.setdefault(bound, {})[str(sorted(labels.items()))] = points
        return _Scraped(_keyed(requests), _keyed(errors), latency)

    def _query(self, text: str, arm: Arm) -> str:
        return fill(text, self._names[arm], for_promql)

    async def _matrix(self, query: str, begin: float, now: float) -> Matrix:
        return await self._server.matrix(query, begin, now, step=self._bucket)


def _keyed(matrix: Matrix) -> _Series:
    return {str(sorted(labels.items())): points for labels, points in matrix if points}


def _buckets(
    arms: Mapping[Arm, _Scraped], bucket: float, *, since: float, newest: float, until: float | None
) -> list[Sample]:
    """Complete buckets from `since`, each at least `_SCRAPES` scrapes long."""
    every = [points for scraped in arms.values() for points in scraped.all()]
    interval = scrape_interval(every) or bucket
    length = bucket * max(1, math.ceil(_SCRAPES * interval / bucket - 1e-3))
    seen = sorted({at for points in every for at, _ in points})
    grown = {arm: _Grown.of(scraped, seen, interval) for arm, scraped in arms.items()}
    made: list[Sample] = []
    begin = since
    while True:
        end = begin + length
        if until is not None and begin < until < end:
            end = until
        if end > newest:
            return made
        made.append(
            Sample(begin, end - begin, grown["stable"].between(begin, end), grown["canary"].between(begin, end))
        )
        begin = end


@dataclass(frozen=True, slots=True)
class _Grown:
    """One arm's increases over the window."""

    requests: list[tuple[float, float]]
    errors: list[tuple[float, float]]
    latency: Mapping[float, list[tuple[float, float]]]

    @staticmethod
    def of(scraped: _Scraped, seen: list[float], interval: float) -> _Grown:
        """Increases of every counter of an arm, put together."""

        def grown(series: _Series) -> list[tuple[float, float]]:
            return [step for points in series.values() for step in increases(points, seen=seen, interval=interval)]

        return _Grown(
            grown(scraped.requests),
            grown(scraped.errors),
            {bound: grown(series) for bound, series in scraped.latency.items()},
        )

    def between(self, begin: float, end: float) -> ArmSample:
        """The arm in (begin, end]. Errors are no more than requests, also where the two counters disagree."""
        requests = round(within(self.requests, begin, end))
        errors = min(requests, round(within(self.errors, begin, end)))
        latency = histogram({bound: within(made, begin, end) for bound, made in self.latency.items()})
        return ArmSample(requests, errors, latency)
