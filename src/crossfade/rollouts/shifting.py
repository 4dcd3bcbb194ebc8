"""Steps that move traffic: forward only for what is ready, back as far as the old version can carry it, at once."""

from __future__ import annotations

from crossfade.core.durations import format_share
from crossfade.rollouts.draft import Draft
from crossfade.rollouts.rollout import wanted_routes
from crossfade.rollouts.steps import Step, share_to_leave

SOON = 0.25
"""Seconds until the next look where something is about to happen."""
_LITTLE = 2000
"""A share (basis points) that returns at once, however few of the old version's instances are ready: they
carry the rest already, and a quarter more is less harm than a bad version."""


def routed(draft: Draft, *, proves: str = "", urgent: bool = False) -> bool:
    """Told, confirmed by the data plane, and still so."""
    view = draft.o.router
    in_force = view.reachable and view.routes == wanted_routes(draft.r, draft.o)
    if draft.r.confirmed and in_force and draft.r.operation is None:
        return True
    draft.route(proves=proves, urgent=urgent)
    return False


def shift(draft: Draft, step: Step) -> bool:
    """Change the new version's share."""
    return _back(draft, step) if draft.going_back else _forward(draft, step)


def _forward(draft: Draft, step: Step) -> bool:
    """More traffic only for a version of which every instance is ready, now."""
    if draft.r.share != step.share:
        if not draft.new_is_ready():
            if draft.elapsed() > draft.r.terms.ready_deadline:
                draft.turn("ready", draft.why_not_ready())
            draft.look_again(SOON)
            return False
        draft.set(share=step.share, confirmed=False)
        draft.begin_stage()
    if draft.failed is not None and not draft.failed.retry:
        draft.turn("proof", draft.failed.error)
        return False
    return routed(draft, proves=draft.r.plan.version)


def _back(draft: Draft, step: Step) -> bool:
    """Everything returns at once, as far as the previous version can take it.

    The previous version normally runs at full strength. Where it does not, it gets what it can carry
    at once, is brought to strength, and then gets the rest. Where the new version has nobody left to
    answer, holding traffic there protects nobody.
    """
    release(draft)
    if draft.r.share <= step.share:
        return verified(draft)
    if routed(draft, urgent=True):
        old_has_capacity(draft)
    draft.look_again(SOON)
    return False


def verified(draft: Draft) -> bool:
    """Whether the data plane confirms what has returned; from nothing at all on, the new version is of no use."""
    # A proof that fails once is told and not asked for again: nothing keeps traffic, or the end, waiting.
    proves = draft.r.plan.previous if not draft.r.failures else None
    if not routed(draft, proves=proves or "", urgent=True):
        return False
    if draft.r.share == 0 and draft.r.cleared_at is None:
        draft.set(cleared_at=draft.now)
        draft.record("rollback.verified", f"the data plane confirms {format_share(0)} for {draft.r.plan.version}")
        draft.shorten()
    return True


def release(draft: Draft) -> bool:
    """Take from the new version whatever the old one can carry now; whether that is more than before."""
    share = _share_to_leave(draft)
    if share >= draft.r.share:
        return False
    draft.set(share=share, confirmed=False, operation=None)
    return True


def _share_to_leave(draft: Draft) -> int:
    if draft.r.plan.previous is None or draft.o.instances is None or draft.o.ready(draft.r.slot) == 0:
        return 0
    ready = draft.o.ready(draft.r.old)
    if ready and (draft.r.share <= _LITTLE or draft.elapsed() > draft.r.terms.ready_deadline):
        return 0  # it did not grow in time: a small trusted version beats a bad one
    return share_to_leave(draft.r.share, ready, draft.r.terms.instances, spare=draft.r.plan.spare)


def old_has_capacity(draft: Draft) -> bool:
    """Whether the old version has the instances that are wanted of it; what is missing is started."""
    old, wanted, previous = draft.r.old, draft.r.old_instances, draft.r.plan.previous
    if previous is None or draft.o.ready(old) >= wanted:
        return True
    if draft.o.ready(old) and draft.elapsed() > draft.r.terms.ready_deadline:
        return True
    if sum(1 for i in draft.o.in_slot(old) if i.state != "gone") < wanted:
        draft.operate("start", old, version=previous, count=wanted)
    draft.look_again(SOON)
    return False
