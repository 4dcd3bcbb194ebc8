"""A named metric from Datadog: the one series that a query gives (`GET /api/v1/query`).

A point stands for the interval that begins at its time, so the newest one is still being made and is left out. Points are means,
revised for minutes: good enough for a rule over minutes, not for counting each request once. So there are no counts from here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from crossfade.analysis.sources.port import Answer, Series, Unknown
from crossfade.analysis.sources.templates import Names, both
from crossfade.analysis.sources.web import MISSHAPEN, Client, refusal, without
from crossfade.analysis.values import Arm
from crossfade.config.named_metrics import DatadogMetric

_WHO = "Datadog"


class DatadogQuery:
    """The value of one query; see `port.Metric`."""

    def __init__(self, settings: DatadogMetric, client: Client, *, names: Names) -> None:
        self._settings = settings
        self._client = client
        self._names = names
        self._url = f"{(settings.endpoint or f'https://api.{settings.site}').rstrip('/')}/api/v1/query"

    async def ask(self, *, window: float, now: float) -> Mapping[Arm, Answer]:
        """The values of one series in the last `window` seconds, or why there are none."""
        return await both(self._settings.query, self._names, lambda query: self._values(query, window, now))

    async def _values(self, query: str, window: float, now: float) -> Answer:
        keys = {
            "DD-API-KEY": self._client.variable(self._settings.api_key, "the API key"),
            "DD-APPLICATION-KEY": self._client.variable(self._settings.application_key, "the application key"),
        }
        asked: dict[str, str | int] = {"from": math.floor(now - window), "to": math.ceil(now), "query": query}
        request = self._client.http.build_request(
            "GET", self._url, params=asked, headers={**keys, "Accept": "application/json"}
        )
        answer = await self._client.reply(request, _WHO)
        body = answer.object
        why = _reason(body)
        if not answer.ok:
            return refusal(_WHO, answer.status, answer.headers, why, keys.values())
        if body.get("status") != "ok" or not isinstance(body.get("series"), list):
            return Unknown(f"{_WHO} has no answer to {query}: {without(why, keys.values()) or 'no reason given'}")
        return _one(body["series"], query, now)


def _reason(body: Mapping[str, Any]) -> str:
    """What Datadog says is wrong: a text, or a list of them."""
    errors = body.get("errors") or body.get("error") or ""
    return "; ".join(map(str, errors)) if isinstance(errors, list) else str(errors)


def _one(series: list[Any], query: str, now: float) -> Answer:
    """The finished points of the one series, in seconds; a point without a value is left out."""
    if len(series) > 1:
        return Unknown(f"{len(series)} series are not one value: ask without `by {{…}}`: {query}")
    points: list[tuple[float, float]] = []
    try:
        for each in series:
            length = float(each.get("interval") or 0.0)
            known = ((float(at) / 1000, float(value)) for at, value in each["pointlist"] if value is not None)
            points = sorted(point for point in known if math.isfinite(point[1]) and point[0] + length <= now)
    except MISSHAPEN:
        return Unknown(f"the answer is not Datadog's: {query}", passing=True)
    return Series(points) if points else Unknown(f"{_WHO} has no value for {query}")
