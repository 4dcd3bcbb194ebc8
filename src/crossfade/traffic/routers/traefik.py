"""The Traefik router: traffic moves by one line in a file that each request reads, never by a reload.

`apply` swaps the line (atomic, fenced), then sees to it that our Traefik runs, counts, and has that very line in
force; where instances changed, it is told its new servers, and goes on with the old line and the old servers
until it has them. `observe` and `confirm` ask Traefik itself, through the listener.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from pathlib import Path
from typing import Self

from crossfade.config.model import Deployment
from crossfade.config.routers import Capabilities
from crossfade.config.routers import TraefikRouter as Settings
from crossfade.core.errors import CrossfadeError, UnreachableError
from crossfade.traffic.address import dialled, settings_of
from crossfade.traffic.counting import CounterProcess
from crossfade.traffic.port import SLOTS, Counts, RouterView, Routes, Slot, other
from crossfade.traffic.routers.route_file import Accepted, RouteFile, routes_checked
from crossfade.traffic.routers.traefik_config import PROBE_HEADER, SetUp
from crossfade.traffic.routers.traefik_process import ManagedTraefik
from crossfade.traffic.whole_files import replace

PROBES = 4
"""Plain requests of one confirmation; the line that each returns would be proof by itself."""


class TraefikRouter:
    """One target's traffic through a Traefik of its own.

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
        """What is in force now: what Traefik says through its listener, not what it was once told."""
        known = await asyncio.to_thread(self._file.read)
        fence = known.fence if known else 0
        try:
            word = (await self._traefik.ask({}))[0]
        except UnreachableError as error:
            return RouterView(reachable=False, fence=fence, detail=error.what)
        if word is None:
            detail = f"who answers on {self.address} is not our Traefik, or it has no configuration"
            return RouterView(reachable=False, fence=fence, detail=detail)
        if word.accepted is None:
            detail = "Traefik has nothing for this target"
            return RouterView(reachable=True, fence=fence, in_flight=word.flying, detail=detail)
        fence = max(fence, word.accepted.fence)
        return RouterView(reachable=True, routes=word.accepted.routes, fence=fence, in_flight=word.flying)

    async def apply(self, routes: Routes, *, fence: int) -> None:
        """Put `routes` in force: the line first, and Traefik's servers where they changed."""
        await asyncio.to_thread(self._file.swap, Accepted(routes_checked(routes), fence))
        await self.ensure()

    async def ensure(self) -> None:
        """A counter that counts and a Traefik that serves this target, whatever happened to them."""
        setup = self._setup(counter=await self._counter.start())
        await self._traefik.ensure(setup, self._file)

    async def confirm(self, routes: Routes) -> bool:
        """Whether real requests through the listener are answered by the slots that `routes` mean."""
        asked, expected = zip(*_expectations(routes, self._settings.override_header), strict=True)
        words = await self._traefik.ask(*asked)
        return all(
            word is not None
            and word.accepted is not None
            and word.accepted.routes == _whole(routes)
            and slot in (None, word.slot)
            for word, slot in zip(words, expected, strict=True)
        )

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
        """End what was started for this target: Traefik and the counter. Users lose the address."""
        await self._counter.stop()  # first: while its connection is open, Traefik waits for it
        await self._traefik.stop()

    @property
    def _traefik(self) -> ManagedTraefik:
        return ManagedTraefik(self._folder / "traefik", self._settings.listen, self._token(), self._settings.binary)

    @property
    def _counter(self) -> CounterProcess:
        header = f"{PROBE_HEADER}:{self._token()}"
        return CounterProcess(self._folder / "counter", f"http://{self.address}", header, self._labels)

    def _setup(self, counter: int) -> SetUp:
        sticky = self._settings.sticky
        return SetUp(
            listen=self._settings.listen,
            line=str(self._file.path),
            token=self._token(),
            counter=counter,
            override_header=self._settings.override_header,
            sticky=None if sticky is None else sticky.key,
        )

    def _token(self) -> str:
        """What marks our own requests: drawn once, known to this folder and to Traefik."""
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
    return Routes(upstreams, routes.green, routes.stable, routes.salt, routes.mirror)
