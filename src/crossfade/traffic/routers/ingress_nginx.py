"""The ingress-nginx router: a canary Ingress of ours takes its share away from the user's own Ingress.

The user's Ingress leads to one Service of ours that follows the trusted slot; the canary Ingress has its rules, the
other slot's Service, and a weight. ingress-nginx changes weights without a reload. It has no way to tell what its data
plane has loaded, so `confirm` asks both sides for the component's health, through the listener, by the override header.
"""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any, Final, Self

import httpx

from crossfade.cluster.api import CORE, NETWORKING, Cluster, Json, Place, cluster_at, path
from crossfade.cluster.faults import ConflictError
from crossfade.cluster.names import ROUTES, SERVICE_PORT, SLOT, Target, cut
from crossfade.cluster.record import accepted_of, refuse_stale, whole
from crossfade.config.model import Deployment
from crossfade.config.routers import Capabilities
from crossfade.config.routers import IngressNginxRouter as Settings
from crossfade.config.runtimes import KubernetesRuntime
from crossfade.core.durations import FULL
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from crossfade.traffic.address import dialled, settings_of
from crossfade.traffic.port import Counts, RouterView, Routes, Slot, other
from crossfade.traffic.routers.route_file import Accepted, render, routes_checked

PREFIX: Final = "nginx.ingress.kubernetes.io/"
_TRIES: Final = 5
_WELL: Final = range(200, 400)


