"""Caddy's admin API: read and swap the configuration, and see what is in flight."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from crossfade.core.errors import CrossfadeError, UnreachableError

Json = dict[str, Any]

TRIES = 5


class CaddyAdmin:
    """The admin API at `address`: `unix//path/to.sock` or `http://127.0.0.1:2019`."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def config(self) -> Json | None:
        """The whole configuration; None when Caddy has none."""
        async with self._client() as client:
            config: Json | None = (await self._ask(client, "GET", "/config/")).json()
            return config

    async def update(self, change: Callable[[Json | None], Json]) -> None:
        """Replace the configuration by what `change` makes of it, unless somebody was quicker: then anew."""
        async with self._client() as client:
            for _ in range(TRIES):
                current = await self._ask(client, "GET", "/config/")
                tag = {"If-Match": current.headers["Etag"]}
                answer = await self._ask(client, "POST", "/config/", headers=tag, json=change(current.json()))
                if answer.status_code != httpx.codes.PRECONDITION_FAILED:
                    return
        raise CrossfadeError(
            "caddy.contended",
            "somebody else keeps changing Caddy's configuration",
            where=self.address,
            next="stop the other program that writes it, or try again",
            retry=True,
        )

    async def in_flight(self) -> dict[str, int]:
        """Requests, streams and websockets under way for each upstream, by its name in the configuration."""
        async with self._client() as client:
            rows = (await self._ask(client, "GET", "/reverse_proxy/upstreams")).json()
        return {row["address"]: int(row["num_requests"]) for row in rows or ()}

    async def answers(self) -> bool:
        """Whether anybody is there."""
        try:
            async with self._client() as client:
                await self._ask(client, "GET", "/config/admin")
        except UnreachableError:
            return False
        return True

    async def _ask(self, client: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = await client.request(method, path, **more)
        except httpx.HTTPError as error:
            raise UnreachableError(
                "caddy.unreachable",
                f"Caddy's admin API does not answer: {str(error) or type(error).__name__}",
                where=self.address,
                next="the next step of a rollout starts a managed Caddy again; start an existing one yourself",
            ) from error
        if answer.is_success or answer.status_code == httpx.codes.PRECONDITION_FAILED:
            return answer
        raise CrossfadeError(
            "caddy.refused",
            f"Caddy refuses {method} {path}: {_reason(answer)}",
            where=self.address,
            next="Caddy kept what it had; repair what it names, and the next attempt goes on",
            retry=True,
        )

    @contextlib.asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx.AsyncClient]:
        if self.address.startswith("unix/"):
            socket = self.address.removeprefix("unix/").partition("|")[0]
            # `verify` would read the system's certificates, for a socket that knows no TLS.
            transport = httpx.AsyncHTTPTransport(uds=socket, verify=False)
            base, origin = "http://caddy", {}  # a socket has no origin; Caddy refuses one
        else:
            transport = httpx.AsyncHTTPTransport(verify=self.address.startswith("https:"))
            base = self.address.rstrip("/")
            origin = {"Origin": base}
        async with httpx.AsyncClient(
            transport=transport, base_url=base, timeout=10, trust_env=False, headers=origin
        ) as client:
            yield client


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:500] or str(answer.status_code)
