"""What goes into the store and comes out of it: frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crossfade.analysis.values import Sample
from crossfade.config.model import Deployment
from crossfade.rollouts.group import Standing
from crossfade.rollouts.rollout import Action, Command, Event, Outcome, Rollout
from crossfade.traffic.port import Slot


@dataclass(frozen=True, slots=True)
class Target:
    """One component in one environment: what is trusted there, and what is under way.

    `version` is the trusted version and `slot` where it runs; `previous` the one before it; `fence` the
    newest that its router was told; `rollout` the id of the active rollout. All are empty where nothing
    was ever released.
    """

    component: str
    environment: str
    version: str | None = None
    slot: Slot | None = None
    previous: str | None = None
    fence: int = 0
    rollout: str | None = None


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that was released is missing: since when, for how many looks, and what the record says of it."""

    since: float
    looks: int = 0
    said: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """A target in which no rollout is under way, ours to look after until the lease ends.

    `rollout` is the id of the one that ended last; `at` is the database's time of the claim, `until` that of the lease's
    end; `incident` is what is known to be missing; `retiring` is whether all that is there shall end.
    """

    target: Target
    rollout: str
    at: float
    until: float
    incident: Incident | None = None
    retiring: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """One rollout, ours to look at until the lease ends.

    `at` is the database's time of the claim. `commands` are those not answered yet, oldest first;
    `outcomes` holds the outcome of the operation under way, once there is one; `others` how far its set is.
    """

    rollout: Rollout
    deployment: Deployment
    lease_fence: int
    at: float
    commands: tuple[Command, ...] = ()
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    others: tuple[Standing, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """What one look led to, to be written whole or not at all.

    `wake_at` is the database's time of the next look. `seen` is what people are shown of the world
    (plain JSON; None keeps what was shown before). `target` is given where the trusted version changes.
    """

    rollout: Rollout
    lease_fence: int
    wake_at: float
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    seen: Mapping[str, Any] | None = None
    samples: tuple[Sample, ...] = ()
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """A rollout as it was last written, and the world as it was last seen (None: not looked at yet)."""

    rollout: Rollout
    deployment: Deployment
    actor: str
    seen: dict[str, Any] | None = None
    seen_at: float | None = None


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """A release that waits for its target; `id` is the one that its rollout will have."""

    id: str
    component: str
    environment: str
    version: str
    actor: str
    reason: str
    asked_at: float
    deployment: Deployment


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker that has told that it lives; `age` is how many seconds ago it did so last."""

    worker: str
    executor: str
    started_at: float
    seen_at: float
    age: float
