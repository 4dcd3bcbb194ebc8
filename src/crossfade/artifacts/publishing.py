"""Walking a publication's journal: what the registries say is compared with what is to be there, and closed step by step.

Safe to be killed at any instant and to be run again, also at the same time on another machine: every step first looks
at what is there, uploads are never repeated over other bytes, and what is written down was read back before.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace

from crossfade.artifacts.journal import Fault, Item, Journal, Standing
from crossfade.artifacts.port import Artifact, Coordinate, MissingError, Published, Registry
from crossfade.core.errors import CrossfadeError

Recorder = Callable[[Item, Standing], None]
"""Writes down how far an item is, so that it survives whatever comes; returns when it is safe."""


async def publish(
    journal: Journal,
    registries: Mapping[str, Registry],
    artifacts: Mapping[str, Artifact],
    record: Recorder,
    *,
    at_once: int = 8,
) -> Journal:
    """Bring every item of `journal` to `tagged`, dependencies first, up to `at_once` side by side.

    `registries` are by their names, `artifacts` by the keys of their items (those that are done need none). The
    journal that comes back holds the fault of each item that could not go on. Nothing is raised for one of them.
    """
    walk = _Walk(journal, registries, artifacts, record, await _found(journal, registries))
    running: dict[asyncio.Task[Standing], Item] = {}
    try:
        while True:
            under_way = {item.key for item in running.values()}
            for item in walk.journal.ready():
                if item.key not in under_way and len(running) < at_once:
                    running[asyncio.create_task(walk.carry(item))] = item
            if not running:
                return walk.journal
            ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                walk.note(running.pop(task), task.result())
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _found(journal: Journal, registries: Mapping[str, Registry]) -> Mapping[str, Published]:
    """What is there already of all that is not done, asked once for each registry; faults come up again, item by item."""
    by_registry: dict[str, list[Item]] = {}
    for item in journal.items:
        if not journal.standing(item.key).done:
            by_registry.setdefault(item.registry, []).append(item)

    async def ask(name: str, items: list[Item]) -> Mapping[str, Published]:
        try:
            found = await registries[name].find([item.at for item in items])
        except CrossfadeError:
            return {}
        return {item.key: found[item.at] for item in items if item.at in found}

    answers = await asyncio.gather(*(ask(name, items) for name, items in by_registry.items()))
    return {name: each for answer in answers for name, each in answer.items()}


class _Walk:
    """One walk over a journal; the journal is replaced whenever something was written down."""

    def __init__(
        self,
        journal: Journal,
        registries: Mapping[str, Registry],
        artifacts: Mapping[str, Artifact],
        record: Recorder,
        found: Mapping[str, Published],
    ) -> None:
        self.journal = journal
        self._registries = registries
        self._artifacts = artifacts
        self._record = record
        self._found = found

    async def carry(self, item: Item) -> Standing:
        """Take one item as far as it goes; a fault becomes part of how it stands."""
        try:
            return await self._steps(item)
        except CrossfadeError as error:
            return replace(self.journal.standing(item.key), fault=Fault.of(error))

    async def _steps(self, item: Item) -> Standing:
        registry, artifact = self._registries[item.registry], self._artifacts[item.key]
        published = await self._there(item, registry, artifact)
        self.note(item, Standing("verified", published.integrity))
        # What was withdrawn meanwhile is not promoted again: somebody took its names away.
        missing = [tag for tag in item.tags if tag not in published.tags and published.withdrawn is None]
        if missing and registry.capabilities.tags:
            await registry.tag(item.at, missing)
        return Standing("tagged", published.integrity)

    async def _there(self, item: Item, registry: Registry, artifact: Artifact) -> Published:
        """The item as it was read back; what is absent, or there in part, is uploaded before."""
        if item.key in self._found:
            with contextlib.suppress(MissingError):
                return await registry.verify(artifact)
        await registry.upload(artifact)
        self.note(item, Standing("uploaded"))
        return await registry.verify(artifact)

    def note(self, item: Item, standing: Standing) -> None:
        """Write down how an item stands now, then believe it."""
        if standing != self.journal.standing(item.key):
            self._record(item, standing)
            self.journal = self.journal.at(item.key, standing)


async def present(
    registries: Mapping[str, Registry], wanted: Mapping[str, list[Coordinate]]
) -> set[tuple[str, Coordinate]]:
    """Which of `wanted` (by registry) are published already, each registry asked once for all of its own."""
    names = list(wanted)
    answers = await asyncio.gather(*(registries[name].find(wanted[name]) for name in names))
    return {(name, at) for name, found in zip(names, answers, strict=True) for at in found}
