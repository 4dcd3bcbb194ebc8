"""Steps that take time: watching, waiting for a person, keeping the previous version warm."""

from __future__ import annotations

from crossfade.core.durations import FULL, format_duration
from crossfade.rollouts.draft import Draft
from crossfade.rollouts.steps import Step


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


def hold(draft: Draft, step: Step) -> bool:
    """The previous version stays warm."""
    draft.look_again(step.seconds - draft.elapsed())
    return draft.elapsed() >= step.seconds


def smoke(draft: Draft, _step: Step) -> bool:
    """The smoke tests pass before there is any traffic."""
    if draft.failed is not None:
        draft.turn("smoke", draft.failed.error)
        return False
    if draft.r.smoked:
        return True
    draft.operate("smoke", draft.r.slot, version=draft.r.plan.version)
    return False
