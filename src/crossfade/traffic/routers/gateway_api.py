"""The Gateway API router: traffic moves by the weights of one HTTPRoute of ours, whatever gateway carries it out.

The route is replaced under compare-and-swap; a step is confirmed by the gateway's own word for that generation, and then
by the gateway's answer to a question of ours, which tells by itself what it has loaded.
"""

from __future__ import annotations

import secrets
from typing import Final, Self

import httpx

from crossfade.cluster.api import GATEWAY, Json, Place, path
from crossfade.cluster.names import Target
from crossfade.cluster.objects import ours
from crossfade.cluster.router import ClusterRouter, Look, placed
from crossfade.config.model import Deployment
from crossfade.config.routers import GatewayApiRouter as Settings
from crossfade.core.errors import BadInputError
from crossfade.traffic.address import settings_of
from crossfade.traffic.routers.gateway_api_route import PROBE_HEADER, TOKEN, http_route, in_force, proof, troubles
from crossfade.traffic.routers.route_file import Accepted

PROBES: Final = 4
"""Requests of one confirmation, each on a connection of its own: a gateway has several replicas."""
_REDIRECT: Final = 302


class GatewayApiRouter(ClusterRouter[Settings, Look]):
    """One target's traffic through a Gateway."""

    kind = "HTTPRoute"

    def __init__(self, settings: Settings, target: Target, place: Place) -> None:
        super().__init__(settings, target, place, name=settings.route or target.named("route"))

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """The router of one component in one environment; BadInputError without a Gateway, or without the cluster."""
        settings = settings_of(deployment, Settings)
        target, place = placed(deployment)
        if settings.gateway is None:
            what, how = "the gateway-api router needs the Gateway that its route belongs to", "NAME or NAMESPACE/NAME"
            where = f"environments.{deployment.environment}"
            raise BadInputError("gateway.no-gateway", what, where=where, next=f"set `router.gateway` to {how}")
        return cls(settings, target, place)

    async def close(self) -> None:
        """Remove the route. Users lose the address."""
        if (await self._look()).carrier is not None:
            await self._cluster.delete(self._path)

    async def _look(self) -> Look:
        instead = "leave `router.route` away or name another: the router writes a route of its own"
        return Look(await ours(self._cluster, self._target, self._path, instead=instead))

    def _says(self, accepted: Accepted, look: Look) -> bool:
        return look.carrier is not None and in_force(look.carrier, self._route(accepted, look))

    def _refusal(self, look: Look) -> str:
        _, said = troubles(look.carrier or {})
        return f"the gateway refuses the route: {said}" if said else ""

    async def _write(self, accepted: Accepted, look: Look) -> None:
        told = self._route(accepted, look)
        if look.carrier is None:
            await self._cluster.create(path(GATEWAY, self._target.namespace, "httproutes"), told)
        else:
            told["metadata"]["resourceVersion"] = look.carrier["metadata"]["resourceVersion"]
            await self._cluster.apply(self._path, told)

    async def _loaded(self, accepted: Accepted, look: Look) -> bool:
        """By the route's conditions, and by the gateway's own answers to our requests."""
        settled, _ = troubles(look.carrier or {})
        if not settled:
            return False
        host = next((each for each in self._settings.hostnames if not each.startswith("*")), "")
        answers = await self._ask("/", {PROBE_HEADER: _token(look)}, host, times=PROBES)
        return all(_redirects(each, proof(accepted)) for each in answers)

    def _route(self, accepted: Accepted, look: Look) -> Json:
        token = _token(look) or secrets.token_hex(16)
        return http_route(self._target, self._settings, accepted, name=self._name, token=token)

    @property
    def _path(self) -> str:
        return path(GATEWAY, self._target.namespace, "httproutes", self._name)


def _redirects(answer: httpx.Response, to: str) -> bool:
    return answer.status_code == _REDIRECT and httpx.URL(answer.headers.get("Location", "")).host == to


def _token(look: Look) -> str:
    """By which the gateway knows our question; empty where there is no route yet."""
    return str(((look.carrier or {}).get("metadata", {}).get("annotations") or {}).get(TOKEN, ""))
