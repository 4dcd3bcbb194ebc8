"""The run state of a target, in files, and the one way to say that they cannot be reached."""

from __future__ import annotations

from pathlib import Path

from crossfade.core.errors import CrossfadeError


def inaccessible(error: OSError, where: str, folder: Path) -> CrossfadeError:
    """What to raise where a target's files in `folder` cannot be read or written; `where` is the target."""
    return CrossfadeError(
        "runtime.state-inaccessible",
        f"the state of {where} cannot be read or written: {error.strerror or error}",
        where=str(error.filename or folder),
        next="make room on the disk, or give this user the right to read and write there",
        retry=True,
    )
