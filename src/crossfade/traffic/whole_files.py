"""Files that are there as a whole or not at all, whoever is killed while writing them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def left_behind(path: Path) -> tuple[Path, ...]:
    """What writers of `path` that were killed have left beside it."""
    return tuple(path.parent.glob(f".{path.name}.new-*"))


def replace(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Put `content` in the place of `path` at once.

    There is no fsync: after a power cut nothing runs that would have read the file, and the engine
    asserts what it wants again from its own durable record.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
