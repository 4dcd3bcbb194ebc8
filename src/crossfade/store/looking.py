"""Opening the records to look at them, at the least cost: a SQLite file by Python itself, anything else by `Store`."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from crossfade.store import readings
from crossfade.store.readings import Ask, Row
from crossfade.store.records import Records, T

_PATIENCE = 10.0


def open_records(url: str) -> Records:
    """Open for looking: a SQLite file that has our schema by itself, anything else as `Store.open` does."""
    path = url.removeprefix("sqlite:///")
    records = SqliteRecords.open(Path(path)) if path != url and "?" not in path else None
    if records is not None:
        return records
    from crossfade.store.store import Store  # noqa: PLC0415 - slow to import: SQLAlchemy and all that writes

    return Store.open(url)


class SqliteRecords(Records):
    """The records in one SQLite file, for one thread."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> SqliteRecords | None:
        """Open a file as it is; None where there is none, or not with the newest schema: `Store.open` sees to it."""
        try:
            connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None) if path.exists() else None
        except (OSError, sqlite3.Error):
            return None
        if connection is None:
            return None
        connection.row_factory = _as_mapping
        records = cls(path, connection)
        try:
            found = connection.execute(readings.REVISION).fetchone()
        except sqlite3.Error:
            found = None
        if found is None or found["version_num"] != readings.NEWEST:
            records.close()
            return None
        return records

    def look(self, work: Callable[[Ask], T]) -> T:
        """Run `work` in a transaction that sees one state of the file."""
        try:
            self._connection.execute("BEGIN")
            try:
                return work(self._ask)
            finally:
                self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            from crossfade.store.database import explain  # noqa: PLC0415 - only for an error

            raise explain(error, str(self._path)) from error

    def _ask(self, text: str, values: Mapping[str, Any]) -> Sequence[Row]:
        return self._connection.execute(text, values).fetchall()

    def now(self) -> float:
        """The machine's time: on SQLite nobody else's counts."""
        return time.time()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


def _as_mapping(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> Row:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}
