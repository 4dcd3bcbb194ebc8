"""The SQL of what is under way: one function per question, each within a transaction of the caller.

`record_queries` has what is kept for good, `readings` what people look at. Locks are always taken in this order, so that nobody waits in a circle: schedule (by id), actions,
rollouts, targets (by name), what waits for them, the head of the audit chain.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from crossfade.store.tables import (
    actions,
    commands,
    looks,
    releases,
    rollouts,
    schedule,
    targets,
    waiting,
    workers,
)

Row = sa.RowMapping
Values = dict[str, Any]

AT_ONCE = 0.0
"""A `next_at` that is due whatever the clock does."""


def _insert(dialect: str, table: sa.Table) -> Any:
    return (sqlite.insert if dialect == "sqlite" else postgresql.insert)(table)


@functools.cache  # building a statement costs more than running it
def insert_new(dialect: str, table: sa.Table) -> Any:
    """Insert what is not there yet."""
    return _insert(dialect, table).on_conflict_do_nothing()


@functools.cache
def upsert(dialect: str, table: sa.Table, *updated: str) -> Any:
    """Insert, or update the columns `updated` of the row that is there."""
    insert = _insert(dialect, table)
    new = {name: insert.excluded[name] for name in updated}
    return insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=new)


@functools.cache
def _raise_fence(dialect: str) -> Any:
    insert = _insert(dialect, targets)
    higher = sa.case((targets.c.fence > insert.excluded.fence, targets.c.fence), else_=insert.excluded.fence)
    return insert.on_conflict_do_update(index_elements=list(targets.primary_key), set_={"fence": higher})


# -- releases and targets ---------------------------------------------------------------------------------


def insert_release(connection: sa.Connection, values: Values) -> bool:
    """Whether the release is new."""
    insert = insert_new(connection.dialect.name, releases).returning(releases.c.version)
    return connection.execute(insert, values).first() is not None


def select_release(connection: sa.Connection, component: str, version: str) -> Row | None:
    """One release."""
    wanted = sa.select(releases).where(releases.c.component == component, releases.c.version == version)
    return connection.execute(wanted).mappings().first()


def raise_fence(connection: sa.Connection, values: Values) -> None:
    """Remember the newest fence of a target; never a lower one."""
    connection.execute(_raise_fence(connection.dialect.name), values)


def trust(connection: sa.Connection, values: Values) -> None:
    """Change what is trusted in one environment."""
    here = (targets.c.component == values["component"], targets.c.environment == values["environment"])
    trusted = {name: values[name] for name in ("version", "slot", "previous")}
    connection.execute(sa.update(targets).where(*here), trusted)


# -- rollouts ---------------------------------------------------------------------------------------------


def insert_rollout(connection: sa.Connection, values: Values, *, answered: int) -> None:
    """A new rollout, due at once; IntegrityError where another one is active."""
    connection.execute(sa.insert(rollouts), values)
    due = {
        "rollout": values["id"],
        "next_at": AT_ONCE,
        "worker": "",
        "lease_until": 0.0,
        "lease_fence": 0,
        "claimed_at": 0.0,
        "revision": values["revision"],
        "asked": answered,
        "answered": answered,
    }
    connection.execute(sa.insert(schedule), due)


_DUE = (schedule.c.next_at <= sa.bindparam("now"), schedule.c.lease_until <= sa.bindparam("now"))
_ANY_DUE = sa.select(sa.literal(1)).where(*_DUE).limit(1)
_SOONEST = (
    sa.select(schedule.c.next_at)
    .where(schedule.c.next_at.is_not(None), schedule.c.lease_until <= sa.bindparam("now"))
    .order_by(schedule.c.next_at)
    .limit(1)
)
_PICK = (
    sa.select(schedule.c.rollout)
    .where(*_DUE)
    .order_by(schedule.c.next_at)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("due")  # as a plain subquery, PostgreSQL may run it twice and lock more than it was asked for
)
_CLAIM = (
    sa.update(schedule)
    .where(schedule.c.rollout.in_(sa.select(_PICK.c.rollout)))
    .values(
        worker=sa.bindparam("by"),
        claimed_at=sa.bindparam("now"),
        lease_until=sa.bindparam("until"),
        next_at=sa.bindparam("until"),
        lease_fence=schedule.c.lease_fence + 1,
    )
    .returning(
        schedule.c.rollout,
        schedule.c.lease_fence,
        schedule.c.revision,
        schedule.c.asked,
        schedule.c.answered,
    )
)


def is_anything_due(connection: sa.Connection, now: float) -> bool:
    """Whether a claim would find something."""
    return connection.execute(_ANY_DUE, {"now": now}).first() is not None


def soonest(connection: sa.Connection, now: float) -> float | None:
    """When the next rollout that nobody has claimed is due."""
    return connection.execute(_SOONEST, {"now": now}).scalar()


def claim(connection: sa.Connection, worker: str, *, now: float, until: float, most: int) -> Sequence[Row]:
    """Lease the rollouts that have been due for longest; what others are claiming now is skipped.

    Until it is written, a claimed rollout is next due when its lease ends.
    """
    given = {"by": worker, "now": now, "until": until, "most": most}
    return connection.execute(_CLAIM, given).mappings().all()


_STATES = sa.select(rollouts.c.id, rollouts.c.state, rollouts.c.deployment).where(
    rollouts.c.id.in_(sa.bindparam("ids", expanding=True))
)
_UNANSWERED = (
    sa.select(commands)
    .join(schedule, schedule.c.rollout == commands.c.rollout)
    .where(commands.c.rollout.in_(sa.bindparam("ids", expanding=True)), commands.c.serial > schedule.c.answered)
    .order_by(commands.c.rollout, commands.c.serial)
)
_OUTCOMES = sa.select(actions.c.id, actions.c.outcome).where(
    actions.c.id.in_(sa.bindparam("ids", expanding=True)), actions.c.outcome.is_not(None)
)


def select_states(connection: sa.Connection, ids: Sequence[str]) -> Sequence[Row]:
    """The JSON of some rollouts."""
    return connection.execute(_STATES, {"ids": list(ids)}).mappings().all() if ids else []


def select_unanswered(connection: sa.Connection, ids: Sequence[str]) -> Sequence[Row]:
    """The commands of some rollouts that wait for an answer, oldest first."""
    return connection.execute(_UNANSWERED, {"ids": list(ids)}).mappings().all() if ids else []


def select_outcomes(connection: sa.Connection, ids: Sequence[str]) -> Mapping[str, str]:
    """The outcomes of some actions, as far as they are there."""
    if not ids:
        return {}
    return {row.id: row.outcome for row in connection.execute(_OUTCOMES, {"ids": list(ids)})}


_HELD = (
    sa.select(schedule.c.rollout, schedule.c.lease_fence, schedule.c.revision)
    .where(schedule.c.rollout.in_(sa.bindparam("ids", expanding=True)))
    .order_by(schedule.c.rollout)
    .with_for_update()
)
_woken = schedule.c.next_at < schedule.c.lease_until
_DONE_LOOKING = (
    sa.update(schedule)
    .where(schedule.c.rollout == sa.bindparam("id"))
    .values(
        # A command or an outcome that came after the claim has set it to 0: it stays due at once.
        next_at=sa.case((_woken, schedule.c.next_at), else_=sa.bindparam("wake_at", type_=sa.Double)),
        lease_until=0.0,
        revision=sa.bindparam("new_revision"),
        answered=sa.bindparam("now_answered"),
    )
)
_NEW_STATE = (
    sa.update(rollouts)
    .where(rollouts.c.id == sa.bindparam("which"))
    .values(
        active=sa.bindparam("is_active", type_=sa.Boolean),
        status=sa.bindparam("new_status"),
        finished_at=sa.bindparam("ended_at", type_=sa.Double),
        revision=sa.bindparam("new_revision"),
        state=sa.bindparam("new_state"),
    )
)


def held(connection: sa.Connection, ids: Iterable[str]) -> Sequence[Row]:
    """The newest lease of each rollout, which cannot change until this transaction ends."""
    return connection.execute(_HELD, {"ids": list(ids)}).mappings().all()


def end_looks(connection: sa.Connection, values: Sequence[Values]) -> None:
    """Give leases back; each rollout is next due at `wake_at`, or at once if somebody woke it meanwhile."""
    if values:
        connection.execute(_DONE_LOOKING, values)


def update_states(connection: sa.Connection, values: Sequence[Values]) -> None:
    """Store new states."""
    if values:
        connection.execute(_NEW_STATE, values)


def upsert_looks(connection: sa.Connection, values: Sequence[Values]) -> None:
    """Store what was seen."""
    if values:
        connection.execute(upsert(connection.dialect.name, looks, "at", "seen"), values)


def free_leases(connection: sa.Connection, *, worker: str | None = None) -> None:
    """Make what a worker (or anybody) has claimed due at once."""
    taken = schedule.c.lease_until > 0
    mine = (taken,) if worker is None else (taken, schedule.c.worker == worker)
    connection.execute(sa.update(schedule).where(*mine).values(lease_until=0.0, next_at=AT_ONCE))


def forget_the_future(connection: sa.Connection, horizon: float) -> None:
    """After the clock was set back: what was claimed beyond `horizon` is due at once."""
    later = schedule.c.claimed_at > horizon
    unfinished = schedule.c.next_at.is_not(None)
    connection.execute(
        sa.update(schedule).where(later, unfinished).values(lease_until=0.0, next_at=AT_ONCE, claimed_at=0.0)
    )


# -- what waits -------------------------------------------------------------------------------------------


def lock_target(connection: sa.Connection, component: str, environment: str) -> None:
    """Keep everybody else from the line of a target until this transaction ends."""
    raise_fence(connection, {"component": component, "environment": environment, "fence": 0})


def insert_waiting(connection: sa.Connection, values: Values) -> None:
    """Put a release at the end of the line of its target, which is locked."""
    here = (waiting.c.component == values["component"], waiting.c.environment == values["environment"])
    last = connection.execute(sa.select(sa.func.max(waiting.c.place)).where(*here)).scalar()
    connection.execute(sa.insert(waiting), {**values, "place": (last or 0) + 1})


def delete_waiting(connection: sa.Connection, waiting_id: str) -> bool:
    """Take a release out of its line; whether it was there."""
    delete = sa.delete(waiting).where(waiting.c.id == waiting_id).returning(waiting.c.id)
    return connection.execute(delete).first() is not None


# -- commands and actions ---------------------------------------------------------------------------------

_ASK = (
    sa.update(schedule)
    .where(schedule.c.rollout == sa.bindparam("id"))
    .values(asked=schedule.c.asked + 1, next_at=AT_ONCE)
    .returning(schedule.c.asked)
)
_ASK_IF_IDLE = _ASK.where(schedule.c.asked == schedule.c.answered)
_WAKE = sa.update(schedule).where(schedule.c.rollout == sa.bindparam("id")).values(next_at=AT_ONCE)


def ask(connection: sa.Connection, rollout: str, *, if_idle: bool = False) -> int | None:
    """Wake a rollout for one more command; its serial number.

    None where there is no such rollout, or with `if_idle` where another command waits for its answer.
    """
    return connection.execute(_ASK_IF_IDLE if if_idle else _ASK, {"id": rollout}).scalar()


def wake(connection: sa.Connection, rollouts: Sequence[str]) -> None:
    """Have unfinished rollouts looked at, at once."""
    if rollouts:
        unfinished = (schedule.c.rollout.in_(rollouts), schedule.c.next_at.is_not(None))
        connection.execute(sa.update(schedule).where(*unfinished).values(next_at=AT_ONCE))


def insert_command(connection: sa.Connection, values: Values) -> None:
    """Store a command."""
    connection.execute(sa.insert(commands), values)


def insert_actions(connection: sa.Connection, values: Sequence[Values]) -> None:
    """Put actions into the outbox; one that is there already stays as it is."""
    if values:
        connection.execute(insert_new(connection.dialect.name, actions), values)


def select_wanted(connection: sa.Connection) -> Sequence[str]:
    """The JSON of the actions that have no outcome yet, oldest first."""
    wanted = sa.select(actions.c.action).where(actions.c.outcome.is_(None)).order_by(actions.c.wanted_at, actions.c.id)
    return connection.execute(wanted).scalars().all()


def select_wanted_action(connection: sa.Connection, action: str) -> str | None:
    """The JSON of one action without an outcome."""
    wanted = sa.select(actions.c.action).where(actions.c.id == action, actions.c.outcome.is_(None))
    return connection.execute(wanted).scalar()


_OF_ROLLOUTS = sa.select(actions.c.rollout, actions.c.id).where(
    actions.c.rollout.in_(sa.bindparam("ids", expanding=True)), actions.c.outcome.is_(None)
)


def select_open(connection: sa.Connection, rollouts: Sequence[str]) -> Mapping[str, list[str]]:
    """The ids of the actions without an outcome, by rollout."""
    found: dict[str, list[str]] = {}
    if rollouts:
        for row in connection.execute(_OF_ROLLOUTS.order_by(actions.c.id), {"ids": list(rollouts)}):
            found.setdefault(row.rollout, []).append(row.id)
    return found


_END = (
    sa.update(actions)
    .where(actions.c.id == sa.bindparam("which"), actions.c.outcome.is_(None))
    .values(outcome=sa.bindparam("how"), finished_at=sa.bindparam("ended_at"))
    .returning(actions.c.rollout, actions.c.action)
)
_OPEN = (
    sa.select(actions.c.rollout, rollouts.c.component, rollouts.c.environment)
    .join(rollouts, rollouts.c.id == actions.c.rollout)
    .where(actions.c.id == sa.bindparam("which"), actions.c.outcome.is_(None))
)


def finish_action(connection: sa.Connection, action: str, outcome: str, now: float) -> Values | None:
    """Store how an action ended and wake its rollout; None where that is known already."""
    found = connection.execute(_OPEN, {"which": action}).mappings().first()
    if found is None:
        return None
    connection.execute(_WAKE, {"id": found["rollout"]})
    ended = end_action(connection, action, outcome, now)
    return None if ended is None else {**found, "action": ended}


def end_action(connection: sa.Connection, action: str, outcome: str, now: float) -> str | None:
    """Store how an action ended, and return its JSON; None where that is known already."""
    row = connection.execute(_END, {"which": action, "how": outcome, "ended_at": now}).first()
    return None if row is None else str(row.action)


def notify(connection: sa.Connection) -> None:
    """Tell other processes, once this transaction is committed; SQLite's see the file change."""
    if connection.dialect.name != "sqlite":
        connection.execute(sa.text("SELECT pg_notify('crossfade', '')"))


# -- workers ----------------------------------------------------------------------------------------------


def beat(connection: sa.Connection, worker: str, executor: str, now: float) -> None:
    """Note that a worker lives."""
    values = {"worker": worker, "executor": executor, "started_at": now, "seen_at": now}
    connection.execute(upsert(connection.dialect.name, workers, "executor", "seen_at"), values)


def forget_worker(connection: sa.Connection, worker: str) -> None:
    """A worker that has ended."""
    connection.execute(sa.delete(workers).where(workers.c.worker == worker))
