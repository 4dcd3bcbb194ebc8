"""As much Markdown as changelogs need: headings, items of lists, link references, and what is code. Pure.

Whatever stands in a fenced block or in a comment is text: a `## 1.0.0` in an example is no heading. Whatever is indented
belongs to the item above it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_HEADING = re.compile(r"(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*")
_UNDERLINE = re.compile(r"(=+|-{2,})[ \t]*")
_ITEM = re.compile(r"[-*+][ \t]+(?=\S)")
_REFERENCE = re.compile(r"\[([^\]^][^\]]*)\]:[ \t]*(\S.*?)[ \t]*")


class Heading(NamedTuple):
    """A heading: its line (from 0), the line after it, its level (1 to 6), and its text."""

    line: int
    end: int
    level: int
    text: str


class Reference(NamedTuple):
    """A link reference, `[label]: address`, and its line (from 0)."""

    line: int
    label: str
    address: str


def headings(lines: Sequence[str]) -> Iterator[Heading]:
    """Every heading, in both ways of writing one.

    >>> [each.text for each in headings(["# A", "```", "# no heading", "```", "B", "---"])]
    ['A', 'B']
    """
    plain = _plain(lines)
    for number, line in enumerate(plain):
        if line is None:
            continue
        if match := _HEADING.fullmatch(line):
            yield Heading(number, number + 1, len(match[1]), (match[2] or "").strip())
            continue
        above = plain[number - 1] if number else None
        if above and above.strip() and (match := _UNDERLINE.fullmatch(line)) and _begins_nothing(above):
            yield Heading(number - 1, number + 1, 1 if match[1][0] == "=" else 2, above.strip())


def references(lines: Sequence[str]) -> Iterator[Reference]:
    """Every link reference.

    >>> list(references(["text", "[1.0.0]: https://example.org/v1.0.0"]))
    [Reference(line=1, label='1.0.0', address='https://example.org/v1.0.0')]
    """
    for number, line in enumerate(_plain(lines)):
        if line is not None and (match := _REFERENCE.fullmatch(line)):
            yield Reference(number, match[1], match[2])


def blocks(lines: Sequence[str]) -> Iterator[str]:
    r"""The items of a list, each as its own text; anything that is no list is one text as it stands.

    >>> list(blocks(["- one", "  goes on", "- two"])), list(blocks(["Text", "", "- with a list"]))
    (['one\ngoes on', 'two'], ['Text\n\n- with a list'])
    """
    text = "\n".join(lines).strip("\n").rstrip()
    if not _ITEM.match(text):
        if text.strip():
            yield text
        return
    all_lines = text.split("\n")
    plain = _plain(all_lines)
    starts = [number for number, line in enumerate(plain) if line is not None and _ITEM.match(line)]
    for start, end in zip(starts, [*starts[1:], len(all_lines)], strict=True):
        match = _ITEM.match(all_lines[start])
        width = match.end() if match else 0
        rest = [_dedented(line, width) for line in all_lines[start + 1 : end]]
        yield "\n".join([all_lines[start][width:], *rest]).rstrip()


def _dedented(line: str, width: int) -> str:
    return line[min(width, len(line) - len(line.lstrip(" "))) :]


def _begins_nothing(line: str) -> bool:
    """Whether a line is plain text, so that a line of dashes below it makes it a heading."""
    return not (_ITEM.match(line) or line.startswith((" ", "\t", ">", "|", "#")))


def _plain(lines: Sequence[str]) -> list[str | None]:
    """The lines, with None for those inside fenced blocks (the fences too) and comments."""
    plain: list[str | None] = []
    fence, comment = "", False
    for line in lines:
        text = line.rstrip("\r\n").removeprefix("\ufeff")
        match = _FENCE.fullmatch(text)
        if fence:
            closes = match and match[1].startswith(fence) and not match[2].strip()
            fence = "" if closes else fence
            plain.append(None)
        elif comment:
            comment = "-->" not in text
            plain.append(None)
        elif match and not (match[1][0] == "`" and "`" in match[2]):
            fence = match[1]
            plain.append(None)
        else:
            opened = text.lstrip().startswith("<!--")
            comment = opened and "-->" not in text
            plain.append(None if opened else text)
    return plain
