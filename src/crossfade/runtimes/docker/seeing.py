"""From what the engine says of a container to what an instance is: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crossfade.runtimes.docker.specification import INDEX, SLOT, VERSION, Target
from crossfade.runtimes.docker.values import Care, Run, Wanted
from crossfade.runtimes.port import Instance, State
from crossfade.runtimes.shim.health import Health
from crossfade.traffic.port import SLOTS, Slot


@dataclass(frozen=True, slots=True)
class Seen:
    """One container of ours, as the engine inspects it."""

    id: str
    name: str
    slot: Slot
    index: int
    version: str
    address: str
    inside: str
    labels: Mapping[str, str]
    state: Mapping[str, Any]
    restarts: int
    memory: int
    networks: frozenset[str]

    @property
    def status(self) -> str:
        """Docker's word: created, running, paused, restarting, removing, exited or dead."""
        return str(self.state.get("Status", "dead"))

    @property
    def run(self) -> Run | None:
        """The run whose health can be asked; None where nothing runs."""
        if self.status != "running" or not self.address:
            return None
        return Run(self.id, str(self.state["StartedAt"]), self.address, self.inside, Care.read(self.labels))


def read(inspected: Mapping[str, Any]) -> Seen | None:
    """What the answer of `inspect` says; None for a container that only looks like one of ours."""
    labels = inspected["Config"].get("Labels") or {}
    slot, index = labels.get(SLOT), labels.get(INDEX, "")
    if slot not in SLOTS or not index.isdigit() or VERSION not in labels:
        return None
    host = inspected["HostConfig"]
    bound = {inside: each[0] for inside, each in (host.get("PortBindings") or {}).items() if each}
    inside = next(iter(bound), "")
    return Seen(
        id=inspected["Id"],
        name=inspected["Name"].lstrip("/"),
        slot=slot,
        index=int(index),
        version=labels[VERSION],
        address=_address(bound.get(inside)),
        inside=inside,
        labels=labels,
        state=inspected["State"],
        restarts=int(inspected.get("RestartCount") or 0),
        memory=int(host.get("Memory") or 0),
        networks=frozenset(inspected["NetworkSettings"].get("Networks") or {}),
    )


def _address(bound: Mapping[str, str] | None) -> str:
    if bound is None:
        return ""
    host = bound.get("HostIp") or "127.0.0.1"
    return f"[{host}]:{bound['HostPort']}" if ":" in host else f"{host}:{bound['HostPort']}"


def instance(target: Target, seen: Seen, health: Health | None, *, wanted: Wanted | None, words: str) -> Instance:
    """What a container is; `words` are the last lines that it printed, told when it is not well."""
    state, failures, detail = _judged(seen, health)
    if wanted is not None and seen.index >= wanted.count and seen.version == wanted.version:
        state, detail = "stopping", detail or "it was told to end"
    return Instance(
        id=target.instance(seen.slot, seen.index),
        slot=seen.slot,
        version=seen.version,
        index=seen.index,
        state=state,
        address=seen.address,
        since=moment(str(seen.state.get("StartedAt", ""))),
        restarts=seen.restarts,
        failures=failures,
        pid=int(seen.state.get("Pid") or 0) or None,
        detail=". ".join(filter(None, (detail, f"It printed last: {words}" if words and state != "ready" else ""))),
    )


def _judged(seen: Seen, health: Health | None) -> tuple[State, int, str]:
    match seen.status:
        case "running":
            return _running(seen, health)
        case "created":
            said = str(seen.state.get("Error") or "")
            return "starting", 0, f"the engine could not start it: {said}" if said else "it is being started"
        case "restarting":
            return "backing-off", 0, ended(seen)
        case "removing":
            return "stopping", 0, "it is being removed"
        case "paused":
            return "unready", 0, f"somebody has paused it: docker unpause {seen.name}"
    return "gone", 0, f"{ended(seen)}, and the engine was told not to start it again: docker start {seen.name}"


def _running(seen: Seen, health: Health | None) -> tuple[State, int, str]:
    own = _own_check(seen)
    if health is None:
        return "starting", 0, "it publishes no port that could be asked"
    state: State = health.state  # type: ignore[assignment]  # one of three words of State
    failures, detail = health.failures, health.detail
    if own is not None:
        status, streak, said = own
        failures = max(failures, streak)
        if status != "healthy" and state == "ready":
            state = "unready" if status == "unhealthy" else "starting"
            detail = f"the image's own HEALTHCHECK says {status}" + (f": {said}" if said else "")
    return state, failures, detail


def _own_check(seen: Seen) -> tuple[str, int, str] | None:
    """What Docker's own check of the image says: its word, failures in a row, and what it printed last."""
    health = seen.state.get("Health")
    if not health or health.get("Status") in (None, "none"):
        return None
    last = (health.get("Log") or [{}])[-1]
    return health["Status"], int(health.get("FailingStreak") or 0), " ".join(str(last.get("Output", "")).split())[:200]


def ended(seen: Seen) -> str:
    """How its last run ended, for a person."""
    code = seen.state.get("ExitCode")
    if seen.state.get("OOMKilled"):
        limit = f" of {seen.memory // 1_000_000} MB" if seen.memory else ""
        return f"it was killed because it took more than its memory{limit} (it ended with code {code})"
    said = str(seen.state.get("Error") or "")
    return f"it ended with code {code}" + (f": {said}" if said else "")


def missing(target: Target, slot: Slot, wanted: Wanted | None, there: Iterable[int]) -> list[Instance]:
    """The instances that are wanted and have no container."""
    if wanted is None:
        return []
    known = set(there)
    state: State = "starting" if wanted.pulling else "gone"
    detail = wanted.pulling or "its container is not there: it was removed, or never made"
    return [
        Instance(target.instance(slot, index), slot, wanted.version, index, state, "", 0.0, detail=detail)
        for index in range(wanted.count)
        if index not in known
    ]


def moment(stamp: str) -> float:
    """Docker's time as seconds since 1970; 0.0 where it says that there was none.

    >>> moment("2026-11-21T16:29:48.702136073Z")
    1795278588.702136
    >>> moment("0001-01-01T00:00:00Z")
    0.0
    """
    try:
        return max(0.0, datetime.fromisoformat(stamp).timestamp())
    except ValueError:
        return 0.0
