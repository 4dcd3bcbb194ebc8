"""The CDN as a registry: versions that are written once, and pointers that lead to them.

`upload` claims a version by the list of its files, which only one can write first, then puts the files. `tag` moves
pointers forward, `withdraw` moves them back. Files stay for ever: pages that name a version keep working.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from crossfade.artifacts.cdn.caches import Caches, Moved
from crossfade.artifacts.cdn.checking import PublicSide
from crossfade.artifacts.cdn.headers import Rule, headers_of
from crossfade.artifacts.cdn.layout import MANIFEST, RECORDS, WITHDRAWN, Layout, checked_path
from crossfade.artifacts.cdn.manifest import Manifest, integrity
from crossfade.artifacts.cdn.moving import Pointers
from crossfade.artifacts.cdn.pointer import Move, Pointer, iso, published, repointed, taken_back, withdrawn_already
from crossfade.artifacts.cdn.store import Store
from crossfade.artifacts.port import (
    Artifact,
    Capabilities,
    ConflictError,
    Coordinate,
    MissingError,
    Published,
    Withdrawal,
)
from crossfade.artifacts.side_by_side import a_few_at_once
from crossfade.core.clock import Clock
from crossfade.core.durations import format_duration
from crossfade.core.errors import BadInputError, CrossfadeError
from crossfade.core.semver import parse_version

_AT_ONCE = 16
"""Requests to the store that are under way side by side."""


@dataclass(frozen=True, slots=True)
class Cdn:
    """One CDN. `by` is who publishes, as a pointer's history shows it; `open_cdn` makes one from the file."""

    name: str
    store: Store
    layout: Layout
    rules: Sequence[Rule]
    caches: Caches
    clock: Clock
    by: str
    public: PublicSide | None = None
    browsers: float = 60.0

    @property
    def capabilities(self) -> Capabilities:
        """Pointers are its tags, and what it takes back it takes back by them."""
        moves = self.layout.pointer is not None
        return Capabilities("cdn", tags=moves, withdraws="re-point" if moves else "nothing")

    @property
    def pointers(self) -> Pointers:
        """Its pointers."""
        return Pointers(self.store, self.layout, self.rules, self.clock)

    async def aclose(self) -> None:
        """Close the connections."""
        await self.caches.aclose()
        if self.public is not None:
            await self.public.client.aclose()

    async def find(self, wanted: Sequence[Coordinate]) -> Mapping[Coordinate, Published]:
        """What is there as a whole; a version whose upload was broken off is not."""
        found = await a_few_at_once(_AT_ONCE, self._complete, wanted)
        there = {at: manifest for at, manifest in zip(wanted, found, strict=True) if manifest is not None}
        names = sorted({at.name for at in there})
        pointers = dict(zip(names, await a_few_at_once(_AT_ONCE, self.pointers.of, names), strict=True))
        reasons = dict(zip(there, await a_few_at_once(_AT_ONCE, self._withdrawn, list(there)), strict=True))
        return {at: self._published(manifest, pointers[at.name], reasons[at]) for at, manifest in there.items()}

    async def upload(self, artifact: Artifact) -> None:
        """Claim the version by its list of files, then put each file that is absent."""
        bodies = await asyncio.to_thread(_bodies, artifact)
        manifest, folder = Manifest.of(artifact.at, bodies), self.layout.folder(artifact.at)
        await self._claim(folder, manifest)

        async def put(path: str) -> None:
            place = f"{folder}{path}"
            if await self.store.put(place, bodies[path], headers_of(place, self.rules), replaces=None):
                return
            there = await self.store.read(place)
            if there is None or integrity(there.body) != manifest.files[path]:
                raise self._differs(artifact.at, folder, (path,))

        await a_few_at_once(_AT_ONCE, put, list(bodies))

    async def verify(self, artifact: Artifact) -> Published:
        """Read every file back, from the store and then as browsers get it."""
        wanted = Manifest.of(artifact.at, await asyncio.to_thread(_bodies, artifact))
        folder = self.layout.folder(artifact.at)
        there = await self._manifest(artifact.at)
        if there is None:
            raise self._missing(artifact.at)
        if differing := there.differs_from(wanted):
            raise self._differs(artifact.at, folder, differing)

        async def check(path: str) -> None:
            held = await self.store.read(f"{folder}{path}")
            if held is None:
                raise self._missing(artifact.at, path)
            if integrity(held.body) != wanted.files[path]:
                raise self._differs(artifact.at, folder, (path,))

        await a_few_at_once(_AT_ONCE, check, list(wanted.files))
        if self.public is not None:
            await self.public.check_version(folder, wanted)
        pointers = await self.pointers.of(artifact.at.name)
        return self._published(there, pointers, await self._withdrawn(artifact.at))

    async def tag(self, at: Coordinate, tags: Sequence[str]) -> None:
        """Let pointers lead to this version. One that leads to a newer version stays: only a withdrawal moves it back.

        A cache that could not be told is an UnreachableError after the move; the next call tells it again.
        """
        for tag in tags:
            self._check_tag(at, tag)
        manifest = await self._there(at)
        if (reason := await self._withdrawn(at)) is not None:
            raise withdrawn_already(at, reason, ", ".join(tags))
        for tag in tags:
            await self.pointers.change(tag, self._advance(tag, manifest))
            await self._follow(tag)

    def _advance(self, tag: str, manifest: Manifest) -> Callable[[Pointer | None], Pointer]:
        move = self._move(manifest.at, "published")
        return lambda now: published(now, manifest, move, tag=tag)

    async def point(self, tag: str, to: Coordinate, *, why: str) -> None:
        """Let one pointer lead to another version, older or newer, as a person decided.

        The next publication of a newer version moves it on; `withdraw` keeps it from a version for good.
        """
        self._check_tag(to, tag)
        manifest = await self._there(to)

        def decide(now: Pointer | None) -> Pointer | None:
            move = self._move(to, why)
            return published(now, manifest, move, tag=tag) if now is None else repointed(now, manifest, move, tag=tag)

        await self.pointers.change(tag, decide)
        await self._follow(tag)

    async def withdraw(self, at: Coordinate, *, reason: str, back_to: Coordinate | None) -> Withdrawal:
        """Move every pointer that leads to it to `back_to`, and let none lead to it again."""
        await self._there(at)
        target = await self._there(back_to) if back_to is not None else None
        record = orjson.dumps({"reason": reason, "at": iso(self.clock.now()), "by": self.by})
        place = f"{self.layout.folder(at)}{WITHDRAWN}"
        await self.store.put(place, record, headers_of(place, self.rules), replaces=None)
        done: tuple[str, ...] = ()
        left: tuple[str, ...] = ()
        for tag, pointer in (await self.pointers.of(at.name)).items():
            one = await self._take_back(tag, pointer, at, target, reason)
            done, left = (*done, *one.done), (*left, *one.left)
        stays = f"the files of {at} stay in {self.layout.folder(at)}: pages that name this version keep loading it"
        return Withdrawal(done, (*left, stays))

    async def _take_back(
        self, tag: str, before: Pointer, at: Coordinate, back_to: Manifest | None, reason: str
    ) -> Withdrawal:
        """Take one pointer back; what that did, and what it could not do."""
        to = self._fitting(tag, back_to)
        move = self._move(at if to is None else to.at, reason)
        now = await self.pointers.change(tag, lambda found: found and taken_back(found, at, to, move, tag=tag))
        if now is None or now.at == at:
            why = (
                f"{back_to.at} is of another major version"
                if back_to is not None
                else "nothing to go back to was named"
            )
            hint = f"; it led to {now.previous} before" if now and now.previous else ""
            return Withdrawal((), (f"{tag} still leads to {at}: {why}{hint}",))
        done: tuple[str, ...] = ()
        left: tuple[str, ...] = ()
        if before.at == at:
            kept = format_duration(self.browsers)
            done = (f"{tag} leads to {now.at}",)
            left = (f"browsers that loaded {tag} just before may keep its files for {kept}",)
        try:
            await self._follow(tag)
        except (
            CrossfadeError
        ) as error:  # the pointer has moved: what is late is told, and the next call goes on with it
            left = (*left, f"{error.what} ({error.next or 'withdraw it again'})")
        return Withdrawal(done, left)

    async def _follow(self, tag: str) -> None:
        """Bring a pointer's files in line with it, then tell the caches, then look at them as a browser does."""
        pointer = await self.pointers.settle(tag)
        if not pointer.open:
            return
        await self.caches.purge(Moved.of(tag, pointer))
        if self.public is not None:
            await self.public.check_pointer(tag, list(pointer.files))
        await self.pointers.close(tag, pointer)

    def _fitting(self, tag: str, to: Manifest | None) -> Manifest | None:
        """`to`, unless users of this pointer would get another major version."""
        if to is None:
            return None
        major = self.layout.major_of(to.at.name, tag)
        return to if major in (None, parse_version(to.at.version).major) else None

    def _check_tag(self, at: Coordinate, tag: str) -> None:
        self.layout.checked_tag(at.name, tag)
        major, version = self.layout.major_of(at.name, tag), parse_version(at.version)
        if major is not None and (major != version.major or version.prerelease):
            raise BadInputError(
                "cdn.wrong-pointer",
                f"{tag} is for releases of {major}.x, and {at.version} is none",
                where=f"{self.name} ({self.store.where})",
                next=f"use {self.layout.tag_of(at) or 'a pointer without a major version'}",
            )

    async def _claim(self, folder: str, manifest: Manifest) -> None:
        """Be the one whose files this version has. ConflictError: it has others."""
        place = f"{folder}{MANIFEST}"
        if await self.store.put(place, manifest.text(), headers_of(place, self.rules), replaces=None):
            return
        there = await self._manifest(manifest.at)
        if there is None:
            raise self._missing(manifest.at, MANIFEST)
        if differing := there.differs_from(manifest):
            raise self._differs(manifest.at, folder, differing)

    async def _complete(self, at: Coordinate) -> Manifest | None:
        """The manifest of a version all of whose files are there."""
        manifest = await self._manifest(at)
        if manifest is None:
            return None
        sizes = await self.store.sizes(self.layout.folder(at))
        return manifest if all(sizes.get(path) == size for path, size in manifest.sizes.items()) else None

    async def _manifest(self, at: Coordinate) -> Manifest | None:
        place = f"{self.layout.folder(at)}{MANIFEST}"
        held = await self.store.read(place)
        if held is None:
            return None
        manifest = Manifest.parse(held.body, where=f"{self.store.where} {place}")
        if manifest.at != at:
            raise ConflictError(
                "cdn.version-of-another",
                f"the folder of {at} belongs to {manifest.at}",
                where=f"{self.store.where} {self.layout.folder(at)}",
                next="let `immutable` of the registry hold {name}",
            )
        return manifest

    async def _there(self, at: Coordinate) -> Manifest:
        manifest = await self._complete(at)
        if manifest is None:
            raise self._missing(at)
        return manifest

    async def _withdrawn(self, at: Coordinate) -> str | None:
        held = await self.store.read(f"{self.layout.folder(at)}{WITHDRAWN}")
        return str(orjson.loads(held.body)["reason"]) if held is not None else None

    def _published(self, manifest: Manifest, pointers: Mapping[str, Pointer], withdrawn: str | None) -> Published:
        # A pointer whose files are still being copied leads nowhere yet: whoever publishes finishes it.
        tags = frozenset(tag for tag, each in pointers.items() if each.at == manifest.at and not each.open)
        return Published(manifest.at, dict(manifest.files), tags, withdrawn)

    def _move(self, at: Coordinate, why: str) -> Move:
        return Move(at.version, iso(self.clock.now()), self.by, why)

    def _missing(self, at: Coordinate, path: str = "") -> MissingError:
        return MissingError(
            "cdn.missing",
            f"{path} of {at} is not there" if path else f"{at} is not there",
            where=f"{self.name} ({self.store.where} {self.layout.folder(at)})",
            next="publish it first",
        )

    def _differs(self, at: Coordinate, folder: str, paths: Iterable[str]) -> ConflictError:
        return ConflictError(
            "cdn.differs",
            f"{at} is published with other bytes than these: {', '.join(paths)}",
            where=f"{self.name} ({self.store.where} {folder})",
            next="release these as another version: a version never changes, pages rely on its integrity",
        )


def _bodies(artifact: Artifact) -> dict[str, bytes]:
    """The bytes of every file, by its path below the version's folder."""
    bodies: dict[str, bytes] = {}
    for file in artifact.files:
        path = checked_path(file.relative_to(artifact.root).as_posix())
        if path in RECORDS:
            raise BadInputError(
                "cdn.reserved-name",
                f"{path} is a name that the CDN's own records have",
                where=str(file),
                next="give the file another name",
            )
        bodies[path] = file.read_bytes()
    if not bodies:
        raise BadInputError("cdn.no-files", f"there are no files in {artifact.at}", where=str(artifact.root))
    return bodies
