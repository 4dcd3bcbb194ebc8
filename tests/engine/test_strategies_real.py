"""Strategies on real processes behind a real Caddy, with visitors all the while: nobody notices a good version."""

from __future__ import annotations

import asyncio

import pytest
from engine_world import BAD, World
from test_crashes import carried, check, released

from crossfade.config.model import Judge
from crossfade.config.strategies import BlueGreen, Rolling, Smoke, Stabilise

pytestmark = [pytest.mark.real]

ROLLING = Rolling(batch_watch=2, final_watch=1, max_extension=60, smoke=(Smoke(path="/version", contains="version"),))


async def test_a_good_version_replaces_the_old_one_batch_by_batch_and_stabilises(ready: World) -> None:
    stabilise = Stabilise(watch=3, smoke_every=1, error_budget=0.001)
    ready.settings["strategy"] = ROLLING.model_copy(update={"stabilise": stabilise})
    ready.seen.start()
    rollout = ready.deploy("1.1.0")
    most = 0
    while not ready.view(rollout).rollout.finished:
        most = max(most, len(await ready.site.runtime.observe()))
        await asyncio.sleep(0.1)
    view = await ready.ended(rollout, "done")
    assert [share for _, share in view.rollout.stages] == [5000, 5000, 10_000, 10_000, 10_000]
    wanted = [row for row in ready.store.events(rollout=rollout, limit=1000) if row.kind == "action.wanted"]
    assert sum(1 for row in wanted if str(row.data["id"]).endswith(":smoke")) >= 3  # directly, then through the router
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


async def test_a_version_that_spends_its_error_budget_is_taken_back(ready: World) -> None:
    """One request in twenty fails: no outage, and nothing compares the versions here."""
    ready.settings["judge"] = Judge(bucket=1, enabled=False, guard_window=2, blind_after=4)
    ready.settings["strategy"] = BlueGreen(watch=1, hold=0, stabilise=Stabilise(watch=30, error_budget=0.001))
    rollout = ready.deploy("1.1.0", ("--error-rate", "0.05"))
    view = await ready.ended(rollout, "rolled-back")
    assert view.rollout.cause == "budget"
    assert view.rollout.cleared_at is not None
    await asyncio.sleep(0.5)
    await ready.leave()
    assert ready.requests_lost() == []
    assert ready.answered_by("1.1.0", after=view.rollout.cleared_at) == 0
    await ready.check_instances("1.0.0")


@pytest.mark.slow
async def test_batches_go_on_whatever_the_engine_is_killed_between(world: World) -> None:
    """Before and after old instances are told to leave."""
    world.settings["strategy"] = ROLLING
    await released(world)
    rollout = world.deploy("1.1.0")
    kills = await carried(world, rollout, "decided drain and stop 1 of*", "acted start blue")
    await world.ended(rollout, "done")
    await check(world, rollout, "1.1.0")
    assert kills >= 2
    assert world.failures() == {}
