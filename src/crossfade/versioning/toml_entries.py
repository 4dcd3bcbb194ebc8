"""Version maps in TOML: a line more or less in a table, and every other byte kept. Pure.

A table under a header of its own is edited line by line; a table written in braces by a TOML library that keeps what it
does not touch. Either way the result is read again: it must hold what was there, and the one entry more or less.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossfade.config.faults import suggest
from crossfade.core.errors import BadInputError
from crossfade.versioning.version_order import place

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_KEY = r"(?:[A-Za-z0-9_-]+|\"(?:[^\"\\]|\\.)*\"|'[^']*')"
_HEADER = re.compile(rf"[ \t]*\[[ \t]*({_KEY}(?:[ \t]*\.[ \t]*{_KEY})*)[ \t]*\][ \t]*(?:#.*)?\r?\n?")
_ANY_HEADER = re.compile(r"[ \t]*\[.*")
_ENTRY = re.compile(
    rf"(?P<indent>[ \t]*)(?P<key>{_KEY})(?P<equals>[ \t]*=[ \t]*)(?P<value>.*?)(?P<end>\r?\n?)$", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class _Line:
    """An entry that stands on one line of a table."""

    number: int
    key: str
    match: re.Match[str]


def add_toml(text: str, key: str, value: str, *, file: str, name: str) -> str:
    r"""The text with the entry in the table `name`; the same text when it is there; BadInputError as `maps.add_entry`.

    >>> print(add_toml('[cdn.map]\n"1.0.0" = "v1.0.0"\n', "1.1.0", "v1.1.0", file="a.toml", name="cdn.map"), end="")
    [cdn.map]
    "1.0.0" = "v1.0.0"
    "1.1.0" = "v1.1.0"
    """
    table = _table(text, file, name)
    if key in table:
        _same(text, table[key], (key, value), file, name)
        return text
    lines, start, entries = _lines(text, name)
    if start is None or len(entries) != len(table):
        return _proved(text, _in_braces(text, name, key, value), name, {**table, key: value}, file)
    index = place([each.key for each in entries], key)
    near = entries[max(index - 1, 0)] if entries else None
    new_line = "\r\n" if "\r\n" in text else "\n"
    if near is None:
        written = f"{_quoted(key)} = {_quoted(value, bare=False)}{new_line}"
        at = start
    else:
        key_quote = near.match["key"][0] if near.match["key"][0] in "\"'" else ""
        value_quote = "'" if near.match["value"].startswith("'") else '"'
        equals = near.match["equals"]
        written = f"{near.match['indent']}{_quoted(key, key_quote)}{equals}{_quoted(value, value_quote, bare=False)}{new_line}"
        at = near.number + (1 if index else 0)
    if at and not lines[at - 1].endswith("\n"):
        lines[at - 1] += new_line
        written = written.removesuffix(new_line)
    edited = "".join([*lines[:at], written, *lines[at:]])
    return _proved(text, edited, name, {**table, key: value}, file)


def remove_toml(text: str, key: str, value: str, *, file: str, name: str) -> str:
    """The text without the entry; the same text when it is not there; BadInputError as `maps.remove_entry`."""
    table = _table(text, file, name)
    if key not in table:
        return text
    _same(text, table[key], (key, value), file, name)
    left = {each: held for each, held in table.items() if each != key}
    lines, _, entries = _lines(text, name)
    found = next((each for each in entries if each.key == key), None)
    if found is None:
        return _proved(text, _in_braces(text, name, key, None), name, left, file)
    cut = lines[: found.number] + lines[found.number + 1 :]
    if found.number == len(lines) - 1 and not lines[-1].endswith("\n") and cut:
        cut[-1] = cut[-1].rstrip("\r\n")
    return _proved(text, "".join(cut), name, left, file)


def _table(text: str, file: str, name: str) -> Mapping[str, Any]:
    here: Any = tomllib.loads(text)
    for part in _parts(name):
        if not isinstance(here, dict) or part not in here:
            known = list(here) if isinstance(here, dict) else []
            hint = suggest(part, known) if known else f"write `[{name}]` there"
            raise _fault("versions.map-missing", f"there is no table {name} in {file}", f"{file}:1", hint)
        here = here[part]
    if not isinstance(here, dict):
        where = f"{file}:{_line(text, _parts(name)[-1])}"
        raise _fault("versions.map-not-an-object", f"{name} is not a table", where, f"write it as `[{name}]`")
    return here


def _lines(text: str, name: str) -> tuple[list[str], int | None, list[_Line]]:
    """The lines of the text, the first one of the table, and its entries; None: it has no header of its own."""
    lines = text.splitlines(keepends=True)
    wanted = _parts(name)
    start = 0 if not wanted else None
    for number, line in enumerate(lines):
        header = _HEADER.fullmatch(line)
        if header and tuple(_key(part) for part in re.findall(_KEY, header[1])) == wanted:
            start = number + 1
            break
    entries: list[_Line] = []
    for number in range(start, len(lines)) if start is not None else ():
        if _ANY_HEADER.match(lines[number]):
            break
        match = _ENTRY.fullmatch(lines[number])
        if match:
            entries.append(_Line(number, _key(match["key"]), match))
    return lines, start, entries


def _in_braces(text: str, name: str, key: str, value: str | None) -> str:
    """Edit a table that has no lines of its own; None takes the entry away."""
    import tomlkit  # noqa: PLC0415 - a heavy library, needed only here

    document = tomlkit.parse(text)
    here: Any = document
    for part in _parts(name):
        here = here[part]
    if value is None:
        del here[key]
    else:
        here[key] = value
    return tomlkit.dumps(document)


def _proved(text: str, edited: str, name: str, wanted: Mapping[str, Any], file: str) -> str:
    """The edited text, if it holds exactly what it should."""
    expected = tomllib.loads(text)
    here: Any = expected
    for part in _parts(name):
        here = here[part]
    here.clear()
    here.update(wanted)
    try:
        same = tomllib.loads(edited) == expected
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        what = f"the table {name} is written in a way that cannot be edited safely"
        raise _fault("versions.map-kind", what, f"{file}:1", f"write it as `[{name}]` with one entry on each line")
    return edited


def _same(text: str, held: Any, entry: tuple[str, str], file: str, name: str) -> None:
    key, value = entry
    if held == value:
        return
    what = f'{name} has {key} already, with {json.dumps(held, default=str)} instead of "{value}"'
    hint = "somebody wrote it by hand: correct the file, or the map's `value` in crossfade.yaml"
    raise _fault("versions.map-conflict", what, f"{file}:{_line(text, key)}", hint)


def _parts(name: str) -> tuple[str, ...]:
    return () if name == "." else tuple(name.split("."))


def _key(text: str) -> str:
    return str(next(iter(tomllib.loads(f"{text} = 0")))) if text[0] in "\"'" else text


def _quoted(text: str, quote: str = "", *, bare: bool = True) -> str:
    if bare and not quote and _BARE.fullmatch(text):
        return text
    if quote == "'" and "'" not in text and text.isprintable():
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _line(text: str, key: str) -> int:
    """The line on which a key stands, as far as can be told."""
    at: Sequence[int] = [number for number, line in enumerate(text.splitlines(), 1) if key in line.split("=")[0]]
    return at[0] if at else 1


def _fault(code: str, what: str, where: str, hint: str) -> BadInputError:
    return BadInputError(code, what, where=where, next=hint)
