"""Where files lie: the folder of a version, the folder of a pointer, and which of the two a path is in. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from crossfade.artifacts.port import Coordinate
from crossfade.config.placeholders import PlaceholderError, fill, names
from crossfade.config.publishing import CdnRegistry
from crossfade.core.errors import BadInputError
from crossfade.core.semver import parse_version

MANIFEST = "integrity.json"
"""In a version's folder: every file with its digest."""
WITHDRAWN = ".withdrawn.json"
"""In a version's folder, once it was withdrawn: why."""
POINTER = ".pointer.json"
"""In a pointer's folder: where it leads."""
RECORDS = (MANIFEST, WITHDRAWN, POINTER)

_WORDS = ("name", "version", "major")
_NAME = r"[^/]+(?:/[^/]+)?"
_SEMVER = r"[0-9]+\.[0-9]+\.[0-9]+(?:[-+][0-9A-Za-z.+-]+)?"
_UNUSABLE = re.compile(r'[\x00-\x1f\x7f\\#?%*"<>|]')
"""Characters that a URL, a store or a shell between them reads as something else."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where versions and pointers are, both relative to the store, with a slash at the end.

    A tag of this registry is a pointer's folder without that slash.

    >>> layout = Layout("{name}/v{version}/", "{name}/v{major}/")
    >>> loader = Coordinate("navi-loader", "1.2.0")
    >>> layout.folder(loader), layout.tag_of(loader)
    ('navi-loader/v1.2.0/', 'navi-loader/v1')
    >>> layout.tag_of(Coordinate("navi-loader", "2.0.0-rc.1")) is None
    True
    """

    immutable: str
    pointer: str | None

    @classmethod
    def of(cls, settings: CdnRegistry, *, where: str) -> Self:
        """As the file says; BadInputError when versions and pointers could get into each other's way."""
        immutable = _folder(settings.immutable, where=f"{where}.immutable")
        pointer = _folder(settings.pointer, where=f"{where}.pointer") if settings.pointer is not None else None
        if "version" not in names(immutable):
            raise _bad("the folder of a version must hold {version}: it never changes", f"{where}.immutable")
        if pointer is not None and "version" in names(pointer):
            raise _bad("the folder of a pointer cannot hold {version}: it outlives versions", f"{where}.pointer")
        layout = cls(immutable, pointer)
        sample = Coordinate("a", "1.0.0")
        if pointer is not None and layout.is_version(f"{layout.tag_of(sample)}/f"):
            raise _bad("the folder of a pointer would lie inside the folder of a version", f"{where}.pointer")
        return layout

    def folder(self, at: Coordinate) -> str:
        """The folder of a version."""
        return self._filled(self.immutable, at)

    def tag_of(self, at: Coordinate) -> str | None:
        """The pointer that a release moves; a prerelease moves none."""
        if self.pointer is None or parse_version(at.version).prerelease:
            return None
        return self._filled(self.pointer, at).rstrip("/")

    def tags(self, name: str) -> tuple[str, str]:
        """What every pointer of `name` begins and ends with; between the two is one folder.

        >>> Layout("{name}/v{version}/", "{name}/v{major}/").tags("navi-loader")
        ('navi-loader/', '')
        >>> Layout("v{version}/", "v{major}/js/").tags("navi-loader")
        ('', '/js')
        """
        parts = (self.pointer or "").rstrip("/").split("/")
        own = next((index for index, part in enumerate(parts) if "{major}" in part), len(parts) - 1)
        before = "".join(f"{part}/" for part in parts[:own])
        after = "".join(f"/{part}" for part in parts[own + 1 :])
        return fill(before, {"name": name}), fill(after, {"name": name})

    def checked_tag(self, name: str, tag: str) -> str:
        """`tag`, when it can be a pointer of `name`; BadInputError otherwise."""
        before, after = self.tags(name)
        own = tag.removeprefix(before).removesuffix(after)
        fits = self.pointer is not None and tag == f"{before}{own}{after}" and bool(own) and "/" not in own
        if not fits or self.is_version(f"{tag}/f"):
            raise BadInputError(
                "cdn.bad-tag",
                f"{tag!r} cannot be a pointer of {name}",
                where=f"pointer: {self.pointer}",
                next=f"its pointers are called {before}…{after}"
                if self.pointer
                else "give the registry a `pointer` folder",
            )
        return checked_path(tag)

    def major_of(self, name: str, tag: str) -> int | None:
        """The major version whose pointer `tag` is; None for a pointer that holds any.

        >>> layout = Layout("{name}/v{version}/", "{name}/v{major}/")
        >>> layout.major_of("app", "app/v12"), layout.major_of("app", "app/stable")
        (12, None)
        """
        if self.pointer is None or "major" not in names(self.pointer):
            return None
        pattern = _pattern(self.pointer.rstrip("/"), {"name": re.escape(name), "major": "(0|[1-9][0-9]*)"})
        match = re.fullmatch(pattern, tag)
        return int(match[1]) if match else None

    def is_version(self, path: str) -> bool:
        """Whether a path lies in the folder of some version."""
        return re.match(self.version_pattern, path) is not None

    @property
    def version_pattern(self) -> str:
        """A regular expression that matches the beginning of each path in a version's folder."""
        return "^" + _pattern(self.immutable, {"name": _NAME, "version": _SEMVER, "major": "[0-9]+"})

    @staticmethod
    def _filled(template: str, at: Coordinate) -> str:
        major = parse_version(at.version).major
        return checked_path(fill(template, {"name": at.name, "version": at.version, "major": major}).rstrip("/")) + "/"


def checked_path(path: str) -> str:
    """`path`, when every store and every URL can hold it as it is; BadInputError otherwise.

    >>> checked_path("assets/[slug]-1a2b.js")
    'assets/[slug]-1a2b.js'
    >>> checked_path("../secret")
    Traceback (most recent call last):
    crossfade.core.errors.BadInputError: '../secret' cannot be the path of a file on a CDN: it has the part '..'
    """
    odd = _UNUSABLE.search(path)
    part = next((part for part in path.split("/") if part in ("", ".", "..")), None)
    if odd is None and part is None:
        return path
    why = f"it holds {odd.group()!r}" if odd else f"it has the part {part!r}"
    raise BadInputError("cdn.bad-path", f"{path!r} cannot be the path of a file on a CDN: {why}")


def _pattern(template: str, words: dict[str, str]) -> str:
    """A template as a regular expression."""
    pattern = ""
    for piece in re.split(r"(\{[a-z]+\})", template):
        word = piece[1:-1] if re.fullmatch(r"\{[a-z]+\}", piece) else None
        pattern += re.escape(piece) if word is None else words[word]
    return pattern


def _folder(template: str, *, where: str) -> str:
    folder = template.strip("/") + "/"
    try:
        fill(folder, dict.fromkeys(_WORDS, "1"))
    except PlaceholderError as error:
        raise _bad(str(error), where) from None
    checked_path(fill(folder, dict.fromkeys(_WORDS, "1")).rstrip("/"))
    return folder


def _bad(what: str, where: str) -> BadInputError:
    return BadInputError("cdn.bad-layout", what, where=where, next="see docs/how-to/publish-to-a-cdn.md")
