"""Object literals in JavaScript, TypeScript and JSON, with the place of everything in them. Pure.

Nothing is evaluated and nothing is written anew: an edit cuts into the text at places that are told here, and the
rest of the file stays as its author left it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

_TOKEN = re.compile(
    r"(?P<space>[\s\ufeff]+|//[^\r\n]*|/\*.*?\*/)"
    r"|(?P<string>\"(?:[^\"\\\r\n]|\\\r\n|\\.)*\"|'(?:[^'\\\r\n]|\\\r\n|\\.)*')"
    r"|(?P<word>[\w$\u200c\u200d]+(?:\.\d+)?)"
    r"|(?P<mark>=>|\.\.\.|===?|!==?|[<>]=|.)",
    re.DOTALL,
)
_REGEX = re.compile(r"/(?![*/])(?:[^/\\\[\r\n]|\\[^\r\n]|\[(?:[^\]\\\r\n]|\\[^\r\n])*\])+/[A-Za-z]*")
_ESCAPE = re.compile(r"\\(?:u\{([0-9A-Fa-f]+)\}|u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|(\r\n|.))", re.DOTALL)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0", "\n": "", "\r\n": ""}
_BEFORE_REGEX = {"return", "typeof", "case", "in", "of", "delete", "void", "throw", "new", "do", "else", "instanceof"}
_DECLARE = {"const", "let", "var", "static", "readonly", "public", "private", "protected", "declare"}
_OPEN, _CLOSE = "([{", ")]}"


class LiteralError(ValueError):
    """`what` is wrong at the character `at` of the text."""

    def __init__(self, what: str, at: int) -> None:
        super().__init__(what)
        self.what = what
        self.at = at


class Token(NamedTuple):
    """A piece of text that is neither space nor comment: kind is string, template, regex, word or mark."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """The character after it."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an object: from `start` to `end` without its comma.

    `key` is None for what has no fixed key (a spread, a computed key); `value` is the text that it holds, or None
    where it is no plain string, and begins at `value_start`; the quotes are `"`, `'`, a backtick, or nothing.
    """

    key: str | None
    start: int
    end: int
    value: str | None = None
    value_start: int = -1
    key_quote: str = ""
    value_quote: str = ""


@dataclass(frozen=True, slots=True)
class Literal:
    """An object literal: the places of its braces, and its entries in order."""

    opened: int
    closed: int
    entries: tuple[Entry, ...]

    def entry(self, key: str) -> Entry | None:
        """The entry with this key: the last one, as JavaScript has it."""
        return next((each for each in reversed(self.entries) if each.key == key), None)


def tokens(text: str) -> list[Token]:
    """The tokens of JavaScript or TypeScript; LiteralError for a comment or a template without an end.

    >>> [each.text for each in tokens("a = 'b' // c")]
    ['a', '=', "'b'"]
    """
    found: list[Token] = []
    at = 0
    while at < len(text):
        token = _template(text, at) if text[at] == "`" else _slash(text, at, found) if text[at] == "/" else None
        if token is None:
            match = _TOKEN.match(text, at)
            assert match is not None  # noqa: S101 - the last alternative takes any character
            at = match.end()
            if match.lastgroup != "space":
                found.append(Token(str(match.lastgroup), match[0], match.start()))
        else:
            found.append(token)
            at = token.end
    return found


def definitions(found: Sequence[Token], name: str) -> list[int]:
    """Where in `found` the value of a variable, constant or property called `name` begins.

    >>> definitions(tokens("const MAP: Record<string, string> = {}; use(MAP)"), "MAP")
    [10]
    """
    places = []
    for index, token in enumerate(found):
        if token.kind == "word" and token.text == name and (value := _value(found, index)) is not None:
            places.append(value)
    return places


def literal(found: Sequence[Token], at: int) -> Literal | None:
    """The object literal that is the value at `found[at]`; None: it is something else.

    `Object.freeze(…)`, parentheses and an angle-bracket assertion around it are looked through.
    """
    while at < len(found) and found[at].text in {"Object", "("}:
        if found[at].text == "Object" and [each.text for each in found[at + 1 : at + 4]] != [".", "freeze", "("]:
            return None
        at += 4 if found[at].text == "Object" else 1
    if at >= len(found) or found[at].text != "{":
        return None
    entries = []
    here = at + 1
    while here < len(found) and found[here].text != "}":
        end = _end(found, here)
        if end > here:
            entries.append(_entry(found[here:end]))
        here = end + 1 if end < len(found) and found[end].text == "," else end
    if here >= len(found):
        what = "this brace is never closed"
        raise LiteralError(what, found[at].start)
    return Literal(found[at].start, found[here].start, tuple(entries))


def write_string(text: str, quote: str) -> str:
    r"""`text` as a string literal; with double quotes it is JSON as well.

    >>> print(write_string("it's", "'"), write_string('"', '"'))
    'it\'s' "\""
    """
    plain = json.dumps(text, ensure_ascii=False)[1:-1].replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f'"{plain}"' if quote == '"' else quote + plain.replace('\\"', '"').replace(quote, f"\\{quote}") + quote


def line_of(text: str, at: int) -> int:
    """The line of a character, counted from 1."""
    return text.count("\n", 0, at) + 1


def _slash(text: str, at: int, before: Sequence[Token]) -> Token | None:
    """A regular expression; None: a comment, or a division."""
    if text.startswith("/*", at) and "*/" not in text[at + 2 :]:
        what = "this comment never ends"
        raise LiteralError(what, at)
    last = before[-1] if before else None
    ends = last is not None and (
        last.kind in {"string", "template", "regex"}
        or last.text in {")", "]", "}"}
        or (last.kind == "word" and last.text not in _BEFORE_REGEX)
    )
    match = None if ends else _REGEX.match(text, at)
    return Token("regex", match[0], at) if match else None


def _template(text: str, start: int) -> Token:
    """A template literal, with whatever is nested in its `${…}`."""
    at = start + 1
    while at < len(text):
        if text[at] == "\\":
            at += 2
        elif text[at] == "`":
            return Token("template", text[start : at + 1], start)
        elif text.startswith("${", at):
            at = _hole(text, at + 2)
        else:
            at += 1
    what = "this template string never ends"
    raise LiteralError(what, start)


def _hole(text: str, at: int) -> int:
    """The character after the brace that closes a `${`."""
    start, depth = at - 2, 1
    while at < len(text) and depth:
        if text[at] == "`":
            at = _template(text, at).end
            continue
        match = _TOKEN.match(text, at)
        assert match is not None  # noqa: S101 - the last alternative takes any character
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        at = match.end()
    if depth:
        what = "this `${` never ends"
        raise LiteralError(what, start)
    return at


def _value(found: Sequence[Token], name: int) -> int | None:
    """Where the value of the name at `found[name]` begins, if it is given one here."""
    after = found[name + 1].text if name + 1 < len(found) else ""
    if after == "=":
        return name + 2
    if after != ":":
        return None
    depth = 0
    for index in range(name + 2, len(found)):
        mark = found[index].text
        if mark in _OPEN:
            depth += 1
        elif mark in _CLOSE:
            depth -= 1
        if depth == 0 and mark == "=":
            return index + 1
        if depth < 0 or (depth == 0 and mark in {",", ";"} and not _in_angles(found, name + 2, index)):
            break
    declared = name > 0 and found[name - 1].text in _DECLARE
    return None if declared else name + 2


def _in_angles(found: Sequence[Token], start: int, end: int) -> bool:
    """Whether a comma stands between the angle brackets of a type, as in `Record<string, string>`."""
    marks = [each.text for each in found[start:end]]
    return marks.count("<") > marks.count(">")


def _end(found: Sequence[Token], start: int) -> int:
    """The comma or brace that ends the entry which begins at `start`; the length of `found` if there is none."""
    depth = 0
    for index in range(start, len(found)):
        mark = found[index].text
        if depth == 0 and mark in {",", "}"}:
            return index
        depth += (mark in _OPEN) - (mark in _CLOSE)
    return len(found)


def _entry(parts: Sequence[Token]) -> Entry:
    start, end = parts[0].start, parts[-1].end
    first = parts[0]
    if first.text == "[" and len(parts) > 3 and parts[1].kind == "string" and parts[2].text == "]":  # noqa: PLR2004 - [ key ] :
        key, rest, quote = _read(parts[1]), parts[3:], parts[1].text[0]
    elif first.kind == "string":
        key, rest, quote = _read(first), parts[1:], first.text[0]
    elif first.kind == "word":
        key, rest, quote = first.text, parts[1:], ""
    else:
        return Entry(None, start, end)
    if not rest or rest[0].text != ":":
        return Entry(key if not rest else None, start, end)
    value = rest[1] if len(rest) == 2 and rest[1].kind in {"string", "template"} else None  # noqa: PLR2004 - colon and value
    begins = rest[1].start if len(rest) > 1 else end
    return Entry(key, start, end, _read(value) if value else None, begins, quote, value.text[0] if value else "")


def _read(token: Token) -> str | None:
    """The text that a string literal holds; None for a template with holes."""
    if token.kind == "template" and "${" in token.text:
        return None

    def plain(match: re.Match[str]) -> str:
        code = match[1] or match[2] or match[3]
        return chr(int(code, 16)) if code else _SIMPLE.get(match[4], match[4])

    return _ESCAPE.sub(plain, token.text[1:-1])
