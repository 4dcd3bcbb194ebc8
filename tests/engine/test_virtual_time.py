"""Long rollouts, clock steps and commands through the real store and the real loop: nobody waits for real time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from virtual_world import HOUR, MINUTE, START, VirtualWorld

from crossfade.config.model import Judge
from crossfade.config.strategies import Canary, Stage
from crossfade.engine import emergency
from crossfade.engine.emergency import Note


@pytest.fixture
def world(tmp_path: Path) -> Iterator[VirtualWorld]:
    world = VirtualWorld(tmp_path)
    yield world
    world.store.close()


async def first(world: VirtualWorld) -> None:
    view = await world.run(world.deploy("1.0.0"))
    assert view.rollout.status == "done"


async def test_a_day_with_a_pause_and_a_command(world: VirtualWorld) -> None:
    """24 hours: 8 at 5 %, a pause of 3 within them, 8 at 50 %, the rest skipped by a person."""
    world.step, world.rps = 60.0, 0.5
    world.settings["judge"] = Judge(bucket=300, warmup=0, latency=False, blind_after=900)
    await first(world)
    steps = (Stage(weight=500, watch=8 * HOUR), Stage(weight=5000, watch=40 * HOUR))
    world.settings["strategy"] = Canary(steps=steps, final_watch=0, hold=0)
    rollout = world.deploy("1.1.0")
    world.at(7 * HOUR, lambda: world.control.command(rollout, "pause", actor="ada", reason="lunch"))
    world.at(10 * HOUR, lambda: world.control.command(rollout, "resume", actor="ada"))
    world.at(24 * HOUR, lambda: world.control.command(rollout, "promote", actor="ada"))
    began = world.clock.now()
    view = await world.run(rollout)
    assert view.rollout.status == "done"
    assert 24 * HOUR <= view.rollout.finished_at - began < 24.5 * HOUR
    shares = [(round((at - began) / HOUR), share) for at, share in view.rollout.stages]
    assert shares[0] == (0, 500)
    assert (10, 5000) in shares
    assert shares[-1] == (24, 10_000)
    rows = world.store.events(rollout=rollout, limit=100_000)
    assert [row.data["verb"] for row in rows if row.kind == "command.done"] == ["pause", "resume", "promote"]
    assert world.store.verify_audit().sound


@pytest.mark.parametrize("step", [-2 * HOUR, -10 * MINUTE, 2 * HOUR])
async def test_after_a_clock_step_a_bad_version_is_still_seen(world: VirtualWorld, step: float) -> None:
    await first(world)
    world.settings["strategy"] = Canary(steps=(Stage(weight=5000),), watch=24 * HOUR, final_watch=0, hold=0)
    rollout = world.deploy("1.1.0")

    def turn_bad() -> None:
        world.clock.advance(step)
        world.rates["1.1.0"] = 0.9

    world.at(HOUR, turn_bad)
    view = await world.run(rollout, most=6 * HOUR)
    assert view.rollout.status == "rolled-back"
    assert abs(view.rollout.turned_at - (START + HOUR + step)) < 20 * MINUTE
    assert world.proxy.routes.green == 0


@pytest.mark.parametrize("step", [-2 * HOUR, -10 * MINUTE])
async def test_after_the_clock_was_set_back_a_good_version_still_arrives(world: VirtualWorld, step: float) -> None:
    await first(world)
    world.settings["strategy"] = Canary(steps=(Stage(weight=5000),), watch=HOUR, final_watch=0, hold=0)
    rollout = world.deploy("1.1.0")
    world.at(30 * MINUTE, lambda: world.clock.advance(step))
    view = await world.run(rollout, most=6 * HOUR)
    assert view.rollout.status == "done"
    assert view.rollout.finished_at < START + 3 * HOUR


async def test_a_note_of_an_emergency_becomes_the_abort_that_could_not_be_stored(world: VirtualWorld) -> None:
    await first(world)
    world.settings["strategy"] = Canary(steps=(Stage(weight=5000),), watch=24 * HOUR, final_watch=0, hold=0)
    rollout = world.deploy("1.1.0")

    def shout() -> None:
        emergency._leave(world.deployment(), Note("ada", "users are calling", world.clock.now()))

    world.at(HOUR, shout)
    view = await world.run(rollout)
    assert (view.rollout.status, view.rollout.cause) == ("rolled-back", "command")
    rows = world.store.events(rollout=rollout, limit=100_000)
    assert [(row.actor, row.data["reason"]) for row in rows if row.kind == "command.done"] == [
        ("ada", "users are calling")
    ]
    assert emergency.pending(world.deployment()) is None


async def test_an_old_note_of_an_emergency_ends_no_later_rollout(world: VirtualWorld) -> None:
    """Nothing was under way when it was left: traffic was with the trusted version anyway."""
    await first(world)
    emergency._leave(world.deployment(), Note("ada", "users are calling", world.clock.now() - 1))
    view = await world.run(world.deploy("1.1.0"))
    assert view.rollout.status == "done"
    assert emergency.pending(world.deployment()) is None


async def test_a_decision_that_cannot_be_written_stops_no_other(
    world: VirtualWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer lives on after a fault that nobody foresaw."""
    write, faults = world.store.__class__.write, iter([TypeError("not foreseen")])

    def faulty(store, turns):
        for fault in faults:
            raise fault
        return write(store, turns)

    monkeypatch.setattr(world.store.__class__, "write", faulty)
    view = await world.run(world.deploy("1.0.0"))
    assert view.rollout.status == "done"
