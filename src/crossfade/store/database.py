"""A connection pool that tells the truth: transactions, patience with a locked file, clear errors."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, NoSuchModuleError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from crossfade.core.clock import Clock, SystemClock
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError

T = TypeVar("T")

_LAST_PORT = 65535
_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.01
"""Short: SQLite has no queue for writers, so who asks seldom waits long. Its own busy handler sleeps up to 100 ms."""
_RETRIED_STATES = ("40001", "40P01", "55P03")
"""Serialization failure, deadlock, lock not available: the transaction was undone and may be tried again."""


def read_url(text: str) -> URL:
    """The address of a database as `DATABASE_URL` has it; PostgreSQL is spoken to by psycopg.

    >>> read_url("postgres://ada@db.example/shop").drivername
    'postgresql+psycopg'
    >>> read_url("sqlite:////tmp/state.db").database
    '/tmp/state.db'
    """
    try:
        url = sa.make_url(text)
    except ArgumentError:
        raise _bad_url("the database's address cannot be read") from None
    backend = url.drivername.split("+")[0]
    if backend in ("postgres", "postgresql"):
        if url.port is not None and not 0 < url.port <= _LAST_PORT:
            raise _bad_url(f"{url.port} is not a port")
        return url.set(drivername="postgresql+psycopg")
    if backend == "sqlite":
        if not url.database or url.database == ":memory:":
            raise _bad_url("a database in memory does not outlive its process")
        return url.set(drivername="sqlite+pysqlite")
    raise _bad_url(f"{backend!r} is not a database that Crossfade knows")


def _bad_url(what: str) -> BadInputError:
    return BadInputError("store.url", what, next="write sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE")


class Database:
    """One database, used from any thread.

    `patience` is how many seconds a locked SQLite file or a deadlock is put up with.
    """

    def __init__(self, url: URL, clock: Clock | None, patience: float) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        shown = url.set(drivername="postgresql").render_as_string(hide_password=True)
        self.name = str(url.database) if self.is_sqlite else shown
        self.patience = patience
        self.clock = clock or SystemClock()
        self._one_writer = threading.Lock()
        self.engine = self._make_engine()

    def now(self, connection: sa.Connection) -> float:
        """The database's time in seconds since the epoch."""
        if self.is_sqlite:
            return self.clock.now()
        found = connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())::float8"))
        return float(found.scalar_one())

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run `work` in a transaction that sees one state of the database."""
        return self._patiently(lambda: self._within(work, "BEGIN" if self.is_sqlite else ""))

    def write(self, work: Callable[[sa.Connection], T], *, durable: bool = True) -> T:
        """Run `work` in a transaction that writes; it may run again when it was undone.

        Once this returns, the writing survives kill -9, and when `durable` a loss of power too.
        """
        return self._patiently(lambda: self._writing(work, durable=durable))

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()

    # -- transactions --------------------------------------------------------------------------------

    def _writing(self, work: Callable[[sa.Connection], T], *, durable: bool) -> T:
        if not self.is_sqlite:
            return self._within(work, "" if durable else "SET LOCAL synchronous_commit TO off")
        with self._one_writer:  # threads queue here, not in SQLite's sleeping busy handler
            return self._within(work, "BEGIN IMMEDIATE", "FULL" if durable else "NORMAL")

    def _within(self, work: Callable[[sa.Connection], T], begin: str, synchronous: str = "") -> T:
        with self.engine.connect() as connection:
            if self.is_sqlite:
                raw: Any = connection.connection.dbapi_connection
                if synchronous:
                    raw.execute(f"PRAGMA synchronous={synchronous}")
                raw.execute(begin)
            with connection.begin():
                if begin and not self.is_sqlite:
                    connection.exec_driver_sql(begin)
                return work(connection)

    def _patiently(self, attempt: Callable[[], T]) -> T:
        give_up, pause = time.monotonic() + self.patience, _FIRST_PAUSE
        while True:
            try:
                return attempt()
            except (DBAPIError, PoolTimeoutError, sqlite3.Error) as error:
                if _is_ours(error):
                    raise
                if not _passes(error) or time.monotonic() + pause > give_up:
                    raise explain(error, self.name) from error
                time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - to keep two processes out of step
                pause = min(pause * 1.5, _LONGEST_PAUSE)

    # -- connections ---------------------------------------------------------------------------------

    def _make_engine(self) -> sa.Engine:
        if self.is_sqlite:
            return self._sqlite_engine()
        try:
            return sa.create_engine(
                self.url,
                pool_size=5,
                max_overflow=15,
                pool_timeout=max(self.patience, 1.0),
                pool_pre_ping=True,  # a server that was restarted costs nobody an error
                connect_args={"connect_timeout": 5, "application_name": "crossfade", "prepare_threshold": 5},
            )
        except (ImportError, NoSuchModuleError):
            raise BadInputError(
                "store.no-driver",
                "the driver for PostgreSQL is not installed",
                next="pip install 'crossfade[postgres]'",
            ) from None

    def _sqlite_engine(self) -> sa.Engine:
        _make_private_file(Path(self.name))
        engine = sa.create_engine(
            self.url,
            pool_size=5,
            max_overflow=15,
            pool_timeout=max(self.patience, 1.0),
            connect_args={"timeout": 0.0, "check_same_thread": False},
        )
        sa.event.listen(engine, "connect", self._prepare_sqlite)
        return engine

    def _prepare_sqlite(self, raw: Any, _record: Any) -> None:
        raw.isolation_level = None  # transactions are ours: BEGIN IMMEDIATE where something is written
        self.use_wal(raw)
        raw.execute("PRAGMA synchronous=FULL")
        raw.execute("PRAGMA foreign_keys=ON")

    def use_wal(self, raw: sqlite3.Connection) -> None:
        """Let readers and the writer not wait for each other; the switch itself ignores the busy timeout."""
        give_up = time.monotonic() + self.patience
        while True:
            try:
                raw.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if not _passes(error) or time.monotonic() > give_up:
                    raise
                time.sleep(_FIRST_PAUSE)
            else:
                return


def _make_private_file(path: Path) -> None:
    """Create the file where it is missing, for nobody else to read: it holds environment variables.

    A file that is there is never opened here: closing it would drop every lock that this process holds on
    it (POSIX locks belong to the process), and another process would take the log of writes away while
    it is in use (https://sqlite.org/howtocorrupt.html, section 2.2).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise BadInputError(
            "store.not-writable",
            f"the state cannot be kept here: {error.strerror}",
            where=str(path),
            next="choose a file that you may write",
        ) from None


