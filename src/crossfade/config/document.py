"""YAML text as a plain tree, with the place of every key and value. Nothing is ever constructed.

Only what JSON knows comes out: text, numbers, true and false, null, lists (as tuples) and mappings.
Anchors, aliases, merge keys and tags are faults: in a file that decides where traffic goes, every
line means what it says where it stands. (That also leaves no room for alias bombs.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, Event, NodeEvent, ScalarEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from crossfade.config.faults import ConfigError, Fault, Mark, Path, show, write_path
from crossfade.config.syntax import Spot, explain_syntax, place

_DEEPEST = 32
_PREFIX = "tag:yaml.org,2002:"
_NULL = f"{_PREFIX}null"
_HIDDEN = {"environment", "variables"}
_ESCAPE = 'remove it, or write it as an escape in double quotes, such as "\\u2028"'
_NO_ANCHORS = "write the value out where it is used; anchors, aliases and merge keys are not read"


@dataclass(frozen=True, slots=True)
class Document:
    """A file's text, its tree, and where each path stands."""

    file: str
    lines: tuple[str, ...]
    tree: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[Path, Mark] = field(default_factory=dict)
    values: Mapping[Path, Mark] = field(default_factory=dict)

    def fault(self, code: str, path: Path, what: str, hint: str = "", *, at_key: bool = False) -> Fault:
        """A fault at `path`, or at the nearest place above it that the file has."""
        return Fault(
            code,
            what,
            self.file,
            mark := self.mark(path, at_key=at_key),
            write_path(path),
            hint,
            self._source(path, mark),
        )

    def mark(self, path: Path, *, at_key: bool = False) -> Mark:
        """The place of a value (or its key); of the nearest enclosing key where there is none."""
        if not at_key and path in self.values:
            return self.values[path]
        while path:
            if path in self.keys:
                return self.keys[path]
            if path in self.values:
                return self.values[path]
            path = path[:-1]
        return Mark(1, 1)

    def _source(self, path: Path, mark: Mark) -> str:
        line = self.lines[mark.line - 1] if mark.line <= len(self.lines) else ""
        if not any(part in _HIDDEN for part in path[:-1]):
            return line
        key = self.keys.get(path)
        if key is None or key.line != mark.line:
            return " " * (mark.column - 1) + "…"
        # The values of variables may be secret: only the key is quoted.
        end = key.column - 1 + key.width
        quoted = " " * (key.column - 1) + line[key.column - 1 : end] + ":"
        return quoted.ljust(mark.column - 1) + "…" if mark != key else quoted


