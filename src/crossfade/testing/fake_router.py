"""A router in memory for tests of what stands above it; it keeps `RouterContract` like a real one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from crossfade.config.routers import Capabilities
from crossfade.core.clock import Clock
from crossfade.core.errors import StaleFenceError, UnreachableError
from crossfade.traffic.port import SLOTS, Counts, RouterView, Routes, Slot
from crossfade.traffic.routers.route_file import routes_checked
from crossfade.traffic.tally import Tally


@dataclass(slots=True)
class FakeProxy:
    """The world that fake routers share: it outlives them, as a proxy outlives Crossfade.

    A test sets what happens: `down` (nobody answers), `blind` (nobody counts), `deaf` (it accepts
    routes and goes on as before, so that `confirm` finds out), `in_flight` for each slot; `calls`
    records every routes that were asked for, with their fences.
    """

    clock: Clock
    down: bool = False
    blind: bool = False
    deaf: bool = False
    routes: Routes | None = None
    fence: int = 0
    in_flight: dict[Slot, int] = field(default_factory=lambda: dict.fromkeys(SLOTS, 0))
    calls: list[tuple[Routes, int]] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    def empty(self) -> None:
        """It was started again and knows nothing of the target."""
        self.routes = None

    def serve(self, slot: Slot, answers: Mapping[int, int], ms: float = 5.0, at: float | None = None) -> None:
        """Count requests of `slot`: `answers` maps a status to how many there were, all of `ms`."""
        when = self.clock.now() if at is None else at
        for status, count in answers.items():
            for _ in range(count):
                self.tally.add(when, slot, status, ms)


class FakeRouter:
    """One target of a `FakeProxy`."""

    def __init__(self, proxy: FakeProxy) -> None:
        self.proxy = proxy

    @property
    def capabilities(self) -> Capabilities:
        """All that a router can do."""
        return Capabilities(mirror=True)

    @property
    def address(self) -> str:
        """Nobody can dial it."""
        return "127.0.0.1:0"

    async def observe(self) -> RouterView:
        """What is in force now."""
        if self.proxy.down:
            return RouterView(reachable=False, fence=self.proxy.fence, detail="the fake proxy is down")
        flying = dict(self.proxy.in_flight)
        return RouterView(reachable=True, routes=self.proxy.routes, fence=self.proxy.fence, in_flight=flying)

    async def apply(self, routes: Routes, *, fence: int) -> None:
        """Put `routes` in force."""
        self._reach()
        routes_checked(routes)
        if fence < self.proxy.fence:
            raise StaleFenceError(
                "router.stale-fence",
                f"routes of fence {fence} came after those of fence {self.proxy.fence}",
                next="nothing was changed",
            )
        self.proxy.calls.append((routes, fence))
        self.proxy.fence = fence
        if not self.proxy.deaf:
            self.proxy.routes = routes

    async def confirm(self, routes: Routes) -> bool:
        """Whether `routes` are in force."""
        self._reach()
        return self.proxy.routes == routes

    async def counts(self, since: float) -> Counts:
        """Closed one-second buckets from `since` on."""
        now = self.proxy.clock.now()
        if not self.proxy.blind:
            self.proxy.tally.prove(now)
        return self.proxy.tally.counts(since, now)

    async def close(self) -> None:
        """Forget the target."""
        self._reach()
        self.proxy.empty()

    def _reach(self) -> None:
        if self.proxy.down:
            raise UnreachableError("router.unreachable", "the fake proxy is down", next="bring it up")
