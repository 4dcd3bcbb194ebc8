"""The nginx router: traffic moves by one line in the memory that all its workers share, never by a reload.

Once the line on disk is swapped, our nginx is brought to have that very line in its memory, which is what
`observe` tells. Every request is judged by a small program in nginx itself (njs, `nginx_choice.js`).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace as replaced

from crossfade.config.routers import NginxRouter as Settings
from crossfade.core.errors import CrossfadeError, UnreachableError
from crossfade.traffic.address import numbered
from crossfade.traffic.children import Child
from crossfade.traffic.port import SLOTS, RouterView, Slot
from crossfade.traffic.proxy import ProxyRouter
from crossfade.traffic.routers.nginx_config import SetUp
from crossfade.traffic.routers.nginx_control import State
from crossfade.traffic.routers.nginx_process import ManagedNginx
from crossfade.traffic.routers.route_file import Accepted, parse, render

TRIES = 8
"""How often the line is told again while other writers replace it."""


class NginxRouter(ProxyRouter[Settings]):
    """One target's traffic through an nginx of its own."""

    section, looks_up_names = Settings, False

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

    async def ensure(self) -> None:
        """A counter that counts and an nginx that serves this target, whatever happened to them."""
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

    @property
    def _child(self) -> Child:
        return self._nginx.child

    async def _end(self) -> None:
        await self._nginx.stop()

    async def _rouse(self) -> None:
        """After a counter was away: let every worker find its way to the new one."""
        await self._nginx.control.rouse(self._nginx.members()[1:])

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

    def _setup(self, counter: int) -> SetUp:
        return SetUp(
            listen=self._settings.listen,
            token=self._token(),
            counter=counter,
            override_header=self._settings.override_header,
            sticky=self._sticky,
        )


def _told(accepted: Accepted) -> str:
    """The line for nginx: that of the route file, and where it has names the same once more with addresses."""
    routes, line = accepted.routes.whole(), render(accepted)
    upstreams = numbered(routes)
    if upstreams == routes.upstreams:
        return line
    return f"{line}\n{render(Accepted(replaced(routes, upstreams=upstreams), accepted.fence))}"
