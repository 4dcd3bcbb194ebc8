"""One rollout as it stands, what is observed around it, and what is decided: frozen values.

All of them survive JSON (`ROLLOUT.dump_json`), because a rollout is a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter

from crossfade.analysis.values import Finding
from crossfade.config.model import Deployment
from crossfade.core.durations import FULL
from crossfade.rollouts.group import Group, Standing
from crossfade.rollouts.plan import Plan
from crossfade.rollouts.steps import Step
from crossfade.runtimes.port import Instance
from crossfade.traffic.port import RouterView, Routes, Slot, other

Status = Literal["running", "paused", "held", "rolling-back", "done", "rolled-back"]
Verb = Literal["pause", "resume", "promote", "promote-full", "abort", "rollback", "retry"]
OperationKind = Literal["start", "stop", "route", "smoke"]


@dataclass(frozen=True, slots=True)
class Terms:
    """The numbers of the config that decisions need: instances for each version, times in seconds."""

    instances: int
    ready_deadline: float
    drain_timeout: float
    retry_limit: float
    tick: float
    judged: bool

    @classmethod
    def of(cls, deployment: Deployment) -> Terms:
        """The terms of a deployment."""
        settings, workload = deployment.settings, deployment.workload
        return cls(
            instances=deployment.instances,
            ready_deadline=workload.ready.deadline,
            drain_timeout=workload.drain.timeout,
            retry_limit=settings.strategy.retry_limit,
            tick=settings.judge.bucket,
            judged=settings.judge.enabled,
        )


@dataclass(frozen=True, slots=True)
class Operation:
    """The side effect that is under way: its id makes it start once, however often it is asked for."""

    id: str
    kind: OperationKind
    issued_at: float


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout between two ticks.

    `slot` is the new version's; `share` the wanted share of the new version (basis points); `back` the
    way back once it has turned (empty while it goes forward); `step` the index on the way it goes;
    `since` when that step began. `fence` orders everything that the router is told. `serial` counts the
    operations, so that each has an id of its own. `failures` counts failed tries of the current step.
    """

    id: str
    plan: Plan
    terms: Terms
    slot: Slot
    status: Status
    created_at: float
    since: float
    fence: int
    salt: int
    step: int = 0
    share: int = 0
    back: tuple[Step, ...] = ()
    serial: int = 0
    operation: Operation | None = None
    left_behind: Operation | None = None
    """What was under way when it turned: what it may still bring into being is waited for, and ended."""
    failures: int = 0
    retry_at: float = 0.0
    failing_since: float | None = None
    waiting_since: float | None = None
    confirmed: bool = False
    """The data plane has confirmed the newest routes."""
    smoked: bool = False
    """The smoke tests have passed."""
    stages: tuple[tuple[float, int], ...] = ()
    """When each shift and each watch began, and its share: with the samples, all that the judge follows from."""
    promoted: bool = False
    """The new version has become the trusted one."""
    new_instances: int = 0
    """How many of the new version are wanted now."""
    old_instances: int = 0
    """How many of the old version are wanted now; those beyond get no traffic any more."""
    smoked_at: float | None = None
    """When the smoke tests were last asked for in this step."""
    budget_from: tuple[int, int] | None = None
    """Requests of the new version, and failed ones, before its error budget counted."""
    drained_from: float | None = None
    """Since when the instances that leave in this step get nothing."""
    hurried: bool = False
    """A person wants all of the traffic there at once: nothing below 100 % is watched any more."""
    cause: str = ""
    reason: str = ""
    commands: int = 0
    """Serial number of the newest command that was answered."""
    turned_at: float | None = None
    """When it turned back."""
    cleared_at: float | None = None
    """When the data plane confirmed that the bad version gets nothing."""
    finished_at: float | None = None
    canary_requests: int = 0
    canary_errors: int = 0
    group: Group | None = None
    """The release set that it belongs to."""
    noted: tuple[str, ...] = ()
    """Rules that have been told about already."""

    @property
    def finished(self) -> bool:
        """A finished rollout never changes again."""
        return self.status in ("done", "rolled-back")

    @property
    def awaited(self) -> tuple[str, ...]:
        """Ids of the operations whose outcome matters."""
        return tuple(o.id for o in (self.operation, self.left_behind) if o is not None)

    @property
    def way(self) -> tuple[Step, ...]:
        """The steps that are being walked."""
        return self.back if self.turned_at is not None else self.plan.steps

    @property
    def current(self) -> Step | None:
        """The step under way; None at the end."""
        return self.way[self.step] if self.step < len(self.way) else None

    @property
    def mirrors(self) -> int:
        """The share of requests of which the new version gets copies now (basis points)."""
        step = self.current
        return step.mirror if step is not None and not self.finished else 0

    @property
    def standing(self) -> Standing:
        """How far it is, for the others of its set."""
        turned = self.turned_at is not None
        arrived = () if turned else tuple(step.barrier for step in self.plan.steps[: self.step + 1] if step.barrier)
        name = f"{self.plan.component} {self.plan.version}"
        return Standing(self.id, name, arrived, turned=turned, finished=self.finished, reason=self.reason)

    @property
    def old(self) -> Slot:
        """The previous version's slot."""
        return other(self.slot)


