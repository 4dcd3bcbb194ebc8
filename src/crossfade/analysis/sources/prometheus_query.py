"""A named metric from a Prometheus: the one series that its query gives."""

from __future__ import annotations

from collections.abc import Mapping

from crossfade.analysis.sources.port import Answer, Series, Unknown
from crossfade.analysis.sources.prometheus_server import PrometheusServer
from crossfade.analysis.sources.templates import Names, both, for_promql
from crossfade.analysis.values import Arm

_VALUES = 60
"""Values over the longest window of its rules, where the query is an expression."""


class PrometheusQuery:
    """The value of `query` on `server`; see `port.Metric`. An expression is worked out `every` so many seconds at most."""

    def __init__(self, query: str, server: PrometheusServer, *, names: Names, every: float) -> None:
        self._query = query
        self._server = server
        self._names = names
        self._every = every

    async def ask(self, *, window: float, now: float) -> Mapping[Arm, Answer]:
        """The values of one series in the last `window` seconds, or why there are none."""
        return await both(self._query, self._names, lambda query: self._values(query, window, now), for_promql)

    async def _values(self, query: str, window: float, now: float) -> Answer:
        answer = await self._server.matrix(query, now - window, now, step=max(self._every, window / _VALUES))
        series = [points for _, points in answer if points]
        if not series:
            return Unknown(f"Prometheus has no value for {query}")
        if len(series) > 1:
            return Unknown(f"{len(series)} series are not one value: put max(…), avg(…) or sum(…) around {query}")
        return Series(series[0])
