"""The port of caches: what is in front of a store, and has to be told when a pointer has moved."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from crossfade.artifacts.answers import Answer
from crossfade.artifacts.cdn.pointer import Pointer
from crossfade.artifacts.credentials import masked
from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.port import RefusedError, Secret
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError


@dataclass(frozen=True, slots=True)
class Moved:
    """A pointer that has moved. `tag` and `paths` are relative to the store; `reference` is the same for the same move.

    >>> Moved.of("navi/v1", Pointer("navi", "1.2.0", {"loader.js": "sha384-…"}, revision=7))
    Moved(tag='navi/v1', paths=('navi/v1/loader.js',), reference='navi/v1 7')
    """

    tag: str
    paths: tuple[str, ...]
    reference: str

    @classmethod
    def of(cls, tag: str, pointer: Pointer) -> Self:
        """The files of a pointer as it is now."""
        return cls(tag, tuple(f"{tag}/{path}" for path in sorted(pointer.files)), f"{tag} {pointer.revision}")


class Cache(Protocol):
    """One cache. Telling it twice does no harm."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    async def purge(self, moved: Moved) -> None:
        """Let it forget a pointer's files; returns when its API has taken the order."""

    async def aclose(self) -> None:
        """Close the connections."""


@dataclass(frozen=True, slots=True)
class Caches:
    """All caches in front of one store."""

    each: Sequence[Cache] = ()

    async def purge(self, moved: Moved) -> None:
        """Tell all of them, each whether or not another fails. UnreachableError names those that could not be told."""
        outcomes = await asyncio.gather(*(cache.purge(moved) for cache in self.each), return_exceptions=True)
        failed: list[tuple[str, CrossfadeError]] = []
        for cache, outcome in zip(self.each, outcomes, strict=True):
            if isinstance(outcome, CrossfadeError):
                failed.append((cache.name, outcome))
            elif isinstance(outcome, BaseException):
                raise outcome
        if failed:
            said = "; ".join(f"{name}: {error.what}" for name, error in failed)
            advice = "run the same command again: it tells the caches once more"
            raise UnreachableError(
                "cdn.purge-failed",
                f"{moved.tag} has moved, but not every cache could be told ({said})",
                where=failed[0][1].where,
                next=f"{failed[0][1].next}; then {advice}" if failed[0][1].next else advice,
            )

    async def aclose(self) -> None:
        """Close the connections."""
        for cache in self.each:
            await cache.aclose()


async def ordered(
    client: RegistryClient,
    path: str,
    *,
    target: str,
    secrets: Sequence[Secret] = (),
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    content: bytes | None = None,
) -> Answer:
    """What a cache's API says to an order. BadInputError: it knows no such `target`. RefusedError: it does not let us.

    `secrets` are those that the client does not know of: no message holds them.
    """
    try:
        answer = await client.request("POST", path, headers=headers, json=json, content=content, repeatable=True)
    except CrossfadeError as error:
        error.what = masked(error.what, secrets)
        if isinstance(error, RefusedError):
            error.next = f"check `token` of `registries.{client.name}`: it must be valid and allowed to purge"
        raise
    if answer.missing:
        raise BadInputError(
            "cdn.no-such-cache", f"there is no {target}", where=client.where, next="correct `target` of this purge"
        )
    return answer
