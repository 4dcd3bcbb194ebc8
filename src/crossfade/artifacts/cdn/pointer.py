"""A pointer: where it leads, where it led, and where it may lead next. Pure.

Its document is the only thing that decides; the files beside it are copies that follow. `open` says that they, or the
caches in front of them, have not all followed yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

import orjson

from crossfade.artifacts.cdn.manifest import Manifest
from crossfade.artifacts.port import ConflictError, Coordinate
from crossfade.core.semver import parse_version


@dataclass(frozen=True, slots=True)
class Move:
    """One entry of a pointer's history: to which version, when (ISO 8601, UTC), by whom, and why."""

    version: str
    at: str
    by: str
    why: str


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where a pointer leads; `revision` counts its changes, so that no two documents are ever the same."""

    name: str
    version: str
    files: Mapping[str, str]
    revision: int = 1
    previous: str | None = None
    open: bool = True
    withdrawn: Mapping[str, str] = field(default_factory=dict)
    history: tuple[Move, ...] = ()

    @property
    def at(self) -> Coordinate:
        """The version that it leads to."""
        return Coordinate(self.name, self.version)

    @classmethod
    def parse(cls, text: bytes, *, where: str) -> Self:
        """The document in a store; ConflictError when something else lies under its name."""
        try:
            said: dict[str, Any] = orjson.loads(text)
            history = tuple(Move(**each) for each in said.pop("history"))
            pointer = cls(**said, history=history)
            parse_version(pointer.version)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ConflictError(
                "cdn.not-a-pointer",
                "what lies there is not a pointer's document",
                where=where,
                next="somebody else writes into this folder, or changed it by hand: put the document back",
            ) from None
        return pointer

    def text(self) -> bytes:
        """As JSON."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def closed(self) -> Pointer:
        """The pointer whose files and caches have followed."""
        return replace(self, revision=self.revision + 1, open=False)

    def without(self, version: str, reason: str) -> Pointer:
        """The pointer that never leads to `version` again."""
        if version in self.withdrawn:
            return self
        return replace(self, revision=self.revision + 1, withdrawn={**self.withdrawn, version: reason})


def published(pointer: Pointer | None, to: Manifest, move: Move, *, tag: str) -> Pointer:
    """The pointer after a publication of `to`: never an older version than it had. The same one: nothing to do.

    ConflictError: the folder is somebody else's, or this version was withdrawn.

    >>> old, new = (Manifest(Coordinate("app", each), {}, {}) for each in ("1.9.0", "1.10.0"))
    >>> at_new = published(None, new, Move("1.10.0", "", "ci", "published"), tag="v1")
    >>> published(at_new, old, Move("1.9.0", "", "ci", "published"), tag="v1").version
    '1.10.0'
    """
    if pointer is None:
        return Pointer(to.at.name, to.at.version, to.files, history=(move,))
    _check_owner(pointer, to.at, tag)
    if to.at.version in pointer.withdrawn:
        raise withdrawn_already(to.at, pointer.withdrawn[to.at.version], tag)
    if parse_version(to.at.version) <= parse_version(pointer.version):
        return pointer
    return repointed(pointer, to, move, tag=tag)


def repointed(pointer: Pointer, to: Manifest, move: Move, *, tag: str) -> Pointer:
    """The pointer that leads to `to` now, forward or back; the same one when it does already."""
    _check_owner(pointer, to.at, tag)
    if to.at.version in pointer.withdrawn:
        raise withdrawn_already(to.at, pointer.withdrawn[to.at.version], tag)
    if to.at.version == pointer.version:
        return pointer
    return replace(
        pointer,
        version=to.at.version,
        files=to.files,
        revision=pointer.revision + 1,
        previous=pointer.version,
        open=True,
        history=(*pointer.history, move),
    )


def taken_back(pointer: Pointer, at: Coordinate, back_to: Manifest | None, move: Move, *, tag: str) -> Pointer:
    """The pointer after `at` was withdrawn: it leads to `back_to` if it led to `at`, and never leads to `at` again."""
    _check_owner(pointer, at, tag)
    if pointer.at == at and back_to is not None:
        pointer = repointed(pointer, back_to, move, tag=tag)
    return pointer.without(at.version, move.why)


def withdrawn_already(at: Coordinate, reason: str, tag: str) -> ConflictError:
    """Nothing leads to a version that was withdrawn."""
    return ConflictError(
        "cdn.withdrawn",
        f"{at} was withdrawn ({reason}), so {tag} cannot lead to it",
        where=tag,
        next="release a newer version",
    )


def iso(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC.

    >>> iso(0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _check_owner(pointer: Pointer, at: Coordinate, tag: str) -> None:
    if pointer.name != at.name:
        raise ConflictError(
            "cdn.pointer-of-another",
            f"{tag} is the pointer of {pointer.name}, not of {at.name}",
            where=tag,
            next="let `pointer` and `immutable` of the registry hold {name}",
        )
