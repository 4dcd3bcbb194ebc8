"""What people ask of a rollout while it runs, and what it answers. No command stays unanswered."""

from __future__ import annotations

from crossfade.core.durations import FULL
from crossfade.rollouts.draft import Draft
from crossfade.rollouts.rollout import Command

_BEFORE_TRAFFIC = ("start", "ready", "smoke")
_SKIPPABLE = ("mirror", "watch", "await", "stabilise", "hold")


def obey(draft: Draft) -> None:
    """Answer every command that is newer than the last one answered, oldest first."""
    for command in sorted(draft.o.commands, key=lambda c: c.serial):
        if command.serial <= draft.r.commands:
            continue
        refusal = _carry_out(draft, command)
        draft.set(commands=command.serial)
        what = {"verb": command.verb, "serial": command.serial, "reason": command.reason}
        if refusal:
            draft.record("command.refused", f"{command.verb}: {refusal}", actor=command.actor, **what)
        else:
            draft.record("command.done", command.verb, actor=command.actor, **what)


def _carry_out(draft: Draft, command: Command) -> str:
    """The reason for a refusal, or nothing."""
    if draft.r.finished:
        return f"the rollout is finished ({draft.r.status})"
    if draft.going_back:
        return "the rollout is already going back"
    match command.verb:
        case "pause":
            return _pause(draft, command)
        case "resume":
            return _resume(draft)
        case "retry":
            return _retry(draft)
        case "promote":
            return _promote(draft)
        case "promote-full":
            return _promote_full(draft)
        case "abort" | "rollback":
            reason = command.reason or f"{command.verb} by {command.actor}"
            draft.turn("command", reason, actor=command.actor)
            return ""


def _pause(draft: Draft, command: Command) -> str:
    if draft.r.status != "running":
        return f"the rollout is {draft.r.status} already"
    draft.set(status="paused", reason=command.reason or f"paused by {command.actor}")
    return ""


def _resume(draft: Draft) -> str:
    if draft.r.status == "running":
        return "the rollout is running"
    draft.set(status="running", reason="", waiting_since=None, failing_since=None, failures=0, retry_at=0.0)
    return ""


def _retry(draft: Draft) -> str:
    if draft.r.status != "held" and not draft.r.failures:
        return "nothing has failed"
    return _resume(draft) if draft.r.status != "running" else _try_at_once(draft)


def _try_at_once(draft: Draft) -> str:
    draft.set(failing_since=None, failures=0, retry_at=0.0)
    return ""


def _promote(draft: Draft) -> str:
    step = draft.r.current
    if step is None or step.kind not in _SKIPPABLE:
        return f"there is nothing to skip: the step is '{step.describe() if step else 'none'}'"
    draft.set(status="running", reason="")
    draft.next_step(f"{step.describe()}: ended by a person")
    return ""


def _promote_full(draft: Draft) -> str:
    step = draft.r.current
    if step is None or draft.r.share == FULL:
        return "the new version has all of the traffic already"
    if step.kind in _BEFORE_TRAFFIC or (draft.r.share == 0 and step.kind == "shrink"):
        return "the new version is not ready yet"
    draft.set(status="running", reason="")
    steps = draft.r.plan.steps
    if any(each.kind == "shrink" for each in steps):
        draft.set(hurried=True)  # batch by batch, since there is no room for all: only nothing is watched
        return ""
    last = max(i for i, each in enumerate(steps) if each.kind == "shift")
    while steps[last - 1].kind == "grow" or steps[last - 1].barrier == "full":
        last -= 1  # all of the set must be ready for it
    draft.jump(last)
    return ""
