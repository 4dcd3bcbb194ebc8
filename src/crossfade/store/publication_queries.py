"""The SQL of the publishing journal."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from crossfade.store.queries import Row, Values, upsert
from crossfade.store.tables import publication_items, publications

__all__ = ["Row", "end", "insert", "newest", "select", "standings", "unfinished", "upsert_item"]


def insert(connection: sa.Connection, values: Values) -> None:
    """A new publication."""
    connection.execute(sa.insert(publications), [dict(values)])


def unfinished(connection: sa.Connection) -> Sequence[Row]:
    """The publications that have no ending, newest first."""
    wanted = sa.select(publications).where(publications.c.ending.is_(None))
    return connection.execute(wanted.order_by(publications.c.created_at.desc())).mappings().all()


def select(connection: sa.Connection, publication: str) -> Row | None:
    """One publication."""
    return connection.execute(sa.select(publications).where(publications.c.id == publication)).mappings().first()


def newest(connection: sa.Connection, most: int) -> Sequence[Row]:
    """The newest publications, newest first."""
    wanted = sa.select(publications).order_by(publications.c.created_at.desc(), publications.c.id.desc()).limit(most)
    return connection.execute(wanted).mappings().all()


def standings(connection: sa.Connection, publication: str) -> Sequence[tuple[str, str]]:
    """How far the items of a publication are, each with its JSON."""
    columns = publication_items.c
    wanted = sa.select(columns.item, columns.standing).where(columns.publication == publication)
    return [(row.item, row.standing) for row in connection.execute(wanted)]


def upsert_item(connection: sa.Connection, publication: str, item: str, standing: str, now: float) -> None:
    """Note how far an item is."""
    values = {"publication": publication, "item": item, "standing": standing, "noted_at": now}
    connection.execute(upsert(connection.dialect.name, publication_items, "standing", "noted_at"), [values])


def end(connection: sa.Connection, publication: str, now: float, ending: str) -> bool:
    """Give a publication its ending; False when it has one."""
    open_ = (publications.c.id == publication) & publications.c.ending.is_(None)
    values = {"finished_at": now, "ending": ending}
    return bool(connection.execute(sa.update(publications).where(open_).values(values)).rowcount)
