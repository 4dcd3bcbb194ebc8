"""What a version consists of: every file with its digest, and the order in which they may be replaced. Pure."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import orjson

from crossfade.artifacts.port import ConflictError, Coordinate

_READS_OTHERS = re.compile(r"(?i)\.(?:html?|m?js|cjs|css|json|importmap|webmanifest)$")
"""Files whose text names others that are loaded with them; a source map only names what was there before."""


def integrity(body: bytes) -> str:
    """The sha384 of a file, as `<script integrity>` and import maps have it.

    >>> integrity(b"alert('Hello, world.');")
    'sha384-H8BRh8j48O9oYatfu5AZzq6A9RINhZO5H16dQZngK7T62em8MUt1FLm52t+eX6xO'
    """
    return "sha384-" + base64.b64encode(hashlib.sha384(body).digest()).decode()


@dataclass(frozen=True, slots=True)
class Manifest:
    """A version's files, by their paths below its folder; `integrity.json` is its text.

    >>> manifest = Manifest.of(Coordinate("app", "1.0.0"), {"app.js": b"1"})
    >>> Manifest.parse(manifest.text(), where="app/v1.0.0/") == manifest
    True
    """

    at: Coordinate
    files: Mapping[str, str]
    sizes: Mapping[str, int]

    @classmethod
    def of(cls, at: Coordinate, bodies: Mapping[str, bytes]) -> Self:
        """The manifest of exactly these files."""
        paths = sorted(bodies)
        return cls(at, {path: integrity(bodies[path]) for path in paths}, {path: len(bodies[path]) for path in paths})

    @classmethod
    def parse(cls, text: bytes, *, where: str) -> Self:
        """The manifest in a store; ConflictError when something else lies under its name."""
        try:
            said: Any = orjson.loads(text)
            at = Coordinate(str(said["name"]), str(said["version"]))
            files: dict[str, Any] = said["files"]
            return cls(
                at,
                {path: str(each["integrity"]) for path, each in files.items()},
                {path: int(each["size"]) for path, each in files.items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ConflictError(
                "cdn.not-a-manifest",
                "what lies there is not the list of a version's files",
                where=where,
                next="somebody else writes into this folder: give this registry one of its own",
            ) from None

    def text(self) -> bytes:
        """As JSON; the same files give the same bytes."""
        files = {path: {"integrity": self.files[path], "size": self.sizes[path]} for path in sorted(self.files)}
        said = {"name": self.at.name, "version": self.at.version, "files": files}
        return orjson.dumps(said, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def differs_from(self, other: Manifest) -> tuple[str, ...]:
        """The files that are not the same in both, in order."""
        paths = {*self.files, *other.files}
        return tuple(sorted(path for path in paths if self.files.get(path) != other.files.get(path)))


def in_order(bodies: Mapping[str, bytes]) -> tuple[str, ...]:
    """The files, each after those that its text names: who loads the first of the new ones finds the others new as well.

    In a circle, and where nothing is named, deeper folders come first and pages last.

    >>> in_order({"index.html": b"<script src=a.js>", "a.js": b"import './b.js'", "b.js": b"", "x.png": b"a.js"})
    ('x.png', 'b.js', 'a.js', 'index.html')
    """
    usual = sorted(bodies, key=_rank)
    names = {path: _name(path).encode() for path in usual}
    readers = {path: bodies[path] for path in usual if _READS_OTHERS.search(path)}
    done: dict[str, None] = {}
    begun: set[str] = set()

    def needs(path: str) -> Iterator[str]:
        text = readers.get(path, b"")
        return iter([other for other in usual if text and other != path and names[other] in text])

    for start in usual:
        walk = [(start, needs(start))] if start not in begun else []
        begun.add(start)
        while walk:
            path, others = walk[-1]
            following = next((other for other in others if other not in begun), None)
            if following is None:
                done[path] = None
                walk.pop()
            else:
                begun.add(following)
                walk.append((following, needs(following)))
    return tuple(done)


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _rank(path: str) -> tuple[int, int, str]:
    last = {"html": 3, "htm": 3, "importmap": 2, "json": 2, "js": 1, "mjs": 1}
    return last.get(path.rsplit(".", 1)[-1].lower(), 0), -path.count("/"), path
