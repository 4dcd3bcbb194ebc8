"""Targets in which no rollout is under way: each is looked after by one worker at a time, under a lease.

A rollout takes its target over when it begins, and is looked at first when nobody else looks after the target any
more; when it has ended, the target is due again. So what keeps a version there, and what replaces it, never overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from crossfade.core.errors import BadInputError
from crossfade.rollouts.rollout import Event, Rollout
from crossfade.store import queries
from crossfade.store.audit import Subject
from crossfade.store.database import Database
from crossfade.store.encoding import as_target
from crossfade.store.record import record
from crossfade.store.rows import Incident, Kept
from crossfade.store.tables import rollouts, schedule, targets

EVERY = 10.0
"""Seconds from one look at a target in which all is well to the next."""
_FAR = 60.0
"""Seconds beyond which nothing is ever put off: what lies further ahead was written before the clock was set back."""


class Keeping:
    """All targets, on the store's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, worker: str, *, limit: int, lease: float) -> list[Kept]:
        """Take up to `limit` targets that are due and in nobody's hands, for `lease` seconds; cheap when none is."""
        if self._database.is_sqlite and not self._database.read(self._is_anything_due):
            return []

        def work(connection: sa.Connection) -> list[Kept]:
            now = self._database.now(connection)
            given = {"by": worker, "until": now + lease, "most": limit, **_bounds(now)}
            rows = connection.execute(_CLAIM, given).mappings().all()
            return [_kept(connection, row, now, now + lease) for row in rows]

        return self._database.write(work, durable=False)

    def _is_anything_due(self, connection: sa.Connection) -> bool:
        return connection.execute(_ANY_DUE, _bounds(self._database.now(connection))).first() is not None

    def done(
        self, kept: Kept, *, wake_in: float, incident: Incident | None = None, events: Sequence[Event] = ()
    ) -> None:
        """Give a target back with what is missing there, and record it; whoever took it over meanwhile begins at once.

        What is `retiring` is so no longer where nothing is missing, that is: where nothing has still to end.
        """

        def work(connection: sa.Connection) -> bool:
            now, target = self._database.now(connection), kept.target
            mine = (*_here(target.component, target.environment), targets.c.kept_until == kept.until)
            later = sa.case((targets.c.next_at.is_(None), None), else_=now + wake_in)
            known = None if incident is None else orjson.dumps(incident).decode()
            values = {"kept_until": 0.0, "next_at": later, "incident": known}
            if kept.retiring:
                values["retiring"] = incident is not None
            else:  # what somebody takes out of service during the look is looked after again at once
                values["next_at"] = sa.case((targets.c.retiring, queries.AT_ONCE), else_=later)
            update = sa.update(targets).where(*mine).values(**values)
            row = connection.execute(update.returning(targets.c.next_at)).first()
            about = Subject(component=target.component, environment=target.environment)
            record(connection, now, [(about, event) for event in events])
            return row is not None and row.next_at is None

        if self._database.write(work, durable=bool(events)):  # only then: whoever writes locks the schedule first
            self._database.write(lambda c: _release(c, kept.target.component, kept.target.environment))

    def retire(self, component: str, environment: str, *, actor: str, reason: str) -> str | None:
        """Have all that is there end; the version that was trusted, None where there was none.

        BadInputError `rollout.active` while a rollout has the target. `crossfade rollback` brings the version back.
        """

        def work(connection: sa.Connection) -> str | None:
            here = _here(component, environment)
            row = connection.execute(sa.select(targets).where(*here).with_for_update()).mappings().first()
            if row is None or row["version"] is None:
                return None
            if row["next_at"] is None:
                raise BadInputError(
                    "rollout.active",
                    f"a rollout of {component} is under way in {environment}",
                    where=f"{component} in {environment}",
                    next=f"crossfade abort {component} {environment}, then again",
                )
            gone = {"version": None, "slot": None, "previous": row["version"], "incident": None, "retiring": True}
            connection.execute(sa.update(targets).where(*here).values(**gone, next_at=queries.AT_ONCE))
            text = reason or f"{component} is taken out of service in {environment}"
            event = Event("target.retired", text, actor, {"version": row["version"]})
            record(connection, self._database.now(connection), [(Subject(None, component, environment), event)])
            return str(row["version"])

        return self._database.write(work)

    def is_retiring(self, component: str, environment: str) -> bool:
        """Whether what is there has still to end."""
        wanted = sa.select(targets.c.retiring).where(*_here(component, environment))
        return bool(self._database.read(lambda connection: connection.execute(wanted).scalar()))

    def incident(self, component: str, environment: str) -> Incident | None:
        """What is known to be missing of a target."""
        wanted = sa.select(targets.c.incident).where(*_here(component, environment))
        return _incident(self._database.read(lambda connection: connection.execute(wanted).scalar()))

    def hurry(self, component: str, environment: str) -> None:
        """Have a target looked after at once, unless a rollout has it."""

        def work(connection: sa.Connection) -> None:
            idle = (*_here(component, environment), targets.c.next_at.is_not(None))
            connection.execute(sa.update(targets).where(*idle).values(next_at=queries.AT_ONCE))

        self._database.write(work)


