"""The ingress-nginx router: a canary Ingress of ours takes its share away from the user's own Ingress.

The user's Ingress leads to one Service of ours that follows the trusted slot; the canary Ingress has its rules, the
other slot's Service, and a weight. ingress-nginx changes weights without a reload. It has no way to tell what its data
plane has loaded, so a step is confirmed by the component's health on both sides, asked through the listener.
"""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass
from typing import Any, Final, Self

from crossfade.cluster.api import CORE, NETWORKING, Json, Place, path
from crossfade.cluster.names import ROUTES, SERVICE_PORT, SLOT, Target, cut
from crossfade.cluster.objects import ours
from crossfade.cluster.router import ClusterRouter, Look, placed
from crossfade.config.model import Deployment
from crossfade.config.routers import IngressNginxRouter as Settings
from crossfade.core.durations import FULL
from crossfade.core.errors import BadInputError
from crossfade.traffic.address import settings_of
from crossfade.traffic.port import Routes, Slot, other
from crossfade.traffic.routers.route_file import Accepted, render

PREFIX: Final = "nginx.ingress.kubernetes.io/"
_WELL: Final = range(200, 400)


@dataclass(frozen=True, slots=True)
class Ingresses(Look):
    """Our canary Ingress with the record, the user's own Ingress `main`, and our Service `stable`."""

    main: Json
    stable: Json | None


class IngressNginxRouter(ClusterRouter[Settings, Ingresses]):
    """One target's traffic through an Ingress; `health` is the path that tells whether the component works."""

    kind = "Ingress"

    def __init__(self, settings: Settings, target: Target, place: Place, *, health: str = "/healthz") -> None:
        super().__init__(settings, target, place, name=cut(settings.ingress, "-crossfade-canary"))
        self._stable, self._health = target.named("stable"), health

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """The router of one component in one environment; BadInputError without the Kubernetes runtime."""
        settings = settings_of(deployment, Settings)
        return cls(settings, *placed(deployment), health=deployment.workload.health.path)

    async def apply(self, routes: Routes, *, fence: int) -> None:
        """Put `routes` into the canary Ingress and the stable Service; the fence is compared and swapped first."""
        if routes.mirror:
            how = "leave `mirror` away, or use another router"
            raise BadInputError("ingress.mirror", "ingress-nginx cannot copy the requests of a share", next=how)
        await super().apply(routes, fence=fence)

    async def close(self) -> None:
        """Remove the canary Ingress: everybody reaches the stable slot."""
        if await ours(self._cluster, self._target, self._path) is not None:
            await self._cluster.delete(self._path)

    # -- what is written -------------------------------------------------------------------------------

    async def _write(self, accepted: Accepted, look: Ingresses) -> None:
        """Claim the fence with the record alone, then the two changes in the order in which nobody is misled."""
        told, turned = self._canary(accepted, look.main), _selected(look.stable) not in (None, accepted.routes.stable)
        if look.carrier is None:
            await self._turn(accepted.routes.stable)
            await self._cluster.create(path(NETWORKING, self._target.namespace, "ingresses"), told)
            return
        version = {"resourceVersion": look.carrier["metadata"]["resourceVersion"]}
        claim = {"metadata": {**version, "annotations": {ROUTES: render(accepted)}}}
        claimed = await self._cluster.merge(self._path, claim)
        if turned:  # the canary has all of the traffic still: the stable side turns behind it
            await self._turn(accepted.routes.stable)
        told["metadata"]["resourceVersion"] = claimed["metadata"]["resourceVersion"]
        await self._cluster.apply(self._path, told)
        if not turned:
            await self._turn(accepted.routes.stable)

    async def _turn(self, slot: Slot) -> None:
        """Lead the stable Service to `slot`."""
        told = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": self._stable, "namespace": self._target.namespace, "labels": self._target.labels},
            "spec": {
                "selector": {**self._target.selector, SLOT: slot},
                "ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": "http", "protocol": "TCP"}],
            },
        }
        await self._cluster.apply(path(CORE, self._target.namespace, "services", self._stable), told)

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

    async def _look(self) -> Ingresses:
        namespace = self._target.namespace
        canary, main, stable = await asyncio.gather(
            ours(self._cluster, self._target, self._path),
            self._cluster.get(path(NETWORKING, namespace, "ingresses", self._settings.ingress)),
            ours(self._cluster, self._target, path(CORE, namespace, "services", self._stable)),
        )
        if main is None:
            what = f"there is no Ingress {self._settings.ingress}"
            how = "correct `router.ingress`, or make it: it leads users to the component"
            raise BadInputError("ingress.missing", what, where=f"namespace {namespace}", next=how)
        if not any(each["name"] == self._stable for each in _backends(main["spec"])):
            what = f"the Ingress {self._settings.ingress} does not lead to the Service {self._stable}"
            how = f"set its backend to the service {self._stable}, port {SERVICE_PORT}; Crossfade keeps that Service"
            raise BadInputError("ingress.elsewhere", what, where=f"namespace {namespace}", next=how)
        return Ingresses(canary, main, stable)

    def _says(self, accepted: Accepted, look: Ingresses) -> bool:
        if look.carrier is None:
            return False
        wanted, notes = self._canary(accepted, look.main), look.carrier["metadata"].get("annotations") or {}
        written = {name: each for name, each in notes.items() if name.startswith(f"{PREFIX}canary") or name == ROUTES}
        return (
            written == wanted["metadata"]["annotations"]
            and _backends(look.carrier["spec"]) == _backends(wanted["spec"])
            and _selected(look.stable) == accepted.routes.stable
        )

    async def _loaded(self, accepted: Accepted, look: Ingresses) -> bool:
        """Both sides that have instances answer through the listener."""
        sides = {"never": accepted.routes.stable, "always": other(accepted.routes.stable)}
        asked = [word for word, slot in sides.items() if accepted.routes.upstreams.get(slot)]
        return all(await asyncio.gather(*(self._answers(word, look.main) for word in asked)))

    async def _answers(self, word: str, main: Json) -> bool:
        host = next((str(rule["host"]) for rule in main["spec"].get("rules", ()) if rule.get("host")), "")
        answers = await self._ask(self._health, {self._settings.override_header: word}, host)
        return all(each.status_code in _WELL for each in answers)

    @property
    def _path(self) -> str:
        return path(NETWORKING, self._target.namespace, "ingresses", self._name)


def _backends(spec: Json) -> list[Json]:
    """The Services that an Ingress leads to."""
    default = [spec["defaultBackend"]] if "defaultBackend" in spec else []
    paths = [each for rule in spec.get("rules", ()) for each in rule.get("http", {}).get("paths", ())]
    found: list[Any] = [each.get("service") for each in (*default, *(each["backend"] for each in paths))]
    return [each for each in found if each is not None]


def _selected(service: Json | None) -> str | None:
    return None if service is None else service["spec"].get("selector", {}).get(SLOT)
