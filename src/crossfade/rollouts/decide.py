"""The heart: what follows from a rollout and one look at the world.

`decide` takes in what has ended, obeys people, looks for harm, and walks on. It is pure: all time is an
argument, so a day of rollout is a loop over numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from crossfade.analysis.values import Alert, Finding
from crossfade.core.durations import format_share
from crossfade.core.limits import MOST_INSTANCES
from crossfade.rollouts.commands import obey
from crossfade.rollouts.draft import Draft
from crossfade.rollouts.drift import COPIES, INSTANCES, drift
from crossfade.rollouts.group import who_turned
from crossfade.rollouts.instances import keep_instances
from crossfade.rollouts.rollout import Decision, Observed, Rollout, wanted_routes
from crossfade.rollouts.walk import walk

_KNOWN_AFTER = 0.75
"""Seconds after its end at which a bucket is known: a source shows twice a second that it lives."""
_OVERDUE = 1.5
_SOON = 0.25
_MOVES_INSTANCES = ("grow", "shrink", "start-old", "grow-old", "shrink-new")


def decide(rollout: Rollout, observed: Observed, now: float) -> Decision:
    """What becomes of `rollout` at `now`, seen `observed`.

    The same arguments always give the same decision. A finished rollout never changes, except that it
    answers commands (all of them with a refusal).
    """
    draft = Draft(rollout, observed, now)
    draft.settle()
    obey(draft)
    if not draft.r.finished:
        _count(draft)
        _keep_together(draft)
        _look_for_harm(draft)
        _keep_routes(draft)
        walk(draft)
    if not draft.r.finished:
        _await_bucket(draft)
        keep_instances(draft)
    return draft.decision()


def _count(draft: Draft) -> None:
    finding = draft.o.finding
    if finding is not None:
        draft.set(canary_requests=finding.canary_requests, canary_errors=finding.canary_errors)


def _keep_together(draft: Draft) -> None:
    """A release set goes back as one."""
    gone = who_turned(draft.o.others)
    if gone is not None and not draft.going_back:
        draft.turn("group", f"{gone.name} of the same set was taken back" + (f": {gone.reason}" if gone.reason else ""))


def _await_bucket(draft: Draft) -> None:
    """Look again when the next bucket is known, and not up to a tick later: a verdict waits for nothing else.

    One that is overdue is asked for a few times; from a source that has gone silent nothing is expected at once.
    """
    closes = draft.o.next_bucket_at
    if closes is None or draft.going_back or not _is_asked(draft):
        return
    left = closes + _KNOWN_AFTER - draft.now
    if left > -_OVERDUE:
        draft.look_again(max(left, _SOON))


def _look_for_harm(draft: Draft) -> None:
    """Turn back on a failing verdict or a dead version, in whatever state the rollout is."""
    if draft.going_back or not _is_asked(draft):
        return
    finding = draft.o.finding
    if finding is not None and finding.verdict == "fail":
        _answer(draft, finding)
    elif draft.r.noted:
        draft.set(noted=())
    dead = draft.o.instances is not None and draft.o.ready(draft.r.slot) == 0
    if dead and draft.r.plan.previous is not None and draft.r.turned_at is None:
        draft.turn("instances", f"no instance of {draft.r.plan.version} is ready: {_why_not_ready(draft)}")


def _is_asked(draft: Draft) -> bool:
    """Whether the new version answers anything: requests, or copies of them."""
    return draft.r.share > 0 or draft.r.mirrors > 0


def _answer(draft: Draft, finding: Finding) -> None:
    evidence = {
        "cause": finding.cause,
        "ratio": finding.ratio and [bound if math.isfinite(bound) else None for bound in finding.ratio],
        "evidence": [(e.test, e.value, e.bound) for e in finding.evidence],
        "canary": (finding.canary_errors, finding.canary_requests),
        "stable": (finding.stable_errors, finding.stable_requests),
    }
    if finding.action == "rollback" and draft.r.plan.previous is not None:
        draft.turn(finding.cause, finding.reason, evidence=evidence)
        return
    alerts = (Alert(finding.cause, finding.reason, finding.action), *finding.also)
    for alert in alerts:
        if alert.cause not in draft.r.noted:
            _heed(draft, alert, evidence)
    draft.set(noted=tuple(alert.cause for alert in alerts))


def _heed(draft: Draft, alert: Alert, evidence: Mapping[str, Any]) -> None:
    """Do what a rule asks for that has fired just now: once, however long it goes on."""
    draft.record("rule.fired", alert.reason, action=alert.action, evidence=evidence)
    if alert.action == "scale":
        draft.set(new_instances=min(draft.r.new_instances + 1, MOST_INSTANCES))
        draft.operate("start", draft.r.slot, version=draft.r.plan.version, count=draft.r.new_instances)
    elif alert.action != "notify" and draft.r.status == "running":
        draft.hold(alert.reason)


def _why_not_ready(draft: Draft) -> str:
    details = [f"{i.id} is {i.state}" + (f" ({i.detail})" if i.detail else "") for i in draft.o.in_slot(draft.r.slot)]
    return "; ".join(details) or "none is there"


def _keep_routes(draft: Draft) -> None:
    """Repair what drifted: a router restarted empty, an instance that came or went.

    Steps that move traffic do their own routing; before the first shift there is nothing to keep for
    the new version, but the old one's routes are kept throughout.
    """
    step = draft.r.current
    if step is not None and step.kind in ("shift", "stop-new", "stop-old"):
        return
    if draft.r.plan.previous is None and draft.r.share == 0:
        return
    if draft.o.instances is None:
        return
    view, wanted = draft.o.router, wanted_routes(draft.r, draft.o)
    differs = drift(view, wanted)
    if not differs:
        return
    moved = step is not None and step.kind in _MOVES_INSTANCES
    expected = (differs == INSTANCES and moved) or differs == COPIES
    if draft.r.operation is None and not draft.r.failures and not expected:
        draft.record("router.repair", f"{differs}: {format_share(draft.r.share)} for {draft.r.plan.version}")
    draft.route(urgent=draft.going_back)
