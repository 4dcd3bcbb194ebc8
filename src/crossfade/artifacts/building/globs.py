"""Which files a list of globs means. Pure: paths are text, relative to the project's folder, with `/` between names."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

_WILD = re.compile(r"[*?\[{\\]")


@dataclass(frozen=True)
class Glob:
    """One glob as it is written, and as it reads from the project's folder."""

    written: str
    anchored: str

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What a path has to match as a whole."""
        return re.compile("|".join(_regex(each) for each in _braces(self.anchored)))

    @property
    def prefix(self) -> str:
        """The folder (or file) that all of its matches are in; `.` for the project's folder."""
        fixed = []
        for segment in self.anchored.rstrip("/").split("/"):
            if _WILD.search(segment):
                break
            fixed.append(segment)
        return "/".join(fixed) or "."


@dataclass(frozen=True)
class Selection:
    """Files that are meant and files that are left out; what is left out stays out, wherever it stands in the list."""

    meant: tuple[Glob, ...]
    left_out: tuple[Glob, ...] = field(default=())

    def choose(self, paths: Iterable[str]) -> list[str]:
        """Those of `paths` that are meant, in their order."""
        wanted = [glob.pattern.fullmatch for glob in self.meant]
        unwanted = [glob.pattern.fullmatch for glob in self.left_out]
        return [path for path in paths if any(fit(path) for fit in wanted) and not any(fit(path) for fit in unwanted)]

    def idle(self, paths: Sequence[str]) -> tuple[Glob, ...]:
        """The globs that none of `paths` matches."""
        return tuple(glob for glob in self.meant if not any(map(glob.pattern.fullmatch, paths)))


def select(folder: str, globs: Iterable[str]) -> Selection:
    """What `globs` mean in `folder`; ValueError names one that leads out of the project.

    `*` and `?` stay within a name, `**` goes through folders, `{a,b}` is either, `[abc]` one character, a folder's
    name means all that is in it. `!` leaves out; with nothing else, everything but that is meant.

    >>> chosen = select("packages/core", ["src", "../../tsconfig.json", "!**/*.test.ts"])
    >>> chosen.choose(["packages/core/src/a.ts", "packages/core/src/a.test.ts", "packages/core/dist/a.js", "tsconfig.json"])
    ['packages/core/src/a.ts', 'tsconfig.json']
    """
    meant: list[Glob] = []
    left_out: list[Glob] = []
    for written in globs:
        bare = written.removeprefix("!")
        (left_out if written.startswith("!") else meant).append(Glob(written, anchor(folder, bare)))
    return Selection(tuple(meant or [Glob("**", anchor(folder, "**"))]), tuple(left_out))


def anchor(folder: str, path: str) -> str:
    """`path` below `folder` as it reads from the project's folder; ValueError when it leads out of the project.

    >>> anchor("packages/core", "../shared/**"), anchor(".", "dist/")
    ('packages/shared/**', 'dist/')
    """
    whole = posixpath.normpath(posixpath.join(folder, path))
    if path.startswith("/") or whole == ".." or whole.startswith("../"):
        msg = f"{path!r} leads out of the project"
        raise ValueError(msg)
    if whole == ".":
        return "**"
    return f"{whole}/" if path.endswith("/") else whole


def holds(folder: str, path: str) -> bool:
    """Whether `path` is `folder` or something in it.

    >>> holds("a", "a/b"), holds("a", "ab"), holds(".", "x")
    (True, False, True)
    """
    return folder in (".", path) or path.startswith(f"{folder}/")


def _braces(pattern: str) -> list[str]:
    """Every reading of `{a,b}`, also of one within another.

    >>> _braces("src/*.{ts,t{x,y}}")
    ['src/*.ts', 'src/*.tx', 'src/*.ty']
    """
    depth, start, commas = 0, -1, list[int]()
    for at, char in enumerate(pattern):
        if char == "{":
            depth += 1
            if depth == 1:
                start, commas = at, []
        elif char == "," and depth == 1:
            commas.append(at)
        elif char == "}" and depth:
            depth -= 1
            if depth == 0 and commas:
                edges = [start, *commas, at]
                parts = [pattern[a + 1 : b] for a, b in pairwise(edges)]
                return [each for part in parts for each in _braces(pattern[:start] + part + pattern[at + 1 :])]
    return [pattern]


def _regex(pattern: str) -> str:
    segments = pattern.rstrip("/").split("/")
    last = len(segments) - 1
    parts = []
    for at, segment in enumerate(segments):
        if segment == "**":
            parts.append("(?:[^/]+/)*" if at < last else ".+")
        else:
            parts.append(_name(segment) + ("/" if at < last else ""))
    whole = "".join(parts)
    if pattern.endswith("/"):
        return f"{whole}/.+"
    return whole if _WILD.search(segments[-1]) else f"{whole}(?:/.+)?"  # a folder's name means all that is in it


def _name(segment: str) -> str:
    out, at = [], 0
    while at < len(segment):
        char = segment[at]
        at += 1
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "\\" and at < len(segment):
            out.append(re.escape(segment[at]))
            at += 1
        elif char == "[" and (end := segment.find("]", at + 1)) > 0:
            inside = segment[at:end].replace("\\", "\\\\").replace("[", "\\[")
            out.append(f"(?!/)[{'^' + inside[1:] if inside[0] in '!^' else inside}]")
            at = end + 1
        else:
            out.append(re.escape(char))
    return "".join(out)
