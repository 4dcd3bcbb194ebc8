"""A registry in memory for tests of what stands above it; it keeps `RegistryContract` like a real one."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from crossfade.artifacts.port import (
    Artifact,
    Capabilities,
    ConflictError,
    Coordinate,
    MissingError,
    Published,
    RefusedError,
    Withdrawal,
)
from crossfade.core.errors import UnreachableError

_ALL = Capabilities(kind="npm", tags=True, withdraws="deprecate")


@dataclass(slots=True)
class FakeStore:
    """The world that fake registries share: it outlives them, as a server outlives Crossfade.

    A test sets what happens: `down` (nobody answers), `readonly` (nobody may publish), `pinned` (tags that never move).
    `calls` records every order as its verb and its coordinate; `uploads` counts those that stored something.
    """

    capabilities: Capabilities = _ALL
    down: bool = False
    readonly: bool = False
    pinned: frozenset[str] = frozenset()
    contents: dict[Coordinate, dict[str, bytes]] = field(default_factory=dict)
    tags: dict[tuple[str, str], Coordinate] = field(default_factory=dict)
    withdrawn: dict[Coordinate, str] = field(default_factory=dict)
    calls: list[tuple[str, Coordinate]] = field(default_factory=list)
    uploads: int = 0


class FakeRegistry:
    """One view of a `FakeStore`."""

    def __init__(self, store: FakeStore | None = None, *, may_publish: bool = True) -> None:
        self.store = store or FakeStore()
        self._may_publish = may_publish

    @property
    def capabilities(self) -> Capabilities:
        """What the store was told to be able to do."""
        return self.store.capabilities

    async def find(self, wanted: Sequence[Coordinate]) -> Mapping[Coordinate, Published]:
        """What is there of `wanted`."""
        await self._reach()
        return {at: self._published(at) for at in wanted if at in self.store.contents}

    async def upload(self, artifact: Artifact) -> None:
        """Publish it."""
        await self._reach("upload", artifact.at, writes=True)
        contents = _read(artifact)
        there = self.store.contents.setdefault(artifact.at, contents)
        if there is contents:
            self.store.uploads += 1
        elif there != contents:
            raise _differs(artifact.at, there, contents)

    async def verify(self, artifact: Artifact) -> Published:
        """Compare every byte."""
        await self._reach("verify", artifact.at)
        there, contents = self._there(artifact.at), _read(artifact)
        if there != contents:
            raise _differs(artifact.at, there, contents)
        return self._published(artifact.at)

    async def tag(self, at: Coordinate, tags: Sequence[str]) -> None:
        """Let `tags` lead to it."""
        await self._reach("tag", at, writes=True)
        self._there(at)
        for tag in tags:
            now = self.store.tags.get((at.name, tag), at)
            if tag in self.store.pinned and now != at:
                what = f"{tag} leads to {now} and is never moved"
                raise ConflictError("fake.pinned", what, next="give this version a tag of its own")
        self.store.tags.update({(at.name, tag): at for tag in tags})

    async def withdraw(self, at: Coordinate, *, reason: str, back_to: Coordinate | None) -> Withdrawal:
        """Take it back: the reason is shown, and its tags lead to `back_to`."""
        await self._reach("withdraw", at, writes=True)
        self._there(at)
        if back_to is not None:
            self._there(back_to)
        done: list[str] = []
        for name, tag in [key for key, to in self.store.tags.items() if to == at]:
            if back_to is None:
                del self.store.tags[name, tag]
                done.append(f"{tag} was removed")
            else:
                self.store.tags[name, tag] = back_to
                done.append(f"{tag} leads to {back_to}")
        if self.capabilities.withdraws in ("deprecate", "yank") and self.store.withdrawn.get(at) != reason:
            self.store.withdrawn[at] = reason
            done.append(f"{at} is withdrawn")
        return Withdrawal(tuple(done), (f"the bytes of {at} stay published",))

    async def _reach(self, verb: str = "", at: Coordinate | None = None, *, writes: bool = False) -> None:
        await asyncio.sleep(0)  # as every real one does, it lets others run
        if self.store.down:
            raise UnreachableError("registry.unreachable", "the fake registry is down", next="bring it up")
        if writes and (self.store.readonly or not self._may_publish):
            raise RefusedError("registry.refused", "the fake registry lets nobody publish", next="allow it")
        if at is not None:
            self.store.calls.append((verb, at))

    def _there(self, at: Coordinate) -> dict[str, bytes]:
        try:
            return self.store.contents[at]
        except KeyError:
            raise MissingError("registry.missing", f"{at} is not there", next="publish it first") from None

    def _published(self, at: Coordinate) -> Published:
        integrity = {name: f"sha256:{hashlib.sha256(body).hexdigest()}" for name, body in self._there(at).items()}
        tags = frozenset(tag for (_, tag), to in self.store.tags.items() if to == at)
        return Published(at, integrity, tags, self.store.withdrawn.get(at))


def _read(artifact: Artifact) -> dict[str, bytes]:
    files = [path for each in artifact.files for path in (each.rglob("*") if each.is_dir() else (each,))]
    return {path.relative_to(artifact.root).as_posix(): path.read_bytes() for path in files if path.is_file()}


def _differs(at: Coordinate, there: Mapping[str, bytes], here: Mapping[str, bytes]) -> ConflictError:
    names = sorted(name for name in {*there, *here} if there.get(name) != here.get(name))
    what = f"{at} is published with other bytes than these: {', '.join(names)}"
    return ConflictError("registry.differs", what, next="publish these as another version")
