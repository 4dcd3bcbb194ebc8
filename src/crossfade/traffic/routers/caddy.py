"""The Caddy router: traffic moves by the replacement of one line in a file, never by a reload.

`apply` swaps the line (atomic, fenced), then sees to it that a Caddy with our configuration reads it
and that a counter listens. `confirm` asks through the listener which line is in force. The
configuration itself is written once (`caddy_config`); a managed Caddy is ours (`caddy_process`), an
existing one gets our server beside its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx

from crossfade.config.model import Deployment
from crossfade.config.routers import CaddyRouter as Settings
from crossfade.config.routers import Capabilities
from crossfade.core.errors import CrossfadeError, UnreachableError
from crossfade.traffic.address import dialled, settings_of
from crossfade.traffic.counting import CounterProcess
from crossfade.traffic.port import SLOTS, Counts, RouterView, Routes, Slot, other
from crossfade.traffic.routers.caddy_admin import CaddyAdmin
from crossfade.traffic.routers.caddy_config import (
    PROBE_HEADER,
    SLOT_HEADER,
    Json,
    SetUp,
    is_in,
    managed,
    merged,
    slot_of,
)
from crossfade.traffic.routers.caddy_process import ManagedCaddy
from crossfade.traffic.routers.route_file import Accepted, RouteFile, parse, routes_checked
from crossfade.traffic.whole_files import replace

PROBES = 4
"""Plain requests of one confirmation; the line that each returns would be proof by itself."""
START = 3.0
"""Seconds in which a Caddy that is being started shows life."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What the data plane said: the slot that a request would reach, and the line that decided it."""

    slot: str
    accepted: Accepted | None


class CaddyRouter:
    """One target's traffic through Caddy.

    `folder` is the target's own (`{state}/routes/{environment}/{component}`); `settings` are the
    router section of its environment.
    """

    def __init__(self, folder: Path, settings: Settings, *, environment: str, component: str) -> None:
        self._folder, self._settings = folder.absolute(), settings
        self._name = _slug(f"{environment}.{component}")
        self._labels = f'environment="{environment}",component="{component}"'
        self._file = RouteFile(self._folder)
        self._managed = None if settings.admin else ManagedCaddy(self._folder / "caddy", settings.listen)

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
        """What is in force now."""
        accepted = await asyncio.to_thread(self._file.read)
        fence = accepted.fence if accepted else 0
        try:
            config, loads = await self._admin.config(), await self._admin.in_flight()
        except UnreachableError as error:
            return RouterView(reachable=False, fence=fence, detail=error.what)
        flying = dict.fromkeys(SLOTS, 0)
        setup = self._setup(counter=0)
        for upstream, count in loads.items():
            if (slot := slot_of(upstream, setup)) is not None:
                flying[slot] += count
        if not _serves(config, setup):
            return RouterView(reachable=True, fence=fence, in_flight=flying, detail="Caddy has nothing for this target")
        return RouterView(reachable=True, routes=accepted.routes if accepted else None, fence=fence, in_flight=flying)

    async def apply(self, routes: Routes, *, fence: int) -> None:
        """Put `routes` in force: the line first, which is all there is to do when Caddy is well."""
        await asyncio.to_thread(self._file.swap, Accepted(routes_checked(routes), fence))
        await self.ensure()

    async def ensure(self) -> None:
        """A counter that counts and a Caddy that serves this target, whatever happened to them."""
        setup = self._setup(counter=await self._counter.start())
        if self._managed is None:
            await self._ensure_config(setup)
            return
        with contextlib.suppress(UnreachableError):
            if is_in(await self._admin.config(), setup):
                return
        config = managed(
            setup, admin=self._admin.address, storage=str(self._managed.storage), log=str(self._managed.log)
        )
        await asyncio.to_thread(self._managed.write, config)
        if self._managed.child.running() and not await self._shows_life():
            await self._managed.stop()  # it runs, obeys nobody and serves nobody: emptied from outside
        await self._managed.start()
        await self._ensure_config(setup)

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
        return await self._counter.counts(since)

    async def metrics(self) -> str | None:
        """The counter's totals in Prometheus' text format; None when it does not answer."""
        return await self._counter.metrics()

    async def close(self) -> None:
        """End what was started for this target: the managed Caddy and the counter. Users lose the address."""
        if self._managed is not None:
            await self._managed.stop()
        else:
            with contextlib.suppress(UnreachableError):
                await self._admin.update(lambda config: _without(config, self._setup(counter=0)))
        await self._counter.stop()

    async def _ensure_config(self, setup: SetUp) -> None:
        if not is_in(await self._admin.config(), setup):
            await self._admin.update(lambda config: merged(config, setup))

    async def _shows_life(self) -> bool:
        """Whether Caddy obeys or serves; one that somebody else is starting gets a moment."""
        for _ in range(int(START / 0.1)):
            if await self._admin.answers():
                return True
            with contextlib.suppress(UnreachableError):
                if (await self._probe({}))[0] is not None:
                    return True
            await asyncio.sleep(0.1)
        return False

    async def _probe(self, *requests: dict[str, str]) -> list[Probe | None]:
        """Ask the data plane with these headers; None where whoever listens there does not know us."""
        transport = httpx.AsyncHTTPTransport(verify=False)  # plain HTTP
        own = {PROBE_HEADER: self._token()}
        try:
            async with httpx.AsyncClient(transport=transport, timeout=5, trust_env=False, headers=own) as client:
                answers = [await client.get(f"http://{self.address}/", headers=headers) for headers in requests]
        except httpx.HTTPError as error:
            raise UnreachableError(
                "caddy.no-answer",
                f"nobody answers on {self.address}: {str(error) or type(error).__name__}",
                where=f"router.listen {self._settings.listen}",
                next="the next step of a rollout starts a managed Caddy again; start an existing one yourself",
            ) from error
        slots = [answer.headers.get(SLOT_HEADER) for answer in answers]
        return [Probe(slot, parse(a.text)) if slot else None for slot, a in zip(slots, answers, strict=True)]

    @property
    def _admin(self) -> CaddyAdmin:
        return self._managed.admin if self._managed is not None else CaddyAdmin(self._settings.admin or "")

    @property
    def _counter(self) -> CounterProcess:
        header = f"{PROBE_HEADER}:{self._token()}"
        return CounterProcess(self._folder / "counter", f"http://{self.address}", header, self._labels)

    def _setup(self, counter: int) -> SetUp:
        sticky = self._settings.sticky
        return SetUp(
            name=self._name,
            listen=self._settings.listen,
            line=str(self._file.path),
            token=self._token(),
            counter=counter,
            override_header=self._settings.override_header,
            sticky=None if sticky is None else sticky.key,
        )

    def _token(self) -> str:
        """What marks our own requests: drawn once, known to this folder and to Caddy."""
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
    return Routes(upstreams, routes.green, routes.stable, routes.salt)


def _serves(config: Json | None, setup: SetUp) -> bool:
    servers = ((config or {}).get("apps") or {}).get("http") or {}
    return setup.server in (servers.get("servers") or {})


def _without(config: Json | None, setup: SetUp) -> Json:
    result = config or {}
    with contextlib.suppress(KeyError):
        del result["apps"]["http"]["servers"][setup.server]
    with contextlib.suppress(KeyError):
        del result["logging"]["logs"][setup.server]
    return result


def _slug(name: str) -> str:
    """A name that may stand in Caddy's configuration; different names stay different."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name.replace(".", "__"))
    if re.fullmatch(r"[a-z0-9-]+\.[a-z0-9-]+", name):
        return plain
    return f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
