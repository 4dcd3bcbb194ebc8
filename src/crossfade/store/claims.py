"""Taking rollouts that are due, and writing back what the looks at them have led to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson
import sqlalchemy as sa

from crossfade.config.model import Deployment
from crossfade.rollouts.group import Standing
from crossfade.rollouts.rollout import ACTION, OUTCOME, ROLLOUT, Command, Outcome, Rollout
from crossfade.store import keeping, queries, record_queries
from crossfade.store.encoding import action_values, as_command, look_values, sample_values, state_values, subject
from crossfade.store.record import Entry, record, superseded, wanted
from crossfade.store.rows import Claim, Turn

_ENDED = "rollout.finished"
"""In the record of exactly the look that ended a rollout; one that answers commands afterwards is written again."""


class Known(NamedTuple):
    """A rollout as this process wrote or read it last: unchanged, it is neither read nor written again."""

    revision: int
    rollout: Rollout
    deployment: Deployment


def take(
    connection: sa.Connection, worker: str, known: Mapping[str, Known], *, now: float, limit: int, lease: float
) -> tuple[list[Claim], dict[str, Known]]:
    """Lease what is due; the claims, and what is known of them now."""
    rows = queries.claim(connection, worker, now=now, until=now + lease, most=limit)
    current = _read(connection, {row["rollout"]: row["revision"] for row in rows}, known)
    commands: dict[str, list[Command]] = {}
    for row in queries.select_unanswered(connection, [r["rollout"] for r in rows if r["asked"] > r["answered"]]):
        commands.setdefault(row["rollout"], []).append(as_command(row))
    outcomes = queries.select_outcomes(connection, [i for each in current.values() for i in each.rollout.awaited])
    standings = _standings(connection, [each.rollout for each in current.values()])
    claims = [
        Claim(
            current[row["rollout"]].rollout,
            current[row["rollout"]].deployment,
            row["lease_fence"],
            now,
            tuple(commands.get(row["rollout"], ())),
            {
                each: OUTCOME.validate_json(outcomes[each])
                for each in current[row["rollout"]].rollout.awaited
                if each in outcomes
            },
            _others(current[row["rollout"]].rollout, standings),
        )
        for row in rows
    ]
    return claims, current


def _standings(connection: sa.Connection, rollouts: Sequence[Rollout]) -> dict[str, Standing]:
    """How far all members of the sets of some rollouts are."""
    ids = sorted({each for rollout in rollouts if rollout.group is not None for each in rollout.group.members})
    return {row["id"]: ROLLOUT.validate_json(row["state"]).standing for row in queries.select_states(connection, ids)}


def _others(rollout: Rollout, standings: Mapping[str, Standing]) -> tuple[Standing, ...]:
    members = rollout.group.members if rollout.group is not None else ()
    return tuple(standings[each] for each in members if each != rollout.id and each in standings)


def _read(connection: sa.Connection, revisions: Mapping[str, int], known: Mapping[str, Known]) -> dict[str, Known]:
    current = {i: known[i] for i, revision in revisions.items() if i in known and known[i].revision == revision}
    for row in queries.select_states(connection, [i for i in revisions if i not in current]):
        i = row["id"]
        deployment = known[i].deployment if i in known else Deployment.model_validate_json(row["deployment"])
        current[i] = Known(revisions[i], ROLLOUT.validate_json(row["state"]), deployment)
    return current


def write(connection: sa.Connection, turns: Sequence[Turn], known: Mapping[str, Known], now: float) -> dict[str, int]:
    """Write the turns whose lease still holds; the new revision of each, by rollout."""
    members = {each for turn in turns if turn.rollout.group is not None for each in turn.rollout.group.members}
    ids = {turn.rollout.id for turn in turns} | members
    leases = {row["rollout"]: row for row in queries.held(connection, ids)}
    ours = [t for t in turns if t.rollout.id in leases and leases[t.rollout.id]["lease_fence"] == t.lease_fence]
    changed, moved, aimed, revisions = [], [], [], {}
    for turn in ours:
        i, revision = turn.rollout.id, leases[turn.rollout.id]["revision"]
        before = known[i].rollout if i in known and known[i].revision == revision else None
        if before is None or before != turn.rollout:
            revision += 1
            changed.append(turn)
        if before is None or before.awaited != turn.rollout.awaited or turn.actions:
            moved.append(turn)
        if before is None or before.fence != turn.rollout.fence or turn.target is not None:
            aimed.append(turn)
        revisions[i] = revision
    queries.insert_actions(connection, [action_values(t.rollout, a, now) for t in ours for a in t.actions])
    left = _supersede(connection, moved, now)
    queries.end_looks(connection, [look_values(t.rollout, revisions[t.rollout.id], t.wake_at) for t in ours])
    further = [t.rollout for t in changed if t.rollout.group is not None and t.events]
    queries.wake(connection, [each for r in further if r.group for each in r.group.members if each != r.id])
    queries.update_states(connection, [state_values(t.rollout, revisions[t.rollout.id]) for t in changed])
    _write_details(connection, ours, now)
    _write_targets(connection, aimed)
    keeping.take_back(connection, [t.rollout for t in ours if any(e.kind == _ENDED for e in t.events)], now)
    record(connection, now, [*_entries(ours), *left])
    return revisions


def _supersede(connection: sa.Connection, turns: Sequence[Turn], now: float) -> list[Entry]:
    """Close actions that nobody waits for any longer, so that no crash makes anybody carry them out late."""
    entries = []
    open_actions = queries.select_open(connection, [turn.rollout.id for turn in turns])
    for turn in turns:
        for each in open_actions.get(turn.rollout.id, ()):
            if each in turn.rollout.awaited:
                continue
            text = queries.end_action(connection, each, _SUPERSEDED, now)
            if text is not None:
                entries.append((subject(turn.rollout), superseded(ACTION.validate_json(text))))
    return entries


_SUPERSEDED = OUTCOME.dump_json(
    Outcome(ok=False, error="superseded: the rollout went on without it", retry=False)
).decode()


def _write_details(connection: sa.Connection, turns: Sequence[Turn], now: float) -> None:
    queries.upsert_looks(
        connection,
        [
            {"rollout": t.rollout.id, "at": now, "seen": orjson.dumps(dict(t.seen), option=_ANY_KEY).decode()}
            for t in turns
            if t.seen is not None
        ],
    )
    record_queries.insert_samples(connection, [sample_values(t.rollout, s) for t in turns for s in t.samples])


_ANY_KEY = orjson.OPT_NON_STR_KEYS


def _write_targets(connection: sa.Connection, turns: Sequence[Turn]) -> None:
    """Fences first, so that the row is there; always in the same order, so that nobody waits in a circle."""
    for turn in sorted(turns, key=lambda t: (t.rollout.plan.component, t.rollout.plan.environment)):
        here = {"component": turn.rollout.plan.component, "environment": turn.rollout.plan.environment}
        queries.raise_fence(connection, {**here, "fence": turn.rollout.fence})
        if turn.target is not None:
            trusted = {"version": turn.target.version, "slot": turn.target.slot, "previous": turn.target.previous}
            queries.trust(connection, {**here, **trusted})


def _entries(turns: Sequence[Turn]) -> list[Entry]:
    return [
        (subject(turn.rollout), event) for turn in turns for event in (*turn.events, *(wanted(a) for a in turn.actions))
    ]
