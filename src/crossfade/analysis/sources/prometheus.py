"""Prometheus as a source: both arms' counters, read as they were scraped.

Raw samples are asked for (`query[window]`), not `rate()` or `increase()`: those extrapolate, and miss the first value of a
counter that is born. A query that is no plain selector is asked for as a subquery; then resets inside an aggregation and the age
of the newest scrape cannot be seen, so a plain selector is better.

A bucket is at least two scrapes long, since the arms are not scraped at the same instant. `newest_at` is the newest scrape that
*both* arms have reached: nothing later is known of one of them.

A named metric is asked for beside the counters, as the one series that its query gives. Its fault is its own: the metric is
unknown then, with the reason, and the counters are read all the same.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx

from crossfade.analysis.rules import Points as Values
from crossfade.analysis.rules import Reasons
from crossfade.analysis.sources.increases import Points, histogram, increases, scrape_interval, within
from crossfade.analysis.sources.port import Reading
from crossfade.analysis.values import Arm, ArmSample, Sample
from crossfade.config.metrics import PrometheusMetrics
from crossfade.core.errors import UnreachableError

_ARMS: tuple[Arm, Arm] = ("stable", "canary")
_SCRAPES = 2
_VALUES = 60
"""Values of a named metric over the longest window of its rules, where it is an expression."""
_SHOWN = 200
_CODE = "metrics.unreachable"
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
    """Counts of one rollout. The owner of `client` closes it.

    `names` replace the placeholders of the queries besides `{arm}` and `{version}`: `component`, `environment`. `versions`
    are the arms' versions. `bucket` is `Judge.bucket` in seconds. `windows` are the named metrics that rules are about, each
    with the seconds that its longest rule looks back; no other is asked for. The bearer token is read from `environ` at each read, so
    that it can be renewed.
    """

    def __init__(
        self,
        metrics: PrometheusMetrics,
        client: httpx.AsyncClient,
        *,
        versions: Mapping[Arm, str],
        names: Mapping[str, str],
        bucket: float,
        windows: Mapping[str, float] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._metrics = metrics
        self._client = client
        self._versions = versions
        self._names = names
        self._bucket = bucket
        self._windows = windows or {}
        self._expressions: set[str] = set()
        self._environ = os.environ if environ is None else environ

    async def read(
        self, since: float, *, now: float, warm_from: float | None = None, until: float | None = None
    ) -> Reading:
        """Complete buckets that start at or after `since`, and the named metrics; see `port.Source`."""
        counts, (named, unknown) = await asyncio.gather(self._counts(since, now, warm_from, until), self._named(now))
        return replace(counts, named=named, unknown=unknown, patience=self._metrics.stale_after)

    async def _counts(self, since: float, now: float, warm_from: float | None, until: float | None) -> Reading:
        """Complete buckets of both arms."""
        begin = since - self._metrics.stale_after
        try:
            stable, canary = await asyncio.gather(*(self._scraped(arm, begin, now) for arm in _ARMS))
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

    async def _named(self, now: float) -> tuple[Values, Reasons]:
        """The values of every named metric for both arms, and why one has none; the same query is asked once."""
        wanted: dict[tuple[str, float], list[tuple[Arm, str]]] = {}
        for name, seconds in self._windows.items():
            for arm in _ARMS:
                wanted.setdefault((self._query(self._metrics.named[name], arm), seconds), []).append((arm, name))
        answers = await asyncio.gather(*(self._values(query, seconds, now) for query, seconds in wanted))
        found = [(key, answer) for keys, answer in zip(wanted.values(), answers, strict=True) for key in keys]
        values = {key: answer for key, answer in found if not isinstance(answer, str)}
        return values, {key: answer for key, answer in found if isinstance(answer, str)}

    async def _values(self, query: str, seconds: float, now: float) -> Points | str:
        """The values of one series in the last `seconds`, or why there are none."""
        try:
            answer = await self._matrix(query, now - seconds, now, step=max(self._bucket, seconds / _VALUES))
        except UnreachableError as error:
            return f"{error.what}: {query}"
        series = [points for _, points in answer if points]
        if not series:
            return f"Prometheus has no value for {query}"
        if len(series) > 1:
            return f"{len(series)} series are not one value: put max(…), avg(…) or sum(…) around {query}"
        age = now - series[0][-1][0]
        return f"the newest value is {age:.0f} s old: {query}" if age > self._metrics.stale_after else series[0]

    def _query(self, text: str, arm: Arm) -> str:
        """The query with its placeholders replaced, quoted for a PromQL string."""
        for name, value in {**self._names, "arm": arm, "version": self._versions[arm]}.items():
            text = text.replace("{" + name + "}", value.replace("\\", "\\\\").replace('"', '\\"'))
        return text

    async def _matrix(
        self, query: str, begin: float, now: float, *, step: float | None = None
    ) -> list[tuple[dict[str, str], Points]]:
        """Raw samples of every series of `query` in (begin, now]; UnreachableError when there is no good answer.

        Those of an expression are made every `step` seconds, a bucket where it is not given.
        """
        window, every = max(1, math.ceil(now - begin)), max(1, math.ceil(self._bucket if step is None else step))
        made = f"({query})[{window}s:{every}s]"
        status, body = await self._get(made if query in self._expressions else f"{query}[{window}s]", now)
        if status == httpx.codes.BAD_REQUEST and query not in self._expressions:
            status, body = await self._get(made, now)
            if status == httpx.codes.OK:
                self._expressions.add(query)
        if status != httpx.codes.OK or body.get("status") != "success":
            why = str(body.get("error", "no reason given"))[:_SHOWN]
            raise UnreachableError(
                _CODE, f"Prometheus answered {status}: {why}", where=self._metrics.url, next=_next(status)
            )
        try:
            return [
                (
                    {key: str(value) for key, value in series["metric"].items() if key != "__name__"},
                    [(float(at), float(value)) for at, value in series["values"] if math.isfinite(float(value))],
                )
                for series in body["data"]["result"]
            ]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UnreachableError(_CODE, "the answer is not Prometheus's", where=self._metrics.url) from error

    async def _get(self, query: str, now: float) -> tuple[int, dict[str, Any]]:
        """Status and JSON body of one instant query."""
        headers = {}
        if self._metrics.bearer:
            token = self._environ.get(self._metrics.bearer, "")
            if not token:
                what = f"the environment variable {self._metrics.bearer} is not set"
                raise UnreachableError(_CODE, what, where=self._metrics.url, next="set it to the bearer token")
            headers["Authorization"] = f"Bearer {token}"
        url = f"{self._metrics.url.rstrip('/')}/api/v1/query"
        try:
            async with asyncio.timeout(self._metrics.timeout):
                answer = await self._client.get(url, params={"query": query, "time": f"{now:.3f}"}, headers=headers)
            body = answer.json() if answer.content.lstrip()[:1] == b"{" else {}
        except (TimeoutError, httpx.TimeoutException) as error:
            what = f"Prometheus did not answer within {self._metrics.timeout:g} s"
            raise UnreachableError(_CODE, what, where=self._metrics.url) from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            what = f"Prometheus cannot be asked: {type(error).__name__}"
            raise UnreachableError(_CODE, what, where=self._metrics.url) from error
        return answer.status_code, body


def _next(status: int) -> str:
    """What to do about an answer of `status`."""
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return "check the token that `metrics.bearer` names"
    return "try the query in Prometheus itself" if status == httpx.codes.BAD_REQUEST else ""


def _keyed(matrix: list[tuple[dict[str, str], Points]]) -> _Series:
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
