"""What goes wrong around a rollout, on real parts: each fault ends in a state that `docs/reference/faults.md` tells."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time

import httpx
import pytest
from canary_world import canary, green, router, taken_back
from engine_world import BAD, World, processes_of, until

from crossfade.config.metrics import PrometheusMetrics
from crossfade.config.model import Drain, Health, Judge, Ready
from crossfade.config.strategies import Canary, Stage
from crossfade.core.errors import CrossfadeError
from crossfade.engine import emergency
from crossfade.engine.emergency import Note
from free_ports import free_port
from real_postgres import PostgresServer

pytestmark = pytest.mark.real

# -- the router -------------------------------------------------------------------------------------------


async def test_a_router_that_is_killed_is_started_again(ready: World) -> None:
    rollout = await canary(ready)
    pid = router(ready)._managed.child.pid()  # type: ignore[union-attr]  # a managed one
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await ready.happened(rollout, "router.repair")
    await until(lambda: router(ready)._managed.child.pid() not in (None, pid))  # type: ignore[union-attr]  # as above
    assert green(ready) == 2500
    ready.control.command(rollout, "promote", actor="ada")
    await ready.ended(rollout, "done")
    await ready.leave()
    await ready.check_instances("1.1.0")


async def test_abort_with_the_router_down(ready: World) -> None:
    """Nothing serves, so nothing is lost by the wait: it comes up with the old version."""
    rollout = await canary(ready)
    pid = router(ready)._managed.child.pid()  # type: ignore[union-attr]  # a managed one
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    ready.control.command(rollout, "abort", actor="ada")
    await taken_back(ready, rollout, "command")


# -- the source of metrics --------------------------------------------------------------------------------


async def test_a_silent_counter_holds_the_rollout_and_decides_nothing(ready: World) -> None:
    rollout_strategy = Canary(steps=(Stage(weight=2500),), watch=3, final_watch=0, hold=0, max_extension=2)
    pid = router(ready)._counter.child.pid()
    assert pid is not None
    ready.settings["strategy"] = rollout_strategy
    rollout = ready.deploy("1.1.0")
    await ready.share(rollout, 2500)
    os.kill(pid, signal.SIGSTOP)
    try:
        await until(lambda: ready.view(rollout).rollout.status == "held")
    finally:
        os.kill(pid, signal.SIGCONT)
    held = ready.view(rollout).rollout
    assert held.share == 2500
    assert "rollback.started" not in ready.kinds(rollout)
    ready.control.command(rollout, "resume", actor="ada")
    await ready.ended(rollout, "done")


async def test_an_unreachable_prometheus_holds_the_rollout_and_abort_still_works(ready: World) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    ready.settings["metrics"] = PrometheusMetrics(
        url=url, requests='r{arm="{arm}"}', errors='e{arm="{arm}"}', timeout=1, stale_after=2
    )
    ready.settings["strategy"] = Canary(steps=(Stage(weight=2500),), watch=2, final_watch=0, hold=0, max_extension=3)
    rollout = ready.deploy("1.1.0")
    await until(lambda: ready.view(rollout).rollout.status == "held")
    held = ready.view(rollout)
    assert held.rollout.share == 2500
    assert held.seen is not None
    assert held.seen.finding is not None
    assert held.seen.finding.cause == "blind"
    ready.control.command(rollout, "abort", actor="ada")
    await taken_back(ready, rollout, "command")


# -- instances --------------------------------------------------------------------------------------------


async def test_instances_that_never_become_ready_get_nothing_and_the_reason_tells_why(ready: World) -> None:
    rollout = ready.deploy("1.1.0", health=Health(path="/nowhere", interval=0.2), ready=Ready(deadline=3))
    view = await ready.ended(rollout, "rolled-back")
    assert view.rollout.cause == "ready"
    assert "0 of 2 instances became ready within 3s" in view.rollout.reason
    assert "404" in view.rollout.reason
    assert "no such page" in view.rollout.reason
    await ready.leave()
    assert ready.answered_by("1.1.0") == 0
    assert ready.failures() == {}
    await ready.check_instances("1.0.0")


async def test_one_dead_instance_is_routed_around_and_comes_back(ready: World) -> None:
    rollout = await canary(ready)
    dying = next(i for i in await ready.site.runtime.observe() if i.slot == "green")
    assert dying.pid is not None
    os.kill(dying.pid, signal.SIGKILL)

    def back() -> bool:
        there = asyncio.run(ready.site.runtime.observe())
        return [i.state for i in there if i.slot == "green"] == ["ready"] * 2 and there[2].restarts == 1

    await until(back)
    assert ready.view(rollout).rollout.status == "running"
    ready.control.command(rollout, "promote", actor="ada")
    await ready.ended(rollout, "done")
    await ready.leave()
    await ready.check_instances("1.1.0")


async def test_a_version_whose_instances_all_die_is_taken_back(ready: World) -> None:
    rollout = await canary(ready)
    for supervisor in processes_of(ready.place)[0]:
        if "/green/" in supervisor.cmdline()[-1]:
            supervisor.kill()
    await taken_back(ready, rollout, "instances")


async def test_an_instance_that_hangs_on_stop_is_killed_after_the_grace_time(ready: World) -> None:
    """A request of two minutes is under way in it, and it means to finish that first."""
    rollout = await canary(ready, drain=Drain(timeout=1, grace=1))
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        slow = f"http://{ready.listen}/slow?ms=120000"
        asked = asyncio.create_task(client.get(slow, headers={"X-Canary": "always"}))
        await asyncio.sleep(1)
        ready.control.command(rollout, "abort", actor="ada")
        await taken_back(ready, rollout, "command")
        await asyncio.wait([asked])
        assert asked.exception() is not None or asked.result().status_code >= 500


async def test_a_small_old_version_gets_the_traffic_back_at_once(ready: World) -> None:
    """One of its two instances is lost with its supervisor: it is started again, and then has everything."""
    rollout = await canary(ready)
    for supervisor in processes_of(ready.place)[0]:
        if supervisor.cmdline()[-1].endswith("/blue/0"):
            supervisor.kill()
    ready.control.command(rollout, "abort", actor="ada")
    await taken_back(ready, rollout, "command")


# -- people -----------------------------------------------------------------------------------------------


async def test_abort_while_paused(ready: World) -> None:
    rollout = await canary(ready)
    ready.control.command(rollout, "pause", actor="ada")
    await until(lambda: ready.view(rollout).rollout.status == "paused")
    ready.control.command(rollout, "abort", actor="ada", reason="no more")
    await taken_back(ready, rollout, "command")
    assert ready.requests_lost() == []
    assert ready.view(rollout).rollout.reason == "no more"


# -- the database -----------------------------------------------------------------------------------------


PLAIN_OUTAGE = Judge(enabled=False, bucket=1, warmup=0, guard_window=6, guard_requests=60, blind_after=12)
"""Sees an outage after some seconds: what is to happen before that has its time, also on a busy machine."""


async def test_a_locked_file_does_not_keep_a_bad_version_in_traffic(ready: World) -> None:
    """Another program holds the state while the new version turns out bad: traffic returns all the same."""
    ready.settings["judge"] = PLAIN_OUTAGE
    rollout = await canary(ready, BAD)
    lock = sqlite3.connect(ready.state / "state.db", isolation_level=None, timeout=30)
    lock.execute("BEGIN IMMEDIATE")
    try:
        await until(lambda: green(ready) == 0, "the traffic did not return while the state was locked")
        assert ready.view(rollout).rollout.turned_at is None  # nothing of it could be written
    finally:
        lock.execute("ROLLBACK")
        lock.close()
    await taken_back(ready, rollout, "guard")
    assert ready.requests_lost() == []


async def test_a_stopped_postgresql_does_not_keep_a_bad_version_in_traffic(
    postgres_world: World, postgres_server: PostgresServer
) -> None:
    world = postgres_world
    world.settings["judge"] = PLAIN_OUTAGE
    await world.engine()
    await world.first_release()
    rollout = await canary(world, BAD)
    postgres_server.stop()
    try:
        await until(lambda: green(world) == 0, "the traffic did not return while PostgreSQL was away")
    finally:
        await asyncio.to_thread(postgres_server.start)
    await taken_back(world, rollout, "guard")
    assert world.requests_lost() == []


async def test_a_restarted_postgresql_costs_a_good_version_nothing(
    postgres_world: World, postgres_server: PostgresServer
) -> None:
    world = postgres_world
    await world.engine()
    await world.first_release()
    rollout = world.deploy("1.1.0")
    await world.share(rollout, 2500)
    await asyncio.to_thread(postgres_server.restart)
    await world.ended(rollout, "done")
    await world.leave()
    assert world.failures() == {}
    world.check_record(rollout)
    await world.check_instances("1.1.0")


async def test_traffic_returns_with_nothing_but_the_config_file_and_is_recorded_later(
    postgres_world: World, postgres_server: PostgresServer
) -> None:
    """The emergency lane: no engine lives and no database answers."""
    world = postgres_world
    engine = await world.engine()
    await world.first_release()
    rollout = await canary(world)
    await engine.kill()
    postgres_server.stop()
    try:
        with pytest.raises(CrossfadeError):
            world.control.command(rollout, "abort", actor="ada")
        note = Note("ada", "users are calling", time.time())
        assert await emergency.return_traffic(world.deployment(), world.site, note) == "blue"
        assert green(world) == 0
    finally:
        await asyncio.to_thread(postgres_server.start)
    await world.engine()
    await taken_back(world, rollout, "command")
    assert world.view(rollout).rollout.reason == "users are calling"
    assert emergency.pending(world.deployment()) is None
    assert world.requests_lost() == []
