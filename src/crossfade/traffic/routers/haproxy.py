"""The HAProxy router: traffic moves by one entry of a map, instances come and go by the runtime API, never by a reload.

What is on disk is what a restart of HAProxy would begin with; the memory of each of its workers is brought to that.
The configuration is `haproxy_config`; a managed HAProxy is ours (`haproxy_process`), an existing one includes our part.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

from crossfade.config.routers import HAProxyRouter as Settings
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from crossfade.core.locks import locked
from crossfade.traffic.address import numbered
from crossfade.traffic.children import Child
from crossfade.traffic.port import SLOTS, RouterView, Routes
from crossfade.traffic.probe import Probe
from crossfade.traffic.proxy import ProxyRouter
from crossfade.traffic.routers.haproxy_config import SetUp, Tables, accepted_in, buckets, entry, map_file, part
from crossfade.traffic.routers.haproxy_process import CONFIG, ManagedHAProxy
from crossfade.traffic.routers.haproxy_runtime import Memory, RuntimeApi
from crossfade.traffic.routers.route_file import Accepted
from crossfade.traffic.whole_files import replace


class HAProxyRouter(ProxyRouter[Settings]):
    """One target's traffic through HAProxy."""

    section, looks_up_names = Settings, False

    def __init__(self, folder: Path, settings: Settings, *, environment: str, component: str) -> None:
        super().__init__(folder, settings, environment=environment, component=component)
        self._home = self._folder / "haproxy"
        self._managed = None if settings.socket else ManagedHAProxy(self._home, settings.listen, settings.binary)

    @property
    def part(self) -> Path:
        """The configuration part that HAProxy reads at its start."""
        return self._home / CONFIG

    async def observe(self) -> RouterView:
        """What is in force now."""
        accepted = await asyncio.to_thread(self._file.read)
        fence = accepted.fence if accepted else 0
        setup = self._setup(counter=0)
        try:
            memories = [await worker.memory(setup) for worker in await self._api.workers()]
        except UnreachableError as error:
            return RouterView(reachable=False, fence=fence, detail=error.what)
        flying = {slot: sum(memory.flying[slot] for memory in memories) for slot in SLOTS}
        if memories[0].line is None:
            detail = "HAProxy has nothing for this target"
            return RouterView(reachable=True, fence=fence, in_flight=flying, detail=detail)
        routes = await _in_force(memories[0])
        return RouterView(reachable=True, routes=routes, fence=fence, in_flight=flying)

    async def ensure(self) -> None:
        """A counter that counts and an HAProxy that does what the record says, whatever happened to them."""
        setup = self._setup(counter=await self._counter.start())
        async with locked(self._folder / "haproxy.lock"):
            accepted = await asyncio.to_thread(self._file.read)  # a newer writer's, if there is one by now
            if accepted is None:
                return
            tables = await asyncio.to_thread(numbered, accepted.routes)
            await asyncio.to_thread(self._write, setup, accepted, tables)
            if self._managed is not None:
                await self._managed.start()
            await self._assert(setup, accepted, tables)
            if (await self._current(setup)).marker != setup.marker:
                if self._managed is None:
                    raise self._unprepared()
                await self._managed.reload(setup)
                await self._assert(setup, accepted, tables)

    async def confirm(self, routes: Routes) -> bool:
        """Whether real requests say so, and HAProxy's memory, which alone knows the instances."""
        if not await super().confirm(routes):
            return False
        return await _in_force(await self._current(self._setup(counter=0))) == routes.whole()

    @property
    def _child(self) -> Child | None:
        return self._managed.child if self._managed is not None else None

    async def _end(self) -> None:
        if self._managed is not None:
            await self._managed.stop()
            return
        setup, nobody = self._setup(counter=0), Accepted(Routes({}, 0, "blue"), 0)
        with contextlib.suppress(CrossfadeError):
            for worker in await self._api.workers():
                await worker.put(setup, entry(nobody), {})

    async def _current(self, setup: SetUp) -> Memory:
        return await (await self._api.workers())[0].memory(setup)

    async def _assert(self, setup: SetUp, accepted: Accepted, tables: Tables) -> None:
        for worker in await self._api.workers():
            await worker.put(setup, entry(accepted), tables)

    def _write(self, setup: SetUp, accepted: Accepted, tables: Tables) -> None:
        """What a start of HAProxy, by whomever, begins with."""
        self._home.mkdir(parents=True, exist_ok=True)
        files = {CONFIG: part(setup, tables), Path(setup.map).name: map_file(accepted)}
        if setup.sticky is not None:
            files[Path(setup.script).name] = buckets(setup)
        for name, content in files.items():
            path = self._home / name
            if not path.exists() or path.read_text() != content:
                replace(path, content.encode())

    def _unprepared(self) -> CrossfadeError:
        return CrossfadeError(
            "haproxy.not-prepared",
            f"the HAProxy at {self._settings.socket} has not loaded our part as it is now",
            where=str(self.part),
            next=f"start it with `-f {self.part}` after its own files, once, or reload it; the next attempt goes on",
            retry=True,
        )

    @property
    def _api(self) -> RuntimeApi:
        return self._managed.api if self._managed is not None else RuntimeApi(self._settings.socket or "")

    @property
    def _probe(self) -> Probe:
        return Probe(self.address, self._token(), accepted_in)

    def _setup(self, counter: int) -> SetUp:
        return SetUp(
            name=self._name,
            listen=self._settings.listen,
            folder="" if self._managed is not None else f"{self._home}/",
            token=self._token(),
            counter=counter,
            override_header=self._settings.override_header,
            sticky=self._sticky,
        )


async def _in_force(memory: Memory) -> Routes | None:
    """The routes that a worker carries out: the line's, with the instances that are truly there."""
    if memory.line is None:
        return None
    said, upstreams = memory.line.routes, dict(memory.tables)
    with contextlib.suppress(BadInputError):  # a name that is unknown by now: what is there, as addresses
        meant = await asyncio.to_thread(numbered, said)
        for slot in SLOTS:
            if Counter(meant[slot]) == Counter(upstreams[slot]):
                upstreams[slot] = said.upstreams[slot]
    return Routes(upstreams, said.green, said.stable, said.salt)
