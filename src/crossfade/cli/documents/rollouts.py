"""Plans, rollouts and their record."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict


class StepObject(TypedDict):
    """One step of a plan."""

    number: Annotated[int, "1 for the first"]
    kind: Annotated[
        str,
        "start, ready, smoke, grow, mirror, shift, watch, await, shrink, stabilise, hold, barrier, stop-old; back: start-old, grow-old, shrink-new, stop-new",
    ]
    text: Annotated[str, "the step as people read it"]
    share: Annotated[float, "the new version's share of the traffic once the step is done, in percent"]
    seconds: Annotated[float, "how long it is meant to take"]
    at_least: Annotated[float, "the shortest it may take (adaptive promotion)"]
    at_most: Annotated[float, "the longest it may take before the rollout is held"]
    instances: Annotated[
        int | None, "instances of the version that it starts or stops, once it is done; null for other steps"
    ]


class ExposureObject(TypedDict):
    """The worst case at one shift: every request of a share fails for some seconds."""

    step: Annotated[int, "number of the shift"]
    share: Annotated[float, "share of the traffic that fails, in percent"]
    seconds: Annotated[float, "the longest it can last before it is turned back"]
    stays: Annotated[float, "of the share, what only returns once instances of the old version run again, in percent"]
    full_seconds: Annotated[float, "seconds of the whole traffic: times requests per second, failed requests"]


class PlanObject(TypedDict):
    """What a deploy would do."""

    component: str
    environment: str
    strategy: Annotated[str, "first, direct, rolling, blue-green or canary"]
    version: str
    previous: Annotated[str | None, "what runs there now; null for a first release"]
    steps: list[StepObject]
    shortest_seconds: Annotated[float, "when every step ends as early as it may"]
    longest_seconds: Annotated[float, "when every step takes as long as it may"]
    exposures: Annotated[list[ExposureObject], "the worst case at each growing shift; empty for a first release"]
    meets: Annotated[str, "what is under way there, and what `supersede` does about it; empty where the target is free"]


class InstanceObject(TypedDict):
    """One running copy of a version."""

    id: str
    state: Annotated[str, "starting, ready, unready, backing-off, stopping, gone"]
    address: str
    since: Annotated[float, "start of the current run"]
    restarts: int
    detail: Annotated[str, "why it is not ready"]


class RevisionObject(TypedDict):
    """One of the versions that a rollout is about."""

    role: Annotated[str, "stable, canary, previous, taken back"]
    version: str
    slot: Annotated[str, "blue or green"]
    wanted_share: Annotated[float, "the share that it should have, in percent"]
    actual_share: Annotated[float | None, "the share that the router gives it, in percent"]
    in_flight: Annotated[int | None, "requests under way"]
    wanted_instances: Annotated[int | None, "how many there should be now; null once the rollout is finished"]
    instances: Annotated[list[InstanceObject] | None, "null when the runtime did not answer"]


class CurrentObject(TypedDict):
    """The step under way."""

    number: Annotated[int, "1 for the first; the way back counts anew"]
    of: Annotated[int, "number of steps on this way"]
    kind: str
    text: str
    since: float
    seconds_left: Annotated[float | None, "until it has lasted as long as it is meant to"]


class EvidenceObject(TypedDict):
    """One test of the judge and how far it is from its bound."""

    test: Annotated[str, "errors, latency p50/p90/p99, combined, guard, pass"]
    value: float
    bound: Annotated[float, "value ≥ bound decides"]


class RatioObject(TypedDict):
    """The anytime-valid confidence interval of canary errors to stable errors."""

    low: float
    high: Annotated[float | None, "null when it has no upper end"]


class FindingObject(TypedDict):
    """What the judge says."""

    verdict: Annotated[str, "pass, fail or inconclusive"]
    cause: Annotated[str, "errors, latency, combined, guard, a rule, proven, starved, blind, undecided"]
    reason: Annotated[str, "the arithmetic as a sentence"]
    ratio: RatioObject | None
    evidence: list[EvidenceObject]
    canary_requests: int
    canary_errors: int
    stable_requests: int
    stable_errors: int
    rules: Annotated[list[str], "the value of each rule beside its bound"]
    not_judged: Annotated[list[str], "rules of which too little is known, each with the reason"]


class RolloutObject(TypedDict):
    """One rollout and where it stands."""

    id: str
    component: str
    environment: str
    version: str
    previous: str | None
    strategy: str
    set: Annotated[str | None, "the release set that it belongs to"]
    status: Annotated[str, "running, paused, held, rolling-back, done, rolled-back"]
    actor: Annotated[str, "who asked for it"]
    created_at: float
    finished_at: float | None
    step: Annotated[CurrentObject | None, "null at the end"]
    cause: Annotated[
        str, "why it turned back: a cause of the judge, command, group, instances, ready, start, smoke, proof, budget"
    ]
    reason: Annotated[str, "why it is held, paused or went back"]
    next: Annotated[str, "the commands that this state answers to"]
    failed_requests: Annotated[int, "requests of the new version that failed"]
    canary_requests: int
    seconds_to_rollback: Annotated[float | None, "from the verdict until the data plane confirmed 0 %"]
    seen_at: Annotated[float | None, "when the engine last looked"]
    revisions: list[RevisionObject]
    finding: FindingObject | None


class WaitingObject(TypedDict):
    """A release that waits for its target."""

    id: Annotated[str, "the id that its rollout will have"]
    version: str
    actor: Annotated[str, "who asked for it"]
    reason: str
    asked_at: float
    behind: Annotated[str, "what it waits for, and what the policy does about it"]


class TargetObject(TypedDict):
    """One component in one environment."""

    component: str
    environment: str
    version: Annotated[str | None, "the trusted version; null where nothing was released"]
    previous: str | None
    missing: Annotated[str | None, "what is not there of the trusted version; null where all is, or a rollout has it"]
    rollout: Annotated[RolloutObject | None, "the one under way, else the newest"]
    waiting: Annotated[list[WaitingObject], "releases that wait for it to end, in their order"]


class StatusObject(TypedDict):
    """`crossfade status`. For a rollout's id, and with --watch: `watched` and `rollout`."""

    watched: Annotated[bool, "whether a worker is alive"]
    targets: list[TargetObject]


