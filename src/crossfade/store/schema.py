"""Bringing a database to the schema of this version, once, however many processes open it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from crossfade.core.errors import BadInputError
from crossfade.store.database import Database
from crossfade.store.readings import NEWEST, REVISION

if TYPE_CHECKING:
    from alembic.config import Config

_LOCK = 0x63726F7373666164  # "crossfad"


def migrate(database: Database) -> None:
    """Run the migrations that are missing, all or nothing; BadInputError for a schema newer than ours."""
    if database.read(_revision) != NEWEST:
        database.write(lambda connection: _upgrade(connection, database))


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("crossfade_schema"):
        return None
    found = connection.execute(sa.text(REVISION)).scalar()
    return None if found is None else str(found)


def _upgrade(connection: sa.Connection, database: Database) -> None:
    if not database.is_sqlite:  # SQLite's BEGIN IMMEDIATE holds everybody else off by itself
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    found = _revision(connection)
    if found == NEWEST:
        return  # somebody else was faster
    from alembic import command  # noqa: PLC0415 - slow to import, and needed once in a database's life
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above

    config = alembic_config(connection)
    ours = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in ours:
        raise BadInputError(
            "store.newer",
            f"the state was written by a newer Crossfade (schema {found}; this one knows up to {NEWEST})",
            where=database.name,
            next="use the version that wrote it, or a newer one",
        )
    command.upgrade(config, "head")


def alembic_config(connection: sa.Connection) -> Config:
    """Alembic's configuration for the migrations beside this file, on an open connection."""
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
