"""package-lock.json and npm-shrinkwrap.json, of all three lockfile versions. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from crossfade.versioning.lock_files.changes import Changed, RangeChange, unreadable
from crossfade.versioning.package_json import Member, members

_Splice = tuple[int, int, str]


def npm_lock(text: str, where: str, packages: Iterable[Changed], folder: str = ".") -> str:
    """The lock file in `folder` with the new versions and ranges of packages of the repository.

    Versions and ranges stand in `packages`, by folder; up to version 2 also in `dependencies`, by name.

    >>> lock = '{"packages": {"core": {"version": "1.0.0"}}}'
    >>> npm_lock(lock, "package-lock.json", [Changed("core", "npm", ("1.0.0", "1.1.0"))])
    '{"packages": {"core": {"version": "1.1.0"}}}'
    """
    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        raise unreadable(f"not JSON: {error.msg}", f"{where}:{error.lineno}") from None
    if not isinstance(tree, dict):
        raise unreadable("the file does not hold an object", f"{where}:1")
    by_place = {each.seen_from(folder): each for each in packages if each.ecosystem == "npm"}
    for start, end, new in sorted(_splices(text, by_place), reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _splices(text: str, by_place: Mapping[str, Changed]) -> Iterator[_Splice]:
    for member in members(text):
        if member.key == "version" and "." in by_place:
            yield from _version(member, by_place["."])
        if member.key not in {"packages", "dependencies"} or not isinstance(member.value, dict):
            continue
        for entry in members(text, member.start):
            if isinstance(entry.value, dict) and member.key == "dependencies":
                yield from _older(text, entry, by_place)
            elif isinstance(entry.value, dict) and (entry.key or ".") in by_place:
                yield from _entry(text, entry, by_place[entry.key or "."])


def _entry(text: str, entry: Member, change: Changed) -> Iterator[_Splice]:
    """What changes in the entry of a package: its version, and ranges of each kind."""
    for member in members(text, entry.start):
        if member.key == "version":
            yield from _version(member, change)
        elif isinstance(member.value, dict):
            yield from _ranges(text, member, [each for each in change.ranges if each.kind == member.key])


def _older(text: str, entry: Member, by_place: Mapping[str, Changed]) -> Iterator[_Splice]:
    """What changes in an entry of lockfile versions 1 and 2, which names all ranges in one list."""
    path = str(entry.value.get("version", ""))
    change = by_place.get(path.removeprefix("file:")) if path.startswith("file:") else None
    for member in members(text, entry.start) if change else ():
        if change and member.key == "requires" and isinstance(member.value, dict):
            yield from _ranges(text, member, change.ranges)


def _ranges(text: str, member: Member, changes: Iterable[RangeChange]) -> Iterator[_Splice]:
    wanted = {(each.name, each.old): each.new for each in changes}
    for entry in members(text, member.start) if wanted else ():
        if isinstance(entry.value, str) and (entry.key, entry.value) in wanted:
            yield entry.start, entry.end, _quoted(wanted[entry.key, entry.value])


def _version(member: Member, change: Changed) -> Iterator[_Splice]:
    if change.version is not None:
        yield member.start, member.end, _quoted(change.version[1])


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
