"""Walking the way, forward and back: for each kind of step, what is still to be done.

Every step looks at the world first and acts only on what is missing, so it may be repeated at any
instant. A step answers True when it is done.
"""

from __future__ import annotations

from collections.abc import Callable

from crossfade.core.durations import FULL, format_duration, format_share
from crossfade.rollouts.draft import Draft
from crossfade.rollouts.rollout import wanted_routes
from crossfade.rollouts.steps import Step
from crossfade.traffic.port import Slot

_SOON = 0.25
_COUNTING = 5.0
_LITTLE = 2000
"""A share (basis points) that returns at once, however few of the old version's instances are ready: they
carry the rest already, and a quarter more is less harm than a bad version."""


def walk(draft: Draft) -> None:
    """Take as many steps as are done now, and act on the first that is not."""
    while draft.r.status in ("running", "rolling-back"):
        _promote_when_proven(draft)
        step = draft.r.current
        if step is None:
            draft.finish()
            return
        turned_at = draft.r.turned_at
        done = _STEPS[step.kind](draft, step)
        if draft.r.turned_at != turned_at:
            continue  # it turned back just now: take the first step of the way back at once
        if not done:
            _hold_when_stuck(draft)
            return
        draft.next_step()


def _promote_when_proven(draft: Draft) -> None:
    """The new version is the trusted one once it has all of the traffic and its last watch is over."""
    step = draft.r.current
    closing = step is None or step.kind in ("hold", "stop-old")
    if not draft.going_back and not draft.r.promoted and draft.r.share == FULL and closing:
        draft.set(promoted=True)
        draft.record("rollout.promoted", f"{draft.r.plan.version} is the trusted version")


def _hold_when_stuck(draft: Draft) -> None:
    since = draft.r.failing_since
    if draft.failed is None or draft.going_back or draft.r.status != "running" or since is None:
        return
    if not draft.failed.retry or draft.now - since > draft.r.terms.retry_limit:
        draft.hold(draft.failed.error)


# -- bringing versions up ---------------------------------------------------------------------------------


def _start(draft: Draft, _step: Step) -> bool:
    slot, version = draft.r.slot, draft.r.plan.version
    there = draft.o.in_slot(slot)
    if draft.o.instances is None:
        return False
    if any(i.version != version for i in there):
        draft.operate("stop", slot)  # what an earlier rollout left
        return False
    if sum(1 for i in there if i.state != "gone") >= draft.r.new_instances and draft.r.operation is None:
        return True
    if draft.failed is not None and (not draft.failed.retry or draft.elapsed() > draft.r.terms.ready_deadline):
        draft.turn("start", draft.failed.error)
        return False
    draft.operate("start", slot, version=version, count=draft.r.new_instances)
    return False


def _ready(draft: Draft, _step: Step) -> bool:
    if _all_ready(draft):
        return True
    if draft.elapsed() > draft.r.terms.ready_deadline:
        draft.turn("ready", _not_ready(draft))
    elif any(i.state == "gone" for i in draft.o.in_slot(draft.r.slot)):
        draft.operate("start", draft.r.slot, version=draft.r.plan.version, count=draft.r.new_instances)
    draft.look_again(_SOON)
    return False


def _all_ready(draft: Draft) -> bool:
    return draft.o.instances is not None and draft.o.ready(draft.r.slot) >= draft.r.new_instances


def _not_ready(draft: Draft) -> str:
    slot, wanted = draft.r.slot, draft.r.new_instances
    limit = format_duration(draft.r.terms.ready_deadline)
    why = "; ".join(f"{i.id} is {i.state}: {i.detail}" for i in draft.o.in_slot(slot) if i.state != "ready")
    return f"{draft.o.ready(slot)} of {wanted} instances became ready within {limit}. {why or 'none is there'}"


def _smoke(draft: Draft, _step: Step) -> bool:
    if draft.failed is not None:
        draft.turn("smoke", draft.failed.error)
        return False
    if draft.r.smoked:
        return True
    draft.operate("smoke", draft.r.slot, version=draft.r.plan.version)
    return False


