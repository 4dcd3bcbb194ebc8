"""What a release changed in manifests, as lock files repeat it. Pure."""

from __future__ import annotations

import json
import posixpath
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from crossfade.core.errors import BadInputError
from crossfade.versioning.values import KINDS, FileEdit


class RangeChange(NamedTuple):
    """One range of a manifest that is written otherwise now."""

    kind: str
    name: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Changed:
    """One package whose manifest was edited."""

    folder: str
    """Relative to the top of the repository."""
    ecosystem: Literal["npm", "python"]
    version: tuple[str, str] | None = None
    """As its manifest had it and has it now; None where that did not change."""
    ranges: tuple[RangeChange, ...] = ()

    def seen_from(self, folder: str) -> str:
        """Its folder as a lock file in another folder names it.

        >>> Changed("packages/core", "npm").seen_from("."), Changed("core", "python").seen_from("api")
        ('packages/core', '../core')
        """
        return posixpath.relpath(self.folder, folder)


def changed(edits: Iterable[FileEdit]) -> tuple[Changed, ...]:
    """The packages whose package.json or pyproject.toml is among the edits.

    >>> edit = FileEdit("core/package.json", '{"version": "1.0.0"}', '{"version": "1.1.0"}')
    >>> changed([edit])[0].version
    ('1.0.0', '1.1.0')
    """
    found = []
    for edit in edits:
        folder, file = posixpath.split(edit.path)
        if edit.old is None or edit.new is None:
            continue
        if file == "package.json":
            old, new = json.loads(edit.old), json.loads(edit.new)
            ranges = tuple(_ranges(old, new))
            found.append(Changed(folder or ".", "npm", _pair(old.get("version"), new.get("version")), ranges))
        elif file == "pyproject.toml":
            found.append(Changed(folder or ".", "python", _pair(_python(edit.old), _python(edit.new))))
    return tuple(found)


def refuse_conflict(text: str, where: str) -> None:
    """Refuse a lock file in which a merge was left unfinished: whatever is written there cannot be meant."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(("<<<<<<< ", ">>>>>>> ")):
            raise unreadable("a merge was left unfinished here", f"{where}:{number}")


def unreadable(what: str, where: str) -> BadInputError:
    """The error for a lock file that cannot be read."""
    hint = "let its package manager write it again, or set `versioning.lock_files: false`"
    return BadInputError("versions.lock-file", what, where=where, next=hint)


def _ranges(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[RangeChange]:
    for kind in KINDS:
        before, after = old.get(kind), new.get(kind)
        if isinstance(before, dict) and isinstance(after, dict):
            for name, written in after.items():
                if before.get(name) != written and isinstance(before.get(name), str):
                    yield RangeChange(kind, name, before[name], written)


def _pair(old: Any, new: Any) -> tuple[str, str] | None:
    return (old, new) if isinstance(old, str) and isinstance(new, str) and old != new else None


def _python(text: str) -> Any:
    tree = tomllib.loads(text)
    poetry = tree.get("tool", {}).get("poetry", {})
    return tree.get("project", {}).get("version", poetry.get("version"))
