"""Where a project's store is."""

from __future__ import annotations

from pathlib import Path


def database_address(state: Path, database_url: str | None) -> str:
    """`database_url`, else a SQLite file in the state folder.

    >>> database_address(Path("/srv/.crossfade"), None)
    'sqlite:////srv/.crossfade/state.db'
    """
    return database_url or f"sqlite:///{state.absolute() / 'state.db'}"
