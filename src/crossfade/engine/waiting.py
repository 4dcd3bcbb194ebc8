"""Releases that wait: each starts once its target is free, and what it supersedes steps aside.

`settle` may run at any time, in any number of processes, and may die at any instant: it looks at what waits and does
what is missing. What a release does to the one under way is told by its environment's `supersede`.
"""

from __future__ import annotations

from crossfade.core.errors import BadInputError
from crossfade.engine.beginning import created, in_force, rollout_of
from crossfade.engine.standing_aside import under_way
from crossfade.rollouts.rollout import Event
from crossfade.rollouts.supersession import stepping_aside
from crossfade.store import Store, WaitingRow


def settle(store: Store) -> None:
    """Start whatever may start now, and have those step aside that newer releases supersede."""
    first: dict[tuple[str, str], WaitingRow] = {}
    for row in store.waiting():
        first.setdefault((row.component, row.environment), row)
    for row in first.values():
        active = under_way(store, row.component, row.environment)
        if active is None:
            _start(store, row)
        elif row.deployment.settings.supersede == "latest" and stepping_aside(active) is not None:
            store.line.make_way(active.id, row)


def _start(store: Store, row: WaitingRow) -> None:
    """Begin with a plan from what is trusted now; what needs no rollout, or can have none, leaves the line."""
    target = store.target(row.component, row.environment)
    if in_force(store, target, row.deployment, row.version) is not None:
        store.line.leave(row, Event("release.needless", f"{row.version} is the trusted version already"))
        return
    try:
        rollout = rollout_of(row.id, row.deployment, row.version, target, now=store.now())
    except BadInputError as error:
        store.line.leave(row, Event("release.refused", error.what))
        return
    event = created(rollout, actor=row.actor, reason=row.reason)
    store.line.start(row.id, rollout, row.deployment, row.actor, [event])
