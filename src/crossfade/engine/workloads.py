"""How a version was run when it was last rolled out: what going back to it needs."""

from __future__ import annotations

from crossfade.config.model import Component
from crossfade.store import RolloutRow, Store

_FAR_BACK = 1000


def workload_of(store: Store, row: RolloutRow, version: str) -> Component | None:
    """The workload of `version` in the target of `row`; that of `row` itself for its own version."""
    if version == row.rollout.plan.version:
        return row.deployment.workload
    plan = row.rollout.plan
    return newest_workload(store, plan.component, plan.environment, version)


def newest_workload(store: Store, component: str, environment: str, version: str) -> Component | None:
    """The workload that `version` had in its newest rollout that reached all of the traffic."""
    rows = store.rollouts(component=component, environment=environment, limit=_FAR_BACK)
    trusted = (row for row in rows if row.rollout.plan.version == version and row.rollout.promoted)
    found = next(trusted, None)
    return None if found is None else found.deployment.workload
