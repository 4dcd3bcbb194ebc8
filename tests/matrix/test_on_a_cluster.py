"""Whole rollouts behind the routers of a cluster: a good release arrives, a bad one goes back, also over the engine's death.

The API server, its nodes and its data planes are a stand-in; the engine, Prometheus, pods (processes) and users are real.
"""

import asyncio
import contextlib

import pytest
from cluster_world import ClusterWorld, Discovery, ingress
from engine_world import until
from kubernetes_gateway import Gateway, IngressNginx
from kubernetes_world import cluster
from prometheus_world import Prometheus

from crossfade.config.routers import GatewayApiRouter, IngressNginxRouter
from crossfade.config.strategies import BlueGreen, Direct, Rolling, Smoke

SMOKE = (Smoke(path="/version", contains="version"),)
OTHERS = (
    Direct(smoke=(Smoke(path="/"),)),  # it has no watch: what is wrong must show before there is traffic
    BlueGreen(watch=2, hold=0, smoke=SMOKE),
    Rolling(batch_watch=2, final_watch=1, max_extension=60, smoke=SMOKE),
)
pytestmark = [pytest.mark.real, pytest.mark.slow]


async def only(world, version):
    """Two pods of `version`, ready, with all of the traffic; nothing else is there."""
    there = await world.site.runtime.observe()
    assert [(each.version, each.state) for each in there] == [(version, "ready")] * 2
    routes = (await world.site.router.observe()).routes
    assert routes is not None
    assert routes.weight(there[0].slot) == 10_000
    assert set(routes.upstreams[there[0].slot]) == {each.address for each in there}


async def ended_by_another_engine(world, rollout, status):
    """The engine dies at its boundary, another one takes the rollout up."""
    dying = world.engines[-1]
    await until(lambda: not dying.alive, "the engine never came to its boundary")
    assert dying.killed, world.story(world.view(rollout))
    await world.engine()
    view = await world.ended(rollout, status)
    world.check_record(rollout)
    return view


async def releases_follow_each_other(world, plane):
    try:
        first_killed = await world.engine("acted * green 25 %")
        await world.ended(world.deploy("1.0.0"), "done")
        await only(world, "1.0.0")
        assert first_killed.alive
        world.visitors(30, mix={"get": 80, "get-fresh": 20}, paths=("/",))

        # The weights stand in the cluster's objects, and whoever put them there is dead.
        await ended_by_another_engine(world, world.deploy("1.1.0"), "done")
        await only(world, "1.1.0")

        # Dies again where the way back has begun: users must not stay where they are.
        await world.killed_at("acting * green 100 %")
        view = await ended_by_another_engine(world, world.deploy("1.2.0", ("--error-rate", "0.8")), "rolled-back")
        assert view.rollout.cause in ("guard", "alone", "errors"), view.rollout.reason
        await only(world, "1.1.0")
        left = view.rollout.cleared_at + 0.5

        # The other strategies follow on the same target: a bad release, and one that stays.
        runs, bad = "1.1.0", {"direct": "1.0"}
        for number, strategy in enumerate(OTHERS, 3):
            world.settings["strategy"] = strategy
            rate = bad.get(strategy.kind, "0.8")
            await world.ended(world.deploy(f"1.{number}.1", ("--error-rate", rate)), "rolled-back")
            await only(world, runs)
            runs = f"1.{number}.2"
            await world.ended(world.deploy(runs), "done")
            await only(world, runs)

        await asyncio.sleep(0.5)
        await world.leave()
        assert world.requests_lost() == [], plane.failed
        assert world.answered_by("1.2.0") > 0
        assert world.answered_by("1.2.0", after=left) == 0
        assert world.answered_by(runs) > 0
        await comes_back_and_goes(world, runs)
    finally:
        await world.close()


async def comes_back_and_goes(world, version):
    """A Deployment that somebody deletes is there again; what is taken out of service ends, and nobody brings it back."""
    (slot,) = {each.slot for each in await world.site.runtime.observe()}
    await world.site.runtime.stop(slot)
    await until(lambda: any(row.kind == "target.whole" for row in world.store.events(limit=100_000)), "it stayed away")
    await only(world, version)
    world.control.retire("shop", "production", actor="ada")
    await until(lambda: not world.control.is_retiring("shop", "production"), "it never ended")
    assert await world.site.runtime.observe() == ()
    routes = (await world.site.router.observe()).routes
    assert routes is None or not any(routes.upstreams.values())


async def test_releases_follow_each_other(place, require):
    gateway, nginx = Gateway(), IngressNginx()
    routers = {
        "by-gateway": (gateway, lambda: GatewayApiRouter(listen=gateway.address, gateway="edge")),
        "by-ingress": (nginx, lambda: IngressNginxRouter(listen=nginx.address, ingress="shop")),
    }
    with (
        contextlib.closing(Prometheus(require("prometheus"), place)) as prometheus,
        cluster(gateway, nginx, Discovery(prometheus.targets)) as server,
    ):
        server.do(server.store.put, ingress("by-ingress"))
        shared = {"kubeconfig": server.kubeconfig(place), "prometheus": prometheus}
        # Side by side, as most of the time is spent waiting for Prometheus.
        async with asyncio.TaskGroup() as both:
            for namespace, (plane, router) in routers.items():
                world = ClusterWorld(place / namespace, namespace=namespace, router=router(), **shared)
                both.create_task(releases_follow_each_other(world, plane))
