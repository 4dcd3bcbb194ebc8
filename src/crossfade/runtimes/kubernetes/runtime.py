"""The port, carried out by a Kubernetes cluster."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, Self

from crossfade.cluster.api import APPS, CORE, METRICS, Cluster, Json, Place, cluster_at, path
from crossfade.cluster.mirror import Mirror, mirror_of
from crossfade.cluster.names import Target, selects
from crossfade.cluster.objects import looking_again, ours
from crossfade.config.model import Deployment
from crossfade.config.runtimes import KubernetesRuntime as Settings
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from crossfade.runtimes.kubernetes import images, seeing
from crossfade.runtimes.kubernetes.inquiry import Inquiry
from crossfade.runtimes.kubernetes.logs import Saved, follow_logs, newest_lines
from crossfade.runtimes.kubernetes.specification import deployment, service
from crossfade.runtimes.kubernetes.usage import used
from crossfade.runtimes.port import Instance, LogLine, Release, Usage
from crossfade.traffic.port import SLOTS, Slot

_LAUNCHED: Final = 5.0
"""Seconds in which the cluster's controllers make the pods that a Deployment asks for, before `start` returns anyway."""
_LEAVE: Final = 30.0
"""Seconds beyond the grace time that a pod may take to be gone."""
_PAUSE: Final = 0.05
COST: Final = "controller.kubernetes.io/pod-deletion-cost"


