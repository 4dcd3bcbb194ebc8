"""yarn.lock. Pure.

Yarn's first version writes nothing about packages of the workspace. Since version 2 each of them has an entry, whose key
lists every range by which the others ask for it, and whose dependencies repeat the ranges of its package.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from crossfade.versioning.lock_files.changes import Changed, RangeChange, refuse_conflict

_RESOLVED = re.compile(r'  resolution: "?(?P<name>(?:@[^@/"]+/)?[^@"]+)@workspace:(?P<place>[^"#]+)"?')
_ENTRY = re.compile(r'    (?P<key>"(?:[^"\\]|\\.)*"|[^\s":]+): (?P<value>.+)')
_SIMPLE = re.compile(r"(?![-?:,\]\[{}#&*!|>'\"%@` \t\r\n]).(?:[ \t]*(?![,\]\[{}:# \t\r\n]).)*")
_LONG = "? "
_ASKING = "dependencies"


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry: how its package is asked for, and its lines below the key."""

    asked: tuple[str, ...]
    lines: tuple[str, ...]
    own: str | None = None
    """The descriptor of a package of the repository, `name@workspace:path`."""


def yarn_lock(text: str, where: str, packages: Iterable[Changed], folder: str = ".") -> str:
    """The lock file in `folder` with the new ranges of packages of the repository."""
    refuse_conflict(text, where)
    if "\n__metadata:" not in text:
        return text
    by_place = {each.seen_from(folder): each.ranges for each in packages if each.ecosystem == "npm"}
    line_end = "\r\n" if "\r\n" in text else "\n"
    head, *blocks = text.replace("\r\n", "\n").rstrip("\n").split("\n\n")
    first = next((index for index, block in enumerate(blocks) if not block.startswith("__metadata:")), len(blocks))
    old = [_parsed(block) for block in blocks[first:]]
    new = _asked_anew(old, [_renewed(entry, by_place) for entry in old])
    if new == old:
        return text
    # Yarn sorts its entries by key; a key that changed may belong elsewhere.
    if [_key(entry) for entry in old] == sorted(_key(entry) for entry in old):
        new.sort(key=_key)
    written = "\n\n".join([head, *blocks[:first], *(_written(entry) for entry in new)])
    return (written + text.replace("\r\n", "\n")[len(text.replace("\r\n", "\n").rstrip("\n")) :]).replace(
        "\n", line_end
    )


def _parsed(block: str) -> _Entry:
    first, *lines = block.split("\n")
    if first.startswith(_LONG):
        key, lines = first.removeprefix(_LONG), lines[1:]
    else:
        key = first.removesuffix(":")
    found = next((match for match in map(_RESOLVED.fullmatch, lines) if match), None)
    own = f"{found['name']}@workspace:{found['place']}" if found else None
    return _Entry(tuple(_unquoted(key).split(", ")), tuple(lines), own)


def _written(entry: _Entry) -> str:
    key = _quoted(_key(entry))
    # What is longer than YAML allows for a key in one piece is written as a complex one.
    first = f"{_LONG}{key}\n:" if len(_key(entry)) > 1024 else f"{key}:"  # noqa: PLR2004 - YAML's own bound
    return "\n".join([first, *entry.lines])


def _key(entry: _Entry) -> str:
    return ", ".join(entry.asked)


def _renewed(entry: _Entry, by_place: Mapping[str, Sequence[RangeChange]]) -> _Entry:
    """The entry with the new ranges of its own dependencies."""
    if entry.own is None:
        return entry
    changes = by_place.get(entry.own.rpartition("@workspace:")[2], ())
    wanted = {(_asks(each.kind), each.name, each.old): each.new for each in changes}
    lines, section = [], ""
    for line in entry.lines:
        if not line.startswith("    "):
            section = line.strip().removesuffix(":")
        match = _ENTRY.fullmatch(line)
        if match:
            name, value = _unquoted(match["key"]), _unquoted(match["value"])
            prefix = "npm:" if value.startswith("npm:") else ""
            new = wanted.get((section, name, value)) or wanted.get((section, name, value.removeprefix(prefix)))
            line = line if new is None else f"    {match['key']}: {_quoted(_with(prefix, new))}"  # noqa: PLW2901 - edited
        lines.append(line)
    return replace(entry, lines=tuple(lines))


def _with(prefix: str, range: str) -> str:
    return range if ":" in range else prefix + range


def _asks(kind: str) -> str:
    """The list of an entry in which a kind of dependencies stands: all but peers stand in one."""
    return kind if kind == "peerDependencies" else _ASKING


def _asked_anew(old: Sequence[_Entry], new: Sequence[_Entry]) -> list[_Entry]:
    """The entries with keys that name what is asked for now."""
    before, after = _all_asked(old), _all_asked(new)
    elsewhere = {_plain(each) for entry in new if entry.own is None for each in entry.asked}
    found = []
    for entry in new:
        if entry.own is None:
            found.append(entry)
            continue
        name = entry.own.rpartition("@workspace:")[0]
        kept = {each for each in entry.asked if _plain(each) not in before or _plain(each) in after}
        added = {each for each in after - before - elsewhere if each.startswith(f"{name}@")}
        # Since version 4 a key says `npm:` before a range, whoever asks with it or without.
        prefix = "npm:" if any(each.startswith(f"{name}@npm:") for each in entry.asked) else ""
        spelled = {f"{name}@{_with(prefix, each.removeprefix(f'{name}@'))}" for each in added}
        found.append(replace(entry, asked=tuple(sorted({*kept, *spelled, entry.own}))))
    return found


def _plain(descriptor: str) -> str:
    """`name@range` without the protocol that goes without saying."""
    return descriptor.replace("@npm:", "@", 1)


def _all_asked(entries: Iterable[_Entry]) -> set[str]:
    """Every `name@range` that some entry depends on."""
    asked = set()
    for entry in entries:
        section = ""
        for line in entry.lines:
            if not line.startswith("    "):
                section = line.strip().removesuffix(":")
            match = _ENTRY.fullmatch(line) if section == _ASKING else None
            if match:
                asked.add(_plain(f"{_unquoted(match['key'])}@{_unquoted(match['value'])}"))
    return asked


def _unquoted(text: str) -> str:
    return str(json.loads(text)) if text.startswith('"') else text


def _quoted(text: str) -> str:
    return text if _SIMPLE.fullmatch(text) else json.dumps(text, ensure_ascii=False)
