"""From what the cluster says of Deployments and pods to what an instance is: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from crossfade.cluster.names import SLOT, VERSION
from crossfade.runtimes.kubernetes.specification import CONTAINER
from crossfade.runtimes.port import Instance, State
from crossfade.traffic.port import SLOTS, Slot

Json = dict[str, Any]
INDEX: Final = "crossfade.index"
_LAST: Final = 1_000_000
_FINISHED: Final = ("Succeeded", "Failed")
_BEING_MADE: Final = ("ContainerCreating", "PodInitializing", "")


@dataclass(frozen=True, slots=True)
class Told:
    """What was learnt of a pod that is not well, beside its status."""

    failures: int = 0
    """Failed probes since its current start, as the kubelet's events count them."""
    events: str = ""
    """What the last of them says."""
    answer: str = ""
    """Status and body of what it answers when it is asked now."""
    words: str = ""
    """The last lines that it printed."""


def slot_of(thing: Json) -> Slot | None:
    """The slot that an object of ours belongs to."""
    found = thing["metadata"].get("labels", {}).get(SLOT)
    return next((slot for slot in SLOTS if slot == found), None)


def version_of(thing: Json) -> str:
    """The version that an object of ours runs."""
    return str(thing["metadata"].get("annotations", {}).get(VERSION, ""))


def alive(pods: Iterable[Json]) -> list[Json]:
    """Pods that run or will, oldest first: what has ended for good is replaced by others."""
    there = (each for each in pods if each.get("status", {}).get("phase") not in _FINISHED)
    return sorted(there, key=_rank)


def _rank(pod: Json) -> tuple[bool, int, str, str]:
    """The order of instances; times are whole seconds, so that pods which are there when others come are numbered."""
    meta = pod["metadata"]
    number = str((meta.get("annotations") or {}).get(INDEX, ""))
    return _leaving(pod), int(number) if number.isdigit() else _LAST, meta["creationTimestamp"], meta["name"]


def staying(pods: Iterable[Json]) -> list[Json]:
    """Of those the ones that were not told to end."""
    return [each for each in alive(pods) if not _leaving(each)]


def leaving(pods: Iterable[Json]) -> list[Json]:
    """Of those the ones that were told to end, and are still there."""
    return [each for each in alive(pods) if _leaving(each)]


def is_well(pod: Json) -> bool:
    """Whether nothing more has to be known of it."""
    return _leaving(pod) or _condition(pod, "Ready").get("status") == "True"


def instances(deployments: Sequence[Json], pods: Sequence[Json], told: Mapping[str, Told]) -> tuple[Instance, ...]:
    """All instances of both slots, those that are wanted and not there among them; ordered by slot and index."""
    found: list[Instance] = []
    for slot in SLOTS:
        here = alive(each for each in pods if slot_of(each) == slot)
        found += [
            _instance(slot, index, each, told.get(each["metadata"]["name"], Told())) for index, each in enumerate(here)
        ]
        for each in deployments:
            if slot_of(each) == slot:
                found += _missing(slot, each, pods, len([pod for pod in here if not _leaving(pod)]))
    return tuple(found)


def _instance(slot: Slot, index: int, pod: Json, told: Told) -> Instance:
    status = container_status(pod)
    state, detail = _judged(pod, status, told)
    running = status.get("state", {}).get("running") or {}
    restarts = int(status.get("restartCount", 0))
    spoken = f"It printed last: {told.words}" if told.words and state != "ready" else ""
    return Instance(
        id=pod["metadata"]["name"],
        slot=slot,
        version=version_of(pod),
        index=index,
        state=state,
        address=_address(pod),
        since=moment(running.get("startedAt") or pod["metadata"]["creationTimestamp"]),
        restarts=restarts,
        failures=told.failures if state in ("starting", "unready") else 0,
        detail=". ".join(filter(None, (detail, spoken))),
    )


def _judged(pod: Json, status: Json, told: Told) -> tuple[State, str]:
    if _leaving(pod):
        return "stopping", _node(pod) or "it was told to end"
    waiting = status.get("state", {}).get("waiting")
    ended = status.get("state", {}).get("terminated")
    if waiting is not None:
        return _waits(pod, status, waiting)
    if ended is not None:
        return "backing-off", how_it_ended(pod, ended)
    if not status.get("state", {}).get("running"):
        return "starting", _unscheduled(pod)
    ready = _condition(pod, "Ready")
    if ready.get("status") == "True":
        return "ready", ""
    if lost := _node(pod):
        return "unready", lost
    began = moment(status["state"]["running"].get("startedAt"))
    before: State = "unready" if moment(ready.get("lastTransitionTime")) > began else "starting"
    why = ", ".join(filter(None, (told.answer, told.events))) or str(
        ready.get("message") or "no probe has succeeded yet"
    )
    last = status.get("lastState", {}).get("terminated")
    return before, ". ".join(filter(None, (why, f"Before that {how_it_ended(pod, last)}" if last else "")))


