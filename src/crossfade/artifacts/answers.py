"""What is sent to a registry, and what comes back: bodies, answers, and the reason that an answer gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson

from crossfade.core.errors import CrossfadeError

CHUNK = 256 * 1024
"""Bytes that are read at once."""
MISSING = 404


@dataclass(frozen=True, slots=True)
class FileBody:
    """A file as a request's body: read anew at every attempt, never whole in memory. `start` and `size` are bytes."""

    path: Path
    size: int
    start: int = 0

    @classmethod
    def of(cls, path: Path) -> Self:
        """The whole file."""
        return cls(path, path.stat().st_size)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Its bytes in order."""
        left = self.size
        with self.path.open("rb") as file:
            file.seek(self.start)
            while left and (chunk := await asyncio.to_thread(file.read, min(CHUNK, left))):
                left -= len(chunk)
                yield chunk


@dataclass(frozen=True, slots=True)
class Answer:
    """What a registry said; `url` is the address that answered in the end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    @property
    def missing(self) -> bool:
        """Whether it is not there."""
        return self.status == MISSING

    def json(self) -> Any:
        """The body as JSON; CrossfadeError when it is something else, as the page of a proxy or of a login is."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            start = " ".join(self.body[:80].decode(errors="replace").split())
            raise CrossfadeError(
                "registry.not-json",
                f"the registry answered {self.status} with something that is not JSON: {start!r}",
                where=self.url,
                next="check the registry's `url`: it may lead to a page for people",
            ) from None


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer whose body is read as it comes."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


def message(body: bytes, kind: str) -> str:
    """What an error's body says in its own words: npm's `error`, PyPI's `message`, OCI's `errors`, plain text."""
    text = body.decode(errors="replace").strip()
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "" if "html" in kind or text.startswith("<") else text
    if isinstance(said, dict):
        if isinstance(said.get("errors"), list):
            each = [one for one in said["errors"] if isinstance(one, dict)]
            return "; ".join(str(one.get("message") or one.get("code")) for one in each)
        for key in ("error", "message", "reason", "detail"):
            if isinstance(said.get(key), str):
                return str(said[key])
        return ""
    return said if isinstance(said, str) else ""
