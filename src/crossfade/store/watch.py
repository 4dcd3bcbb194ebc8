"""Waiting for the database to change, without asking it over and over.

A watcher is only ever a hint: whoever waits asks the database before and after, so a change that comes
between a question and the wait, or a hint that gets lost, costs at most `RECHECK` seconds.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import Any, Protocol

from crossfade.store.database import Database, explain

RECHECK = 0.5
_POLL = 0.01


class Watcher(Protocol):
    """One connection that notices commits of all others."""

    def mark(self) -> None:
        """Changes count from here on."""
        ...

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Return when something has changed since the mark, `seconds` have passed, or `stop` is set."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class FileWatcher:
    """SQLite: a counter in shared memory changes with every commit of another connection (≈ 5 µs a look)."""

    def __init__(self, database: Database) -> None:
        self._raw = sqlite3.connect(database.name, timeout=database.patience, check_same_thread=False)
        self._mark = 0

    def mark(self) -> None:
        """Changes count from here on."""
        self._mark = self._version()

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Look every 10 ms."""
        give_up = time.monotonic() + seconds
        while self._version() == self._mark:
            left = give_up - time.monotonic()
            if left <= 0 or stop.wait(min(_POLL, left)):
                return

    def close(self) -> None:
        """Let go of the connection."""
        self._raw.close()

    def _version(self) -> int:
        return int(self._raw.execute("PRAGMA data_version").fetchone()[0])


class ChannelWatcher:
    """PostgreSQL: LISTEN on a connection of its own."""

    def __init__(self, database: Database) -> None:
        import psycopg  # noqa: PLC0415 - an extra: only where PostgreSQL is used

        self._name = database.name
        self._lost = psycopg.Error
        address = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        try:
            self._raw: psycopg.Connection[Any] = psycopg.connect(
                address, autocommit=True, connect_timeout=5, application_name="crossfade watcher"
            )
            self._raw.execute("LISTEN crossfade")
        except psycopg.Error as error:
            raise explain(error, database.name) from error

    def mark(self) -> None:
        """Nothing to do: what is notified from now on waits in the connection."""

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Wait for one notification."""
        if stop.is_set():
            return
        try:
            for _ in self._raw.notifies(timeout=seconds, stop_after=1):
                return
        except self._lost as error:
            raise explain(error, self._name) from error

    def close(self) -> None:
        """Let go of the connection."""
        self._raw.close()


def open_watcher(database: Database) -> Watcher:
    """The watcher for this database."""
    return FileWatcher(database) if database.is_sqlite else ChannelWatcher(database)
