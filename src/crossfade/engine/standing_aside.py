"""What a release would meet in its target, and what its environment's policy does about it."""

from __future__ import annotations

import itertools

from crossfade.rollouts.rollout import Rollout
from crossfade.rollouts.supersession import stepping_aside
from crossfade.store import Records, WaitingRow


def under_way(records: Records, component: str, environment: str) -> Rollout | None:
    """The rollout under way in a target."""
    rows = records.rollouts(component=component, environment=environment, active=True, limit=1)
    return rows[0].rollout if rows else None


def outlook(records: Records, row: WaitingRow | None, component: str, environment: str, policy: str) -> str:
    """What would become of a release (`row` where it waits already) that is asked for now."""
    active = under_way(records, component, environment)
    line = records.waiting(component, environment)
    ahead = list(itertools.takewhile(lambda each: row is None or each.id != row.id, line))
    if active is None and not ahead:
        return ""
    there = f"{active.plan.version} is under way ({active.id})" if active is not None else "others wait"
    match policy:
        case "reject":
            return f"{there}: refused until it has ended"
        case "queue":
            versions = ", ".join(each.version for each in ahead)
            return f"{there}: waits until it has ended" + (f", behind {versions}" if versions else "")
        case _:
            others = "".join(f"; {each.version}, which waits, is superseded" for each in ahead)
            return f"{there}: {_made_way(active)}" + others


def _made_way(active: Rollout | None) -> str:
    if active is None:
        return "they never start"
    match stepping_aside(active):
        case "abort":
            return "taken back first, traffic first and drained"
        case "promote":
            return "it has all of the traffic and stays trusted; only keeping the version before it warm is ended"
        case _:
            return "it is ending already, and is waited for"
