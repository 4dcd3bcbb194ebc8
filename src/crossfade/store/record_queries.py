"""The SQL of what is kept for good: the audit chain and the samples. `readings` has what people look at."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import sqlalchemy as sa

from crossfade.store import readings
from crossfade.store.audit import AuditRow, Head
from crossfade.store.queries import Values, insert_new
from crossfade.store.readings import Ask
from crossfade.store.tables import audit, audit_head, samples

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


_NEW_HEAD = sa.update(audit_head).where(audit_head.c.id == 1)


def asking(connection: sa.Connection) -> Ask:
    """The way in which `readings` asks within a transaction of ours."""
    return lambda text, values: connection.execute(_text(text), values).mappings().all()


_text = functools.cache(sa.text)


def head(connection: sa.Connection, *, lock: bool = False) -> Head:
    """How the chain ends; `lock` keeps it so until the transaction ends (on SQLite whoever writes has all locks)."""
    if lock and connection.dialect.name != "sqlite":
        connection.execute(_text(f"{readings.HEAD} FOR UPDATE"))
    return readings.head(asking(connection))


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
