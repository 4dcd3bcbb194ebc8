"""The one place of an engine on SQLite: whoever holds it is alone, and it is free once its process ends."""

from __future__ import annotations

import fcntl
import os
import threading

from crossfade.store.database import Database


class Place:
    """An operating-system lock on a file beside the database: kill -9 releases it, a reboot too."""

    def __init__(self, database: Database) -> None:
        self._path = f"{database.name}.engine" if database.is_sqlite else None
        self._file: int | None = None
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Whether the place is ours now; always on PostgreSQL, where any number of engines work side by side."""
        if self._path is None:
            return True
        with self._lock:
            if self._file is not None:
                return True
            file = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                return False
            self._file = file
            return True

    def give_up(self) -> None:
        """Let another process have it."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None