# -- errors ---------------------------------------------------------------------------------------------


def _passes(error: Exception) -> bool:
    """Whether the same transaction may succeed in a moment."""
    cause = getattr(error, "orig", error)
    if isinstance(cause, sqlite3.Error):
        return _sqlite_code(cause) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return getattr(cause, "sqlstate", None) in _RETRIED_STATES


def _is_ours(error: Exception) -> bool:
    """Whether the statement is to blame, not the database: the caller answers that."""
    denied = getattr(getattr(error, "orig", None), "sqlstate", None) == "42501"
    return isinstance(error, IntegrityError | ProgrammingError | DataError) and not denied


def explain(error: Exception, where: str) -> CrossfadeError:
    """What a person needs to know about an error of the database."""
    cause: Any = getattr(error, "orig", error)
    if isinstance(cause, sqlite3.Error):
        return _explain_sqlite(cause, where)
    state = getattr(cause, "sqlstate", None) or ""
    said = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    for prefix, words, code, next_ in _REFUSALS:
        if state.startswith(prefix) or (not state and any(word in said for word in words)):
            return BadInputError(code, said, where=where, next=next_)
    return UnreachableError("store.unreachable", f"the database does not answer: {said}", where=where)


_REFUSALS: tuple[tuple[str, tuple[str, ...], str, str], ...] = (
    (
        "28",
        ("authentication failed", "no password supplied", "FATAL:  role"),
        "store.credentials",
        "check the user and the password in DATABASE_URL",
    ),
    ("3D", ("FATAL:  database",), "store.no-database", "create the database, or correct its name in DATABASE_URL"),
    ("25006", (), "store.not-writable", "use the primary server, or give the user the right to write"),
    ("42501", (), "store.not-writable", "give the user the right to create and write tables in this database"),
)
"""SQLSTATE, or words where libpq refused to connect (it hands on no state then), and what to do."""


def _explain_sqlite(error: sqlite3.Error, where: str) -> CrossfadeError:
    match _sqlite_code(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            next_ = "end the program that holds the file (a backup, a database browser), then try again"
            return UnreachableError("store.locked", "another program has locked the state", where=where, next=next_)
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            next_ = "choose a file that you may write"
            return BadInputError("store.not-writable", "the state cannot be written", where=where, next=next_)
        case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
            next_ = "restore it from a backup, or move it away to start with an empty one"
            return BadInputError("store.not-a-database", "this is not a sound SQLite database", where=where, next=next_)
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            next_ = "free some space; nothing was written in part"
            return UnreachableError("store.disk", f"the disk did not take it: {error}", where=where, next=next_)
        case _:
            return UnreachableError("store.unreachable", f"the database failed: {error}", where=where)


def _sqlite_code(error: sqlite3.Error) -> int:
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
