"""A Prometheus, asked over its HTTP API for the raw samples of a query."""

from __future__ import annotations

import asyncio
import math

import httpx

from crossfade.analysis.sources.increases import Points
from crossfade.analysis.sources.web import CODE, MISSHAPEN, Client, Reply, without
from crossfade.config.named_metrics import Access
from crossfade.core.errors import UnreachableError

Matrix = list[tuple[dict[str, str], Points]]
"""Labels and points of every series."""


class PrometheusServer:
    """One server, which lets us in by what `access` names.

    A plain selector is asked for as a range (`query[window]`), which gives the samples as they were scraped; an expression as a
    subquery, which gives one value every `step` seconds.
    """

    def __init__(self, url: str, access: Access, client: Client, *, timeout: float) -> None:
        self.url = url
        self._access = access
        self._client = client
        self._timeout = timeout
        self._expressions: set[str] = set()

    async def matrix(self, query: str, begin: float, now: float, *, step: float) -> Matrix:
        """Samples of every series of `query` in (begin, now]; UnreachableError when there is no good answer."""
        window, every = max(1, math.ceil(now - begin)), max(1, math.ceil(step))
        made = f"({query})[{window}s:{every}s]"
        answer = await self._get(made if query in self._expressions else f"{query}[{window}s]", now)
        if answer.status == httpx.codes.BAD_REQUEST and query not in self._expressions:
            answer = await self._get(made, now)
            if answer.ok:
                self._expressions.add(query)
        body = answer.object
        if not answer.ok or body.get("status") != "success":
            why = self._safe(str(body.get("error", "no reason given")))
            raise UnreachableError(
                CODE, f"Prometheus answered {answer.status}: {why}", where=self.url, next=_next(answer.status)
            )
        try:
            return [
                (
                    {key: str(value) for key, value in series["metric"].items() if key != "__name__"},
                    [(float(at), float(value)) for at, value in series["values"] if math.isfinite(float(value))],
                )
                for series in body["data"]["result"]
            ]
        except MISSHAPEN as error:
            raise UnreachableError(CODE, "the answer is not Prometheus's", where=self.url) from error

    def _safe(self, text: str) -> str:
        """The server's words without what it was told in confidence."""
        sent = self._client.credentials(self._access).values()
        return without(text, [*sent, *(value.partition(" ")[2] for value in sent)])

    async def _get(self, query: str, now: float) -> Reply:
        """The answer to one instant query."""
        headers = self._client.credentials(self._access)
        address = f"{self.url.rstrip('/')}/api/v1/query"
        try:
            async with asyncio.timeout(self._timeout):
                asked = {"query": query, "time": f"{now:.3f}"}
                request = self._client.http.build_request("GET", address, params=asked, headers=headers)
                return await self._client.reply(request, "Prometheus")
        except TimeoutError as error:
            what = f"Prometheus did not answer within {self._timeout:g} s"
            raise UnreachableError(CODE, what, where=self.url) from error


def _next(status: int) -> str:
    """What to do about an answer of `status`."""
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return "check the credentials that `bearer`, `basic` or `headers` names"
    return "try the query in Prometheus itself" if status == httpx.codes.BAD_REQUEST else ""
