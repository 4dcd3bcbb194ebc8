"""Rollouts for tests of what stores and carries out: small, and of either database."""

from __future__ import annotations

from dataclasses import replace

from crossfade.config.model import Component, Deployment, Environment
from crossfade.config.strategies import Direct
from crossfade.rollouts.plan import compile_plan
from crossfade.rollouts.rollout import Action, Operation, Rollout, Terms, begin
from crossfade.store import Store, Turn


def deployment(component: str = "api", environment: str = "production") -> Deployment:
    """What a rollout stores of the config; its environment holds a secret."""
    return Deployment(
        project="shop",
        component=component,
        environment=environment,
        root="/srv/shop",
        state="/srv/shop/.crossfade",
        workload=Component(command=("serve", "{port}"), environment={"TOKEN": "hunter2"}),
        instances=1,
        settings=Environment(strategy=Direct()),
    )


def rollout(
    rollout_id: str = "ro_1",
    component: str = "api",
    *,
    previous: str | None = None,
    fence: int = 0,
    now: float = 1000.0,
) -> Rollout:
    """A rollout at its beginning."""
    plan = compile_plan(Direct(), component, "production", "1.1.0", previous=previous)
    return begin(rollout_id, plan, Terms.of(deployment(component)), slot="green", fence=fence, salt=7, now=now)


def issued(rollout: Rollout, action: Action) -> Rollout:
    """The rollout, waiting for the outcome of `action`."""
    return replace(rollout, serial=rollout.serial + 1, operation=Operation(action.id, action.kind, 1000.0))


def want(store: Store, *ids: str, previous: str | None = None) -> list[Action]:
    """Put actions into the outbox, of a rollout each."""
    actions = [Action(f"{each}:1:0:start", "start", "green", version="1.1.0", count=1) for each in ids]
    for each in ids:
        store.create(rollout(each, f"of-{each}", previous=previous), deployment(f"of-{each}"), "ada")
    claims = {claim.rollout.id: claim for claim in store.claim("w", limit=1000, lease=60)}
    turns = [
        Turn(issued(claims[each].rollout, action), claims[each].lease_fence, store.now() + 60, actions=(action,))
        for each, action in zip(ids, actions, strict=True)
    ]
    assert store.write(turns) == set(ids)
    return actions
