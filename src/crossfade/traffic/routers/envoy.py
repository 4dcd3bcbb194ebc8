"""The Envoy router: traffic moves by the replacement of one file that Envoy watches, never by a reload.

`apply` swaps the line on disk (atomic, fenced), then tells it to Envoy: first the addresses of slots that are
going to serve, then the routes, which hold the whole line, then the addresses of slots that have ended. Each
step waits until Envoy has taken it. `observe` tells what Envoy has, `confirm` asks all its workers through the
listener.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import ipaddress
import os
import secrets
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from dataclasses import replace as replaced
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Self

from crossfade.config.model import Deployment
from crossfade.config.routers import Capabilities
from crossfade.config.routers import EnvoyRouter as Settings
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from crossfade.traffic.address import dialled, settings_of
from crossfade.traffic.counting import CounterProcess
from crossfade.traffic.port import SLOTS, Counts, RouterView, Routes, Slot, other
from crossfade.traffic.routers.envoy_config import (
    PROBE_HEADER,
    SLOT_HEADER,
    WORKER_HEADER,
    SetUp,
    clusters,
    endpoints,
    listener,
    version,
)
from crossfade.traffic.routers.envoy_config import routes as told
from crossfade.traffic.routers.envoy_process import ManagedEnvoy
from crossfade.traffic.routers.route_file import Accepted, RouteFile, parse, routes_checked
from crossfade.traffic.whole_files import replace

COUNTER = "crossfade.traffic.routers.envoy_counter"
PATIENCE = 15.0
"""Seconds in which Envoy takes what it was told; it is a matter of milliseconds."""
KNOCKS = 8
"""Questions for each worker before those that never answered are passed over."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What the data plane said: the slot that a request would reach, the line that decided it, and who said so."""

    slot: str
    worker: str
    accepted: Accepted | None


