"""What a browser is told about each file: its type, who may load it, and how long it may be kept. Pure.

The headers of a path follow from rules in order, later ones over earlier ones. The same rules become an object's
attributes, the configuration of the server of a local folder, and what is compared with what a CDN really answers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from crossfade.artifacts.cdn.layout import POINTER, WITHDRAWN, Layout

FOREVER: Final = "public, max-age=31536000, immutable"
ALWAYS_ASK: Final = "public, max-age=0, must-revalidate"
OPEN: Final[Mapping[str, str]] = {
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
}
"""What a store cannot keep with an object: the server in front of it says it for all files."""

TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "text/javascript; charset=utf-8": ("js", "mjs", "cjs"),
    "text/css; charset=utf-8": ("css",),
    "text/html; charset=utf-8": ("html", "htm"),
    "text/plain; charset=utf-8": ("txt", "ts", "mts", "cts", "tsx", "jsx"),
    "text/markdown; charset=utf-8": ("md",),
    "text/csv; charset=utf-8": ("csv",),
    "text/vtt; charset=utf-8": ("vtt",),
    "application/json": ("json", "map"),
    "application/manifest+json": ("webmanifest",),
    "application/xml": ("xml",),
    "application/yaml": ("yaml", "yml"),
    "application/wasm": ("wasm",),
    "application/pdf": ("pdf",),
    "application/zip": ("zip",),
    "application/gzip": ("gz", "tgz"),
    "image/svg+xml": ("svg",),
    "image/png": ("png",),
    "image/jpeg": ("jpg", "jpeg"),
    "image/gif": ("gif",),
    "image/webp": ("webp",),
    "image/avif": ("avif",),
    "image/x-icon": ("ico",),
    "font/woff2": ("woff2",),
    "font/woff": ("woff",),
    "font/ttf": ("ttf",),
    "font/otf": ("otf",),
    "audio/mpeg": ("mp3",),
    "audio/ogg": ("ogg", "oga"),
    "audio/wav": ("wav",),
    "video/mp4": ("mp4",),
    "video/webm": ("webm",),
    "model/gltf-binary": ("glb",),
    "model/gltf+json": ("gltf",),
}
_IMPORT_MAP: Final = r"(?:^|[/.])importmap(?:\.json)?$"


@dataclass(frozen=True, slots=True)
class Rule:
    """Headers of all paths in which `match` (a regular expression that RE2 reads as well) is found."""

    match: str
    headers: Mapping[str, str]


def rules(layout: Layout, *, browsers: float, shared: float) -> tuple[Rule, ...]:
    """The rules of a store; `browsers` and `shared` are the seconds that a pointer's file may be kept there.

    >>> each = rules(Layout("v{version}/", "v{major}/"), browsers=60, shared=3600)
    >>> headers_of("v1.2.0/app.js", each)["Cache-Control"]
    'public, max-age=31536000, immutable'
    >>> headers_of("v1/app.js", each)["Cache-Control"]
    'public, max-age=60, s-maxage=3600, stale-while-revalidate=60'
    >>> headers_of("v1/app.importmap.json", each)["Content-Type"]
    'application/importmap+json'
    """
    kept, between = int(browsers), int(shared)
    after = f"stale-while-revalidate={kept}" if kept else "must-revalidate"
    pointer = f"public, max-age={kept}, s-maxage={between}, {after}"
    records = "|".join(re.escape(name) for name in (POINTER, WITHDRAWN))
    return (
        Rule("", {**OPEN, "Content-Type": "application/octet-stream", "Cache-Control": pointer}),
        *(Rule(_ending(endings), {"Content-Type": kind}) for kind, endings in TYPES.items()),
        Rule(_IMPORT_MAP, {"Content-Type": "application/importmap+json", "Cache-Control": ALWAYS_ASK}),
        Rule(layout.version_pattern, {"Cache-Control": FOREVER}),
        Rule(rf"(?:^|/)(?:{records})$", {"Cache-Control": ALWAYS_ASK}),
    )


def headers_of(path: str, each: Sequence[Rule]) -> dict[str, str]:
    """All headers of a path, relative to the store."""
    found: dict[str, str] = {}
    for rule in each:
        if re.search(rule.match, path):
            found |= rule.headers
    return found


def stored(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that an object store keeps with an object."""
    return {name: value for name, value in headers.items() if name not in OPEN}


def differences(expected: Mapping[str, str], seen: Mapping[str, str]) -> tuple[str, ...]:
    """What an answer's headers (names in lower case) say otherwise, one sentence each.

    Whatever keeps a page on another site from loading the file counts; protections that are merely absent do not.

    >>> differences({"Content-Type": "text/css"}, {"content-type": "text/plain"})
    ("Content-Type is 'text/plain' instead of 'text/css'",)
    >>> differences({"X-Content-Type-Options": "nosniff"}, {})
    ()
    """
    optional = set(OPEN) - {"Access-Control-Allow-Origin"}
    found = []
    for name, value in expected.items():
        said = seen.get(name.lower())
        if said is None and name not in optional:
            found.append(f"{name} is absent instead of {value!r}")
        elif said is not None and _words(said) != _words(value):
            found.append(f"{name} is {said!r} instead of {value!r}")
    return tuple(found)


def _words(header: str) -> tuple[str, ...]:
    """A header's parts, whatever their order, case and spaces."""
    return tuple(sorted(part.strip().lower() for part in re.split("[,;]", header)))


def _ending(endings: Sequence[str]) -> str:
    return rf"(?i)\.(?:{'|'.join(map(re.escape, endings))})$"
