"""uv.lock: versions of packages that lie in the repository. Pure.

uv locks a dependency on such a package by its folder and leaves its range out, so that only versions change; a version
that is dynamic is not in the file at all.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable

from crossfade.versioning.lock_files.changes import Changed, refuse_conflict

_BLOCK = re.compile(r"^\[\[package\]\]\r?\n(?:(?!\[)[^\r\n]+\r?\n?)*", re.MULTILINE)
_SOURCE = re.compile(r'^source = \{ (?:editable|virtual|directory) = "(?P<place>(?:[^"\\]|\\.)*)"', re.MULTILINE)
_VERSION = re.compile(r'^version = "(?P<version>[^"]*)"', re.MULTILINE)


def uv_lock(text: str, where: str, packages: Iterable[Changed], folder: str = ".") -> str:
    r"""The lock file in `folder` with the new versions of packages of the repository.

    >>> lock = '[[package]]\nname = "core"\nversion = "1.0"\nsource = { editable = "core" }\n'
    >>> uv_lock(lock, "uv.lock", [Changed("core", "python", ("1.0", "1.1.0"))]).splitlines()[2]
    'version = "1.1.0"'
    """
    refuse_conflict(text, where)
    by_place = {each.seen_from(folder): each.version for each in packages if each.ecosystem == "python"}

    def renewed(block: re.Match[str]) -> str:
        source, version = _SOURCE.search(block[0]), _VERSION.search(block[0])
        place = posixpath.normpath(json.loads(f'"{source["place"]}"')) if source else ""
        change = by_place.get(place)
        if change is None or version is None:
            return block[0]
        return block[0][: version.start("version")] + change[1] + block[0][version.end("version") :]

    return _BLOCK.sub(renewed, text)
