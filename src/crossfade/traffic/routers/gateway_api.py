"""The Gateway API router: traffic moves by the weights of one HTTPRoute of ours, whatever gateway carries it out.

`apply` replaces the route under compare-and-swap; `confirm` waits for the gateway's own word for that generation and
then asks through the gateway, which answers by itself what it has loaded. Backends are the Services of the slots, so
pods come and go without a change of the route. Requests are counted by Prometheus: the Gateway API counts nothing.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Self

import httpx

from crossfade.cluster.api import GATEWAY, Cluster, Json, Place, cluster_at, path
from crossfade.cluster.faults import ConflictError
from crossfade.cluster.names import Target
from crossfade.cluster.record import accepted_of, refuse_stale, whole
from crossfade.config.model import Deployment
from crossfade.config.routers import Capabilities
from crossfade.config.routers import GatewayApiRouter as Settings
from crossfade.config.runtimes import KubernetesRuntime
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from crossfade.traffic.address import dialled, settings_of
from crossfade.traffic.port import Counts, RouterView, Routes
from crossfade.traffic.routers.gateway_api_route import PROBE_HEADER, TOKEN, http_route, in_force, proof, troubles
from crossfade.traffic.routers.route_file import Accepted, routes_checked

PROBES = 4
"""Requests of one confirmation, each on a connection of its own: a gateway has several replicas."""
_TRIES = 5
_REDIRECT = 302


class GatewayApiRouter:
    """One target's traffic through a Gateway."""

    def __init__(self, settings: Settings, target: Target, place: Place) -> None:
        self._settings, self._target, self._place = settings, target, place
        self._name = settings.route or target.named("route")

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """The router of one component in one environment; BadInputError without a Gateway, or without the cluster."""
        settings, runtime = settings_of(deployment, Settings), deployment.settings.runtime
        where = f"environments.{deployment.environment}"
        if not isinstance(runtime, KubernetesRuntime):
            what = "the gateway-api router sends traffic to Services, which only the kubernetes runtime has"
            raise BadInputError("gateway.runtime", what, where=where, next="set `runtime: {kind: kubernetes}`")
        if settings.gateway is None:
            what, how = "the gateway-api router needs the Gateway that its route belongs to", "NAME or NAMESPACE/NAME"
            raise BadInputError("gateway.no-gateway", what, where=where, next=f"set `router.gateway` to {how}")
        target = Target(deployment.project, deployment.environment, deployment.component, runtime.namespace)
        return cls(settings, target, Place.of(runtime, Path(deployment.root)))

    @property
    def capabilities(self) -> Capabilities:
        """Exact weights, the override header and mirroring; no stickiness and no counts of its own."""
        return Settings.can

    @property
    def address(self) -> str:
        """Where users reach the gateway, as HOST:PORT that this machine can dial."""
        return dialled(self._settings.listen)

    async def observe(self) -> RouterView:
        """What is in force now, as the route and the gateway's words about it say."""
        try:
            there = await self._there()
        except CrossfadeError as error:
            return RouterView(reachable=not isinstance(error, UnreachableError), detail=error.what)
        accepted = None if there is None else accepted_of(there)
        if there is None or accepted is None:
            return RouterView(reachable=True, detail="the cluster has nothing for this target")
        if not in_force(there, self._route(accepted, there)):
            what = f"somebody has changed the HTTPRoute {self._name}"
            return RouterView(reachable=True, fence=accepted.fence, detail=what)
        _, said = troubles(there)
        return RouterView(
            reachable=True, routes=None if said else accepted.routes, fence=accepted.fence,
            detail=f"the gateway refuses the route: {said}" if said else "",
        )  # fmt: skip

    async def apply(self, routes: Routes, *, fence: int) -> None:
        """Put `routes` into the HTTPRoute; of two writers at the same time, one is told to look again."""
        wanted = Accepted(whole(routes_checked(routes)), fence)
        for _ in range(_TRIES):
            there = await self._there()
            current = None if there is None else accepted_of(there)
            refuse_stale(current, wanted, f"HTTPRoute {self._name}")
            told = self._route(wanted, there)
            if there is not None and current == wanted and in_force(there, told):
                return
            try:
                if there is None:
                    await self._cluster.create(path(GATEWAY, self._target.namespace, "httproutes"), told)
                else:
                    told["metadata"]["resourceVersion"] = there["metadata"]["resourceVersion"]
                    await self._cluster.apply(self._path, told)
            except ConflictError:
                continue
            return
        what = f"others go on changing the HTTPRoute {self._name}"
        how = f"see who: kubectl get httproute {self._name} --show-managed-fields -o yaml"
        raise CrossfadeError("gateway.contended", what, where=self._target.where, next=how, retry=True)

    async def confirm(self, routes: Routes) -> bool:
        """Whether the gateway has taken up `routes`: by its conditions, and by its own answers to our requests."""
        there = await self._there()
        accepted = None if there is None else accepted_of(there)
        if there is None or accepted is None or accepted.routes != whole(routes):
            return False
        settled, _ = troubles(there)
        if not settled or not in_force(there, self._route(accepted, there)):
            return False
        return all([await self._ask(there, proof(accepted)) for _ in range(PROBES)])

    async def counts(self, since: float) -> Counts:  # noqa: ARG002 - it has none, from whenever
        """None: the Gateway API counts nothing; judge by Prometheus."""
        return Counts((), (), None)

    async def close(self) -> None:
        """Remove the route. Users lose the address."""
        if await self._there() is not None:
            await self._cluster.delete(self._path)

    async def _ask(self, there: Json, host: str) -> bool:
        """Whether the gateway redirects our question to `host`."""
        token = there["metadata"]["annotations"][TOKEN]
        named = next((each for each in self._settings.hostnames if not each.startswith("*")), None)
        headers = {PROBE_HEADER: token, **({"Host": named} if named else {})}
        try:
            async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
                answer = await client.get(f"http://{self.address}/", headers=headers)
        except httpx.HTTPError as error:
            raise UnreachableError(
                "gateway.no-answer",
                f"nobody answers on {self.address}: {str(error) or type(error).__name__}",
                where=f"router.listen {self._settings.listen}",
                next="see kubectl get gateway, and set `router.listen` to an address of it that this machine reaches",
            ) from error
        return answer.status_code == _REDIRECT and httpx.URL(answer.headers.get("Location", "")).host == host

    async def _there(self) -> Json | None:
        """Our HTTPRoute; BadInputError when one of that name is somebody else's."""
        there = await self._cluster.get(self._path)
        labels = {} if there is None else there["metadata"].get("labels") or {}
        if there is not None and not self._target.selector.items() <= labels.items():
            raise BadInputError(
                "gateway.name-taken",
                f"an HTTPRoute {self._name} is there that is not ours",
                where=f"namespace {self._target.namespace}",
                next="leave `router.route` away or name another: the router writes a route of its own",
            )
        return there

    def _route(self, accepted: Accepted, there: Json | None) -> Json:
        known = ((there or {}).get("metadata", {}).get("annotations") or {}).get(TOKEN)
        token = known or secrets.token_hex(16)
        return http_route(self._target, self._settings, accepted, name=self._name, token=token)

    @property
    def _path(self) -> str:
        return path(GATEWAY, self._target.namespace, "httproutes", self._name)

    @property
    def _cluster(self) -> Cluster:
        return cluster_at(self._place)
