"""How a rollout steps aside for a newer release: never faster than its visitors can bear."""

from __future__ import annotations

from crossfade.core.durations import FULL
from crossfade.rollouts.rollout import Rollout, Verb

_KEEPS_WATCH = ("stabilise", "hold")


def stepping_aside(rollout: Rollout) -> Verb | None:
    """The command that makes room: back where it came from, or on where it has arrived; None while it ends by itself.

    A version that has all of the traffic, and passed its last watch, stays: only what keeps the previous one warm ends.
    """
    step = rollout.current
    if rollout.finished or rollout.turned_at is not None or step is None:
        return None
    if rollout.share == FULL and step.kind in _KEEPS_WATCH:
        return "promote"
    return None if rollout.promoted else "abort"
