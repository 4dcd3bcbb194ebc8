"""The HAProxy router: traffic moves by one entry of a map, instances come and go by the runtime API, never by a reload.

`apply` swaps the record (atomic, fenced), writes what a restart of HAProxy would begin with, and then brings the
memory of each of its workers to that. `confirm` asks through the listener which line is in force. The configuration
is `haproxy_config`; a managed HAProxy is ours (`haproxy_process`), an existing one includes our part.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import ipaddress
import os
import re
import secrets
import socket
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

import httpx

from crossfade.config.model import Deployment
from crossfade.config.routers import Capabilities
from crossfade.config.routers import HAProxyRouter as Settings
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from crossfade.traffic.address import dialled, settings_of
from crossfade.traffic.counting import CounterProcess
from crossfade.traffic.port import SLOTS, Counts, RouterView, Routes, Slot, other
from crossfade.traffic.routers.haproxy_config import (
    PROBE_HEADER,
    SLOT_HEADER,
    SetUp,
    Tables,
    accepted_in,
    buckets,
    entry,
    map_file,
    part,
)
from crossfade.traffic.routers.haproxy_process import CONFIG, ManagedHAProxy
from crossfade.traffic.routers.haproxy_runtime import Memory, RuntimeApi
from crossfade.traffic.routers.route_file import Accepted, RouteFile, routes_checked
from crossfade.traffic.whole_files import replace

PROBES = 4
"""Plain requests of one confirmation; the line that each returns would be proof by itself."""


class HAProxyRouter:
    """One target's traffic through HAProxy.

    `folder` is the target's own (`{state}/routes/{environment}/{component}`); `settings` are the
    router section of its environment.
    """

    def __init__(self, folder: Path, settings: Settings, *, environment: str, component: str) -> None:
        self._folder, self._settings = folder.absolute(), settings
        self._name = _slug(f"{environment}.{component}")
        self._labels = f'environment="{environment}",component="{component}"'
        self._file = RouteFile(self._folder)
        self._home = self._folder / "haproxy"
        self._managed = None if settings.socket else ManagedHAProxy(self._home, settings.listen, settings.binary)

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """The router of one component in one environment."""
        folder = Path(deployment.state) / "routes" / deployment.environment / deployment.component
        names = {"environment": deployment.environment, "component": deployment.component}
        return cls(folder, settings_of(deployment, Settings), **names)

    @property
    def capabilities(self) -> Capabilities:
        """All kinds of stickiness; steps of 0.01 %."""
        return Settings.can

    @property
    def address(self) -> str:
        """Where users reach the target, as HOST:PORT that this machine can dial."""
        return dialled(self._settings.listen)

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

    async def apply(self, routes: Routes, *, fence: int) -> None:
        """Put `routes` in force: the record first, then the memory of HAProxy."""
        await _resolved(routes_checked(routes))  # a name that leads nowhere is told before anything is changed
        await asyncio.to_thread(self._file.swap, Accepted(routes, fence))
        await self.ensure()

    async def ensure(self) -> None:
        """A counter that counts and an HAProxy that does what the record says, whatever happened to them."""
        setup = self._setup(counter=await self._counter.start())
        async with self._alone():
            accepted = await asyncio.to_thread(self._file.read)  # a newer writer's, if there is one by now
            if accepted is None:
                return
            tables = await _resolved(accepted.routes)
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
        """Whether real requests through the listener are answered by the slots that `routes` mean."""
        asked, expected = zip(*_expectations(routes, self._settings.override_header), strict=True)
        probes = await self._probe(*asked)
        judged = all(
            accepted is not None and accepted.routes == _whole(routes) and slot in (None, answered)
            for (answered, accepted), slot in zip(probes, expected, strict=False)
        )
        return judged and await _in_force(await self._current(self._setup(counter=0))) == _whole(routes)

    async def counts(self, since: float) -> Counts:
        """Closed one-second buckets from `since` on; a counter that died is started again."""
        if not self._counter.child.running() and self._file.path.exists():
            with contextlib.suppress(CrossfadeError):
                await self._counter.start()
        return await self._counter.counts(since)

    async def metrics(self) -> str | None:
        """The counter's totals in Prometheus' text format; None when it does not answer."""
        return await self._counter.metrics()

    async def close(self) -> None:
        """End what was started for this target: the managed HAProxy and the counter. Users lose the address."""
        if self._managed is not None:
            await self._managed.stop()
        else:
            setup, nobody = self._setup(counter=0), Accepted(Routes({}, 0, "blue"), 0)
            with contextlib.suppress(CrossfadeError):
                for worker in await self._api.workers():
                    await worker.put(setup, entry(nobody), {})
        await self._counter.stop()

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

    async def _probe(self, *requests: dict[str, str]) -> list[tuple[str, Accepted | None]]:
        """Ask the data plane with these headers: the slot that a request would reach, and the line that decided it."""
        transport = httpx.AsyncHTTPTransport(verify=False)  # plain HTTP
        own = {PROBE_HEADER: self._token()}
        answers: list[tuple[str, Accepted | None]] = []
        try:
            async with httpx.AsyncClient(transport=transport, timeout=5, trust_env=False, headers=own) as client:
                for headers in requests:
                    answer = await client.get(f"http://{self.address}/", headers=headers)
                    slot = answer.headers.get(SLOT_HEADER, "")
                    answers.append((slot, accepted_in(answer.text) if slot else None))
                    if not slot:  # somebody else answers there; no need to bother them further
                        break
        except httpx.HTTPError as error:
            raise UnreachableError(
                "haproxy.no-answer",
                f"nobody answers on {self.address}: {str(error) or type(error).__name__}",
                where=f"router.listen {self._settings.listen}",
                next="the next step of a rollout starts a managed HAProxy again; start an existing one yourself",
            ) from error
        return answers

    @property
    def _api(self) -> RuntimeApi:
        return self._managed.api if self._managed is not None else RuntimeApi(self._settings.socket or "")

    @property
    def _counter(self) -> CounterProcess:
        header = f"{PROBE_HEADER}:{self._token()}"
        return CounterProcess(self._folder / "counter", f"http://{self.address}", header, self._labels)

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """One writer at a time, among all processes: each asserts the newest record, so the last one is right."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "haproxy.lock").open("a") as file:
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                await asyncio.sleep(0.002)
            yield

    def _setup(self, counter: int) -> SetUp:
        sticky = self._settings.sticky
        return SetUp(
            name=self._name,
            listen=self._settings.listen,
            folder="" if self._managed is not None else f"{self._home}/",
            token=self._token(),
            counter=counter,
            override_header=self._settings.override_header,
            sticky=None if sticky is None else sticky.key,
        )

    def _token(self) -> str:
        """What marks our own requests: drawn once, known to this folder and to HAProxy."""
        path = self._folder / "token"
        with contextlib.suppress(FileNotFoundError):
            return path.read_text()
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh = self._folder / f".token-{secrets.token_hex(4)}"
        replace(fresh, secrets.token_hex(16).encode())
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)  # of two that draw at once, one wins
        fresh.unlink()
        return path.read_text()


