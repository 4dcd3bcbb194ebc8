"""The Traefik router: traffic moves by one line in a file that each request reads, never by a reload.

Each request reads the line, so once it is swapped there is nothing more to do when our Traefik is well; where
instances changed, it is told its new servers, and goes on with the old line and the old servers until it has them.
`observe` asks Traefik itself, through the listener.
"""

from __future__ import annotations

import asyncio

from crossfade.config.routers import TraefikRouter as Settings
from crossfade.core.errors import UnreachableError
from crossfade.traffic.children import Child
from crossfade.traffic.port import RouterView
from crossfade.traffic.proxy import ProxyRouter
from crossfade.traffic.routers.traefik_config import SetUp
from crossfade.traffic.routers.traefik_process import ManagedTraefik


class TraefikRouter(ProxyRouter[Settings]):
    """One target's traffic through a Traefik of its own."""

    section = Settings

    async def observe(self) -> RouterView:
        """What is in force now: what Traefik says through its listener, not what it was once told."""
        known = await asyncio.to_thread(self._file.read)
        fence = known.fence if known else 0
        try:
            word = await self._traefik.word()
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

    async def ensure(self) -> None:
        """A counter that counts and a Traefik that serves this target, whatever happened to them."""
        setup = self._setup(counter=await self._counter.start())
        await self._traefik.ensure(setup, self._file)

    @property
    def _child(self) -> Child:
        return self._traefik.child

    async def _end(self) -> None:
        await self._traefik.stop()

    @property
    def _traefik(self) -> ManagedTraefik:
        return ManagedTraefik(self._folder / "traefik", self._settings.listen, self._probe, self._settings.binary)

    def _setup(self, counter: int) -> SetUp:
        return SetUp(
            listen=self._settings.listen,
            line=str(self._file.path),
            token=self._token(),
            counter=counter,
            override_header=self._settings.override_header,
            sticky=self._sticky,
        )
