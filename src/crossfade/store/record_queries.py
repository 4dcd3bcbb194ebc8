"""The SQL of what is kept for good: the audit chain, the samples, and rollouts as people read them."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from crossfade.store.audit import AuditRow, Head
from crossfade.store.queries import Row, Values, insert_new
from crossfade.store.tables import (
    audit,
    audit_head,
    looks,
    rollouts,
    samples,
)

# -- the record -------------------------------------------------------------------------------------------


def insert_samples(connection: sa.Connection, values: Sequence[Values]) -> None:
    """Keep closed buckets; the first reading of a bucket stays."""
    if values:
        connection.execute(insert_new(connection.dialect.name, samples), values)


def select_samples(connection: sa.Connection, rollout: str, since: float | None) -> Sequence[str]:
    """The JSON of a rollout's buckets, oldest first."""
    wanted = sa.select(samples.c.sample).where(samples.c.rollout == rollout).order_by(samples.c.at)
    if since is not None:
        wanted = wanted.where(samples.c.at >= since)
    return connection.execute(wanted).scalars().all()


_HEAD = sa.select(audit_head.c.count, audit_head.c.hash).where(audit_head.c.id == 1)
_LOCKED_HEAD = _HEAD.with_for_update()
_NEW_HEAD = sa.update(audit_head).where(audit_head.c.id == 1)


def head(connection: sa.Connection, *, lock: bool = False) -> Head:
    """How the chain ends; `lock` keeps it so until the transaction ends."""
    row = connection.execute(_LOCKED_HEAD if lock else _HEAD).first()
    return Head() if row is None else Head(*row)


_INSERT_AUDIT = sa.insert(audit)


def append(connection: sa.Connection, rows: Sequence[AuditRow]) -> None:
    """Append to the chain whose head is locked."""
    connection.execute(
        _INSERT_AUDIT,
        [
            {
                "sequence": row.sequence,
                "at": row.at,
                "actor": row.actor,
                "kind": row.kind,
                "rollout": row.rollout,
                "component": row.component,
                "environment": row.environment,
                "text": row.text,
                "data": row.canonical,
                "previous": row.previous,
                "hash": row.hash,
            }
            for row in rows
        ],
    )
    connection.execute(_NEW_HEAD, {"count": rows[-1].sequence, "hash": rows[-1].hash})


def select_audit(connection: sa.Connection, *, after: int, rollout: str | None, most: int) -> list[AuditRow]:
    """Entries of the record in their order."""
    wanted = sa.select(audit).where(audit.c.sequence > after).order_by(audit.c.sequence).limit(most)
    if rollout is not None:
        wanted = wanted.where(audit.c.rollout == rollout)
    return [AuditRow(*row) for row in connection.execute(wanted)]


# -- reading ----------------------------------------------------------------------------------------------

_FULL_ROW = sa.select(rollouts, looks.c.seen, looks.c.at.label("seen_at")).select_from(
    rollouts.outerjoin(looks, looks.c.rollout == rollouts.c.id)
)


def select_rollout(connection: sa.Connection, rollout: str) -> Row | None:
    """One rollout with what was seen last."""
    return connection.execute(_FULL_ROW.where(rollouts.c.id == rollout)).mappings().first()


def select_rollouts(
    connection: sa.Connection, *, component: str | None, environment: str | None, active: bool | None, most: int
) -> Sequence[Row]:
    """The newest rollouts, newest first."""
    wanted = _FULL_ROW.order_by(rollouts.c.created_at.desc(), rollouts.c.id.desc()).limit(most)
    if component is not None:
        wanted = wanted.where(rollouts.c.component == component)
    if environment is not None:
        wanted = wanted.where(rollouts.c.environment == environment)
    if active is not None:
        wanted = wanted.where(rollouts.c.active if active else ~rollouts.c.active)
    return connection.execute(wanted).mappings().all()