async def _in_force(memory: Memory) -> Routes | None:
    """The routes that a worker carries out: the line's, with the instances that are truly there."""
    if memory.line is None:
        return None
    said, upstreams = memory.line.routes, dict(memory.tables)
    with contextlib.suppress(BadInputError):  # a name that is unknown by now: what is there, as addresses
        meant = await _resolved(said)
        for slot in SLOTS:
            if Counter(meant[slot]) == Counter(upstreams[slot]):
                upstreams[slot] = said.upstreams[slot]
    return Routes(upstreams, said.green, said.stable, said.salt)


async def _resolved(routes: Routes) -> dict[Slot, tuple[str, ...]]:
    """The instances of each slot as IP:PORT: what HAProxy can be told at run time."""
    return {slot: tuple([await _ip(each) for each in routes.upstreams.get(slot, ())]) for slot in SLOTS}


async def _ip(address: str) -> str:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        except OSError as error:
            raise BadInputError(
                "haproxy.unknown-host",
                f"the name of the instance {address} leads to no address: {error.strerror}",
                next="name instances by their IP address, or repair the name service",
            ) from error
        found = ipaddress.ip_address(min(answers)[4][0])  # always the same one of several
    return f"[{found}]:{port}" if isinstance(found, ipaddress.IPv6Address) else f"{found}:{port}"


def _expectations(routes: Routes, header: str) -> list[tuple[dict[str, str], Slot | None]]:
    """Requests to ask with, and the slot that must answer (None: either)."""
    canary, full = other(routes.stable), next((slot for slot in SLOTS if routes.weight(slot) == 0), None)
    asked: list[tuple[dict[str, str], Slot | None]] = [({}, other(full) if full else None)] * PROBES
    asked.append(({header: "never"}, routes.stable))
    asked.append(({header: "always"}, canary if routes.upstreams.get(canary) else routes.stable))
    return asked


def _whole(routes: Routes) -> Routes:
    upstreams = {slot: tuple(routes.upstreams.get(slot, ())) for slot in SLOTS}
    return Routes(upstreams, routes.green, routes.stable, routes.salt)


def _slug(name: str) -> str:
    """A name that may stand in HAProxy's configuration and in Lua; different names stay different."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name.replace(".", "__"))
    if re.fullmatch(r"[a-z0-9]+\.[a-z0-9]+", name):
        return plain
    return f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