def parse(text: str, file: str) -> Document:
    """The document in `text`; ConfigError for anything that is not plain YAML with a mapping at the top."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = tuple(text.split("\n"))
    bare = Document(file, lines)
    if strange := _strange_breaks(lines, file):
        raise ConfigError(file, strange)
    try:
        faults = _refused(text, bare)
        node = _yaml().compose(text) if not faults else None
    except YAMLError as error:
        raise ConfigError(file, [explain_syntax(error, bare.lines, file)]) from None
    except (RecursionError, ValueError, OverflowError, AssertionError, IndexError, AttributeError, TypeError, KeyError):
        # The parser's own faults on hostile input: the text is no YAML that anybody meant.
        raise ConfigError(
            file, [Fault("config.syntax", "this is not YAML that can be read", file, Mark(1, 1))]
        ) from None
    if faults:
        raise ConfigError(file, faults)
    if node is None or (isinstance(node, ScalarNode) and node.tag == _NULL):
        raise ConfigError(
            file,
            [
                Fault(
                    "config.empty",
                    "the file is empty",
                    file,
                    Mark(1, 1),
                    hint="`crossfade init` writes one to start from",
                )
            ],
        )
    reader = _Reader(bare)
    tree = reader.read(node, ())
    if not isinstance(node, MappingNode):
        kind = "a list" if isinstance(node, SequenceNode) else "a single value"
        reader.faults.append(
            bare.fault(
                "config.not-a-mapping", (), f"the file is {kind}, not keys with values", "start with `project: NAME`"
            )
        )
    if reader.faults:
        raise ConfigError(file, reader.faults)
    return Document(file, lines, tree, reader.keys, reader.values)


def _strange_breaks(lines: Sequence[str], file: str) -> list[Fault]:
    """Line breaks that YAML counts and editors do not: with them no line number would be right."""
    return [
        place(
            lines,
            file,
            Spot(number, column),
            "config.text",
            f"the line break U+{ord(each):04X} is not read here",
            hint=_ESCAPE,
        )
        for number, line in enumerate(lines)
        for column, each in enumerate(line)
        if each in "\x85\u2028\u2029"
    ]


def _yaml() -> YAML:
    return YAML(typ="rt", pure=True)


def _refused(text: str, document: Document) -> list[Fault]:
    """Faults that are seen before anything is built: depth, anchors, aliases, tags."""

    def fault(event: Event, code: str, what: str, hint: str = "") -> Fault:
        return place(document.lines, document.file, event.start_mark, code, what, hint=hint)

    faults = []
    depth = 0
    for event in _yaml().parse(text):
        if isinstance(event, CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                return [fault(event, "config.too-deep", f"this is nested more than {_DEEPEST} levels deep")]
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
        if not isinstance(event, NodeEvent):
            continue
        if isinstance(event, AliasEvent):
            faults.append(fault(event, "config.alias", f"`*{show(event.anchor)}` is an alias", _NO_ANCHORS))
        elif event.anchor is not None:
            faults.append(fault(event, "config.alias", f"`&{show(event.anchor)}` is an anchor", _NO_ANCHORS))
        if isinstance(event, ScalarEvent | CollectionStartEvent) and event.tag is not None:
            hint = "leave the tag away; put a value in quotes to make it text"
            faults.append(fault(event, "config.tag", "this value has a YAML tag (`!…`)", hint))
    return faults


class _Reader:
    """Walks nodes into a tree; the depth is bounded by `_refused`."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.faults: list[Fault] = []
        self.keys: dict[Path, Mark] = {}
        self.values: dict[Path, Mark] = {}

    def read(self, node: Node, path: Path) -> Any:
        if not (isinstance(node, ScalarNode) and node.tag == _NULL and not node.value):
            self.values[path] = self._mark(node)
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return tuple(self.read(item, (*path, index)) for index, item in enumerate(node.value))
        return self._scalar(node, path) if isinstance(node, ScalarNode) else None

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode) or key.tag != f"{_PREFIX}str":
                self._bad_key(key, path)
                continue
            below = (*path, key.value)
            if key.value in tree:
                first = self.keys[below].line
                self._add(
                    "config.duplicate-key",
                    key,
                    below,
                    f"`{show(key.value)}` is here twice; first in line {first}",
                    "keep one of the two",
                )
                continue
            if self._unprintable(key, below):
                continue
            self.keys[below] = self._mark(key)
            tree[key.value] = self.read(value, below)
        return tree

    def _bad_key(self, key: Node, path: Path) -> None:
        if isinstance(key, ScalarNode) and key.tag == f"{_PREFIX}merge":
            self._add("config.alias", key, path, "`<<` is a merge key", _NO_ANCHORS)
        elif isinstance(key, ScalarNode) and key.value:
            self._add(
                "config.key",
                key,
                path,
                f"the key `{show(key.value)}` is not text",
                f'write it in quotes: "{show(key.value)}"',
            )
        else:
            self._add(
                "config.key", key, path, "a key must be text", "a `{name}` that is to be replaced stands in quotes"
            )

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        kind = str(node.tag).removeprefix(_PREFIX)
        if kind == "null":
            return None
        if kind == "bool":
            return node.value.lower() == "true"
        try:
            if kind == "int":
                return _integer(node.value)
            if kind == "float":
                return float(node.value.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
        except (ValueError, OverflowError):
            self._add(
                "config.number",
                node,
                path,
                f"{show(node.value)} is not a number that can be read",
                "put it in quotes if it is text",
            )
            return None
        self._unprintable(node, path)
        return node.value

    def _unprintable(self, node: ScalarNode, path: Path) -> bool:
        if any("\ud800" <= each <= "\udfff" for each in node.value):
            self._add("config.text", node, path, "this text holds half of a character (a lone surrogate)")
            return True
        return False

    def _add(self, code: str, node: Node, path: Path, what: str, hint: str = "") -> None:
        mark = self._mark(node)
        source = self.document.lines[mark.line - 1] if mark.line <= len(self.document.lines) else ""
        if any(part in _HIDDEN for part in path[:-1]):
            source = source[: mark.column - 1 + mark.width] + "…" if code == "config.duplicate-key" else ""
        self.faults.append(Fault(code, what, self.document.file, mark, write_path(path), hint, source))

    def _mark(self, node: Node) -> Mark:
        start, end = node.start_mark, node.end_mark
        width = end.column - start.column if end.line == start.line else 1
        if end.line > start.line and start.line < len(self.document.lines):
            width = len(self.document.lines[start.line].split(" #")[0].rstrip()) - start.column
        return Mark(start.line + 1, start.column + 1, max(1, width))


def _integer(text: str) -> int:
    plain = text.replace("_", "")
    sign, digits = (-1, plain[1:]) if plain.startswith("-") else (1, plain.removeprefix("+"))
    base = {"0x": 16, "0o": 8, "0b": 2}.get(digits[:2].lower(), 10)
    return sign * int(digits[2:] if base != 10 else digits, base)  # noqa: PLR2004 - the base that we count in