class KubernetesRuntime:
    """The instances of one component in one environment, as pods of one namespace.

    `folder` keeps the last words of pods that are gone; `root` is the folder that a relative kubeconfig starts from;
    `blind` says that the router cannot tell which requests are in flight.
    """

    def __init__(
        self,
        settings: Settings,
        target: Target,
        *,
        folder: Path,
        root: Path,
        variables: Mapping[str, str] | None = None,
        blind: bool = False,
    ) -> None:
        self._blind = blind
        self._settings, self._target = settings, target
        self._variables = dict(variables or {})
        self._saved = Saved(folder)
        self._place = Place.of(settings, root)
        self._inquiry = Inquiry(target)

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """The runtime that `deployment` describes; its runtime's settings must be Kubernetes'."""
        settings = deployment.settings.runtime
        if not isinstance(settings, Settings):
            raise BadInputError("kubernetes.settings", f"the runtime is {settings.kind}, not kubernetes")
        return cls(
            settings,
            Target(deployment.project, deployment.environment, deployment.component, settings.namespace),
            folder=Path(deployment.state) / "pods" / deployment.environment / deployment.component,
            root=Path(deployment.root),
            variables=deployment.settings.variables,
            blind=deployment.settings.router.kind in ("gateway-api", "ingress-nginx"),
        )

    async def observe(self) -> tuple[Instance, ...]:
        """All instances of both slots; asks the cluster only about those that are not well, or after a silence."""
        deployments, pods = await asyncio.gather(self._deployments.objects(), self._pods.objects())
        told = await self._inquiry.about(
            self._cluster, [each for each in seeing.alive(pods) if not seeing.is_well(each)]
        )
        return images.told_apart(seeing.instances(deployments, pods, told), pods)

    async def start(self, slot: Slot, release: Release, count: int) -> None:
        """Make `count` instances of `release` run in `slot`; what runs is scaled and never replaced.

        Where instances end, it returns when they are gone.

        Raises CrossfadeError `runtime.slot-occupied` when the slot holds another version, and BadInputError where an
        object of somebody else has the name of one of ours.
        """
        if count < 0:
            how = "ask for 0 or more"
            raise BadInputError("runtime.count", f"{count} instances cannot run", where=self._target.where, next=how)
        before = len(seeing.staying(await self._of(slot)))
        await looking_again(
            lambda: self._bring_about(slot, release, count), self._target, "Deployment", self._target.slot(slot)
        )
        await self._until(slot, lambda pods: len(seeing.staying(pods)) == count, time.monotonic() + _LAUNCHED)
        if before >= count:  # nothing is launched: it is done when those beyond the number are gone
            await self._gone(slot, seeing.leaving)

    async def stop(self, slot: Slot) -> None:
        """End every instance in `slot`: TERM, then KILL after the grace time; its Service stays, and leads nowhere."""
        there = await ours(self._cluster, self._target, self._path(slot))
        if there is None:
            return
        pods = [each for each in await self._pods.read() if seeing.slot_of(each) == slot]
        listening = [asyncio.create_task(self._saved.listen(self._cluster, self._target, slot, each)) for each in pods]
        try:
            await self._remember(slot, seeing.version_of(there), pods)
            if there["spec"].get("replicas") != 0:
                await self._cluster.merge(self._path(slot), {"spec": {"replicas": 0}})
            await self._gone(slot, seeing.alive)
            await self._cluster.delete(self._path(slot), propagationPolicy="Background")
            await asyncio.wait(listening, timeout=1) if listening else None
        finally:
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
        await self._deployments.read()

    def logs(self, *, slot: Slot | None = None, lines: int = 100, follow: bool = False) -> AsyncIterator[LogLine]:
        """The newest `lines` lines of each instance, oldest first, also of instances that have ended.

        Kubernetes does not tell the two streams apart: all lines are of `out`.
        """
        slots = SLOTS if slot is None else (slot,)

        async def pods() -> list[Json]:
            return [each for each in await self._pods.objects() if seeing.slot_of(each) in slots]

        return self._lines(slots, pods, lines=lines, follow=follow)

    async def usage(self) -> Mapping[str, Usage]:
        """What every running pod uses, as the cluster measured it last, some seconds ago; those not measured yet are left out.

        Raises UnreachableError where the cluster measures nothing, or does not answer.
        """
        pods = seeing.alive(await self._pods.objects())
        if not pods:
            return {}
        where = path(METRICS, self._target.namespace, "pods")
        told = await self._cluster.get(where, labelSelector=selects(self._target.selector))
        if told is None:
            raise UnreachableError(
                "kubernetes.no-metrics",
                "the cluster does not measure what pods use: it has no metrics.k8s.io",
                where=self._target.where,
                next="install metrics-server: kubectl top pods must work",
            )
        return used(pods, told["items"])

    async def _lines(
        self, slots: tuple[Slot, ...], pods: Callable[[], Awaitable[list[Json]]], *, lines: int, follow: bool
    ) -> AsyncIterator[LogLine]:
        for line in await newest_lines(
            self._cluster, self._target, await pods(), saved=self._saved, slots=slots, count=lines
        ):
            yield line
        if follow:
            async for line in follow_logs(self._cluster, self._target, pods):
                yield line

    # -- starting and ending -------------------------------------------------------------------------

    async def _bring_about(self, slot: Slot, release: Release, count: int) -> None:
        """The slot's Service, and its Deployment: made, or scaled where it runs this version already."""
        version, there = release.version, await ours(self._cluster, self._target, self._path(slot))
        pods = [each for each in await self._pods.read() if seeing.slot_of(each) == slot]
        self._refuse_other_version(slot, version, there, pods)
        services = {each: await self._service(each) for each in SLOTS}
        image = images.known(*services.values()).get(version)
        wanted = deployment(
            self._target, slot, images.by_digest(release, image), count,
            settings=self._settings, variables=self._variables, blind=self._blind,
        )  # fmt: skip
        kept = images.with_image(images.known(services[slot]), version, image)
        await self._cluster.apply(self._service_path(slot), service(self._target, slot, images.written(kept)))
        if (
            there is not None
            and seeing.version_of(there) == version
            and (there["spec"].get("replicas") or seeing.alive(pods))
        ):
            if there["spec"].get("replicas") != count:
                await self._number(pods, count)
                change = {
                    "metadata": {"resourceVersion": there["metadata"]["resourceVersion"]},
                    "spec": {"replicas": count},
                }
                await self._cluster.merge(self._path(slot), change)
            return
        if there is not None:  # it stands empty, and its pods would be others
            await self._cluster.delete(self._path(slot), propagationPolicy="Background")
        await self._cluster.apply(self._path(slot), wanted)

    async def _number(self, pods: list[Json], count: int) -> None:
        """Number the pods that are there, and have the cluster end those with the highest: the others stay as they are."""
        for index, pod in enumerate(seeing.staying(pods)):
            where = path(CORE, self._target.namespace, "pods", pod["metadata"]["name"])
            marks = {seeing.INDEX: str(index), **({COST: "-1"} if index >= count else {})}
            with contextlib.suppress(BadInputError):  # it is gone meanwhile, or we may not: then the cluster chooses
                await self._cluster.merge(where, {"metadata": {"annotations": marks}})

    async def _remember(self, slot: Slot, version: str, pods: list[Json]) -> None:
        """Keep which bytes the pods ran, for whoever starts this version again."""
        before = images.known(await self._service(slot))
        ran = images.ran(each for each in pods if seeing.version_of(each) == version)
        kept = images.with_image(before, version, ran)
        if list(kept) != list(before) or kept != before:
            await self._cluster.apply(self._service_path(slot), service(self._target, slot, images.written(kept)))

    async def _service(self, slot: Slot) -> Json | None:
        return await ours(self._cluster, self._target, self._service_path(slot))

    def _service_path(self, slot: Slot) -> str:
        return path(CORE, self._target.namespace, "services", self._target.slot(slot))

    def _refuse_other_version(self, slot: Slot, version: str, there: Json | None, pods: list[Json]) -> None:
        held = {seeing.version_of(each) for each in seeing.alive(pods)}
        if there is not None and there["spec"].get("replicas"):
            held.add(seeing.version_of(there))
        for other in held - {version}:
            raise CrossfadeError(
                "runtime.slot-occupied",
                f"slot {slot} of {self._target.where} holds {other}, so {version} cannot start there",
                where=f"Deployment {self._target.slot(slot)}",
                next=f"stop slot {slot} first",
            )

    async def _until(self, slot: Slot, true: Callable[[list[Json]], bool], give_up: float) -> list[Json]:
        """The slot's pods once `true` holds of them, or as they are when it is time to give up."""
        await asyncio.gather(self._deployments.read(), self._pods.read())
        while True:
            pods = await self._of(slot)
            if true(pods):
                return []
            if time.monotonic() > give_up:
                return pods
            await asyncio.sleep(_PAUSE)

    async def _gone(self, slot: Slot, those: Callable[[list[Json]], list[Json]]) -> None:
        """Wait until `those` of the slot's pods are gone; CrossfadeError where the cluster does not end them."""
        pods = those(await self._of(slot))
        if not pods:
            return
        grace = max(int(each["spec"].get("terminationGracePeriodSeconds", 30)) for each in pods)
        left = await self._until(slot, lambda pods: not those(pods), time.monotonic() + grace + _LEAVE)
        if left:
            raise self._stuck(those(left))

    async def _of(self, slot: Slot) -> list[Json]:
        return [each for each in await self._pods.objects() if seeing.slot_of(each) == slot]

    def _stuck(self, pods: list[Json]) -> CrossfadeError:
        names = ", ".join(each["metadata"]["name"] for each in pods)
        nodes = ", ".join(sorted({each["spec"].get("nodeName", "?") for each in pods}))
        return CrossfadeError(
            "kubernetes.not-gone",
            f"the cluster does not end {names}",
            where=f"node {nodes}",
            next=f"look at the node: kubectl describe node {nodes}; where it is lost for good: kubectl delete pod --force {names}",
            retry=True,
        )

    def _path(self, slot: Slot) -> str:
        return path(APPS, self._target.namespace, "deployments", self._target.slot(slot))

    # -- looking -------------------------------------------------------------------------------------

    @property
    def _cluster(self) -> Cluster:
        return cluster_at(self._place)

    @property
    def _pods(self) -> Mirror:
        return self._mirror(path(CORE, self._target.namespace, "pods"))

    @property
    def _deployments(self) -> Mirror:
        return self._mirror(path(APPS, self._target.namespace, "deployments"))

    def _mirror(self, where: str) -> Mirror:
        return mirror_of(self._cluster, where, selects(self._target.selector))
