"""The Caddy router: traffic moves by the replacement of one line in a file, never by a reload.

Each request reads the line, so once it is swapped there is nothing more to do when Caddy is well. The
configuration itself is written once (`caddy_config`); a managed Caddy is ours (`caddy_process`), an
existing one gets our server beside its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from crossfade.config.routers import CaddyRouter as Settings
from crossfade.core.errors import UnreachableError
from crossfade.traffic.children import Child
from crossfade.traffic.port import SLOTS, RouterView
from crossfade.traffic.proxy import ProxyRouter
from crossfade.traffic.routers.caddy_admin import CaddyAdmin
from crossfade.traffic.routers.caddy_config import Json, SetUp, is_in, managed, merged, slot_of
from crossfade.traffic.routers.caddy_process import ManagedCaddy
from crossfade.traffic.startup import START


class CaddyRouter(ProxyRouter[Settings]):
    """One target's traffic through Caddy."""

    section = Settings

    def __init__(self, folder: Path, settings: Settings, *, environment: str, component: str) -> None:
        super().__init__(folder, settings, environment=environment, component=component)
        self._managed = None if settings.admin else ManagedCaddy(self._folder / "caddy", settings.listen)

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

    @property
    def _child(self) -> Child | None:
        return self._managed.child if self._managed is not None else None

    async def _end(self) -> None:
        if self._managed is not None:
            await self._managed.stop()
            return
        with contextlib.suppress(UnreachableError):
            await self._admin.update(lambda config: _without(config, self._setup(counter=0)))

    async def _ensure_config(self, setup: SetUp) -> None:
        if not is_in(await self._admin.config(), setup):
            await self._admin.update(lambda config: merged(config, setup))

    async def _shows_life(self) -> bool:
        """Whether Caddy obeys or serves; one that somebody else is starting gets a moment."""
        for _ in range(int(START / 0.1)):
            if await self._admin.answers():
                return True
            with contextlib.suppress(UnreachableError):
                if (await self._ask({}))[0] is not None:
                    return True
            await asyncio.sleep(0.1)
        return False

    @property
    def _admin(self) -> CaddyAdmin:
        return self._managed.admin if self._managed is not None else CaddyAdmin(self._settings.admin or "")

    def _setup(self, counter: int) -> SetUp:
        return SetUp(
            name=self._name,
            listen=self._settings.listen,
            line=str(self._file.path),
            token=self._token(),
            counter=counter,
            override_header=self._settings.override_header,
            sticky=self._sticky,
        )


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
