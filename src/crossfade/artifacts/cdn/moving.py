"""Moving a pointer: its document by compare-and-swap, then its files, then the caches.

Killed anywhere, the document tells the next one what is left to do. Two at once: the document decides who won, and
whoever wrote a file looks at the document once more, so that the files are those of the winner.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from crossfade.artifacts.cdn.headers import Rule, headers_of
from crossfade.artifacts.cdn.layout import POINTER, Layout
from crossfade.artifacts.cdn.manifest import in_order, integrity
from crossfade.artifacts.cdn.pointer import Pointer
from crossfade.artifacts.cdn.store import Held, Stamp, Store
from crossfade.artifacts.port import ConflictError, MissingError
from crossfade.core.clock import Clock
from crossfade.core.errors import UnreachableError

_ATTEMPTS = 30
_LONGEST = 1.0


@dataclass(frozen=True, slots=True)
class Pointers:
    """The pointers in one store. `chance` is randomness in [0, 1)."""

    store: Store
    layout: Layout
    rules: Sequence[Rule]
    clock: Clock
    chance: Callable[[], float] = field(default=random.random)

    async def read(self, tag: str) -> Pointer | None:
        """Where a pointer leads, or None when there is no such pointer."""
        return (await self._read(tag))[0]

    async def of(self, name: str) -> dict[str, Pointer]:
        """All pointers of `name`, by their tags."""
        if self.layout.pointer is None:
            return {}
        before, after = self.layout.tags(name)
        tags = [f"{before}{each}{after}" for each in await self.store.folders(before)]
        tags = [tag for tag in tags if not self.layout.is_version(f"{tag}/f")]
        found = await asyncio.gather(*(self.read(tag) for tag in tags))
        return {tag: each for tag, each in zip(tags, found, strict=True) if each is not None and each.name == name}

    async def change(self, tag: str, decide: Callable[[Pointer | None], Pointer | None]) -> Pointer | None:
        """Replace a pointer's document by what `decide` makes of it, whoever else is at it; the one now in force.

        `decide` is asked again whenever somebody else was faster. UnreachableError: always somebody else was.
        """
        path, headers = f"{tag}/{POINTER}", self._headers(f"{tag}/{POINTER}")
        for attempt in range(_ATTEMPTS):
            now, stamp = await self._read(tag)
            wanted = decide(now)
            if wanted is None or wanted == now:
                return now
            if await self.store.put(path, wanted.text(), headers, replaces=stamp):
                return wanted
            if (await self.read(tag)) == wanted:  # it was written, and the answer was lost on its way
                return wanted
            await self.clock.sleep(self.chance() * min(_LONGEST, 0.02 * 2**attempt))
        raise UnreachableError(
            "cdn.pointer-contended",
            f"{tag} was moved by somebody else {_ATTEMPTS} times in a row",
            where=self.store.where,
            next="run the same command again; let one pipeline publish at a time",
        )

    async def settle(self, tag: str) -> Pointer:
        """Make a pointer's files those of the version that it leads to; whichever that is in the end.

        MissingError: there is no such pointer, or its version's files are not there. ConflictError: they are others.
        """
        for _ in range(_ATTEMPTS):
            pointer = await self.read(tag)
            if pointer is None:
                raise MissingError("cdn.no-pointer", f"there is no pointer {tag}", where=self.store.where)
            changed = await self._copy(tag, pointer)
            if not changed or (await self.read(tag)) == pointer:
                return pointer
        raise UnreachableError(
            "cdn.pointer-contended",
            f"{tag} was moved {_ATTEMPTS} times while its files were copied",
            where=self.store.where,
            next="run the same command again; let one pipeline publish at a time",
        )

    async def close(self, tag: str, settled: Pointer) -> None:
        """Note that the files and the caches have followed `settled`, unless it has moved on meanwhile."""
        await self.change(tag, lambda now: settled.closed() if now == settled and settled.open else None)

    async def _copy(self, tag: str, pointer: Pointer) -> bool:
        """Put what differs, in order; whether anything did. Stops as soon as the pointer leads elsewhere."""
        there = await asyncio.gather(*(self.store.read(f"{tag}/{path}") for path in pointer.files))
        held = dict(zip(pointer.files, there, strict=True))
        late = [path for path, each in held.items() if not self._follows(tag, path, pointer, each)]
        folder = self.layout.folder(pointer.at)
        bodies = dict(
            zip(late, await asyncio.gather(*(self._body(folder, path, pointer) for path in late)), strict=True)
        )
        for path in in_order(bodies):
            if not await self._replace(tag, path, bodies[path], held[path], pointer):
                break
        return bool(late)

    async def _replace(self, tag: str, path: str, body: bytes, held: Held | None, pointer: Pointer) -> bool:
        """Put one file in the place of what was read. False: the pointer leads elsewhere by now."""
        place, stamp = f"{tag}/{path}", held.stamp if held else None
        while not await self.store.put(place, body, self._headers(place), replaces=stamp):
            if (await self.read(tag)) != pointer:
                return False
            held = await self.store.read(place)
            if self._follows(tag, path, pointer, held):
                return True
            stamp = held.stamp if held else None
            await self.clock.sleep(self.chance() * 0.05)
        return True

    async def _body(self, folder: str, path: str, pointer: Pointer) -> bytes:
        """A file of the version, which is what it was when it was published."""
        held = await self.store.read(f"{folder}{path}")
        if held is None:
            raise MissingError(
                "cdn.file-missing",
                f"{path} of {pointer.at} is not there any more",
                where=f"{self.store.where} {folder}",
                next="publish this version again, or move the pointer to another one",
            )
        if integrity(held.body) != pointer.files[path]:
            raise ConflictError(
                "cdn.file-changed",
                f"{path} of {pointer.at} is not what was published",
                where=f"{self.store.where} {folder}",
                next="find out who wrote there; release a newer version",
            )
        return held.body

    def _follows(self, tag: str, path: str, pointer: Pointer, held: Held | None) -> bool:
        """Whether a pointer's file is what it is to be, with the headers that its store keeps with it."""
        if held is None or integrity(held.body) != pointer.files[path]:
            return False
        wanted = self._headers(f"{tag}/{path}")
        return all(wanted.get(name, value) == value for name, value in held.headers.items())

    async def _read(self, tag: str) -> tuple[Pointer | None, Stamp | None]:
        held = await self.store.read(f"{tag}/{POINTER}")
        if held is None:
            return None, None
        return Pointer.parse(held.body, where=f"{self.store.where} {tag}/{POINTER}"), held.stamp

    def _headers(self, path: str) -> dict[str, str]:
        return headers_of(path, self.rules)
