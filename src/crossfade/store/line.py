"""Releases that wait for their target, in line: each step is one transaction, written with its entry in the record.

Whoever changes a line has locked its target, so that a release starts once, and what is superseded never starts.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from crossfade.config.model import Deployment
from crossfade.core.errors import BadInputError
from crossfade.rollouts.rollout import ROLLOUT, Event, Rollout
from crossfade.rollouts.supersession import stepping_aside
from crossfade.store import queries, readings
from crossfade.store.audit import Subject
from crossfade.store.database import Database
from crossfade.store.encoding import as_waiting_row
from crossfade.store.orders import begin, command
from crossfade.store.record import Entry, record
from crossfade.store.record_queries import asking
from crossfade.store.rows import WaitingRow


class _GoneError(Exception):
    """It waits no longer: nothing of the transaction may stay."""


class Line:
    """All that waits, on the store's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def join(self, row: WaitingRow, *, alone: bool) -> WaitingRow:
        """Put a release at the end of the line of its target; the one of this version, where it waits already.

        With `alone`, every other one that waits there is superseded.
        """

        def work(connection: sa.Connection) -> WaitingRow:
            queries.lock_target(connection, row.component, row.environment)
            now = self._database.now(connection)
            there = [as_waiting_row(r) for r in readings.waiting(asking(connection), row.component, row.environment)]
            same = next((each for each in there if each.version == row.version), None)
            entries: list[Entry] = []
            for each in there if alone else ():
                if each is not same and queries.delete_waiting(connection, each.id):
                    text = f"{each.version} gives way to {row.version}"
                    entries.append((_about(each), Event("release.superseded", text, row.actor, {"by": row.version})))
            if same is None:
                queries.insert_waiting(
                    connection,
                    {
                        "id": row.id,
                        "component": row.component,
                        "environment": row.environment,
                        "version": row.version,
                        "actor": row.actor,
                        "reason": row.reason,
                        "asked_at": now,
                        "deployment": row.deployment.model_dump_json(),
                    },
                )
                text = row.reason or f"{row.component} {row.version} waits for {row.environment}"
                entries.append((_about(row), Event("release.waits", text, row.actor, {"version": row.version})))
            record(connection, now, entries)
            return same or row

        return self._database.write(work)

    def start(
        self, waiting_id: str, rollout: Rollout, deployment: Deployment, actor: str, events: Sequence[Event]
    ) -> bool:
        """Begin the rollout of a release that waits; False where it waits no longer, or its target is not free."""

        def work(connection: sa.Connection) -> None:
            begin(connection, self._database.now(connection), [(rollout, deployment, events)], actor=actor)
            if not queries.delete_waiting(connection, waiting_id):
                raise _GoneError

        try:
            self._database.write(work)
        except (_GoneError, IntegrityError):
            return False
        except BadInputError as error:
            if error.code != "rollout.outdated":
                raise
            return False
        return True

    def leave(self, row: WaitingRow, event: Event) -> bool:
        """Take a release out of the line, and tell why; False where it has started, or has left before."""

        def work(connection: sa.Connection) -> bool:
            queries.lock_target(connection, row.component, row.environment)
            if not queries.delete_waiting(connection, row.id):
                return False
            record(connection, self._database.now(connection), [(_about(row), event)])
            return True

        return self._database.write(work)

    def make_way(self, rollout_id: str, row: WaitingRow) -> bool:
        """Have the rollout under way step aside for `row`, unless it does so already, or is being asked something."""

        def work(connection: sa.Connection) -> None:
            queries.held(connection, [rollout_id])  # it stays as it is read here
            reason = f"superseded by {row.component} {row.version}"
            now, found = self._database.now(connection), readings.rollout(asking(connection), rollout_id)
            verb = stepping_aside(ROLLOUT.validate_json(found["state"])) if found is not None else None
            if verb is None or readings.waiting_release(asking(connection), row.id) is None:
                raise _GoneError
            if command(connection, now, rollout_id, verb, actor=row.actor, reason=reason, if_idle=True) is None:
                raise _GoneError

        try:
            self._database.write(work)
        except _GoneError:
            return False
        return True


def _about(row: WaitingRow) -> Subject:
    return Subject(row.id, row.component, row.environment)
