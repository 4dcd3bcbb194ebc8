"""Strategies on real processes behind a real Caddy, with visitors all the while: nobody notices a good version."""

from __future__ import annotations

import asyncio

import pytest
from engine_world import BAD, GOOD, World
from test_crashes import carried, check, released

from crossfade.config.strategies import Rolling, Smoke

pytestmark = [pytest.mark.real]

ROLLING = Rolling(batch_watch=2, final_watch=1, max_extension=60, smoke=(Smoke(path="/version", contains="version"),))


async def test_a_good_version_replaces_the_old_one_batch_by_batch(ready: World) -> None:
    ready.settings["strategy"] = ROLLING
    ready.seen.start()
    rollout = ready.deploy("1.1.0")
    most = 0
    while not ready.view(rollout).rollout.finished:
        most = max(most, len(await ready.site.runtime.observe()))
        await asyncio.sleep(0.1)
    view = await ready.ended(rollout, "done")
    assert [share for _, share in view.rollout.stages] == [5000, 5000, 10_000, 10_000]
    assert most == 3  # two, and the surge
    await ready.leave()
    assert ready.failures() == {}
    assert ready.seen.wrong == []
    await ready.check_instances("1.1.0")
    ready.check_record(rollout)


async def test_a_bad_version_is_taken_back_and_the_old_one_is_whole_again(ready: World) -> None:
    ready.settings["strategy"] = ROLLING
    rollout = ready.deploy("1.1.0", BAD)
    view = await ready.ended(rollout, "rolled-back")
    assert view.rollout.cause == "guard"
    assert view.rollout.cleared_at is not None
    await asyncio.sleep(0.5)
    await ready.leave()
    assert ready.requests_lost() == []
    assert ready.answered_by("1.1.0", after=view.rollout.cleared_at) == 0
    await ready.check_instances("1.0.0")
    ready.check_record(rollout)


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "status", "version"), [(GOOD, "done", "1.1.0"), (BAD, "rolled-back", "1.0.0")])
async def test_batches_go_on_whatever_the_engine_is_killed_between(
    world: World, flags: tuple[str, ...], status: str, version: str
) -> None:
    world.settings["strategy"] = ROLLING
    await released(world)
    rollout = world.deploy("1.1.0", flags)
    kills = await carried(world, rollout, "decided drain*", "acted start*", "undecided grow*", "undecided back*")
    await world.ended(rollout, status)
    await check(world, rollout, version)
    assert kills >= 3
