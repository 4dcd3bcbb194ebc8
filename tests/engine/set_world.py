"""Two components in one environment, each with an address of its own: what release sets are proven on."""

from __future__ import annotations

from pathlib import Path

from engine_world import GOOD, World, processes_of

from crossfade.config.model import Deployment
from crossfade.config.routers import CaddyRouter
from crossfade.config.strategies import Canary, Direct, Smoke, Stage
from crossfade.engine.sets import begin_set
from crossfade.engine.site import RealSites, Site
from crossfade.rollouts.rollout import Rollout
from crossfade.traffic.load import Load, Plan
from crossfade.traffic.port import SLOTS
from free_ports import free_port

SMOKE = (Smoke(path="/version", contains="version"),)
CANARY = Canary(steps=(Stage(weight=5000),), watch=2, final_watch=1, hold=0, max_extension=60, smoke=SMOKE)


class SetWorld(World):
    """`shop` goes by a canary, `api` at once; both have visitors."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.api_listen = f"127.0.0.1:{free_port()}"
        self.api_load: Load | None = None
        self.settings["strategy"] = CANARY

    def api(self, flags: tuple[str, ...] = GOOD) -> Deployment:
        """The other component."""
        made = self.deployment(flags)
        router = CaddyRouter(listen=self.api_listen, admin=self.admin)
        settings = made.settings.model_copy(update={"router": router, "strategy": Direct(smoke=SMOKE)})
        return made.model_copy(update={"component": "api", "settings": settings})

    @property
    def api_site(self) -> Site:
        return RealSites().site(self.api())

    async def first_releases(self) -> None:
        """1.0.0 of both has all of the traffic."""
        rollout = self.control.deploy(self.api(), "1.0.0", actor="ada").rollout.id
        await self.first_release()
        await self.ended(rollout, "done")
        self.api_load = Load(self.api_site.router.address, Plan(rps=50, timeout=30))  # type: ignore[attr-defined]  # Caddy's
        self.api_load.start()

    def release(self, version: str, flags: tuple[str, ...] = GOOD) -> str:
        """The id of a set that has just begun; `flags` are those of `shop`."""
        return begin_set(self.store, [(self.deployment(flags), version), (self.api(), version)], actor="ada")

    def members(self, set_id: str) -> dict[str, Rollout]:
        """The members by component."""
        return {row.rollout.plan.component: row.rollout for row in self.store.members(set_id)}

    async def leave(self) -> None:
        await super().leave()
        if self.api_load is not None:
            await self.api_load.stop()

    def lost(self) -> list[str]:
        """Requests to either component that nobody of ours answered."""
        assert self.api_load is not None
        samples = [*self.api_load.samples, *(self.load.samples if self.load is not None else ())]
        assert len(samples) > 100
        return [f"{s.cause} {s.status} {s.detail}" for s in samples if s.dropped]

    async def versions(self) -> set[tuple[str, str]]:
        """What runs now."""
        there = {("shop", i.version) for i in await self.site.runtime.observe() if i.state != "gone"}
        return there | {("api", i.version) for i in await self.api_site.runtime.observe() if i.state != "gone"}

    async def close(self) -> None:
        for engine in self.engines:
            await engine.kill()
        for slot in SLOTS:
            await self.api_site.runtime.stop(slot)
        await self.api_site.router.close()  # type: ignore[attr-defined]  # Caddy's
        await super().close()
        assert processes_of(self.place)[0] == []
