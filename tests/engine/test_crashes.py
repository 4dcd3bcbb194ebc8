"""Killed at every boundary and at random instants: every rollout ends right, and nobody notices.

A boundary is a moment between two things that the engine does: see `engine_process`.
"""

from __future__ import annotations

import asyncio
import random

import pytest
from engine_world import BAD, GOOD, World

pytestmark = [pytest.mark.real, pytest.mark.slow]


async def carried(world: World, rollout: str, *patterns: str) -> int:
    """Two engines until `rollout` has ended; how many were killed."""
    return await world.carried(lambda: world.view(rollout).rollout.finished, *patterns, engines=2)


async def check(world: World, rollout: str, version: str) -> None:
    """Nobody has noticed, nothing was done twice, nothing is left, and all of it is told."""
    await world.leave()
    assert world.requests_lost() == []
    assert world.seen.looks > 10
    assert world.seen.wrong == []
    world.check_record(rollout)
    await world.check_instances(version)


async def released(world: World) -> None:
    """1.0.0 is there, visitors come, and no engine runs."""
    engine = await world.engine()
    await world.first_release()
    await engine.stop()
    world.engines.clear()
    world.seen.start()


async def test_a_good_version_arrives_whatever_the_engine_is_killed_between(world: World) -> None:
    """Every boundary of a whole canary: before and after each decision is written, each action carried out."""
    await released(world)
    rollout = world.deploy("1.1.0", GOOD)
    kills = await carried(world, rollout, "undecided *", "acted *", "decided done", "decided drain*")
    await world.ended(rollout, "done")
    await check(world, rollout, "1.1.0")
    assert kills >= 14
    assert world.failures() == {}


async def test_a_bad_version_is_taken_back_whatever_the_engine_is_killed_between(world: World) -> None:
    """From the first shift through the turn to the end of the way back."""
    await released(world)
    rollout = world.deploy("1.1.0", BAD)
    kills = await carried(
        world, rollout, "decided shift*", "acting route*", "decided back*", "undecided back*", "acted *"
    )
    view = await world.ended(rollout, "rolled-back")
    await asyncio.sleep(1)
    await check(world, rollout, "1.0.0")
    assert kills >= 8
    assert view.rollout.cleared_at is not None
    assert world.answered_by("1.1.0", after=view.rollout.cleared_at) == 0
    assert set(world.failures()) <= {"status 500 from 1.1.0"}


@pytest.mark.parametrize(("flags", "status", "version"), [(GOOD, "done", "1.1.0"), (BAD, "rolled-back", "1.0.0")])
async def test_another_worker_takes_over_on_postgresql(
    postgres_world: World, flags: tuple[str, ...], status: str, version: str
) -> None:
    """Two workers share the database; whichever carries the rollout dies at boundaries, and the other goes on."""
    world = postgres_world
    await released(world)
    rollout = world.deploy("1.1.0", flags)
    kills = await carried(
        world, rollout, "acted start*", "decided shift 0*", "acting route*", "undecided back*", "acted stop*"
    )
    await world.ended(rollout, status)
    await check(world, rollout, version)
    assert kills >= 4


@pytest.mark.parametrize(("flags", "status", "version"), [(GOOD, "done", "1.1.0"), (BAD, "rolled-back", "1.0.0")])
async def test_killed_at_random_instants(world: World, flags: tuple[str, ...], status: str, version: str) -> None:
    await released(world)
    chance = random.Random(version)
    rollout = world.deploy("1.1.0", flags)
    kills = 0
    while not world.view(rollout).rollout.finished:
        engine = await world.engine()
        await asyncio.sleep(chance.uniform(0.0, 1.5))
        if kills < 6:
            kills += engine.alive
            await engine.kill()
        else:
            await world.ended(rollout, status)
            await engine.stop()
    await world.ended(rollout, status)
    await check(world, rollout, version)
    assert kills >= 3
