"""What is asked about pods that are not well: their events, what they answer, and the last lines that they printed.

Events say only with which status a probe failed; the body, which says why, is had by asking the pod through the API
server. That is a right of its own (`get pods/proxy`), and without it only the events are told.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from crossfade.cluster.api import CORE, Cluster, Json, path
from crossfade.cluster.names import Target
from crossfade.core.errors import CrossfadeError
from crossfade.runtimes.kubernetes.seeing import Told, moment, probe_failures
from crossfade.runtimes.kubernetes.specification import CONTAINER, PORT_NAME

FRESH: Final = 1.0
"""Seconds for which an answer is good: a look costs little, however many pods are unwell."""
_LINES: Final = 5
_BODY: Final = 200


class Inquiry:
    """Asks about the pods of one target."""

    def __init__(self, target: Target) -> None:
        self._namespace = target.namespace
        self._known: dict[str, tuple[str, float, Told]] = {}

    async def about(self, cluster: Cluster, pods: list[Json]) -> dict[str, Told]:
        """What there is to tell of `pods`, by name; what the cluster does not let us see is left out."""
        told = await asyncio.gather(*(self._about(cluster, each) for each in pods))
        found = {each["metadata"]["name"]: one for each, one in zip(pods, told, strict=True)}
        self._known = {name: known for name, known in self._known.items() if name in found}
        return found

    async def _about(self, cluster: Cluster, pod: Json) -> Told:
        name, state = pod["metadata"]["name"], pod["metadata"].get("resourceVersion", "")
        known = self._known.get(name)
        if known is not None and known[0] == state and time.monotonic() - known[1] < FRESH:
            return known[2]
        statuses = pod.get("status", {}).get("containerStatuses") or [{}]
        running = statuses[0].get("state", {}).get("running")
        ran = (
            running
            or statuses[0].get("lastState", {}).get("terminated")
            or statuses[0].get("state", {}).get("terminated")
        )
        began = moment(running.get("startedAt")) if running else 0.0
        (failures, events), answer, words = await asyncio.gather(
            self._events(cluster, pod, began),
            self._answer(cluster, pod) if running else _nothing(),
            self._words(cluster, name) if ran else _nothing(),
        )
        told = Told(failures, events, answer, words)
        self._known[name] = state, time.monotonic(), told
        return told

    async def _events(self, cluster: Cluster, pod: Json, began: float) -> tuple[int, str]:
        where = path(CORE, self._namespace, "events")
        chosen = f"involvedObject.kind=Pod,involvedObject.name={pod['metadata']['name']}"
        try:
            found = await cluster.list(where, fieldSelector=chosen)
        except CrossfadeError:
            return 0, ""
        return probe_failures(found["items"], began)

    async def _answer(self, cluster: Cluster, pod: Json) -> str:
        """What its probe is answered now."""
        name = pod["metadata"]["name"]
        container = next(each for each in pod["spec"]["containers"] if each["name"] == CONTAINER)
        asked = container.get("readinessProbe", {}).get("httpGet", {}).get("path", "/")
        where = path(CORE, self._namespace, "pods", f"{name}:{PORT_NAME}", "proxy") + asked
        try:
            status, body = await cluster.text(where)
        except CrossfadeError:
            return ""
        if '"kind":"Status"' in body.replace(" ", ""):
            return ""  # the API server's own words: we may not ask, or it got no answer either
        if 200 <= status < 400:  # noqa: PLR2004 - it is well by now, and the next probe will see it
            return ""
        return f"{asked} answers {status}: {' '.join(body.split())[:_BODY]}"

    async def _words(self, cluster: Cluster, name: str) -> str:
        where = path(CORE, self._namespace, "pods", name, "log")
        try:
            status, text = await cluster.text(where, container=CONTAINER, tailLines=str(_LINES))
        except CrossfadeError:
            return ""
        return " | ".join(line for line in text.splitlines() if line) if status == 200 else ""  # noqa: PLR2004 - OK


async def _nothing() -> str:
    return ""
