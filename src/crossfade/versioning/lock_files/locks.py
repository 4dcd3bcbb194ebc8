"""Every lock file of a repository: which there may be, and what they hold after the edits of a release."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from crossfade.versioning.lock_files.changes import Changed, changed
from crossfade.versioning.lock_files.npm import npm_lock
from crossfade.versioning.lock_files.pnpm import pnpm_lock
from crossfade.versioning.lock_files.uv import uv_lock
from crossfade.versioning.lock_files.yarn import yarn_lock
from crossfade.versioning.values import FileEdit, Package
from crossfade.versioning.workspace import read_text


class _Update(Protocol):
    def __call__(self, text: str, where: str, packages: Iterable[Changed], folder: str = ".") -> str: ...


LOCK_FILES: Mapping[str, _Update] = {
    "package-lock.json": npm_lock,
    "npm-shrinkwrap.json": npm_lock,
    "pnpm-lock.yaml": pnpm_lock,
    "yarn.lock": yarn_lock,
    "uv.lock": uv_lock,
}
"""What each lock file is called, and how it is brought up to date."""


def lock_paths(packages: Iterable[Package]) -> tuple[str, ...]:
    """Where lock files may be: at the top, and in the folder of each package.

    >>> lock_paths([Package("core", "1.0.0", "packages/core")])[4:6]
    ('uv.lock', 'packages/core/package-lock.json')
    """
    folders = dict.fromkeys([".", *(package.folder for package in packages)])
    return tuple(posixpath.normpath(f"{folder}/{name}") for folder in folders for name in LOCK_FILES)


def read_locks(root: Path, packages: Iterable[Package]) -> dict[str, str]:
    """The text of each lock file that is there, by path."""
    return {path: text for path in lock_paths(packages) if (text := read_text(root, path)) is not None}


def lock_edits(edits: Iterable[FileEdit], locks: Mapping[str, str]) -> tuple[FileEdit, ...]:
    """The edits of lock files that follow from those of manifests; `locks` is what `read_locks` found.

    BadInputError `versions.lock-file` with file and line for one that cannot be read.
    """
    packages = changed(edits)
    found = []
    for path, text in locks.items():
        folder, name = posixpath.split(path)
        new = LOCK_FILES[name](text, path, packages, folder or ".") if packages else text
        found.append(FileEdit(path, text, new))
    return tuple(each for each in found if each.old != each.new)
