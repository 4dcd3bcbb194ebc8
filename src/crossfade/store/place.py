"""The one place of an engine on SQLite: whoever holds it is alone, and it is free once its process ends."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from crossfade.core.locks import try_lock
from crossfade.store.database import Database


class Place:
    """An operating-system lock on a file beside the database: kill -9 releases it, a reboot too."""

    def __init__(self, database: Database) -> None:
        self._path = Path(f"{database.name}.engine") if database.is_sqlite else None
        self._file: int | None = None
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Whether the place is ours now; always on PostgreSQL, where any number of engines work side by side."""
        if self._path is None:
            return True
        with self._lock:
            if self._file is not None:
                return True
            self._file = try_lock(self._path)
            return self._file is not None

    def give_up(self) -> None:
        """Let another process have it."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None
