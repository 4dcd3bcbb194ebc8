"""A router that is made of objects in the cluster: what all of them have in common.

One object carries the routes with their fence in an annotation, and is compared and swapped by its `resourceVersion`.
Backends are the Services of the slots, so pods come and go without a change. Controllers take objects up when they
do; so a step is confirmed by what the data plane itself answers. Nothing is counted: that is Prometheus' part.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import httpx

from crossfade.cluster.api import Cluster, Json, Place, cluster_at
from crossfade.cluster.names import Target
from crossfade.cluster.objects import looking_again
from crossfade.cluster.record import accepted_of, refuse_stale, whole
from crossfade.config.model import Deployment
from crossfade.config.routers import Capabilities, GatewayApiRouter, IngressNginxRouter
from crossfade.config.runtimes import KubernetesRuntime
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from crossfade.traffic.address import dialled
from crossfade.traffic.port import Counts, RouterView, Routes
from crossfade.traffic.routers.route_file import Accepted, routes_checked

_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Look:
    """The objects that were there at one look; `carrier` is ours with the record."""

    carrier: Json | None

    @property
    def accepted(self) -> Accepted | None:
        """The routes that the objects are to carry out; None where nothing is there that can be read."""
        return None if self.carrier is None else accepted_of(self.carrier)


_Settings = TypeVar("_Settings", bound=GatewayApiRouter | IngressNginxRouter)
_Look = TypeVar("_Look", bound=Look)


def placed(deployment: Deployment) -> tuple[Target, Place]:
    """The target of `deployment` and its cluster; BadInputError where its instances are in none."""
    settings = deployment.settings
    if not isinstance(settings.runtime, KubernetesRuntime):
        raise BadInputError(
            "router.no-cluster",
            f"the {settings.router.kind} router sends traffic to Services, which only the kubernetes runtime has",
            where=f"environments.{deployment.environment}",
            next="set `runtime: {kind: kubernetes}`",
        )
    runtime = settings.runtime
    target = Target(deployment.project, deployment.environment, deployment.component, runtime.namespace)
    return target, Place.of(runtime, Path(deployment.root))


class ClusterRouter(ABC, Generic[_Settings, _Look]):
    """One target's traffic; `kind` and `name` are those of the object that carries the record."""

    kind: str

    def __init__(self, settings: _Settings, target: Target, place: Place, *, name: str) -> None:
        self._settings, self._target, self._place, self._name = settings, target, place, name

    # -- what each router says by itself ---------------------------------------------------------------

    @abstractmethod
    async def _look(self) -> _Look:
        """All that is there for this target; raises where it cannot be ours."""

    @abstractmethod
    def _says(self, accepted: Accepted, look: _Look) -> bool:
        """Whether the objects say what `accepted` asks for; the server may have filled in more."""

    @abstractmethod
    async def _write(self, accepted: Accepted, look: _Look) -> None:
        """Make them say so; ConflictError unless the carrier is still the one of `look`."""

    @abstractmethod
    async def _loaded(self, accepted: Accepted, look: _Look) -> bool:
        """Whether the data plane has taken them up, by its own word."""

    def _refusal(self, look: _Look) -> str:  # noqa: ARG002 - not every controller says anything
        """Why the controller does not carry them out, where it tells."""
        return ""

    # -- the port --------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> Capabilities:
        """Exact weights and the override header; no stickiness and no counts of its own."""
        return self._settings.can

    @property
    def address(self) -> str:
        """Where users reach the data plane, as HOST:PORT that this machine can dial."""
        return dialled(self._settings.listen)

    async def observe(self) -> RouterView:
        """What is in force now, as the objects in the cluster say."""
        try:
            look = await self._look()
        except CrossfadeError as error:
            return RouterView(reachable=not isinstance(error, UnreachableError), detail=error.what)
        accepted = look.accepted
        if accepted is None:
            return RouterView(reachable=True, detail="the cluster has nothing for this target")
        if not self._says(accepted, look):
            what = f"somebody has changed the {self.kind} {self._name}, or what belongs to it"
            return RouterView(reachable=True, fence=accepted.fence, detail=what)
        if refusal := self._refusal(look):
            return RouterView(reachable=True, fence=accepted.fence, detail=refusal)
        return RouterView(reachable=True, routes=accepted.routes, fence=accepted.fence)

    async def apply(self, routes: Routes, *, fence: int) -> None:
        """Put `routes` into the objects; of two writers at the same time, one is told to look again."""
        wanted = Accepted(whole(routes_checked(routes)), fence)

        async def attempt() -> None:
            look = await self._look()
            refuse_stale(look.accepted, wanted, f"{self.kind} {self._name}")
            if look.accepted != wanted or not self._says(wanted, look):
                await self._write(wanted, look)

        await looking_again(attempt, self._target, self.kind, self._name)

    async def confirm(self, routes: Routes) -> bool:
        """Whether the objects say `routes`, and the data plane has taken them up by its own word."""
        look = await self._look()
        accepted = look.accepted
        if accepted is None or accepted.routes != whole(routes) or not self._says(accepted, look):
            return False
        return await self._loaded(accepted, look)

    async def counts(self, since: float) -> Counts:  # noqa: ARG002 - it has none, from whenever
        """None: nothing is counted in the cluster; judge by Prometheus."""
        return Counts((), (), None)

    # -- the data plane --------------------------------------------------------------------------------

    async def _ask(
        self, path: str, headers: Mapping[str, str], host: str = "", *, times: int = 1
    ) -> list[httpx.Response]:
        """What users would be answered, each on a connection of its own: a data plane has several replicas."""
        named = {"Host": host} if host and not host.startswith("*") else {}
        where, told = f"http://{self.address}{path}", {**headers, **named}
        alone = httpx.Limits(max_keepalive_connections=0)
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False, limits=alone) as client:
                return await asyncio.gather(*(client.get(where, headers=told) for _ in range(times)))
        except httpx.HTTPError as error:
            raise UnreachableError(
                "router.no-answer",
                f"nobody answers on {self.address}: {str(error) or type(error).__name__}",
                where=f"router.listen {self._settings.listen}",
                next="set `router.listen` to an address of the cluster's data plane that this machine reaches",
            ) from error

    @property
    def _cluster(self) -> Cluster:
        return cluster_at(self._place)