class IngressNginxRouter:
    """One target's traffic through an Ingress; `health` is the path that tells whether the component works."""

    def __init__(self, settings: Settings, target: Target, place: Place, *, health: str = "/healthz") -> None:
        self._settings, self._target, self._place, self._health = settings, target, place, health
        self._name = cut(settings.ingress, "-crossfade-canary")
        self._stable = target.named("stable")

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """The router of one component in one environment; BadInputError without the Kubernetes runtime."""
        settings, runtime = settings_of(deployment, Settings), deployment.settings.runtime
        if not isinstance(runtime, KubernetesRuntime):
            what = "the ingress-nginx router sends traffic to Services, which only the kubernetes runtime has"
            where = f"environments.{deployment.environment}"
            raise BadInputError("ingress.runtime", what, where=where, next="set `runtime: {kind: kubernetes}`")
        target = Target(deployment.project, deployment.environment, deployment.component, runtime.namespace)
        return cls(settings, target, Place.of(runtime, Path(deployment.root)), health=deployment.workload.health.path)

    @property
    def capabilities(self) -> Capabilities:
        """Exact weights and the override header; no stickiness, no counts of its own, no copies."""
        return Settings.can

    @property
    def address(self) -> str:
        """Where users reach the controller, as HOST:PORT that this machine can dial."""
        return dialled(self._settings.listen)

    async def observe(self) -> RouterView:
        """What is in force now, as the objects in the cluster say."""
        try:
            canary, main, stable = await self._objects()
        except CrossfadeError as error:
            return RouterView(reachable=not isinstance(error, UnreachableError), detail=error.what)
        accepted = None if canary is None else accepted_of(canary)
        if canary is None or accepted is None:
            return RouterView(reachable=True, detail="the cluster has nothing for this target")
        if not self._says(accepted, canary, main, stable):
            what = (
                f"somebody has changed the Ingress {self._name}, {self._settings.ingress} or the Service {self._stable}"
            )
            return RouterView(reachable=True, fence=accepted.fence, detail=what)
        return RouterView(reachable=True, routes=accepted.routes, fence=accepted.fence)

    async def apply(self, routes: Routes, *, fence: int) -> None:
        """Put `routes` into the canary Ingress and the stable Service; the fence is compared and swapped first."""
        if routes.mirror:
            how = "leave `mirror` away, or use another router"
            raise BadInputError("ingress.mirror", "ingress-nginx cannot copy the requests of a share", next=how)
        wanted = Accepted(whole(routes_checked(routes)), fence)
        for _ in range(_TRIES):
            canary, main, stable = await self._objects()
            refuse_stale(None if canary is None else accepted_of(canary), wanted, f"Ingress {self._name}")
            if canary is not None and accepted_of(canary) == wanted and self._says(wanted, canary, main, stable):
                return
            told = self._canary(wanted, main)
            try:
                await self._put(told, canary, turned=_selected(stable) not in (None, routes.stable))
            except ConflictError:
                continue
            return
        what = f"others go on changing the Ingress {self._name}"
        how = f"see who: kubectl get ingress {self._name} --show-managed-fields -o yaml"
        raise CrossfadeError("ingress.contended", what, where=self._target.where, next=how, retry=True)

    async def confirm(self, routes: Routes) -> bool:
        """Whether the objects say `routes`, and both sides that have instances answer through the listener."""
        canary, main, stable = await self._objects()
        accepted = None if canary is None else accepted_of(canary)
        if canary is None or accepted is None or accepted.routes != whole(routes):
            return False
        if not self._says(accepted, canary, main, stable):
            return False
        sides = {"never": routes.stable, "always": other(routes.stable)}
        asked = [word for word, slot in sides.items() if routes.upstreams.get(slot)]
        return all(await asyncio.gather(*(self._answers(word, main) for word in asked)))

    async def counts(self, since: float) -> Counts:  # noqa: ARG002 - it has none, from whenever
        """None: its metrics are read by Prometheus."""
        return Counts((), (), None)

    async def close(self) -> None:
        """Remove the canary Ingress: everybody reaches the stable slot."""
        if await self._ours(path(NETWORKING, self._target.namespace, "ingresses", self._name)) is not None:
            await self._cluster.delete(path(NETWORKING, self._target.namespace, "ingresses", self._name))

    # -- what is written -------------------------------------------------------------------------------

    async def _put(self, told: Json, canary: Json | None, *, turned: bool) -> None:
        """Claim the fence with the record alone, then the two changes in the order in which nobody is misled."""
        where = path(NETWORKING, self._target.namespace, "ingresses")
        notes = told["metadata"]["annotations"]
        if canary is None:
            await self._service(notes)
            await self._cluster.create(where, told)
            return
        version = {"resourceVersion": canary["metadata"]["resourceVersion"]}
        claim = {"metadata": {**version, "annotations": {ROUTES: notes[ROUTES]}}}
        claimed = await self._cluster.merge(f"{where}/{self._name}", claim)
        if turned:  # the canary has all of the traffic still: the stable side turns behind it
            await self._service(notes)
        told["metadata"]["resourceVersion"] = claimed["metadata"]["resourceVersion"]
        await self._cluster.apply(f"{where}/{self._name}", told)
        if not turned:
            await self._service(notes)

    async def _service(self, notes: Json) -> None:
        accepted = accepted_of({"metadata": {"annotations": notes}})
        if accepted is not None:
            where = path(CORE, self._target.namespace, "services", self._stable)
            await self._cluster.apply(where, self._stable_service(accepted.routes.stable))

    def _stable_service(self, slot: Slot) -> Json:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": self._stable, "namespace": self._target.namespace, "labels": self._target.labels},
            "spec": {
                "selector": {**self._target.selector, SLOT: slot},
                "ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": "http", "protocol": "TCP"}],
            },
        }

    def _canary(self, accepted: Accepted, main: Json) -> Json:
        """The user's rules with the other slot's Service in them, and a weight."""
        canary = other(accepted.routes.stable)
        spec = copy.deepcopy(main["spec"])
        spec.pop("tls", None)  # the user's own Ingress has it
        for backend in _backends(spec):
            if backend["name"] == self._stable:
                backend.update(name=self._target.slot(canary), port={"number": SERVICE_PORT})
        empty = not accepted.routes.upstreams.get(canary)
        notes = {
            "canary": "true",
            "canary-weight": str(accepted.routes.weight(canary)),
            "canary-weight-total": str(FULL),
            # Without instances there, nobody is led there, whatever a request asks for.
            **({} if empty else {"canary-by-header": self._settings.override_header}),
        }
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {
                "name": self._name,
                "namespace": self._target.namespace,
                "labels": self._target.labels,
                "annotations": {ROUTES: render(accepted), **{PREFIX + name: value for name, value in notes.items()}},
            },
            "spec": spec,
        }

    # -- looking ---------------------------------------------------------------------------------------

    def _says(self, accepted: Accepted, canary: Json, main: Json, stable: Json | None) -> bool:
        wanted = self._canary(accepted, main)
        notes = canary["metadata"].get("annotations") or {}
        ours = {name: value for name, value in notes.items() if name.startswith(f"{PREFIX}canary") or name == ROUTES}
        return (
            ours == wanted["metadata"]["annotations"]
            and _backends(canary["spec"]) == _backends(wanted["spec"])
            and _selected(stable) == accepted.routes.stable
        )

    async def _objects(self) -> tuple[Json | None, Json, Json | None]:
        """Our canary Ingress, the user's own, and our stable Service."""
        namespace = self._target.namespace
        canary, main, stable = await asyncio.gather(
            self._ours(path(NETWORKING, namespace, "ingresses", self._name)),
            self._cluster.get(path(NETWORKING, namespace, "ingresses", self._settings.ingress)),
            self._ours(path(CORE, namespace, "services", self._stable)),
        )
        if main is None:
            what = f"there is no Ingress {self._settings.ingress}"
            how = "correct `router.ingress`, or make it: it leads users to the component"
            raise BadInputError("ingress.missing", what, where=f"namespace {namespace}", next=how)
        if not any(each["name"] == self._stable for each in _backends(main["spec"])):
            what = f"the Ingress {self._settings.ingress} does not lead to the Service {self._stable}"
            how = f"set its backend to the service {self._stable}, port {SERVICE_PORT}; Crossfade keeps that Service"
            raise BadInputError("ingress.elsewhere", what, where=f"namespace {namespace}", next=how)
        return canary, main, stable

    async def _ours(self, where: str) -> Json | None:
        there = await self._cluster.get(where)
        if there is not None and not self._target.selector.items() <= (there["metadata"].get("labels") or {}).items():
            what = f"{there['kind']} {there['metadata']['name']} is there and not ours"
            raise BadInputError(
                "ingress.name-taken", what, where=f"namespace {self._target.namespace}", next="rename it"
            )
        return there

    async def _answers(self, word: str, main: Json) -> bool:
        host = next((str(rule["host"]) for rule in main["spec"].get("rules", ()) if rule.get("host")), "")
        named = {"Host": host} if host and not host.startswith("*") else {}
        headers = {self._settings.override_header: word, **named}
        try:
            async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
                answer = await client.get(f"http://{self.address}{self._health}", headers=headers)
        except httpx.HTTPError as error:
            raise UnreachableError(
                "ingress.no-answer",
                f"nobody answers on {self.address}: {str(error) or type(error).__name__}",
                where=f"router.listen {self._settings.listen}",
                next="set `router.listen` to an address of the ingress controller that this machine reaches",
            ) from error
        return answer.status_code in _WELL

    @property
    def _cluster(self) -> Cluster:
        return cluster_at(self._place)


def _backends(spec: Json) -> list[Json]:
    """The Services that an Ingress leads to."""
    default = [spec["defaultBackend"]] if "defaultBackend" in spec else []
    paths = [each for rule in spec.get("rules", ()) for each in rule.get("http", {}).get("paths", ())]
    found: list[Any] = [each.get("service") for each in (*default, *(each["backend"] for each in paths))]
    return [each for each in found if each is not None]


def _selected(service: Json | None) -> str | None:
    return None if service is None else service["spec"].get("selector", {}).get(SLOT)