def _waits(pod: Json, status: Json, waiting: Json) -> tuple[State, str]:
    reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    last = status.get("lastState", {}).get("terminated")
    if reason == "CrashLoopBackOff" or (last and reason in _BEING_MADE):
        return "backing-off", how_it_ended(pod, last or {})
    if reason in _BEING_MADE:
        return "starting", "its container is being made"
    if "Image" in reason:
        return (
            "backing-off",
            f"the image {image_of(pod)} cannot be had ({reason}): {message or 'the cluster does not say why'}",
        )
    return "backing-off", f"its container cannot be made ({reason}): {message or 'the cluster does not say why'}"


def how_it_ended(pod: Json, ended: Json) -> str:
    """How a container's run ended, for a person."""
    code, reason = ended.get("exitCode"), ended.get("reason")
    if reason == "OOMKilled":
        limit = _spec(pod).get("resources", {}).get("limits", {}).get("memory")
        more = f" of {limit}" if limit else ""
        return f"it was killed because it took more than its memory{more} (OOMKilled, code {code})"
    message = " ".join(str(ended.get("message") or "").split())
    said = f": {message}" if message else ""
    return f"it ended with code {code}{f' ({reason})' if reason not in (None, 'Error') else ''}{said}"


def _missing(slot: Slot, deployment: Json, pods: Sequence[Json], there: int) -> list[Instance]:
    """What a slot's Deployment wants and does not have."""
    wanted = int(deployment["spec"].get("replicas", 1))
    name, version = deployment["metadata"]["name"], version_of(deployment)
    conditions = {each["type"]: each for each in deployment.get("status", {}).get("conditions", ())}
    failed = conditions.get("ReplicaFailure", {})
    evicted = [each for each in pods if slot_of(each) == slot and each.get("status", {}).get("phase") == "Failed"]
    state: State = "gone" if failed.get("status") == "True" else "starting"
    detail = "its pod has not been made yet"
    if state == "gone":
        detail = f"the cluster does not make its pod: {failed.get('message', 'it does not say why')}"
    elif evicted:
        last = evicted[-1]["status"]
        detail = f"its pod was ended by the cluster ({last.get('reason')}): {last.get('message', '')}"
    return [
        Instance(f"{name}-{index}", slot, version, index, state, "", 0.0, detail=detail)
        for index in range(there, wanted)
    ]


def _unscheduled(pod: Json) -> str:
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"no node takes it ({scheduled.get('reason')}): {scheduled.get('message', '')}"
    return "it waits for its node"


def _node(pod: Json) -> str:
    """What there is to say where its node is lost."""
    ready, status = _condition(pod, "Ready"), pod.get("status", {})
    lost = (
        status.get("reason") == "NodeLost"
        or ready.get("reason") in ("NodeNotReady", "NodeLost")
        or ready.get("status") == "Unknown"
    )
    node = pod["spec"].get("nodeName", "?")
    return f"its node {node} does not answer: see kubectl describe node {node}" if lost else ""


def _leaving(pod: Json) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _condition(pod: Json, kind: str) -> Json:
    found: Json = next((each for each in pod.get("status", {}).get("conditions", ()) if each["type"] == kind), {})
    return found


def container_status(pod: Json) -> Json:
    """What the cluster says of the component's container; empty before it says anything."""
    statuses = pod.get("status", {}).get("containerStatuses", ())
    found: Json = next((each for each in statuses if each["name"] == CONTAINER), {})
    return found


def _spec(pod: Json) -> Json:
    found: Json = next((each for each in pod["spec"]["containers"] if each["name"] == CONTAINER), {})
    return found


def image_of(pod: Json) -> str:
    """The image that its specification names."""
    return str(_spec(pod).get("image", "?"))


def port_of(pod: Json) -> int:
    """The port on which its program listens."""
    return int(next((each["containerPort"] for each in _spec(pod).get("ports", ())), 0))


def _address(pod: Json) -> str:
    host = pod.get("status", {}).get("podIP", "")
    if not host:
        return ""
    return f"[{host}]:{port_of(pod)}" if ":" in host else f"{host}:{port_of(pod)}"


def moment(stamp: str | None) -> float:
    """The cluster's time as seconds since 1970; 0.0 where it says none.

    >>> moment("2026-11-21T16:29:48Z"), moment(None)
    (1795278588.0, 0.0)
    """
    return datetime.fromisoformat(stamp).timestamp() if stamp else 0.0


def probe_failures(events: Iterable[Json], began: float) -> tuple[int, str]:
    """Failed probes since `began`, and what the last one said."""
    failed = [
        each
        for each in events
        if each.get("reason") == "Unhealthy" and moment(each.get("lastTimestamp") or each.get("eventTime")) >= began
    ]
    failed.sort(key=lambda each: moment(each.get("lastTimestamp") or each.get("eventTime")))
    return sum(int(each.get("count") or 1) for each in failed), str(failed[-1].get("message", "")) if failed else ""
