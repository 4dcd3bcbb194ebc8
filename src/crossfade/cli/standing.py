"""Where a rollout stands, read from one view of it: pure, so that text and JSON say the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from crossfade.analysis.values import Evidence
from crossfade.core.durations import FULL, format_duration
from crossfade.rollouts.keeping import left_behind, repair
from crossfade.rollouts.rollout import Observed, Rollout
from crossfade.runtimes.port import Instance
from crossfade.traffic.port import Slot

if TYPE_CHECKING:
    from crossfade.engine.views import View

Role = Literal["stable", "canary", "previous", "taken back"]


@dataclass(frozen=True, slots=True)
class Revision:
    """One of the two versions: `wanted` and `actual` are shares of the traffic in basis points.

    `actual` and `in_flight` are None where the router did not answer, `instances` where the runtime did not.
    """

    role: Role
    version: str
    slot: Slot
    wanted: int
    actual: int | None
    in_flight: int | None
    instances: tuple[Instance, ...] | None
    count: int | None = None
    """How many instances are wanted now; None where that does not matter any more."""

    @property
    def ready(self) -> int:
        """How many instances may receive traffic."""
        return sum(1 for instance in self.instances or () if instance.state == "ready")


def revisions(view: View) -> tuple[Revision, ...]:
    """The versions that this rollout is about: the old one first, as long as it is there or gets traffic."""
    r = view.rollout
    both = [_revision(view, r.slot, r.plan.version, r.share)]
    if r.plan.previous is not None:
        both.insert(0, _revision(view, r.old, r.plan.previous, FULL - r.share))
    return tuple(each for each in both if not _is_gone(r, each))


def _is_gone(rollout: Rollout, revision: Revision) -> bool:
    return rollout.finished and not revision.wanted and not revision.actual and not revision.instances


def _revision(view: View, slot: Slot, version: str, wanted: int) -> Revision:
    seen = view.seen
    router = seen.router if seen is not None else None
    known = router is not None and router.reachable and router.routes is not None
    there = None if seen is None or seen.instances is None else tuple(i for i in seen.instances if i.slot == slot)
    return Revision(
        role=role(view.rollout, slot),
        version=version,
        slot=slot,
        wanted=wanted,
        actual=router.routes.weight(slot) if known and router is not None and router.routes is not None else None,
        in_flight=router.in_flight.get(slot, 0) if router is not None and router.reachable else None,
        instances=there,
        count=_wanted_count(view.rollout, slot),
    )


def _wanted_count(rollout: Rollout, slot: Slot) -> int | None:
    """How many instances a version is meant to have at this moment."""
    if rollout.finished:
        return None
    step = rollout.current
    if step is not None and step.kind == ("stop-new" if slot == rollout.slot else "stop-old"):
        return 0
    return rollout.new_instances if slot == rollout.slot else rollout.old_instances


def role(rollout: Rollout, slot: Slot) -> Role:
    """What the version in `slot` is now: the trusted one is always called stable."""
    went_back = rollout.turned_at is not None
    trusted_new = (rollout.promoted or rollout.plan.previous is None or rollout.status == "done") and not went_back
    if slot == rollout.slot:
        return "stable" if trusted_new else "taken back" if went_back else "canary"
    return "previous" if trusted_new else "stable"


def seconds_left(view: View, now: float) -> float | None:
    """Seconds until the step under way has lasted as long as it is meant to; None where it has no length."""
    r = view.rollout
    step = r.current
    if step is None or r.status in ("held", "paused"):
        return None
    elapsed = max(0.0, now - r.since)
    if step.kind in ("mirror", "watch", "stabilise"):
        finding = view.seen.finding if view.seen is not None else None
        watched = finding.watched if finding is not None else 0.0 if r.terms.judged else elapsed
        return max(0.0, step.seconds - watched)
    if step.kind == "hold":
        return max(0.0, step.seconds - elapsed)
    if step.kind in ("ready", "grow"):
        return max(0.0, r.terms.ready_deadline - elapsed)
    return None


def waits_for_person(rollout: Rollout) -> bool:
    """Whether nothing will happen until somebody says so."""
    step = rollout.current
    return rollout.status in ("held", "paused") or (
        rollout.status == "running" and step is not None and step.kind == "await"
    )


def next_command(rollout: Rollout) -> str:
    """What a person would do next, and who may: the commands that this state answers to."""
    target = f"{rollout.plan.component} {rollout.plan.environment}"
    step = rollout.current
    if rollout.status == "held":
        again = (
            f"crossfade retry {target}" if rollout.failures or rollout.failing_since else f"crossfade resume {target}"
        )
        return f"{again}   or   crossfade abort {target}"
    if rollout.status == "paused":
        return f"crossfade resume {target}   or   crossfade abort {target}"
    if rollout.status == "running" and step is not None and step.kind == "await":
        return f"crossfade promote {target}   or   crossfade abort {target}"
    if rollout.status == "rolled-back":
        return f"crossfade history {rollout.id}"
    return ""


def step_title(rollout: Rollout) -> str:
    """The step under way with its number.

    The way back has numbers of its own.
    """
    step = rollout.current
    if step is None:
        return "at the end"
    back = "back " if rollout.turned_at is not None else ""
    return f"{back}step {rollout.step + 1} of {len(rollout.way)}: {step.describe()}"


def filled(evidence: Evidence) -> float:
    """How far evidence has grown to its bound, 0 to 1: on a log scale, since it grows by multiplying.

    >>> [round(filled(Evidence("combined", value, 100.0)), 2) for value in (1.0, 10.0, 100.0, 1e9)]
    [0.0, 0.5, 1.0, 1.0]
    >>> filled(Evidence("guard", 0.25, 0.5))
    0.5
    """
    value, bound = evidence.value, evidence.bound
    if not value > 0 or not bound > 0:
        return 0.0
    if bound <= 1:
        return min(1.0, value / bound)
    return max(0.0, min(1.0, math.log(max(value, 1.0)) / math.log(bound)))


def cost(view: View) -> tuple[int, float | None]:
    """What a rollout cost: failed requests of the new version, and seconds from the verdict until it got nothing."""
    r = view.rollout
    took = None if r.turned_at is None or r.cleared_at is None else max(0.0, r.cleared_at - r.turned_at)
    return r.canary_errors, took


def turned_by(rollout: Rollout) -> str:
    """What it turned back by: a person's command, or a verdict."""
    return "command" if rollout.cause == "command" else "verdict"


