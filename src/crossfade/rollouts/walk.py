"""Walking the way, forward and back: for each kind of step, what is still to be done.

Every step looks at the world first and acts only on what is missing, so it may be repeated at any
instant. A step answers True when it is done.
"""

from __future__ import annotations

from collections.abc import Callable

from crossfade.core.durations import FULL
from crossfade.rollouts import instances, shifting, watching
from crossfade.rollouts.draft import Draft
from crossfade.rollouts.steps import Step, StepKind

_CLOSING = ("hold", "stop-old")


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
    closing = step is None or step.kind in _CLOSING
    if not draft.going_back and not draft.r.promoted and draft.r.share == FULL and closing:
        draft.set(promoted=True)
        draft.record("rollout.promoted", f"{draft.r.plan.version} is the trusted version")


def _hold_when_stuck(draft: Draft) -> None:
    since = draft.r.failing_since
    if draft.failed is None or draft.going_back or draft.r.status != "running" or since is None:
        return
    if not draft.failed.retry or draft.now - since > draft.r.terms.retry_limit:
        draft.hold(draft.failed.error)


_STEPS: dict[StepKind, Callable[[Draft, Step], bool]] = {
    "start": instances.start,
    "ready": instances.ready,
    "smoke": watching.smoke,
    "grow": instances.grow,
    "mirror": watching.mirror,
    "shift": shifting.shift,
    "watch": watching.watch,
    "await": watching.wait_for_person,
    "shrink": instances.shrink,
    "stabilise": watching.stabilise,
    "hold": watching.hold,
    "barrier": watching.barrier,
    "stop-old": instances.stop_old,
    "start-old": instances.grow_old,
    "grow-old": instances.grow_old,
    "shrink-new": instances.shrink_new,
    "stop-new": instances.stop_new,
}