class EnvoyRouter:
    """One target's traffic through an Envoy of its own.

    `folder` is the target's own (`{state}/routes/{environment}/{component}`); `settings` are the
    router section of its environment.
    """

    def __init__(self, folder: Path, settings: Settings, *, environment: str, component: str) -> None:
        self._folder, self._settings = folder.absolute(), settings
        self._labels = f'environment="{environment}",component="{component}"'
        self._file = RouteFile(self._folder)
        self._envoy = ManagedEnvoy(self._folder / "envoy", settings.listen, settings.binary)

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """The router of one component in one environment."""
        folder = Path(deployment.state) / "routes" / deployment.environment / deployment.component
        names = {"environment": deployment.environment, "component": deployment.component}
        return cls(folder, settings_of(deployment, Settings), **names)

    @property
    def capabilities(self) -> Capabilities:
        """All kinds of stickiness; steps of 0.01 %; copies of requests."""
        return Settings.can

    @property
    def address(self) -> str:
        """Where users reach the target, as HOST:PORT that this machine can dial."""
        return dialled(self._settings.listen)

    async def observe(self) -> RouterView:
        """What is in force now: what Envoy has taken, not what it was once told."""
        known = await asyncio.to_thread(self._file.read)
        fence = known.fence if known else 0
        try:
            state, now = await self._envoy.admin.state(), await self._envoy.admin.in_force()
        except UnreachableError as error:
            return RouterView(reachable=False, fence=fence, detail=error.what)
        accepted = parse(now.line)
        if accepted is None or not state.versions["listener"]:
            detail = "Envoy has nothing for this target"
            return RouterView(reachable=True, fence=fence, in_flight=state.flying, detail=detail)
        routes = replaced(accepted.routes, upstreams=now.addresses)
        fence = max(fence, accepted.fence)
        return RouterView(reachable=True, routes=routes, fence=fence, in_flight=state.flying)

    async def apply(self, routes: Routes, *, fence: int) -> None:
        """Put `routes` in force: the line on disk first, then the same in Envoy."""
        wanted = Accepted(routes_checked(routes), fence)
        await asyncio.to_thread(_pairs, wanted)  # what could not be told is refused before anything changes
        await asyncio.to_thread(self._file.swap, wanted)
        await self.ensure()

    async def ensure(self) -> None:
        """A counter that counts and an Envoy that serves this target, whatever happened to them."""
        await self._counter.start()
        async with self._turn():
            accepted = await asyncio.to_thread(self._file.read)  # the newest, whoever put it there
            if accepted is None:
                return
            files = await asyncio.to_thread(self._files, accepted)
            await self._envoy.ensure(files)
            await self._tell(files, accepted)

    async def confirm(self, routes: Routes) -> bool:
        """Whether every worker answers real requests through the listener as `routes` mean."""
        try:
            workers = (await self._envoy.admin.state()).workers
        except UnreachableError:
            workers = 1  # the listener will tell
        return await asyncio.to_thread(self._all_agree, _whole(routes), workers)

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
        """End what was started for this target: Envoy and the counter. Users lose the address."""
        await self._envoy.stop()
        await self._counter.stop()

    async def _tell(self, files: dict[str, bytes], accepted: Accepted) -> None:
        """Bring Envoy from what it has taken to what `files` say, in the order in which nobody is lost."""
        ended = [slot for slot in SLOTS if not accepted.routes.upstreams.get(slot)]
        serving = [slot for slot in SLOTS if slot not in ended]
        taken = (await self._envoy.admin.state()).versions
        for name in ("clusters", *serving, "routes", *ended, "listener"):
            if taken[name] != version(files[name]):
                await self._told(name, files[name])

    async def _told(self, name: str, content: bytes) -> None:
        """Replace one file, and wait until Envoy has taken it."""
        await asyncio.to_thread(self._envoy.write, name, content)
        for turn in range(int(PATIENCE / 0.002)):
            if (await self._envoy.admin.state()).versions[name] == version(content):
                return
            if turn % 50 == 49 and (refusal := await self._envoy.admin.refusal()):  # noqa: PLR2004 - now and then
                break
            await asyncio.sleep(0.002)
        else:
            refusal = self._envoy.complaint()
        raise CrossfadeError(
            "envoy.refused",
            f"Envoy does not take its {name}: {refusal}",
            where=str(self._envoy.folder / f"{name}.json"),
            next="repair what it names; the next attempt writes it anew",
            retry=True,
        )

    def _all_agree(self, routes: Routes, workers: int) -> bool:
        expected, seen = _expectations(routes, self._settings.override_header), set[str]()
        for turn in range(max(KNOCKS * workers, len(expected))):
            headers, slot = expected[turn % len(expected)]
            probe = self._probe(headers)
            if probe is None or probe.accepted is None or probe.accepted.routes != routes:
                return False
            if slot not in (None, probe.slot):
                return False
            seen.add(probe.worker)
            if turn + 1 >= len(expected) and len(seen) >= workers:
                break
        return True

    def _probe(self, headers: dict[str, str]) -> Probe | None:
        """Ask the data plane on a connection of its own; None where whoever listens there does not know us."""
        host, _, port = self.address.rpartition(":")
        try:
            with contextlib.closing(HTTPConnection(host.strip("[]"), int(port), timeout=5)) as connection:
                connection.request("GET", "/", headers={PROBE_HEADER: self._token(), **headers})
                answer = connection.getresponse()
                text = answer.read().decode(errors="replace")
        except (OSError, HTTPException) as error:
            raise UnreachableError(
                "envoy.no-answer",
                f"nobody answers on {self.address}: {str(error) or type(error).__name__}",
                where=f"router.listen {self._settings.listen}",
                next="the next step of a rollout starts Envoy again",
            ) from error
        slot, worker = answer.headers.get(SLOT_HEADER), answer.headers.get(WORKER_HEADER)
        return Probe(slot, worker, parse(text)) if slot and worker else None

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Alone among all who would tell Envoy something, in whatever process."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "envoy.turn").open("a") as file:
            while True:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                await asyncio.sleep(0.005)
            yield

    def _files(self, accepted: Accepted) -> dict[str, bytes]:
        """What Envoy shall watch, by name."""
        setup, pairs, folder, copies = self._setup(), _pairs(accepted), str(self._envoy.folder), str(self._envoy.copies)
        return {
            "listener": listener(setup, folder, copies),
            "clusters": clusters(folder, copies),
            "routes": told(setup, accepted),
            **{slot: endpoints(slot, pairs[slot]) for slot in SLOTS},
        }

    @property
    def _counter(self) -> CounterProcess:
        return CounterProcess(self._folder / "counter", str(self._envoy.socket), "", self._labels, COUNTER)

    def _setup(self) -> SetUp:
        sticky, listen = self._settings.sticky, self._settings.listen
        host = listen.rpartition(":")[0]
        return SetUp(
            listen=_resolved(listen, f"router.listen {listen}") if host else listen,
            token=self._token(),
            override_header=self._settings.override_header,
            sticky=None if sticky is None else sticky.key,
        )

    def _token(self) -> str:
        """What marks our own requests: drawn once, known to this folder and to Envoy."""
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


def _expectations(routes: Routes, header: str) -> list[tuple[dict[str, str], Slot | None]]:
    """Requests to ask with, and the slot that must answer (None: either)."""
    canary, full = other(routes.stable), next((slot for slot in SLOTS if routes.weight(slot) == 0), None)
    asked: list[tuple[dict[str, str], Slot | None]] = [({}, other(full) if full else None)]
    asked.append(({header: "never"}, routes.stable))
    asked.append(({header: "always"}, canary if routes.upstreams.get(canary) else routes.stable))
    return asked


def _whole(routes: Routes) -> Routes:
    return replaced(routes, upstreams={slot: tuple(routes.upstreams.get(slot, ())) for slot in SLOTS})


def _pairs(accepted: Accepted) -> dict[Slot, list[tuple[str, str]]]:
    """For each slot its addresses, as they are called and as they are dialled."""
    return {slot: [(each, _resolved(each, each)) for each in accepted.routes.upstreams.get(slot, ())] for slot in SLOTS}


def _resolved(address: str, where: str) -> str:
    """`address` with a number instead of a name: Envoy is told numbers.

    >>> _resolved("10.0.0.1:80", ""), _resolved("[::1]:80", "")
    ('10.0.0.1:80', '[::1]:80')
    """
    host, _, port = address.rpartition(":")
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host.strip("[]"))
        return address
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise BadInputError(
            "envoy.unknown-host",
            f"{host} has no address: {error}",
            where=where,
            next="write HOST:PORT of a host that this machine can find",
        ) from error
    number = min(found, key=lambda each: each[0] != socket.AF_INET)[4][0]
    return f"[{number}]:{port}" if ":" in str(number) else f"{number}:{port}"
