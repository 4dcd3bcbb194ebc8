"""Glob patterns for names of packages and for paths, as picomatch reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

_MAGIC = re.compile(r"[*?\[\]{}()!|\\]")
_GROUPS = {"@": "", "?": "?", "+": "+", "*": "*"}


class Glob(NamedTuple):
    """One pattern; `!` in front turns its answer around."""

    negated: bool
    pattern: re.Pattern[str]

    def covers(self, path: str) -> bool:
        """Whether the path fits the pattern itself, whatever stands in front of it."""
        return self.pattern.fullmatch(path) is not None

    def matches(self, path: str) -> bool:
        """Whether the path passes."""
        return self.covers(path) is not self.negated


@lru_cache(1 << 12)
def glob(text: str) -> Glob:
    """The pattern that the text is.

    `*` and `?` do not cross a slash, `**` does; `{a,b}`, `[a-z]`, `@(a|b)`, `!(a)` and the like choose. Names that begin
    with a dot are matched only by a pattern that writes the dot.

    >>> [name for name in ("@acme/core", "@acme/.x", "core") if glob("@acme/*").matches(name)]
    ['@acme/core']
    >>> glob("packages/**").matches("packages/a/b"), glob("!core").matches("core")
    (True, False)
    """
    negated = False
    while text.startswith("!") and not text.startswith("!("):
        negated, text = not negated, text[1:]
    return Glob(negated, re.compile(_path(text.removeprefix("./")), re.DOTALL))


def is_glob(text: str) -> bool:
    """Whether the text has any sign with a meaning, so that it may stand for more than itself."""
    return _MAGIC.search(text) is not None


def chosen(names: Iterable[str], patterns: Sequence[str]) -> tuple[str, ...]:
    """Those names that the patterns choose, in their own order: each later `!pattern` takes names out again.

    >>> chosen(["a-1", "a-2", "b"], ["a-*", "!a-2"])
    ('a-1',)
    """
    globs = [glob(pattern) for pattern in patterns]
    return tuple(name for name in names if _passes(name, globs))


def _passes(name: str, globs: Sequence[Glob]) -> bool:
    passed = False
    for each in globs:
        if each.negated is passed and each.covers(name):
            passed = not passed
    return passed


def expanded(text: str) -> list[str]:
    """The pattern with its braces written out, so that it can be split at slashes.

    >>> expanded("{apps,packages/{a,b}}/*")
    ['apps/*', 'packages/a/*', 'packages/b/*']
    """
    depth, start, cuts = 0, -1, []
    for at, sign in enumerate(text):
        if sign == "{":
            depth += 1
            if depth == 1:
                start, cuts = at, [at]
        elif sign == "," and depth == 1:
            cuts.append(at)
        elif sign == "}" and depth:
            depth -= 1
            if depth == 0 and len(cuts) > 1:
                cuts.append(at)
                parts = [text[low + 1 : high] for low, high in pairwise(cuts)]
                return [whole for part in parts for whole in expanded(text[:start] + part + text[at + 1 :])]
    return [text]


def _path(text: str) -> str:
    """A regular expression for the whole path; globstars take the slash beside them along."""
    pieces = text.split("/") if "/" not in "".join(re.findall(r"[({\[][^)}\]]*[)}\]]", text)) else [text]
    made = ""
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        if piece == "**":
            inner = r"(?!\.)[^/]+(?:/(?!\.)[^/]+)*/?"
            if last:
                made = made[:-1] + f"(?:/(?:{inner})?)?" if made.endswith("/") else made + f"(?:{inner})"
            else:
                made += r"(?:(?!\.)[^/]+/)*?"
            continue
        made += _segment(piece) + ("" if last else "/")
    return made


def _segment(text: str) -> str:
    made, at, first = "", 0, True
    while at < len(text):
        sign, rest = text[at], text[at + 1 :]
        if sign in "@?+*!" and rest.startswith("(") and (end := _closing(text, at + 1, "(", ")")) > 0:
            options = "|".join(_segment(part) for part in _split(text[at + 2 : end], "|"))
            tail = _segment(text[end + 1 :])
            return made + (
                f"(?!(?:{options}){tail}\\Z)[^/]*?{tail}" if sign == "!" else f"(?:{options}){_GROUPS[sign]}{tail}"
            )
        if sign == "*":
            run = len(text[at:]) - len(text[at:].lstrip("*"))
            made += (r"(?!\.)" if first else "") + (r"(?=.)" if first and at + run == len(text) else "") + "[^/]*?"
            at += run
        elif sign == "?":
            made += (r"(?!\.)" if first else "") + "[^/]"
            at += 1
        elif sign == "[" and (end := text.find("]", at + 2)) > 0:
            inner = text[at + 1 : end]
            made += f"[^{_class(inner[1:])}]" if inner[0] == "^" else f"[{_class(inner)}]"
            at = end + 1
        elif sign == "{" and (end := _closing(text, at, "{", "}")) > 0 and "," in text[at:end]:
            made += "(?:" + "|".join(_path(part) for part in _split(text[at + 1 : end], ",")) + ")"
            at = end + 1
        elif sign == "\\" and rest:
            made += re.escape(rest[0])
            at += 2
        else:
            made += re.escape(sign)
            at += 1
        first = False
    return made


def _class(inner: str) -> str:
    return inner.replace("\\", "\\\\").replace("[", "\\[")


def _closing(text: str, start: int, opening: str, closing: str) -> int:
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == opening) - (text[at] == closing)
        if depth == 0:
            return at
    return -1


def _split(text: str, separator: str) -> list[str]:
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "({[") - (sign in ")}]")
        if sign == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return parts
