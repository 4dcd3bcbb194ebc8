"""What was released stays, whatever happens to the machine once its rollout has ended."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import httpx
import psutil
import pytest
from engine_world import World, leftovers, processes_of, until
from virtual_world import MINUTE, VirtualWorld

from crossfade.config.strategies import BlueGreen, Canary, Direct, Rolling, Stage
from crossfade.core.errors import BadInputError
from crossfade.store.keeping import EVERY
from crossfade.testing.runtime_contract import all_ready, eventually
from patience import PATIENCE

# -- in virtual time --------------------------------------------------------------------------------------


@pytest.fixture
async def virtual(tmp_path: Path):
    world = VirtualWorld(tmp_path, step=5.0)
    view = await world.run(world.deploy("1.0.0"))
    assert view.rollout.status == "done"
    yield world
    world.store.close()


async def pass_time(world: VirtualWorld, seconds: float) -> None:
    """A worker works while nothing is under way."""
    end = world.clock.now() + seconds
    await world.work(lambda: world.clock.now() >= end)


def told(world: VirtualWorld | World) -> list[str]:
    return [f"{row.kind}: {row.text}" for row in world.store.events(limit=100_000) if row.kind.startswith("target.")]


def touched(world: VirtualWorld) -> int:
    """How often something was done to the machine or the router."""
    return sum(1 for call in world.machine.calls if call[0] != "observe") + len(world.proxy.calls)


STRATEGIES = {
    "direct": Direct(),
    "rolling": Rolling(batch_watch=MINUTE, final_watch=MINUTE),
    "blue-green": BlueGreen(watch=MINUTE, hold=0),
    "canary": Canary(steps=(Stage(weight=500),), watch=MINUTE, final_watch=MINUTE, hold=0),
}


@pytest.mark.parametrize("rate", [0.0, 0.5])
@pytest.mark.parametrize("kind", STRATEGIES)
async def test_where_all_is_well_nothing_is_touched(virtual: VirtualWorld, kind: str, rate: float) -> None:
    virtual.settings["strategy"] = STRATEGIES[kind]
    virtual.rates["1.1.0"] = rate
    view = await virtual.run(virtual.deploy("1.1.0"))
    assert view.rollout.finished
    before = touched(virtual)
    await pass_time(virtual, 15 * MINUTE)
    assert told(virtual) == []
    assert touched(virtual) == before


async def test_a_lost_instance_and_an_emptied_router_are_seen_within_the_interval(virtual: VirtualWorld) -> None:
    routes = virtual.proxy.routes
    virtual.machine.lose(routes.stable, 1)
    virtual.proxy.empty()
    before = virtual.clock.now()
    await virtual.work(lambda: virtual.proxy.routes == routes)
    assert virtual.clock.now() - before <= EVERY + 10
    await pass_time(virtual, MINUTE)
    assert [each.state for each in virtual.machine.seen()] == ["ready", "ready"]
    assert told(virtual) == [
        "target.repair: 1 of 2 instances of 1.0.0 are there; the router has nothing for us",
        "target.whole: 1.0.0 is whole again",
    ]
    assert virtual.store.verify_audit().sound


async def test_what_cannot_be_mended_is_told_once_and_tried_as_long_as_it_lasts(virtual: VirtualWorld) -> None:
    virtual.proxy.down = True
    await pass_time(virtual, 15 * MINUTE)
    (entry,) = told(virtual)
    assert entry.startswith("target.failing: the fake proxy is down\n")
    virtual.proxy.down = False
    await pass_time(virtual, 3 * EVERY)
    assert told(virtual)[1:] == ["target.whole: 1.0.0 is whole again"]


async def test_a_release_begins_at_once_where_something_cannot_be_mended(virtual: VirtualWorld) -> None:
    virtual.proxy.down = True
    await pass_time(virtual, MINUTE)
    virtual.settings["strategy"] = Direct()
    rollout = virtual.deploy("1.1.0")
    virtual.at(30, lambda: setattr(virtual.proxy, "down", False))
    view = await virtual.run(rollout)
    assert view.rollout.status == "done"
    created, *rows = virtual.store.events(rollout=rollout)
    wanted = next(row for row in rows if row.kind == "action.wanted")
    assert wanted.at - created.at < 5, "it waited for who looks after the target"
    before = len(told(virtual))
    await pass_time(virtual, MINUTE)
    assert len(told(virtual)) == before


async def test_what_is_taken_out_of_service_ends_even_where_the_router_cannot_be_told(virtual: VirtualWorld) -> None:
    virtual.proxy.down = True
    virtual.control.retire("shop", "production", actor="ada")
    await virtual.work(lambda: not virtual.control.is_retiring("shop", "production"))
    assert virtual.machine.seen() == ()
    assert told(virtual)[-1].startswith(
        "target.down: nothing of 1.0.0 runs there any more; the router could not be told"
    )
    virtual.proxy.down = False
    view = await virtual.run(virtual.deploy("1.1.0"))
    assert view.rollout.status == "done"


async def test_what_cannot_end_yet_is_tried_again_until_it_can(virtual: VirtualWorld) -> None:
    virtual.machine.down = True
    virtual.control.retire("shop", "production", actor="ada", reason="moved away")
    await pass_time(virtual, MINUTE)
    assert virtual.control.is_retiring("shop", "production")
    with pytest.raises(BadInputError, match="is being taken out of service"):
        virtual.deploy("1.1.0")
    virtual.machine.down = False
    await virtual.work(lambda: not virtual.control.is_retiring("shop", "production"))
    assert virtual.machine.seen() == ()
    kinds = [each.partition(":")[0] for each in told(virtual)]
    assert kinds == ["target.retired", "target.failing", "target.down"]


# -- for real ---------------------------------------------------------------------------------------------


def restart_of_the_machine(world: World) -> int:
    """Everything of the project dies at once, proxies and supervisors and all; how many that were."""
    left = leftovers(world.place)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left)
    return len(left)


async def released(world: World) -> None:
    """1.0.0 has all of the traffic, and no engine works."""
    engine = await world.engine()
    await world.ended(world.deploy("1.0.0"), "done")
    await engine.stop()


async def answers(world: World) -> str:
    """The version that visitors get, once somebody answers."""
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(httpx.HTTPError):
                answer = await client.get(f"http://{world.listen}/version")
                if answer.status_code == httpx.codes.OK:
                    return str(answer.json()["version"])
            await asyncio.sleep(0.05)


@pytest.mark.real
async def test_after_a_restart_of_the_machine_a_worker_brings_back_what_is_trusted(world: World) -> None:
    await restarted(world)


@pytest.mark.real
async def test_after_a_restart_of_the_machine_on_postgresql(postgres_world: World) -> None:
    """Two workers, of which either may look; what is missing is told once by both of them together."""
    await restarted(postgres_world, engines=2)
    kinds = [each.partition(":")[0] for each in told(postgres_world)]
    assert (kinds.count("target.repair") <= 1, kinds.count("target.whole")) == (True, 1)


async def restarted(world: World, *, engines: int = 1) -> None:
    await released(world)
    assert restart_of_the_machine(world) >= 2 * 2 + 2  # supervisors, instances, Caddy, the counter
    for _ in range(engines):
        await world.engine()
    assert await answers(world) == "1.0.0"
    await until(lambda: any("is whole again" in each for each in told(world)), "it was never whole again")
    await world.check_instances("1.0.0")
    world.visitors()
    await world.ended(world.deploy("1.1.0"), "done")  # the next release finds all in order
    await world.leave()
    assert world.requests_lost() == []
    await world.check_instances("1.1.0")


@pytest.mark.real
async def test_an_engine_that_is_killed_while_it_brings_things_back_leaves_it_to_the_next(world: World) -> None:
    await released(world)
    for round_ in range(4):
        restart_of_the_machine(world)
        dying = await world.engine()
        await asyncio.sleep(0.15 * round_)
        await dying.kill()
    await world.engine()
    assert await answers(world) == "1.0.0"
    await eventually(world.site.runtime, all_ready(2))
    await world.check_instances("1.0.0")
    assert world.store.verify_audit().sound


@pytest.mark.real
async def test_a_release_that_comes_while_things_are_brought_back_waits_for_it(world: World) -> None:
    """Whatever comes first, in the end exactly the new version runs."""
    await released(world)
    restart_of_the_machine(world)
    world.settings["strategy"] = Direct()
    await world.engine()
    await world.ended(world.deploy("1.1.0"), "done")
    assert await answers(world) == "1.1.0"
    await world.check_instances("1.1.0")


@pytest.mark.real
async def test_what_is_taken_out_of_service_leaves_nothing_and_may_return(world: World) -> None:
    """Killed at any instant of it, the next engine ends what is left."""
    await released(world)
    assert world.control.retire("shop", "production", actor="ada", reason="moved away") == "1.0.0"
    for round_ in range(3):
        dying = await world.engine()
        await asyncio.sleep(0.1 * round_)
        await dying.kill()
    await world.engine()
    await until(lambda: not world.control.is_retiring("shop", "production"), "it never ended")
    assert leftovers(world.state) == []
    assert [each.state for each in await world.site.runtime.observe()] == []
    assert told(world)[-1] == "target.down: nothing of 1.0.0 runs there any more"
    back = world.control.rollback(world.deployment(), to=None, actor="ada", reason="second thoughts").rollout
    await world.ended(back.id, "done")
    assert await answers(world) == "1.0.0"
    await world.check_instances("1.0.0")
    assert world.store.verify_audit().sound


@pytest.mark.real
async def test_what_is_taken_from_an_environment_without_rollout_is_brought_back(ready: World) -> None:
    """Caddy alone is killed, then one instance with its supervisor."""
    world = ready
    await world.leave()
    caddy = [p for p in leftovers(world.place) if "caddy" in Path(p.cmdline()[0]).name]
    assert caddy
    for process in caddy:
        process.kill()
    assert await answers(world) == "1.0.0"
    supervisors, _ = processes_of(world.place)
    supervisors[0].kill()
    await until(lambda: len(processes_of(world.place)[0]) == 2, "a supervisor that was killed never came back")
    await until(lambda: told(world)[-1:] == ["target.whole: 1.0.0 is whole again"], "it was never whole again")
    await world.check_instances("1.0.0")
