"""What is wrong with a file, told as one calm page: where, what, the line itself, what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from crossfade.core.errors import BadInputError

Path = tuple[str | int, ...]
"""Where something stands in the tree: `("environments", "production", "strategy", "steps", 1)`."""

_WIDEST = 96
_SECRET = re.compile(
    r"(?i)((?:[\w.-]*(?:passw|secret|token|credential|api_?key|private_?key)[\w.-]*)[\"']?\s*[:=]\s*)[^,}\]]+"
)
_USERINFO = re.compile(r"(?<=://)[^\s/@:]*:[^\s@]*@")


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the text, counted from 1, and how many characters of that line it spans."""

    line: int
    column: int
    width: int = 1


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, or (as a warning) likely not meant.

    `code` is stable (`config.unknown-key`); `path` is written as people do
    (`environments.production.strategy.steps[1].weight`); `source` is the line of the file, with
    secrets masked; `hint` says what to write instead.
    """

    code: str
    what: str
    file: str
    mark: Mark
    path: str = ""
    hint: str = ""
    source: str = ""

    @property
    def where(self) -> str:
        """`FILE:LINE:COLUMN`, as editors and terminals understand it."""
        return f"{self.file}:{self.mark.line}:{self.mark.column}"

    def as_json(self) -> dict[str, str | int]:
        """The fault as a flat JSON object."""
        return {
            "code": self.code,
            "what": self.what,
            "file": self.file,
            "line": self.mark.line,
            "column": self.mark.column,
            "path": self.path,
            "hint": self.hint,
        }

    def __str__(self) -> str:
        lines = [self.where + (f" · {self.path}" if self.path else "")]
        lines += [f"  {line}" for line in self.what.splitlines()]
        if self.source.strip():
            number = str(self.mark.line)
            text, caret = _excerpt(self.source, self.mark)
            lines += ["", f"    {number} │ {text}", f"    {' ' * len(number)} │ {caret}"]
        if self.hint:
            lines += ["", f"  {self.hint}"] if self.source.strip() else [f"  {self.hint}"]
        return "\n".join(lines)


class ConfigError(BadInputError):
    """Every fault of a file at once, in the order of its lines.

    `str()` is the whole page; `faults` are the same as values; `as_json()` holds them as a list.
    """

    def __init__(self, file: str, faults: Iterable[Fault]) -> None:
        self.file = file
        self.faults: tuple[Fault, ...] = tuple(
            sorted(dict.fromkeys(faults), key=lambda fault: (fault.mark.line, fault.mark.column))
        )
        first = self.faults[0]
        count = len(self.faults)
        super().__init__(
            first.code if count == 1 else "config.invalid",
            f"{file} has {count} fault{'s' if count > 1 else ''}",
            where=first.where,
            next=first.hint or "correct the file, then run `crossfade check`",
        )

    def __str__(self) -> str:
        return "\n\n".join([self.what, *map(str, self.faults)])

    def as_json(self) -> dict[str, Any]:
        """As every error, with `faults` as a list of objects."""
        return {**super().as_json(), "faults": [fault.as_json() for fault in self.faults]}


def write_path(path: Sequence[str | int]) -> str:
    """A path as people write it.

    >>> write_path(("environments", "production", "strategy", "steps", 1, "weight"))
    'environments.production.strategy.steps[1].weight'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{show(part)}" if text else show(part)
    return text


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was most likely meant, if any.

    >>> nearest("stesp", ["steps", "watch"]), nearest("bluegreen", ["direct", "blue-green"]), nearest("x", ["steps"])
    ('steps', 'blue-green', None)
    """
    words = list(known)
    folded = {each.lower().replace("-", "").replace("_", ""): each for each in words}
    plain = word[:80].lower().replace("-", "").replace("_", "").replace(" ", "")
    if plain in folded:
        return folded[plain]
    close = difflib.get_close_matches(plain, folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def suggest(word: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest match, or all that there is.

    >>> suggest("stesp", ["steps", "watch"])
    'did you mean `steps`?'
    >>> suggest("colour", ["steps", "watch"])
    'write one of: steps, watch'
    """
    words = list(known)
    match = nearest(word, words)
    return f"did you mean `{match}`?" if match else f"write one of: {', '.join(words)}"


def show(value: object, longest: int = 60) -> str:
    """A value on one printable line, with secrets masked, cut where it is too long."""
    text = "".join(each if each.isprintable() else "�" for each in str(value)[: longest * 4])
    text = mask(text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def mask(text: str) -> str:
    """`text` without what looks like a secret.

    >>> mask("url: https://me:hunter2@db/x"), mask("API_TOKEN: abc")
    ('url: https://…@db/x', 'API_TOKEN: …')
    """
    return _SECRET.sub(r"\1…", _USERINFO.sub("…@", text))


def _excerpt(source: str, mark: Mark) -> tuple[str, str]:
    """Cut a line to a width around its mark and draw the caret below."""
    plain = "".join(each if each.isprintable() else " " for each in source.rstrip())
    start, line = min(mark.column - 1, len(plain)), mask(plain)
    if line != plain and line.endswith(plain[start:]):
        start += len(line) - len(plain)
    start = max(0, min(start, len(line) - 1))
    end = start + max(1, min(mark.width, len(line) - start))
    before, marked, after = line[:start].lstrip(), line[start:end], line[end:]
    if len(before) > _WIDEST // 2:
        before = "…" + before[-_WIDEST // 2 :]
    if len(marked) > _WIDEST:
        marked = marked[:_WIDEST] + "…"
    room = max(0, _WIDEST - len(before) - len(marked))
    after = after if len(after) <= room else after[:room] + "…"
    return before + marked + after, " " * len(before) + "^" * max(1, len(marked))
