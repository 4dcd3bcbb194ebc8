"""The nginx router: traffic moves by one line in the memory that all its workers share, never by a reload.

`apply` swaps the line on disk (atomic, fenced), then sees to it that our nginx runs, counts, and has that
very line in its memory. `observe` tells the memory, `confirm` asks through the listener. Every request is
judged by a small program in nginx itself (njs, `nginx_choice.js`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import secrets
import socket
from dataclasses import dataclass
from dataclasses import replace as replaced
from pathlib import Path
from typing import Self

import httpx

from crossfade.config.model import Deployment
from crossfade.config.routers import Capabilities
from crossfade.config.routers import NginxRouter as Settings
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from crossfade.traffic.address import dialled, settings_of
from crossfade.traffic.counting import CounterProcess
from crossfade.traffic.port import SLOTS, Counts, RouterView, Routes, Slot, other
from crossfade.traffic.routers.nginx_config import PROBE_HEADER, SLOT_HEADER, SetUp
from crossfade.traffic.routers.nginx_control import State
from crossfade.traffic.routers.nginx_process import ManagedNginx
from crossfade.traffic.routers.route_file import Accepted, RouteFile, parse, render, routes_checked
from crossfade.traffic.whole_files import replace

PROBES = 4
"""Plain requests of one confirmation; the line that each returns would be proof by itself."""
TRIES = 8
"""How often the line is told again while other writers replace it."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What the data plane said: the slot that a request would reach, and the line that decided it."""

    slot: str
    accepted: Accepted | None