def _start_old(draft: Draft, _step: Step) -> bool:
    return _old_has_capacity(draft)


# -- traffic ----------------------------------------------------------------------------------------------


def _shift(draft: Draft, step: Step) -> bool:
    return _shift_back(draft, step) if draft.going_back else _shift_forward(draft, step)


def _shift_forward(draft: Draft, step: Step) -> bool:
    """More traffic only for a version of which every instance is ready, now."""
    if draft.r.share != step.share:
        if not _all_ready(draft):
            if draft.elapsed() > draft.r.terms.ready_deadline:
                draft.turn("ready", _not_ready(draft))
            draft.look_again(_SOON)
            return False
        draft.set(share=step.share, confirmed=False)
        draft.begin_stage()
    if draft.failed is not None and not draft.failed.retry:
        draft.turn("proof", draft.failed.error)
        return False
    return _routed(draft, proves=draft.r.plan.version, urgent=False)


def _shift_back(draft: Draft, step: Step) -> bool:
    """Everything returns at once, as far as the previous version can take it.

    The previous version normally runs at full strength. Where it does not, it gets what it can carry
    at once, is brought to strength, and then gets the rest. Where the new version has nobody left to
    answer, holding traffic there protects nobody.
    """
    share = min(draft.r.share, _share_to_leave(draft, step))
    if share != draft.r.share:
        draft.set(share=share, confirmed=False, operation=None)
    # A proof that fails once is told and not asked for again: nothing keeps traffic, or the end, waiting.
    proves = draft.r.plan.previous if share == step.share and not draft.r.failures else None
    routed = _routed(draft, proves=proves or "", urgent=True)
    if share > step.share:
        if routed:
            _old_has_capacity(draft)
        draft.look_again(_SOON)
        return False
    if routed and draft.r.cleared_at is None:
        draft.set(cleared_at=draft.now)
        draft.record("rollback.verified", f"the data plane confirms {format_share(share)} for {draft.r.plan.version}")
    return routed