@dataclass(frozen=True, slots=True)
class Command:
    """What a person asks of a rollout; `serial` grows with each, so that none is lost or done twice."""

    serial: int
    verb: Verb
    actor: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an operation ended. `retry` tells whether the same may succeed later."""

    ok: bool
    error: str = ""
    retry: bool = True


@dataclass(frozen=True, slots=True)
class Observed:
    """The world as it is at one tick.

    `instances` is None when the runtime did not answer. `finding` is None when nothing has been judged
    yet. `outcomes` holds finished operations by id; `commands` those not answered yet, oldest first.
    """

    instances: tuple[Instance, ...] | None
    router: RouterView
    finding: Finding | None = None
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    commands: tuple[Command, ...] = ()
    counted_to: float | None = None
    """Up to when the source's counts are complete; None when it does not answer."""
    next_bucket_at: float | None = None
    """When the bucket that the judge waits for ends; None while nothing is counted."""
    others: tuple[Standing, ...] = ()
    """How far the other members of its release set are."""

    def in_slot(self, slot: Slot) -> tuple[Instance, ...]:
        """The instances of one slot."""
        return tuple(i for i in self.instances or () if i.slot == slot)

    def ready(self, slot: Slot) -> int:
        """How many instances of `slot` may receive traffic."""
        return sum(1 for i in self.in_slot(slot) if i.state == "ready")


@dataclass(frozen=True, slots=True)
class Action:
    """One durable side effect, complete in itself.

    `start` brings `count` instances of `version` into `slot`; `stop` ends those in `slot`; `route`
    applies `routes` under `fence`, confirms them at the data plane, and where `proves` names a version
    has it prove itself there; `smoke` asks the instances of `slot` directly, or where it has `routes`
    through the router. An `urgent` action is tried
    before anything is written: traffic first.
    """

    id: str
    kind: OperationKind
    slot: Slot
    version: str = ""
    count: int = 0
    routes: Routes | None = None
    fence: int = 0
    proves: str = ""
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """A fact for the record: `kind` is dotted (`step.done`), `text` a sentence, `data` plain JSON."""

    kind: str
    text: str
    actor: str = "crossfade"
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from one look: the new state, what to do, what to record, when to look again."""

    rollout: Rollout
    actions: tuple[Action, ...]
    events: tuple[Event, ...]
    wake_at: float


def begin(
    rollout_id: str,
    plan: Plan,
    terms: Terms,
    *,
    slot: Slot,
    fence: int,
    salt: int,
    now: float,
    group: Group | None = None,
) -> Rollout:
    """A rollout that is about to take its first step; `fence` is the target's newest one."""
    return Rollout(
        id=rollout_id,
        plan=plan,
        terms=terms,
        slot=slot,
        status="running",
        created_at=now,
        since=now,
        fence=fence,
        salt=salt,
        group=group,
        new_instances=next((step.count for step in plan.steps if step.kind == "start"), 0) or terms.instances,
        old_instances=terms.instances if plan.previous is not None else 0,
    )


def wanted_routes(rollout: Rollout, observed: Observed) -> Routes:
    """What the router should be told now.

    A slot is open from the new version's first shift until its instances are about to be stopped; an
    open slot holds the ready instances, or all of them while none is ready, never nobody. Instances that
    are about to leave are not among them.
    """
    staying = {rollout.slot: rollout.new_instances, rollout.old: rollout.old_instances}
    if rollout.old_instances >= rollout.terms.instances:
        del staying[rollout.old]  # none was asked to leave: there may be more than are wanted of the new version
    slots: dict[Slot, tuple[str, ...]] = {
        slot: _addresses(observed, slot, staying.get(slot)) if _is_open(rollout, slot) else ()
        for slot in (rollout.slot, rollout.old)
    }
    new_is_trusted = rollout.plan.previous is None or (rollout.promoted and rollout.turned_at is None)
    trusted = rollout.slot if new_is_trusted else rollout.old
    green = rollout.share if rollout.slot == "green" else FULL - rollout.share
    mirror = rollout.mirrors if slots[rollout.slot] else 0
    return Routes({"blue": slots["blue"], "green": slots["green"]}, green, trusted, rollout.salt, mirror)


def _is_open(rollout: Rollout, slot: Slot) -> bool:
    step = rollout.current
    if slot == rollout.slot:
        closing = step is not None and step.kind == "stop-new"
        gets = rollout.share > 0 or rollout.mirrors > 0 or rollout.turned_at is not None
        return gets and not closing and rollout.status != "rolled-back"
    closing = (step is not None and step.kind == "stop-old") or rollout.old_instances == 0
    return rollout.plan.previous is not None and not closing and rollout.status != "done"


def _addresses(observed: Observed, slot: Slot, staying: int | None) -> tuple[str, ...]:
    slots = (i for i in observed.in_slot(slot) if staying is None or i.index < staying)
    there = [i for i in slots if i.state != "gone" and i.address]
    return tuple(i.address for i in there if i.state == "ready") or tuple(i.address for i in there)


ROLLOUT: TypeAdapter[Rollout] = TypeAdapter(Rollout)
"""Reads and writes a rollout as JSON."""
ACTION: TypeAdapter[Action] = TypeAdapter(Action)
"""Reads and writes an action as JSON."""
OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)
"""Reads and writes an outcome as JSON."""
