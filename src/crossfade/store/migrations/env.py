"""What Alembic runs: on the connection, and within the transaction, that it is handed."""

from __future__ import annotations

from typing import Any

from alembic import context

from crossfade.store.tables import metadata


def ours(name: str | None, kind: str, _parents: Any) -> bool:
    """Leave alone what belongs to others in the same database."""
    return kind != "table" or name in metadata.tables


def run() -> None:
    """Run what Alembic was asked to."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        include_name=ours,
        version_table="crossfade_schema",
        transactional_ddl=True,
        transaction_per_migration=False,
    )
    context.run_migrations()


if hasattr(context, "config"):  # else it is only read, by a tool that reads all modules
    run()