class EventObject(TypedDict):
    """One entry of the record."""

    sequence: int
    at: float
    actor: str
    kind: str
    rollout: str | None
    component: str | None
    environment: str | None
    text: str
    data: dict[str, Any]
    previous: Annotated[str, "hash of the entry before"]
    hash: str


class CostObject(TypedDict):
    """What a rollout cost its users."""

    failed_requests: int
    canary_requests: int
    seconds: Annotated[float | None, "from the first growing shift until the data plane confirmed 0 %"]


class HistoryObject(TypedDict):
    """`crossfade history`; for a rollout's id it is a RecordObject."""

    rollouts: list[RolloutObject]


class RecordObject(TypedDict):
    """`crossfade history ID`."""

    rollout: RolloutObject
    cost: CostObject
    events: list[EventObject]


class DeployObject(TypedDict):
    """`crossfade deploy`, once it ends."""

    plan: PlanObject
    rollout: Annotated[RolloutObject | None, "null while it waits for its target, and where it never started"]
    waiting: Annotated[WaitingObject | None, "where it waits for its target"]
    watched: Annotated[bool, "whether a worker is alive"]


class AnswerObject(TypedDict):
    """The answer to a command. A refused one is an error, `command.refused`."""

    verb: str
    accepted: Annotated[bool, "false where the command left before it was answered"]
    text: Annotated[str, "the rollout's status, or `interrupted`"]
    rollout: Annotated[RolloutObject | None, "null where only something that waited was taken out of the line"]


class SetObject(TypedDict):
    """`crossfade deploy` of several releases, and `status` and the steering commands of a set's id."""

    set: str
    watched: Annotated[bool, "whether a worker is alive"]
    rollouts: list[RolloutObject]


class PlansObject(TypedDict):
    """`crossfade plan` of several releases."""

    plans: list[PlanObject]


class WhyObject(TypedDict):
    """`crossfade why`."""

    component: str
    environment: str
    blockers: list[str]
    missing: Annotated[str | None, "what is not there of the trusted version; null where all is, or a rollout has it"]
    rollout: RolloutObject | None
    waiting: Annotated[list[WaitingObject], "releases that wait for it to end, in their order"]


class LogObject(TypedDict):
    """One line that an instance printed."""

    at: float
    instance: str
    stream: Annotated[str, "out or err"]
    text: str


class AuditObject(TypedDict):
    """`crossfade audit verify`."""

    sound: bool
    entries: int
    head: Annotated[str, "COUNT:HASH of the newest entry, worth noting elsewhere"]
    faults: list[AuditFaultObject]


class AuditFaultObject(TypedDict):
    """One thing that is wrong with the record."""

    sequence: int
    what: str