class NginxRouter:
    """One target's traffic through an nginx of its own.

    `folder` is the target's own (`{state}/routes/{environment}/{component}`); `settings` are the
    router section of its environment.
    """

    def __init__(self, folder: Path, settings: Settings, *, environment: str, component: str) -> None:
        self._folder, self._settings = folder.absolute(), settings
        self._labels = f'environment="{environment}",component="{component}"'
        self._file = RouteFile(self._folder)

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

    async def observe(self) -> RouterView:
        """What is in force now: what nginx has in its memory, not what it was once told."""
        known = await asyncio.to_thread(self._file.read)
        fence = known.fence if known else 0
        try:
            state = await self._nginx.control.state()
        except UnreachableError as error:
            return RouterView(reachable=False, fence=fence, detail=error.what)
        flying = await asyncio.to_thread(self._flying, state)
        accepted = parse(state.line.partition("\n")[0])
        if accepted is None:
            return RouterView(reachable=True, fence=fence, in_flight=flying, detail="nginx has nothing for this target")
        fence = max(fence, accepted.fence)
        return RouterView(reachable=True, routes=accepted.routes, fence=fence, in_flight=flying)

    async def apply(self, routes: Routes, *, fence: int) -> None:
        """Put `routes` in force: the line on disk first, then the same line in nginx's memory."""
        wanted = Accepted(routes_checked(routes), fence)
        await asyncio.to_thread(_told, wanted)  # what could not be told is refused before anything changes
        await asyncio.to_thread(self._file.swap, wanted)
        await self.ensure()

    async def ensure(self) -> None:
        """A counter that counts and an nginx that serves this target, whatever happened to them."""
        await asyncio.to_thread(self._nginx.refuse_move)
        blind = not self._counter.child.running()
        setup = self._setup(counter=await self._counter.start())
        first = await asyncio.to_thread(self._line)
        await self._nginx.ensure(setup, first or "")
        if blind:
            await self._rouse()
        for _ in range(TRIES):
            told = await asyncio.to_thread(self._line)
            if told is None or told == (await self._nginx.control.put(told)).line == await asyncio.to_thread(
                self._line
            ):
                return
        raise CrossfadeError(
            "nginx.contended",
            "somebody else keeps changing the routes",
            where=str(self._file.path),
            next="stop the other program that writes them, or try again",
            retry=True,
        )

    async def confirm(self, routes: Routes) -> bool:
        """Whether real requests through the listener are answered by the slots that `routes` mean."""
        asked, expected = zip(*_expectations(routes, self._settings.override_header), strict=True)
        probes = await self._probe(*asked)
        return all(
            probe is not None
            and probe.accepted is not None
            and probe.accepted.routes == _whole(routes)
            and slot in (None, probe.slot)
            for probe, slot in zip(probes, expected, strict=True)
        )

    async def counts(self, since: float) -> Counts:
        """Closed one-second buckets from `since` on; a counter that died is started again."""
        if not self._counter.child.running() and self._file.path.exists():
            with contextlib.suppress(CrossfadeError):
                await self._counter.start()
                await self._rouse()
        return await self._counter.counts(since)

    async def metrics(self) -> str | None:
        """The counter's totals in Prometheus' text format; None when it does not answer."""
        return await self._counter.metrics()

    async def close(self) -> None:
        """End what was started for this target: nginx and the counter. Users lose the address."""
        await self._nginx.stop()
        await self._counter.stop()

    async def _rouse(self) -> None:
        """After a counter was away: let every worker find its way to the new one."""
        await self._nginx.control.rouse(self._nginx.members()[1:])

    async def _probe(self, *requests: dict[str, str]) -> list[Probe | None]:
        """Ask the data plane with these headers; None where whoever listens there does not know us."""
        transport = httpx.AsyncHTTPTransport(verify=False)  # plain HTTP
        own = {PROBE_HEADER: self._token()}
        try:
            async with httpx.AsyncClient(transport=transport, timeout=5, trust_env=False, headers=own) as client:
                answers = [await client.get(f"http://{self.address}/", headers=headers) for headers in requests]
        except httpx.HTTPError as error:
            raise UnreachableError(
                "nginx.no-answer",
                f"nobody answers on {self.address}: {str(error) or type(error).__name__}",
                where=f"router.listen {self._settings.listen}",
                next="the next step of a rollout starts nginx again",
            ) from error
        slots = [answer.headers.get(SLOT_HEADER) for answer in answers]
        return [
            Probe(slot, parse(answer.text.partition("\n")[0])) if slot else None
            for slot, answer in zip(slots, answers, strict=True)
        ]

    def _flying(self, state: State) -> dict[Slot, int]:
        """Requests under way by slot; what a worker that crashed had under way went with it."""
        living = self._nginx.members()
        counts = {
            slot: sum(n for (pid, each), n in state.flying.items() if each == slot and pid in living) for slot in SLOTS
        }
        return {slot: max(count, 0) for slot, count in counts.items()}

    def _line(self) -> str | None:
        """What nginx shall have in its memory."""
        accepted = self._file.read()
        return None if accepted is None else _told(accepted)

    @property
    def _nginx(self) -> ManagedNginx:
        return ManagedNginx(self._folder / "nginx", self._settings.listen, self._token(), self._settings.binary)

    @property
    def _counter(self) -> CounterProcess:
        header = f"{PROBE_HEADER}:{self._token()}"
        return CounterProcess(self._folder / "counter", f"http://{self.address}", header, self._labels)

    def _setup(self, counter: int) -> SetUp:
        sticky = self._settings.sticky
        return SetUp(
            listen=self._settings.listen,
            token=self._token(),
            counter=counter,
            override_header=self._settings.override_header,
            sticky=None if sticky is None else sticky.key,
        )

    def _token(self) -> str:
        """What marks our own requests: drawn once, known to this folder and to nginx."""
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
    asked: list[tuple[dict[str, str], Slot | None]] = [({}, other(full) if full else None)] * PROBES
    asked.append(({header: "never"}, routes.stable))
    asked.append(({header: "always"}, canary if routes.upstreams.get(canary) else routes.stable))
    return asked


def _whole(routes: Routes) -> Routes:
    upstreams = {slot: tuple(routes.upstreams.get(slot, ())) for slot in SLOTS}
    return replaced(routes, upstreams=upstreams)


def _told(accepted: Accepted) -> str:
    """The line for nginx: that of the route file, and where it has names the same once more with addresses."""
    routes, line = _whole(accepted.routes), render(accepted)
    upstreams = {slot: tuple(map(_resolved, routes.upstreams[slot])) for slot in SLOTS}
    if upstreams == routes.upstreams:
        return line
    return f"{line}\n{render(Accepted(replaced(routes, upstreams=upstreams), accepted.fence))}"


def _resolved(address: str) -> str:
    """`address` with a number instead of a name: nginx dials numbers.

    >>> _resolved("10.0.0.1:80"), _resolved("[::1]:80")
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
            "nginx.unknown-host",
            f"{host} has no address: {error}",
            where=address,
            next="an upstream is HOST:PORT of a host that this machine can find",
        ) from error
    number = min(found, key=lambda each: each[0] != socket.AF_INET)[4][0]
    return f"[{number}]:{port}" if ":" in str(number) else f"{number}:{port}"
