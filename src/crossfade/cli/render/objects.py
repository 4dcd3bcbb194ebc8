"""Values become the objects that `crossfade.cli.documents` describes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from crossfade.cli.documents import EventObject, FindingObject, PlanObject, RevisionObject, RolloutObject, WaitingObject
from crossfade.cli.standing import Revision, cost, next_command, revisions, seconds_left
from crossfade.core.durations import FULL
from crossfade.rollouts.plan import Plan

if TYPE_CHECKING:
    from crossfade.config.model import Judge
    from crossfade.engine.views import View, Views
    from crossfade.store import WaitingRow
    from crossfade.store.audit import AuditRow


def percent(points: int) -> float:
    """A share in percent, from basis points."""
    return points / (FULL / 100)


def plan_object(plan: Plan, judge: Judge, meets: str = "") -> PlanObject:
    """Make a plan's document."""
    return {
        "component": plan.component,
        "environment": plan.environment,
        "strategy": plan.strategy,
        "version": plan.version,
        "previous": plan.previous,
        "steps": [
            {
                "number": number,
                "kind": step.kind,
                "text": step.describe(),
                "share": percent(step.share),
                "seconds": step.seconds,
                "at_least": step.at_least,
                "at_most": step.at_most,
                "instances": step.count if step.had != step.count else None,
            }
            for number, step in enumerate(plan.steps, 1)
        ],
        "shortest_seconds": plan.shortest,
        "longest_seconds": plan.longest,
        "exposures": [
            {
                "step": each.step + 1,
                "share": percent(each.share),
                "seconds": each.seconds,
                "stays": percent(each.stays),
                "full_seconds": each.full_seconds,
            }
            for each in plan.exposures(judge)
        ],
        "meets": meets,
    }


def waiting_object(waits: WaitingRow, behind: str) -> WaitingObject:
    """Make the document of a release that waits."""
    return {
        "id": waits.id,
        "version": waits.version,
        "actor": waits.actor,
        "reason": waits.reason,
        "asked_at": waits.asked_at,
        "behind": behind,
    }


def waiting_objects(views: Views, target: tuple[str, str]) -> list[WaitingObject]:
    """Make the documents of all that waits for a target."""
    return [waiting_object(each, views.outlook(each.deployment, each)) for each in views.waiting(*target)]


def rollout_object(view: View, now: float) -> RolloutObject:
    """Make the document of a rollout as it stands at `now`."""
    r = view.rollout
    failed, seconds = cost(view)
    step = r.current
    return {
        "id": r.id,
        "component": r.plan.component,
        "environment": r.plan.environment,
        "version": r.plan.version,
        "previous": r.plan.previous,
        "strategy": r.plan.strategy,
        "set": r.group.id if r.group is not None else None,
        "status": r.status,
        "actor": view.actor,
        "created_at": r.created_at,
        "finished_at": r.finished_at,
        "step": None
        if step is None or r.finished
        else {
            "number": r.step + 1,
            "of": len(r.way),
            "kind": step.kind,
            "text": step.describe(),
            "since": r.since,
            "seconds_left": seconds_left(view, now),
        },
        "cause": r.cause,
        "reason": r.reason,
        "next": next_command(r),
        "failed_requests": failed,
        "canary_requests": r.canary_requests,
        "seconds_to_rollback": seconds,
        "seen_at": view.seen_at,
        "revisions": [_revision(each) for each in revisions(view)],
        "finding": _finding(view),
    }


def _revision(revision: Revision) -> RevisionObject:
    return {
        "role": revision.role,
        "version": revision.version,
        "slot": revision.slot,
        "wanted_share": percent(revision.wanted),
        "actual_share": None if revision.actual is None else percent(revision.actual),
        "in_flight": revision.in_flight,
        "wanted_instances": revision.count,
        "instances": None
        if revision.instances is None
        else [
            {
                "id": each.id,
                "state": each.state,
                "address": each.address,
                "since": each.since,
                "restarts": each.restarts,
                "detail": each.detail,
            }
            for each in revision.instances
        ],
    }


def _finding(view: View) -> FindingObject | None:
    finding = view.seen.finding if view.seen is not None else None
    if finding is None:
        return None
    return {
        "verdict": finding.verdict,
        "cause": finding.cause,
        "reason": finding.reason,
        "ratio": None
        if finding.ratio is None
        else {"low": finite(finding.ratio[0]) or 0.0, "high": finite(finding.ratio[1])},
        "evidence": [
            {"test": each.test, "value": finite(each.value) or 0.0, "bound": finite(each.bound) or 0.0}
            for each in finding.evidence
        ],
        "canary_requests": finding.canary_requests,
        "canary_errors": finding.canary_errors,
        "stable_requests": finding.stable_requests,
        "stable_errors": finding.stable_errors,
        "rules": list(finding.measured),
        "not_judged": list(finding.unknown),
    }


def event_object(row: AuditRow) -> EventObject:
    """Make the document of one entry of the record."""
    return {
        "sequence": row.sequence,
        "at": row.at,
        "actor": row.actor,
        "kind": row.kind,
        "rollout": row.rollout,
        "component": row.component,
        "environment": row.environment,
        "text": row.text,
        "data": row.data,
        "previous": row.previous,
        "hash": row.hash,
    }


def finite(value: float) -> float | None:
    """`value`, or null where it has no end: JSON knows no infinity."""
    return value if math.isfinite(value) else None