def _share_to_leave(draft: Draft, step: Step) -> int:
    if draft.r.plan.previous is None or draft.o.instances is None or draft.o.ready(draft.r.slot) == 0:
        return step.share
    needed = max(draft.r.old_instances, 1)
    ready = min(draft.o.ready(draft.r.old), needed)
    if ready and (draft.r.share <= _LITTLE or draft.elapsed() > draft.r.terms.ready_deadline):
        return step.share  # it did not grow in time: a small trusted version beats a bad one
    return max(step.share, FULL * (needed - ready) // needed)


def _old_has_capacity(draft: Draft) -> bool:
    old, wanted, previous = draft.r.old, draft.r.old_instances, draft.r.plan.previous
    if previous is None or draft.o.ready(old) >= wanted:
        return True
    if draft.o.ready(old) and draft.elapsed() > draft.r.terms.ready_deadline:
        return True
    if sum(1 for i in draft.o.in_slot(old) if i.state != "gone") < wanted:
        draft.operate("start", old, version=previous, count=wanted)
    draft.look_again(_SOON)
    return False


def _routed(draft: Draft, *, proves: str, urgent: bool) -> bool:
    """Told, confirmed by the data plane, and still so."""
    view = draft.o.router
    in_force = view.reachable and view.routes == wanted_routes(draft.r, draft.o)
    if draft.r.confirmed and in_force and draft.r.operation is None:
        return True
    draft.route(proves=proves, urgent=urgent)
    return False


# -- time and evidence ------------------------------------------------------------------------------------


def _watch(draft: Draft, step: Step) -> bool:
    """Time counts only while there is evidence; missing data is never a pass."""
    finding = draft.o.finding
    if finding is not None and finding.stage != draft.r.since:
        return False  # it speaks of the stage before
    if not draft.r.terms.judged and finding is None:
        draft.look_again(step.seconds - draft.elapsed())
        return draft.elapsed() >= step.seconds
    watched = finding.watched if finding is not None else 0.0
    missing = "no data yet" if finding is None else finding.missing
    if finding is not None and finding.verdict == "pass" and step.adaptive and watched >= step.at_least:
        return True
    if not missing and watched >= step.seconds:
        return True
    if missing and draft.elapsed() >= step.seconds:
        _wait_for_evidence(draft, step, missing)
    elif not missing:
        draft.set(waiting_since=None)
    return False


def _wait_for_evidence(draft: Draft, step: Step, missing: str) -> None:
    since = draft.now if draft.r.waiting_since is None else draft.r.waiting_since
    draft.set(waiting_since=since)
    if draft.now - since >= step.at_most - step.seconds:
        draft.hold(f"{missing}; waited {format_duration(step.at_most - step.seconds)} beyond the step's time")


def _await(draft: Draft, _step: Step) -> bool:
    draft.set(reason="waits for a person: crossfade promote")
    return False


def _hold(draft: Draft, step: Step) -> bool:
    draft.look_again(step.seconds - draft.elapsed())
    return draft.elapsed() >= step.seconds


# -- bringing versions down -------------------------------------------------------------------------------


def _stop_new(draft: Draft, _step: Step) -> bool:
    return _stopped(draft, draft.r.slot)


def _stop_old(draft: Draft, _step: Step) -> bool:
    return _stopped(draft, draft.r.old)


def keep_instances(draft: Draft) -> None:
    """Start again what is gone with its supervisor, as after a restart of the machine; traffic comes first."""
    step = draft.r.current
    if draft.o.instances is None or draft.r.operation is not None or step is None:
        return
    if step.kind != "stop-old" and _old_is_missing(draft):
        draft.operate("start", draft.r.old, version=draft.r.plan.previous or "", count=draft.r.old_instances)
    elif not draft.going_back and draft.r.share > 0 and any(i.state == "gone" for i in draft.o.in_slot(draft.r.slot)):
        draft.operate("start", draft.r.slot, version=draft.r.plan.version, count=draft.r.new_instances)


def _old_is_missing(draft: Draft) -> bool:
    there = sum(1 for i in draft.o.in_slot(draft.r.old) if i.state != "gone")
    return draft.r.plan.previous is not None and there < draft.r.old_instances


def _waits_for_old(draft: Draft) -> bool:
    """A rollback ends with the old version there; one that cannot start ends the wait."""
    if draft.r.plan.previous is None or draft.elapsed() > draft.r.terms.ready_deadline:
        return False
    draft.look_again(_SOON)
    return _old_is_missing(draft) or draft.o.ready(draft.r.old) == 0


def _stopped(draft: Draft, slot: Slot) -> bool:
    """Close the slot, let what is in flight finish, then end the instances."""
    view = draft.o.router
    if draft.o.instances is None:
        return False
    if draft.going_back and _waits_for_old(draft):
        return False
    if view.reachable and view.routes != wanted_routes(draft.r, draft.o):
        draft.route(urgent=draft.going_back)
        return False
    if not _cost_is_counted(draft):
        return False
    if draft.r.left_behind is not None:
        if draft.r.left_behind.id not in draft.o.outcomes:
            draft.look_again(_SOON)
            return False
        draft.set(left_behind=None)
    if draft.o.in_slot(slot):
        drained = view.reachable and view.in_flight.get(slot, 0) == 0
        if drained or draft.elapsed() > draft.r.terms.drain_timeout:
            draft.operate("stop", slot)
        draft.look_again(_SOON)
        return False
    return draft.r.operation is None


def _cost_is_counted(draft: Draft) -> bool:
    """After a rollback, give the counts a moment to reach the last request of the bad version."""
    cleared, counted = draft.r.cleared_at, draft.o.counted_to
    if cleared is None or counted is None or counted > cleared + 1.0 or draft.elapsed() > _COUNTING:
        return True
    draft.look_again(_SOON)
    return False


_STEPS: dict[str, Callable[[Draft, Step], bool]] = {
    "start": _start,
    "ready": _ready,
    "smoke": _smoke,
    "shift": _shift,
    "watch": _watch,
    "await": _await,
    "hold": _hold,
    "stop-new": _stop_new,
    "stop-old": _stop_old,
    "start-old": _start_old,
}
