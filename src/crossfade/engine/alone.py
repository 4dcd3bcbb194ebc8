"""What may be done before anything is written, or while nothing can be: traffic goes back, and nothing else.

Pure. A shift is tried until the router has taken it: whether it has, its fence tells.
"""

from __future__ import annotations

from dataclasses import dataclass

from crossfade.rollouts.decide import decide
from crossfade.rollouts.rollout import Decision, Observed, Rollout, wanted_routes
from crossfade.traffic.port import Routes


@dataclass(frozen=True, slots=True)
class Shift:
    """Routes that must not wait, the fence that orders them, and why."""

    routes: Routes
    fence: int
    reason: str


def urgent_shift(decision: Decision) -> Shift | None:
    """What of a decision must not wait for its being written; None where nothing is urgent."""
    for action in decision.actions:
        if action.urgent and action.routes is not None:
            return Shift(action.routes, action.fence, decision.rollout.reason)
    return None


def may_need_return(rollout: Rollout) -> bool:
    """Whether the new version may have traffic that it must not keep."""
    return rollout.cleared_at is None and (rollout.share > 0 or rollout.turned_at is not None)


def way_back(rollout: Rollout, observed: Observed, now: float) -> Shift | None:
    """What the router is to be told while the database is away; None where nothing must be taken back.

    `rollout` is as it was last written. Where it turned before that, the router may have refused what followed:
    then it is told again, under the same fence. Where the router knows a newer fence than ours, it has taken
    the shift already, or somebody else has acted.
    """
    if observed.router.fence > rollout.fence:
        return None
    decision = decide(rollout, observed, now)
    if decision.rollout.turned_at is None:
        return None
    shift = urgent_shift(decision)
    if shift is None and rollout.turned_at is not None and observed.router.fence < rollout.fence:
        return Shift(wanted_routes(rollout, observed), rollout.fence, rollout.reason)
    return shift
