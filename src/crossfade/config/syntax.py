"""What a YAML parser complains about, in words that say what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from crossfade.config.faults import Fault, Mark, show


class Point(Protocol):
    """A place as the parser counts it: from 0."""

    @property
    def line(self) -> int:
        """The line, from 0."""
        ...

    @property
    def column(self) -> int:
        """The column, from 0."""
        ...


class Spot(NamedTuple):
    """A `Point` of our own."""

    line: int
    column: int


class _Complaint(NamedTuple):
    problem: str
    context: str
    at: Point
    start: Point
    source: str
    above: str


def explain_syntax(error: YAMLError, lines: Sequence[str], file: str) -> Fault:
    """The fault that a parser's error stands for."""
    if isinstance(error, ReaderError):
        return _character(error, lines, file)
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return Fault("config.syntax", "this is not YAML that can be read", file, Mark(1, 1))
    at = error.problem_mark
    complaint = _Complaint(
        str(error.problem or ""),
        str(error.context or ""),
        at,
        error.context_mark or at,
        lines[at.line] if at.line < len(lines) else "",
        next((line for line in reversed(lines[: at.line]) if line.strip()), ""),
    )
    point, what, hint = _put(complaint)
    return place(lines, file, point, "config.syntax", what, hint=hint)


def place(lines: Sequence[str], file: str, at: Point, code: str, what: str, *, hint: str = "") -> Fault:
    """A fault at a point of the text, moved up to the last line that holds anything."""
    line, column = max(0, min(at.line, len(lines) - 1)), at.column
    while line and not lines[line].strip():
        line -= 1
        column = len(lines[line])
    column = max(0, min(column, len(lines[line].rstrip()) - 1))
    return Fault(code, what, file, Mark(line + 1, column + 1), hint=hint, source=_quotable(lines, line, column))


_HOLDS_VALUES = re.compile(r"(?:^|[\s{,\"'])(?:environment|variables)[\"']?\s*:")


def _quotable(lines: Sequence[str], line: int, column: int) -> str:
    """A line as it may be shown: what stands below `environment` or `variables` may be secret.

    Text that does not parse has no paths, so its indentation tells what it stands below.
    """
    text = lines[line]
    depth = _depth(text)
    hidden = _HOLDS_VALUES.search(text) is not None
    for above in reversed(lines[:line]):
        indent = _depth(above)
        if above.strip() and indent < depth:
            depth = indent
            hidden = hidden or _HOLDS_VALUES.search(above) is not None
    if not hidden:
        return text
    key, colon, value = text.partition(":")
    if not colon:
        return " " * column + "…"
    return f"{key}:".ljust(column) + "…" if value.strip() else text


def _depth(text: str) -> int:
    wide = text.expandtabs(8)
    return len(wide) - len(wide.lstrip())


_WORDS: tuple[tuple[str, str, str, str], ...] = (
    # what the problem says, what the context says, what we say, what to do
    (
        "unexpected end",
        "quoted scalar",
        "this quote is not closed",
        "add the missing quote; inside single quotes write '' for '",
    ),
    (
        "",
        "flow",
        "this bracket is not closed, or a comma is missing in it",
        "close it, and separate its items by commas",
    ),
    (
        "unknown escape",
        "",
        "this backslash escape does not exist",
        "use single quotes, in which a backslash is a backslash",
    ),
    ("could not find expected ':'", "", "this line is not `key: value`", "write a colon and a space after the key"),
    ("another document", "", "a second document starts here (`---`)", "one file holds one project"),
    (
        "<block end>",
        "",
        "this does not fit the lines above",
        "items of one level start in the same column; brackets come in pairs",
    ),
    ("YAML document", "", "this YAML version is not known", "remove the %YAML line"),
)
_AT_START = {"quoted scalar", "flow", "simple key"}


def _put(complaint: _Complaint) -> tuple[Point, str, str]:
    problem, context, at, start, source, above = complaint
    if "\\t" in problem or re.match(r" *\t", source):
        tab = Spot(at.line, len(source) - len(source.lstrip(" "))) if source.strip() else at
        return tab, "a tab is used for indentation", "YAML is indented by spaces: two for each level"
    if "mapping values are not allowed" in problem:
        return at, *_colon(source, above, at.column)
    if "cannot start any token" in problem:
        return at, f"a value cannot start with {source[at.column : at.column + 1]}", "put the value in quotes"
    for in_problem, in_context, what, hint in _WORDS:
        if in_problem in problem and in_context in context:
            return start if any(word in context for word in _AT_START) else at, what, hint
    return at, f"this is not valid YAML: {show(problem, 80) or 'it cannot be read'}", ""


def _colon(source: str, above: str, column: int) -> tuple[str, str]:
    """Tell the two mistakes apart that a parser sees as a stray colon."""
    if re.search(r":\s+\S", source[:column]) or set(source[:column]) & {'"', "'"}:
        return "there is a second `: ` in this line", "put the value in quotes when it holds a colon"
    if len(source) - len(source.lstrip()) <= len(above) - len(above.lstrip()):
        return "the line above is not `key: value`", "write a colon and a space after its key"
    return (
        "this line is indented deeper than the one above, which has a value already",
        "align it with its neighbours, or write a key with a colon above it",
    )


def _character(error: ReaderError, lines: Sequence[str], file: str) -> Fault:
    before = "\n".join(lines)[: error.position]
    number = ord(error.character) if isinstance(error.character, str) else int(error.character)
    what = (
        "there is a NUL byte here: this is not a text file"
        if number == 0
        else f"the character U+{number:04X} is not allowed here"
    )
    return place(
        lines,
        file,
        Spot(before.count("\n"), len(before) - before.rfind("\n") - 1),
        "config.syntax",
        what,
        hint="remove it",
    )
