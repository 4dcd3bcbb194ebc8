"""How a rollout comes to be: from what is trusted in its target at that moment."""

from __future__ import annotations

from crossfade.config.model import Deployment
from crossfade.core.ids import random_entropy
from crossfade.rollouts.group import Group, together
from crossfade.rollouts.plan import Plan, compile_plan
from crossfade.rollouts.rollout import Event, Rollout, Terms, begin
from crossfade.store import RolloutRow, Store, Target
from crossfade.traffic.port import other

_FAR_BACK = 1000


def plan_of(deployment: Deployment, version: str, target: Target) -> Plan:
    """The plan that brings `version` to `target`."""
    return compile_plan(
        deployment.settings.strategy,
        deployment.component,
        deployment.environment,
        version,
        previous=target.version,
        instances=deployment.instances,
    )


def rollout_of(
    rollout_id: str,
    deployment: Deployment,
    version: str,
    target: Target,
    *,
    now: float,
    group: Group | None = None,
) -> Rollout:
    """A rollout of `version` that is about to take its first step, alone or in a set."""
    plan = plan_of(deployment, version, target)
    return begin(
        rollout_id,
        plan if group is None else together(plan),
        Terms.of(deployment),
        slot=other(target.slot) if target.slot is not None else "blue",
        fence=target.fence,
        salt=int.from_bytes(random_entropy()),
        now=now,
        group=group,
    )


def created(rollout: Rollout, *, actor: str, reason: str) -> Event:
    """The first entry of a rollout's record."""
    plan = rollout.plan
    return Event(
        "rollout.created",
        reason or f"{plan.component} {plan.version} into {plan.environment}, {plan.strategy}",
        actor=actor,
        data={
            "version": plan.version,
            "previous": plan.previous,
            "steps": [step.describe() for step in plan.steps],
        },
    )


def in_force(store: Store, target: Target, deployment: Deployment, version: str) -> RolloutRow | None:
    """The finished rollout that brought exactly this: the version, how it is run, how many. None where it is not so."""
    if target.version != version or target.rollout is not None:
        return None
    for row in store.rollouts(component=target.component, environment=target.environment, limit=_FAR_BACK):
        if row.rollout.plan.version == version and row.rollout.status == "done":
            same = (row.deployment.workload, row.deployment.instances) == (deployment.workload, deployment.instances)
            return row if same else None
    return None
