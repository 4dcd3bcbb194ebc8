"""Version maps: one entry more in a TypeScript, JavaScript, JSON or TOML file, and not another byte changed. Pure.

The entry goes where the order of the others asks for it: versions that grow go on growing, whatever else is there stays
in its place. An entry that is there already is left alone; one with another value is an error, never overwritten.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from crossfade.config.faults import suggest
from crossfade.config.publishing import VersionMap
from crossfade.core.errors import BadInputError
from crossfade.core.semver import SemVer
from crossfade.versioning.object_literals import (
    Entry,
    Literal,
    LiteralError,
    Token,
    definitions,
    line_of,
    literal,
    tokens,
    write_string,
)
from crossfade.versioning.toml_entries import add_toml, remove_toml
from crossfade.versioning.version_order import place

_SCRIPTS = {".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs"}
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_PLACEHOLDER = re.compile(r"\{(version|major|minor|name)\}")
_REST_OF_LINE = re.compile(r"(?P<comma>[ \t]*,)?(?:[ \t]|/\*.*?\*/)*(?://[^\r\n]*)?(?=\r?\n|$)", re.DOTALL)


class MapEntry(NamedTuple):
    """One entry of a version map."""

    key: str
    value: str


def map_entry(settings: VersionMap, name: str, version: SemVer) -> MapEntry:
    """The entry that a release gets, in the words of the map's settings.

    >>> map_entry(VersionMap(file="a.ts", name="MAP", of="loader"), "loader", SemVer(1, 2, 0))
    MapEntry(key='1.2.0', value='v1.2.0')
    """
    words = {"version": str(version), "major": str(version.major), "minor": str(version.minor), "name": name}

    def write(template: str) -> str:
        return _PLACEHOLDER.sub(lambda match: words[match[1]], template)

    return MapEntry(write(settings.key), write(settings.value))


def add_entry(text: str, entry: MapEntry, *, file: str, name: str) -> str:
    """`text` of the map `name` with the entry in it; the same text when it is there.

    BadInputError `versions.map-*` with file and line: there is no such map, it is not an object, or the key is there
    with another value.

    >>> print(add_entry("const MAP = { '1.0.0': 'v1.0.0' };", MapEntry("1.1.0", "v1.1.0"), file="a.ts", name="MAP"))
    const MAP = { '1.0.0': 'v1.0.0', '1.1.0': 'v1.1.0' };
    """
    if PurePosixPath(file).suffix == ".toml":
        return _checked_toml(text, file, lambda: add_toml(text, entry.key, entry.value, file=file, name=name))
    found, is_json = _locate(text, file, name)
    known = found.entry(entry.key)
    if known is not None:
        _same(text, known, entry, file, name)
        return text
    if entry.key == "__proto__" and not is_json:
        raise _fault("versions.map-key", "`__proto__` is no key of a map: JavaScript gives it another meaning", file, 1)
    return _with(text, found, entry, json_text=is_json)


def remove_entry(text: str, entry: MapEntry, *, file: str, name: str) -> str:
    """`text` of the map `name` without the entry: the way back of `add_entry`; the same text when it is not there.

    BadInputError as there: an entry whose value somebody changed is not ours to take away.

    >>> print(remove_entry("MAP = {a: 'x', b: 'y'}", MapEntry("b", "y"), file="a.js", name="MAP"))
    MAP = {a: 'x'}
    """
    if PurePosixPath(file).suffix == ".toml":
        return _checked_toml(text, file, lambda: remove_toml(text, entry.key, entry.value, file=file, name=name))
    found, _ = _locate(text, file, name)
    known = found.entry(entry.key)
    if known is None:
        return text
    _same(text, known, entry, file, name)
    return _without(text, found, found.entries.index(known))


def _locate(text: str, file: str, name: str) -> tuple[Literal, bool]:
    """The map in the text, and whether the text is JSON."""
    kind = PurePosixPath(file).suffix
    if kind not in _SCRIPTS | {".json"}:
        raise _fault(
            "versions.map-kind",
            f"{file} is no file in which a version map can be kept",
            file,
            1,
            "name a TypeScript, JavaScript, JSON or TOML file",
        )
    try:
        if kind == ".json":
            json.loads(text)
            return _in_json(text, file, name), True
        return _in_script(text, file, name), False
    except json.JSONDecodeError as error:
        raise _fault("versions.map-syntax", f"{file} is not JSON: {error.msg}", file, error.lineno) from None
    except LiteralError as error:
        raise _fault("versions.map-syntax", error.what, file, line_of(text, error.at)) from None


def _in_script(text: str, file: str, name: str) -> Literal:
    found = tokens(text)
    places = definitions(found, name)
    values = [(at, literal(found, at)) for at in places]
    maps = [each for _, each in values if each is not None]
    if len(maps) == 1:
        return maps[0]
    if len(maps) > 1:
        lines = ", ".join(str(line_of(text, each.opened)) for each in maps)
        what = f"{file} holds {len(maps)} objects called {name}: in lines {lines}"
        raise _fault(
            "versions.map-ambiguous", what, file, line_of(text, maps[1].opened), "give one of them another name"
        )
    if places:
        at = min(places[0], len(found) - 1)
        line = line_of(text, found[at].start)
        hint = 'write it as an object: { "1.0.0": "v1.0.0" }'
        raise _fault("versions.map-not-an-object", f"{name} is not an object literal", file, line, hint)
    raise _fault("versions.map-missing", f"there is no object {name} in {file}", file, 1, _meant(name, _objects(found)))


def _objects(found: Sequence[Token]) -> list[str]:
    """Names of all objects that a script gives a name."""
    names = {each.text for each in found if each.kind == "word" and _WORD.fullmatch(each.text)}
    return sorted(name for name in names if any(literal(found, at) for at in definitions(found, name)))


def _in_json(text: str, file: str, name: str) -> Literal:
    found = tokens(text)
    starts = {each.start: index for index, each in enumerate(found)}
    here = literal(found, 0)
    at = found[0].start
    for part in name.split(".") if name != "." else ():
        if here is None:
            break
        entry = here.entry(part)
        if entry is None:
            known = [each.key for each in here.entries if each.key]
            line = line_of(text, here.opened)
            raise _fault(
                "versions.map-missing", f"there is no object {name} in {file}", file, line, _meant(part, known)
            )
        at = entry.value_start
        here = literal(found, starts[at])
    if here is None:
        hint = 'write it as an object: {"1.0.0": "v1.0.0"}'
        raise _fault("versions.map-not-an-object", f"{name} is not an object", file, line_of(text, at), hint)
    return here


def _with(text: str, found: Literal, entry: MapEntry, *, json_text: bool) -> str:
    """The text with the entry at its place, written as its neighbours are."""
    if not found.entries:
        return _first(text, found, entry, json_text=json_text)
    written = _written(found.entries, entry, json_text=json_text)
    index = place([each.key for each in found.entries], entry.key)
    if index == 0:
        after = found.entries[0]
        gap = _line_break(text) + _indent(text, after.start) if _begins_line(text, after.start) else " "
        return f"{text[: after.start]}{written},{gap}{text[after.start :]}"
    anchor = found.entries[index - 1]
    rest = _REST_OF_LINE.match(text, anchor.end)
    if not _begins_line(text, anchor.start) or rest is None:
        return f"{text[: anchor.end]}, {written}{text[anchor.end :]}"
    comma, tail = ("", ",") if rest["comma"] else (",", "")
    new_line = _line_break(text) + _indent(text, anchor.start) + written + tail
    return text[: anchor.end] + comma + text[anchor.end : rest.end()] + new_line + text[rest.end() :]


def _first(text: str, found: Literal, entry: MapEntry, *, json_text: bool) -> str:
    """The text with the first entry of an empty object, on a line of its own."""
    outer = _indent(text, found.opened)
    unit = next((match[0] for match in re.finditer(r"(?m)^(?:\t| {2,8})(?=\S)", text)), "  ")
    inner = text[found.opened + 1 : found.closed].rstrip()
    quote = '"' if json_text or text.count('"') >= text.count("'") else "'"
    key = entry.key if not json_text and _WORD.fullmatch(entry.key) else write_string(entry.key, quote)
    written = f"{key}: {write_string(entry.value, quote)}{'' if json_text else ','}"
    line = _line_break(text)
    return f"{text[: found.opened + 1]}{inner}{line}{outer}{unit}{written}{line}{outer}{text[found.closed :]}"


def _without(text: str, found: Literal, index: int) -> str:
    """The text without one entry: its line with the comment on it, or its piece of a line."""
    entry = found.entries[index]
    before = found.entries[index - 1] if index else None
    after = found.entries[index + 1] if index + 1 < len(found.entries) else None
    rest = _REST_OF_LINE.match(text, entry.end)
    if not _begins_line(text, entry.start) or rest is None:
        if before is not None:
            return text[: before.end] + text[entry.end :]
        if after is not None:
            return text[: entry.start] + text[after.start :]
        return _emptied(text[: entry.start] + re.sub(r"^\s*,", "", text[entry.end :]), found.opened)
    start = text.rfind("\n", 0, entry.start)
    head, tail = text[: start - (text[start - 1] == "\r")], text[rest.end() :]
    if after is None and before is not None and not rest["comma"]:
        # The one before is the last now: as this one had no comma after it, neither has that one.
        between = re.sub(r"^([ \t\r\n]*),", r"\1", head[before.end :])
        head = head[: before.end] + between
    return _emptied(head + tail, found.opened) if before is None and after is None else head + tail


def _emptied(text: str, opened: int) -> str:
    """Let an object without anything in it be `{}`."""
    return text[: opened + 1] + re.sub(r"^\s*\}", "}", text[opened + 1 :])


def _written(entries: Sequence[Entry], entry: MapEntry, *, json_text: bool) -> str:
    """The entry with the quotes of its neighbours; a bare key only where all of them are bare."""
    value_quote = next((each.value_quote for each in reversed(entries) if each.value_quote in {'"', "'"}), "")
    key_quote = next((each.key_quote for each in reversed(entries) if each.key_quote), "")
    value_quote = '"' if json_text else value_quote or key_quote or '"'
    if (
        not json_text
        and not key_quote
        and (_WORD.fullmatch(entry.key) or re.fullmatch("0|[1-9][0-9]{0,14}", entry.key))
    ):
        key = entry.key
    else:
        key = write_string(entry.key, key_quote or value_quote)
    return f"{key}: {write_string(entry.value, value_quote)}"


def _same(text: str, known: Entry, entry: MapEntry, file: str, name: str) -> None:
    """Refuse an entry that holds something else."""
    if known.value == entry.value:
        return
    holds = f'"{known.value}"' if known.value is not None else "something that is no plain text"
    what = f'{name} has {entry.key} already, with {holds} instead of "{entry.value}"'
    hint = "somebody wrote it by hand: correct the file, or the map's `value` in crossfade.yaml"
    raise _fault("versions.map-conflict", what, file, line_of(text, known.start), hint)


def _begins_line(text: str, at: int) -> bool:
    return "\n" in text[:at] and not text[text.rfind("\n", 0, at) + 1 : at].strip(" \t")


def _indent(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _line_break(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _meant(word: str, known: Sequence[str]) -> str:
    return suggest(word, known) if known else "write it there, or correct `versioning.maps` in crossfade.yaml"


def _checked_toml(text: str, file: str, edit: Callable[[], str]) -> str:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"at line (\d+)", str(error))
        line = int(where[1]) if where else line_of(text, len(text))
        raise _fault("versions.map-syntax", f"{file} is not TOML: {str(error).split(' (at')[0]}", file, line) from None
    return edit()


def _fault(code: str, what: str, file: str, line: int, next: str = "correct the file") -> BadInputError:
    return BadInputError(code, what, where=f"{file}:{line}", next=next)