def hand_over(connection: sa.Connection, rollout: Rollout, now: float) -> None:
    """A rollout that begins takes its target; nobody looks at it before whoever looks after the target is done.

    BadInputError `target.retiring` while what was there has still to end.
    """
    component, environment = rollout.plan.component, rollout.plan.environment
    update = sa.update(targets).where(*_here(component, environment)).values(next_at=None, incident=None)
    until, retiring = connection.execute(update.returning(targets.c.kept_until, targets.c.retiring)).one()
    if retiring:
        raise BadInputError(
            "target.retiring",
            f"{component} is being taken out of service in {environment}",
            where=f"{component} in {environment}",
            next=f"let it end first: crossfade down {component} {environment}",
        )
    if now < until <= now + _FAR:
        connection.execute(sa.update(schedule).where(schedule.c.rollout == rollout.id).values(lease_until=until))


def take_back(connection: sa.Connection, ended: Sequence[Rollout], now: float) -> None:
    """Rollouts have ended: what each leaves behind is looked after from now on."""
    for plan in sorted((each.plan for each in ended), key=lambda plan: (plan.component, plan.environment)):
        here = _here(plan.component, plan.environment)
        connection.execute(sa.update(targets).where(*here).values(next_at=now + EVERY))


def free_leases(connection: sa.Connection, *, worker: str | None = None) -> None:
    """Make what a worker (or anybody) looks after due at once, and the rollouts that wait for it."""
    whose = () if worker is None else (targets.c.keeper == worker,)
    held = (targets.c.kept_until > 0, *whose)
    same = (rollouts.c.component == targets.c.component, rollouts.c.environment == targets.c.environment)
    begun = sa.select(rollouts.c.id).where(rollouts.c.active, sa.exists().where(*same, *held))
    _begin(connection, begun)
    due = sa.case((targets.c.next_at.is_(None), None), else_=queries.AT_ONCE)
    connection.execute(sa.update(targets).where(*held).values(kept_until=0.0, next_at=due))


def _release(connection: sa.Connection, component: str, environment: str) -> None:
    begun = sa.select(rollouts.c.id).where(
        rollouts.c.component == component, rollouts.c.environment == environment, rollouts.c.active
    )
    _begin(connection, begun)
    queries.notify(connection)


def _begin(connection: sa.Connection, begun: sa.Select[tuple[str]]) -> None:
    """Have rollouts looked at that nobody has looked at yet: they need not wait any longer."""
    untouched = (schedule.c.rollout.in_(begun), schedule.c.worker == "", schedule.c.lease_until > 0)
    connection.execute(sa.update(schedule).where(*untouched).values(lease_until=0.0, next_at=queries.AT_ONCE))


def _kept(connection: sa.Connection, row: Any, now: float, until: float) -> Kept:
    here = (rollouts.c.component == row["component"], rollouts.c.environment == row["environment"])
    newest = sa.select(rollouts.c.id).where(*here).order_by(rollouts.c.created_at.desc(), rollouts.c.id.desc()).limit(1)
    target = as_target(row["component"], row["environment"], row, None)
    return Kept(
        target, str(connection.execute(newest).scalar_one()), now, until, _incident(row["incident"]), row["retiring"]
    )


def _incident(text: str | None) -> Incident | None:
    return None if text is None else Incident(**orjson.loads(text))


def _here(component: str, environment: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return targets.c.component == component, targets.c.environment == environment


def _bounds(now: float) -> dict[str, float]:
    return {"now": now, "far": now + _FAR}


def _passed(column: sa.Column[float]) -> sa.ColumnElement[bool]:
    return sa.or_(column <= sa.bindparam("now"), column > sa.bindparam("far"))


_DUE = (
    sa.or_(targets.c.version.is_not(None), targets.c.retiring),
    _passed(targets.c.next_at),
    _passed(targets.c.kept_until),
)
_ANY_DUE = sa.select(sa.literal(1)).where(*_DUE).limit(1)
_PICK = (
    sa.select(targets.c.component, targets.c.environment)
    .where(*_DUE)
    .order_by(targets.c.next_at)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("due")
)
_CLAIM = (
    sa.update(targets)
    .where(sa.tuple_(targets.c.component, targets.c.environment).in_(sa.select(_PICK.c.component, _PICK.c.environment)))
    .values(keeper=sa.bindparam("by"), kept_until=sa.bindparam("until"))
    .returning(
        targets.c.component,
        targets.c.environment,
        targets.c.version,
        targets.c.slot,
        targets.c.previous,
        targets.c.fence,
        targets.c.incident,
        targets.c.retiring,
    )
)
