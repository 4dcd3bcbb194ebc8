"""A unix socket that nobody else may open, at a path that is short enough for one."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from crossfade.core.errors import CrossfadeError

LONGEST = 100
"""Characters of a path that every system takes for a socket."""
SHARED = Path("/tmp")  # noqa: S108 - only for a folder of our own in it, which is checked
"""Where a path is always short."""


def private_socket(folder: Path) -> Path:
    """`folder/admin.sock`; where that path is too long, one in a folder of ours in the temporary one."""
    here = folder / "admin.sock"
    digest = hashlib.sha256(str(here).encode()).hexdigest()[:16]
    name = f"crossfade-{os.getuid()}-{digest}/admin.sock"
    short = [path for path in (here, Path(tempfile.gettempdir()) / name, SHARED / name) if len(str(path)) <= LONGEST]
    return next((path for path in short if path == here or _may_be_ours(path.parent)), short[-1])


def clear(socket: Path, folder: Path) -> None:
    """Make the way free for a socket that `private_socket(folder)` chose.

    Raises `CrossfadeError` when its folder belongs to somebody else.
    """
    home = socket.parent
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if home != folder and not _may_be_ours(home):  # its name can be foreseen, and others may write there
        raise CrossfadeError(
            "router.socket-folder",
            "the folder for the router's admin socket belongs to somebody else, or is open to others",
            where=str(home),
            next="remove it, or keep the state in a folder with a shorter path (--state)",
            retry=True,
        )
    socket.unlink(missing_ok=True)


def _may_be_ours(folder: Path) -> bool:
    """Whether `folder` is missing, or a folder of this user that nobody else may enter."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return True
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
