"""Release sets: several releases into one environment, as one: all begin or none, all arrive or none."""

from __future__ import annotations

from collections.abc import Sequence

from crossfade.config.model import Deployment
from crossfade.core.errors import BadInputError
from crossfade.core.ids import make_id, random_entropy
from crossfade.engine.beginning import created, in_force, rollout_of
from crossfade.rollouts.group import Group
from crossfade.rollouts.rollout import Verb
from crossfade.store import RolloutRow, Store

Wanted = Sequence[tuple[Deployment, str]]
"""What is to be released together: where, and which version."""


def begin_set(store: Store, wanted: Wanted, *, actor: str, reason: str = "") -> str:
    """Begin a set; its id. What is trusted already is left out.

    BadInputError `set.twice` for a component that is named twice, `set.nothing` where all is trusted already,
    `rollout.active` while one of the targets is taken.
    """
    _require_different(wanted)
    now = store.now()
    targets = {each.component: store.target(each.component, each.environment) for each, _ in wanted}
    needed = [(each, v) for each, v in wanted if in_force(store, targets[each.component], each, v) is None]
    if not needed:
        raise BadInputError("set.nothing", "all of these versions are trusted already", next="crossfade status")
    ids = [make_id("ro", now, random_entropy()) for _ in needed]
    group = Group(make_id("rs", now, random_entropy()), tuple(ids))
    begun = [
        rollout_of(i, each, version, targets[each.component], now=now, group=group)
        for i, (each, version) in zip(ids, needed, strict=True)
    ]
    store.create_set(
        [
            (rollout, each, [created(rollout, actor=actor, reason=reason)])
            for rollout, (each, _) in zip(begun, needed, strict=True)
        ],
        actor,
    )
    return group.id


def set_under_way(store: Store, wanted: Wanted) -> str | None:
    """The set that brings exactly these versions now."""
    found: set[str | None] = set()
    for each, version in wanted:
        rows = store.rollouts(component=each.component, environment=each.environment, active=True, limit=1)
        if rows and rows[0].rollout.plan.version == version:
            group = rows[0].rollout.group
            found.add(group.id if group is not None else None)
        elif store.target(each.component, each.environment).version != version:
            return None
    return found.pop() if len(found) == 1 else None


def command_set(store: Store, set_id: str, verb: Verb, *, actor: str, reason: str = "") -> list[RolloutRow]:
    """Ask all members of a set that are under way; who was asked."""
    under_way = [row for row in store.members(set_id) if not row.rollout.finished]
    if not under_way:
        raise BadInputError("set.finished", f"nothing of {set_id} is under way", next=f"crossfade status {set_id}")
    store.command_set([row.rollout.id for row in under_way], verb, actor, reason)
    return under_way


def _require_different(wanted: Wanted) -> None:
    names = [each.component for each, _ in wanted]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadInputError("set.twice", f"{twice} is named twice", next="name one version of each component")
