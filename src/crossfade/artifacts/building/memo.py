"""Digests of files that are not read again while nothing about them has changed.

As in git's index, a file's digest is remembered with its times, size and inode, and only if the file was already old
when it was read: whoever writes it afterwards gives it another time. The time of the last change of its inode is
among them, which no program can set back.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

from crossfade.artifacts.building.durable import replace_file

_RACY = 2_000_000_000
"""Nanoseconds that a file must have been left alone; some file systems count no finer."""
_TRIES = 5

Stamp = tuple[int, int, int, int]


class Memo:
    """The digests of one project's files, kept in one file; without that file everything is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, list[Any]] = _read(path)
        self._seen: dict[str, list[Any]] = {}
        self.read = 0
        """Files that had to be read."""

    def sha256(self, path: str, status: os.stat_result | None = None) -> str:
        """The digest (hex) of a regular file; OSError when it cannot be read."""
        stamp = _stamp(status if status is not None else os.lstat(path))
        known = self._known.get(path)
        if known is not None and tuple(known[:4]) == stamp:
            self._seen[path] = known
            return str(known[4])
        return self._hash(path)

    def _hash(self, path: str) -> str:
        digest = ""
        for _ in range(_TRIES):
            begun = time.time_ns()
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - ten thousand files
                before = _stamp(os.fstat(file.fileno()))
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                after = _stamp(os.fstat(file.fileno()))
            self.read += 1
            if before == after:
                if max(after[0], after[1]) + _RACY <= begun:
                    self._seen[path] = [*after, digest]
                break
        return digest

    def save(self, looked_at: tuple[str, ...]) -> None:
        """Remember for the next time; of the folders `looked_at` only what was seen in them."""
        folders = tuple(f"{folder.rstrip('/')}/" for folder in looked_at)
        kept = {path: entry for path, entry in self._known.items() if not path.startswith(folders)}
        fresh = {**kept, **self._seen}
        if fresh != self._known:
            with contextlib.suppress(OSError):  # a memo that cannot be kept costs time, and nothing else
                self._path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(self._path, json.dumps(fresh, separators=(",", ":")).encode())
            self._known = fresh


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _read(path: Path) -> dict[str, list[Any]]:
    try:
        entries = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    sound = isinstance(entries, dict) and all(isinstance(each, list) and len(each) == 5 for each in entries.values())  # noqa: PLR2004 - a stamp and a digest
    return entries if sound else {}


def is_executable(status: os.stat_result) -> bool:
    """Whether its owner may run the file: all of a file's mode that git keeps, and that matters to a build."""
    return bool(status.st_mode & stat.S_IXUSR)
