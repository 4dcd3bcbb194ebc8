"""package.json: read into a package, and edited so that nothing but the values changes, not a space."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from crossfade.core.errors import BadInputError
from crossfade.versioning.ranges import npm_range, raised, satisfies
from crossfade.versioning.values import KINDS, Bump, Dependency, Ecosystem, Package

_SPACE = re.compile(r"[ \t\n\r]*")
_read = json.JSONDecoder().raw_decode


class Member(NamedTuple):
    """One member of an object in a JSON text, with the place of its value."""

    key: str
    value: Any
    start: int
    end: int


def members(text: str, start: int = 0) -> Iterator[Member]:
    """The members of the object that begins at or after `start`, in their order; the text must be valid JSON.

    >>> [(each.key, each.start) for each in members('{"a": 1, "b": {}}')]
    [('a', 6), ('b', 14)]
    """
    at = _after_space(text, _after_space(text, start) + 1)
    while text[at] != "}":
        key, at = _read(text, at)
        at = _after_space(text, _after_space(text, at) + 1)
        value, end = _read(text, at)
        yield Member(key, value, at, end)
        at = _after_space(text, end)
        if text[at] == ",":
            at = _after_space(text, at + 1)


def read_json(text: str, where: str) -> dict[str, Any]:
    """The object in a JSON file; BadInputError names the line of what is wrong."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInputError(
            "versions.bad-json",
            f"not JSON: {error.msg}",
            where=f"{where}:{error.lineno}",
            next="repair the file; nothing was changed",
        ) from None
    if not isinstance(found, dict):
        raise BadInputError(
            "versions.bad-json", "the file does not hold an object", where=where, next="begin it with {"
        )
    return found


def package_of(found: Mapping[str, Any], folder: str, manifest: str, *, needs_name: bool = True) -> Package:
    """The package that a package.json describes; one without a version keeps the empty text."""
    name, version = found.get("name"), found.get("version")
    if needs_name and not (isinstance(name, str) and name):
        raise BadInputError("versions.no-name", 'the package has no "name"', where=manifest, next='add "name"')
    if version is not None and not isinstance(version, str):
        raise BadInputError(
            "versions.bad-version", f"the version {version!r} is no text", where=manifest, next="put it in quotes"
        )
    dependencies = tuple(
        Dependency(needed, written, kind)
        for kind in KINDS
        if isinstance(entries := found.get(kind), dict)
        for needed, written in entries.items()
        if isinstance(written, str)
    )
    return Package(
        name if isinstance(name, str) else "",
        version or "",
        folder,
        manifest,
        private=bool(found.get("private")),
        dependencies=dependencies,
    )


@dataclass(frozen=True, slots=True)
class Npm:
    """npm's words for ranges, and package.json."""

    keep_bounds: bool = True
    """Keep both bounds of `>=1.0.0 <2.0.0` when it is raised; changesets 2 keeps the first operator alone."""

    def is_range(self, range: str) -> bool:
        """Whether it is a range of versions, rather than a tag, an alias, a path or an address."""
        return npm_range(range) is not None

    def satisfies(self, version: str, range: str) -> bool:
        """Whether the version lies in the range."""
        return satisfies(version, range)

    def raised(self, range: str, version: str, bump: Bump) -> str:
        """The range in the same style that begins at the new version."""
        return raised(range, version, bump, keep_bounds=self.keep_bounds)

    def edited(self, text: str, where: str, version: str | None, ranges: Iterable[tuple[Dependency, str]]) -> str:
        """The text with another version and other ranges; every other character stays.

        >>> Npm().edited('{"version" : "1.0.0"}', "package.json", "1.1.0", ())
        '{"version" : "1.1.0"}'
        """
        wanted: dict[str, dict[str, str]] = {}
        for entry, written in ranges:
            wanted.setdefault(entry.kind, {})[entry.name] = written
        replacements: list[tuple[int, int, str]] = []
        version_pending = version is not None
        for member in members(text):
            if member.key == "version" and version_pending:
                replacements.append((member.start, member.end, _quoted(str(version))))
                version_pending = False
            elif member.key in wanted and isinstance(member.value, dict):
                new = wanted.pop(member.key)
                replacements.extend(
                    (entry.start, entry.end, _quoted(new.pop(entry.key)))
                    for entry in members(text, member.start)
                    if entry.key in new
                )
        if version_pending:
            raise BadInputError("versions.no-version", 'the package has no "version"', where=where, next="add it")
        for start, end, value in reversed(replacements):
            text = text[:start] + value + text[end:]
        return text


ECOSYSTEMS: Mapping[str, Ecosystem] = {"npm": Npm()}
"""The ecosystems known here; a planner that knows more adds them."""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at
