"""Steps that take time: copies, watching, waiting for a person, stabilising, keeping the previous version warm."""

from __future__ import annotations

import math

from crossfade.core.durations import FULL, format_duration
from crossfade.rollouts.draft import Draft
from crossfade.rollouts.group import waits_for
from crossfade.rollouts.shifting import routed
from crossfade.rollouts.steps import Step

_SMOKE_TRIES = 3
"""Tries of which none may succeed before smoke tests at 100 % count as failed."""


def watch(draft: Draft, step: Step) -> bool:
    """Time counts only while there is evidence; missing data is never a pass."""
    if draft.r.hurried and step.share < FULL:
        return True
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


def wait_for_person(draft: Draft, step: Step) -> bool:
    """Nothing moves until somebody says so."""
    if draft.r.hurried and step.share > 0:
        return True
    draft.set(reason="waits for a person: crossfade promote")
    return False


def mirror(draft: Draft, step: Step) -> bool:
    """The new version gets copies of requests; visitors get the old one's answers."""
    return routed(draft) and watch(draft, step)


def stabilise(draft: Draft, step: Step) -> bool:
    """All of the traffic, for long enough to see that it stays good: smoke tests again and again, and a budget."""
    if step.every:
        _smoke_again(draft, step)
    if step.budget:
        _check_budget(draft, step)
    return not draft.going_back and watch(draft, step)


def _smoke_again(draft: Draft, step: Step) -> None:
    if draft.failing == "smoke" and draft.failed is not None:
        if draft.r.failures >= _SMOKE_TRIES:
            draft.turn("smoke", draft.failed.error)
            return
        draft.failed = None
        draft.set(smoked_at=draft.now - step.every)  # at once again: one lost request is no verdict
    since = draft.r.since if draft.r.smoked_at is None else min(draft.r.smoked_at, draft.now)
    left = since + step.every - draft.now
    if left > 0:
        draft.look_again(left)
    elif draft.smoke_through_router():
        draft.set(smoked_at=draft.now)


def _check_budget(draft: Draft, step: Step) -> None:
    """The budget of the whole time is spent once more have failed than would be allowed at its end."""
    if draft.r.budget_from is None:
        draft.set(budget_from=(draft.r.canary_requests, draft.r.canary_errors))
        return
    before, failed_before = draft.r.budget_from
    requests, failed = draft.r.canary_requests - before, draft.r.canary_errors - failed_before
    expected = requests * max(1.0, step.seconds / max(draft.elapsed(), 1.0))
    allowed = max(1, math.floor(step.budget * expected))
    if failed > allowed and not draft.going_back:
        draft.turn(
            "budget",
            f"the error budget is spent: {failed:,} of {requests:,} requests failed, and {step.budget * 100:g} % of"
            f" the {expected:,.0f} in {format_duration(step.seconds)} are {allowed:,}",
        )


def hold(draft: Draft, step: Step) -> bool:
    """The previous version stays warm."""
    draft.look_again(step.seconds - draft.elapsed())
    return draft.elapsed() >= step.seconds


def barrier(draft: Draft, step: Step) -> bool:
    """The members of a release set wait for each other; each is woken when another one gets further."""
    return step.barrier is None or not waits_for(step.barrier, draft.o.others)


def smoke(draft: Draft, _step: Step) -> bool:
    """The smoke tests pass before there is any traffic."""
    if draft.failed is not None:
        draft.turn("smoke", draft.failed.error)
        return False
    if draft.r.smoked:
        return True
    draft.operate("smoke", draft.r.slot, version=draft.r.plan.version)
    return False