def title(rollout: Rollout) -> str:
    """The rollout in words: what, from what, where."""
    plan = rollout.plan
    change = f"{plan.previous} → {plan.version}" if plan.previous is not None else f"{plan.version} (first release)"
    return f"{plan.component} {change} in {plan.environment}"


def resumption(rollout: Rollout) -> str:
    """What is said when a rollout goes on that nobody was carrying."""
    plan = rollout.plan
    return (
        f"resuming {rollout.id}: a rollout of {plan.component} {plan.version} in {plan.environment} "
        f"that was interrupted at {step_title(rollout)}"
    )


def missing(view: View) -> str:
    """What is not there of what the newest rollout of a target, which has ended, has left there.

    Empty where all is there and ready, while a rollout is under way, and where nobody has looked.
    """
    if view.seen is None or not view.rollout.finished:
        return ""
    observed = Observed(view.seen.instances, view.seen.router)
    slot, version, wanted = left_behind(view.rollout)
    scaled = view.deployment.settings.runtime.scaled_by_others
    lacks = repair(view.rollout, observed, fence=0, scaled_by_others=scaled).missing
    if not lacks and not scaled and version is not None and (ready := observed.ready(slot)) < wanted:
        return f"{ready} of {wanted} instances of {version} are ready"
    return lacks


def age(seconds: float) -> str:
    """A length of time in whole seconds."""
    return format_duration(float(int(max(0.0, seconds))))
