"""Steps that bring instances up and down, and what keeps them there.

What comes gets traffic once it is ready; what goes is out of the routes, and has had its drain, before it is stopped.
"""

from __future__ import annotations

from crossfade.core.durations import FULL
from crossfade.rollouts.draft import Draft
from crossfade.rollouts.rollout import wanted_routes
from crossfade.rollouts.shifting import SOON, old_has_capacity, release, routed, verified
from crossfade.rollouts.steps import Step
from crossfade.traffic.port import Slot

_COUNTING = 5.0

# -- up ---------------------------------------------------------------------------------------------------


def start(draft: Draft, _step: Step) -> bool:
    """The first instances of the new version."""
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
    _start_new(draft)
    return False


def ready(draft: Draft, _step: Step) -> bool:
    """All of the new version's instances answer their probes."""
    if draft.new_is_ready():
        return True
    if draft.elapsed() > draft.r.terms.ready_deadline:
        draft.turn("ready", draft.why_not_ready())
    elif any(i.state == "gone" for i in draft.o.in_slot(draft.r.slot)):
        _start_new(draft)
    draft.look_again(SOON)
    return False


def grow(draft: Draft, step: Step) -> bool:
    """More instances of the new version: started, ready, and among the routes where it has traffic."""
    if draft.r.new_instances < step.count:
        draft.set(new_instances=step.count)
    if draft.o.instances is None:
        return False
    if draft.new_is_ready():
        return draft.r.share == 0 or routed(draft)
    draft.look_again(SOON)
    if draft.failed is not None and not draft.failed.retry:
        draft.turn("start", draft.failed.error)
    elif draft.elapsed() > draft.r.terms.ready_deadline:
        draft.turn("ready", draft.why_not_ready())
    elif sum(1 for i in draft.o.in_slot(draft.r.slot) if i.state != "gone") < draft.r.new_instances:
        _start_new(draft)
    return False


def _start_new(draft: Draft) -> None:
    draft.operate("start", draft.r.slot, version=draft.r.plan.version, count=draft.r.new_instances)


def grow_old(draft: Draft, step: Step) -> bool:
    """Instances of the old version that had left come back; what those there can carry returns at once."""
    if release(draft) and draft.r.share > 0:
        draft.route(urgent=True)
        return False
    has_returned = draft.r.share == 0 and draft.r.cleared_at is None and draft.r.stages
    if (has_returned and not verified(draft)) or not _left_behind_is_over(draft):
        return False
    if draft.r.old_instances != (wanted := step.count or draft.r.terms.instances):
        draft.set(old_instances=wanted)
    return old_has_capacity(draft) and routed(draft, urgent=True)


# -- down -------------------------------------------------------------------------------------------------


def shrink(draft: Draft, step: Step) -> bool:
    """Some of the old version's instances leave, as long as those that stay are enough."""
    if draft.r.old_instances > step.count or _beyond(draft, draft.r.old, step.count):
        if not _enough_stay(draft, step):
            return False
        draft.set(old_instances=step.count)
    return _leave(draft, draft.r.old, draft.r.plan.previous or "", step.count)


def shrink_new(draft: Draft, step: Step) -> bool:
    """Some of the new version's instances leave, on the way back: their traffic has left before."""
    if not _left_behind_is_over(draft):
        return False
    draft.set(new_instances=step.count)
    return _leave(draft, draft.r.slot, draft.r.plan.version, step.count)


def _enough_stay(draft: Draft, step: Step) -> bool:
    staying = sum(1 for i in draft.o.in_slot(draft.r.old) if i.state == "ready" and i.index < step.count)
    there, wanted = staying + draft.o.ready(draft.r.slot), draft.r.terms.instances - draft.r.plan.spare
    if there >= wanted and (staying or draft.r.share == FULL):
        return True
    if draft.elapsed() > draft.r.terms.ready_deadline:
        draft.hold(f"only {there} ready instances would stay, and {wanted} are wanted")
    draft.look_again(SOON)
    return False


def _beyond(draft: Draft, slot: Slot, count: int) -> bool:
    return any(i.index >= count for i in draft.o.in_slot(slot))


def _leave(draft: Draft, slot: Slot, version: str, count: int) -> bool:
    """Take the last ones out of the routes, let what is in flight finish, then end them."""
    if draft.o.instances is None:
        return False
    if not _beyond(draft, slot, count):
        return draft.r.operation is None
    since = draft.r.drained_from
    if since is None and not routed(draft, urgent=draft.going_back):
        return False
    since = draft.now if since is None else since
    draft.set(drained_from=since)
    drained = draft.o.router.reachable and draft.o.router.in_flight.get(slot, 0) == 0
    if drained or draft.now - since > draft.r.terms.drain_timeout:
        draft.operate("start", slot, version=version, count=count)
    draft.look_again(SOON)
    return False


def stop_new(draft: Draft, _step: Step) -> bool:
    """The new version is taken away."""
    return _stopped(draft, draft.r.slot)


def stop_old(draft: Draft, _step: Step) -> bool:
    """The old version is not needed any more."""
    draft.set(old_instances=0)
    return _stopped(draft, draft.r.old)


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
    if not _cost_is_counted(draft) or not _left_behind_is_over(draft):
        return False
    if draft.o.in_slot(slot):
        drained = view.reachable and view.in_flight.get(slot, 0) == 0
        if drained or draft.elapsed() > draft.r.terms.drain_timeout:
            draft.operate("stop", slot)
        draft.look_again(SOON)
        return False
    return draft.r.operation is None


def _waits_for_old(draft: Draft) -> bool:
    """A rollback ends with the old version there; one that cannot start ends the wait."""
    if draft.r.plan.previous is None or draft.elapsed() > draft.r.terms.ready_deadline:
        return False
    draft.look_again(SOON)
    return _old_is_missing(draft) or draft.o.ready(draft.r.old) == 0


def _left_behind_is_over(draft: Draft) -> bool:
    """What was under way at the turn may still start or stop instances: it is waited for."""
    if draft.r.left_behind is None:
        return True
    if draft.r.left_behind.id not in draft.o.outcomes:
        draft.look_again(SOON)
        return False
    draft.set(left_behind=None)
    return True


def _cost_is_counted(draft: Draft) -> bool:
    """After a rollback, give the counts a moment to reach the last request of the bad version."""
    cleared, counted = draft.r.cleared_at, draft.o.counted_to
    if cleared is None or counted is None or counted > cleared + 1.0 or draft.elapsed() > _COUNTING:
        return True
    draft.look_again(SOON)
    return False


# -- what keeps them there --------------------------------------------------------------------------------


def keep_instances(draft: Draft) -> None:
    """Start again what is gone with its supervisor, as after a restart of the machine; traffic comes first."""
    step = draft.r.current
    if draft.o.instances is None or draft.r.operation is not None or step is None:
        return
    if _old_is_missing(draft):
        draft.operate("start", draft.r.old, version=draft.r.plan.previous or "", count=draft.r.old_instances)
    elif not draft.going_back and draft.r.share > 0 and any(i.state == "gone" for i in draft.o.in_slot(draft.r.slot)):
        _start_new(draft)


def _old_is_missing(draft: Draft) -> bool:
    there = sum(1 for i in draft.o.in_slot(draft.r.old) if i.state != "gone")
    return draft.r.plan.previous is not None and there < draft.r.old_instances
