"""pnpm-lock.yaml: specifiers of importers, of lockfile versions 5 to 9. Pure.

Links between packages of a workspace are paths, which a release does not move. pnpm writes the file itself, in block
style with two spaces; it is read line by line, since a YAML parser takes seconds for the large ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from crossfade.versioning.lock_files.changes import Changed, refuse_conflict

_LINE = re.compile(
    r"(?P<indent> *)(?P<key>'(?:[^']|'')*'|\"[^\"]*\"|[^\s'\"#][^:]*?|[^\s'\"#][^ ]*?):(?P<space> *)(?P<value>.*)"
)
_STARTS_OTHERWISE = re.compile(r"[-?:,\[\]{}#&*!|>=%@`'\"]")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+|~|")
_LISTS = {"dependencies", "devDependencies", "optionalDependencies", "peerDependencies"}


def pnpm_lock(text: str, where: str, packages: Iterable[Changed], folder: str = ".") -> str:
    r"""The lock file in `folder` with the new ranges of packages of the repository.

    >>> from crossfade.versioning.lock_files.changes import RangeChange
    >>> api = Changed("api", "npm", None, (RangeChange("dependencies", "core", "^1.0.0", "^2.0.0"),))
    >>> lock = "importers:\n\n  api:\n    dependencies:\n      core:\n        specifier: ^1.0.0\n"
    >>> pnpm_lock(lock, "pnpm-lock.yaml", [api]).splitlines()[-1].strip()
    'specifier: ^2.0.0'
    """
    refuse_conflict(text, where)
    by_place = {each.seen_from(folder): each for each in packages if each.ecosystem == "npm"}
    wanted = {place: {(each.name, each.old): each.new for each in change.ranges} for place, change in by_place.items()}
    lines = text.split("\n")
    path: list[str] = []
    for number, line in enumerate(lines):
        match = _LINE.fullmatch(line.rstrip("\r"))
        if match is None:
            continue
        depth = len(match["indent"]) // 2
        path[depth:] = [_unquoted(match["key"])]
        new = _specifier(path, _unquoted(match["value"]), wanted) if match["value"] else None
        if new is not None:
            kept = line[len(line.rstrip("\r")) :]
            lines[number] = f"{match['indent']}{match['key']}:{match['space']}{_quoted(new)}{kept}"
    return "\n".join(lines)


def _specifier(path: list[str], value: str, wanted: Mapping[str, Mapping[tuple[str, str], str]]) -> str | None:
    """The new range for the line at `path`; None: it is none, or it stays."""
    below = path[2:] if path[0] == "importers" and len(path) > 2 else path  # noqa: PLR2004 - importers, its folder, and on
    place = path[1] if below is not path else "."
    older = len(below) == 2 and below[0] == "specifiers"  # noqa: PLR2004 - up to version 5: specifiers, name
    newer = len(below) == 3 and below[0] in _LISTS and below[2] == "specifier"  # noqa: PLR2004 - list, name, specifier
    if not (older or newer):
        return None
    return wanted.get(place, {}).get((below[1], value))


def _unquoted(text: str) -> str:
    if text.startswith("'") and text.endswith("'") and len(text) > 1:
        return text[1:-1].replace("''", "'")
    return text[1:-1] if text.startswith('"') and text.endswith('"') and len(text) > 1 else text


def _quoted(text: str) -> str:
    """A range as pnpm's YAML writer has it: plain wherever that can be read back as text."""
    plain = not (_STARTS_OTHERWISE.match(text) or _NUMBER.fullmatch(text) or ": " in text or " #" in text)
    return text if plain else "'" + text.replace("'", "''") + "'"
