"""What a build's command runs: the program itself, and the project's files that the command names."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from crossfade.artifacts.building.globs import anchor
from crossfade.artifacts.metadata import tools_of
from crossfade.core.errors import BadInputError

_WRITTEN = re.compile(r">+\s*[^\s;&|<>()]+")
"""Where a shell writes to is no file that the build reads."""
_SHELL = re.compile(r"[\s;&|<>()'\"=`$]+")


def program_of(command: Sequence[str], folder: Path, search: str) -> Path:
    """The file that `command` runs in `folder`; `search` is the PATH. BadInputError: there is none.

    A name with a slash is a file relative to the folder, as everywhere.
    """
    name = command[0]
    found = shutil.which(str(folder / name) if "/" in name else name, path=search)
    if found is None:
        raise BadInputError(
            "build.no-command",
            f"the command {name!r} is not found",
            where=str(folder),
            next="install it, or name a program that may be run, relative to the component's folder, such as ./build.sh",
        )
    return Path(os.path.realpath(found))


def tells_its_version(command: Sequence[str]) -> bool:
    """Whether the program is a tool that can be asked; others are told apart by their content.

    >>> tells_its_version(["npm", "run", "build"]), tells_its_version(["./build.sh"])
    (True, False)
    """
    return bool(tools_of(command[:1]))


def files_named(command: Sequence[str], folder: str, root: Path) -> tuple[str, ...]:
    """Files of the project at `root` that the command names, such as a script of another folder.

    `folder` is the component's; the names that come back are relative to the project's. What a shell is told to do is
    looked through word by word.
    """
    found = set()
    for word in (word for argument in command for word in (argument, *_SHELL.split(_WRITTEN.sub(" ", argument)))):
        try:
            path = anchor(folder, word)
        except ValueError:
            continue
        if word and "\0" not in word and os.path.isfile(f"{root}/{path}"):  # noqa: PTH113 - a plain text
            found.add(path)
    return tuple(sorted(found))
