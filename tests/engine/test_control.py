"""The verbs over what is stored, carried out in a world of fakes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from virtual_world import HOUR, VirtualWorld

from crossfade.config.strategies import Canary, Stage
from crossfade.core.errors import BadInputError


@pytest.fixture
def world(tmp_path: Path) -> Iterator[VirtualWorld]:
    world = VirtualWorld(tmp_path)
    world.settings["strategy"] = Canary(steps=(Stage(weight=5000),), watch=600, final_watch=0, hold=HOUR)
    yield world
    world.store.close()


async def release(world: VirtualWorld, version: str) -> None:
    assert (await world.run(world.deploy(version))).rollout.status == "done"


def trusted(world: VirtualWorld) -> tuple[str | None, str | None]:
    target = world.control.target("shop", "production")
    return target.version, target.previous


async def test_one_rollout_at_a_time(world: VirtualWorld) -> None:
    rollout = world.deploy("1.0.0")
    with pytest.raises(BadInputError) as refused:
        world.deploy("1.1.0")
    assert refused.value.code == "rollout.active"
    assert refused.value.where == rollout


async def test_the_trusted_version_after_a_promotion_and_after_a_rollback(world: VirtualWorld) -> None:
    await release(world, "1.0.0")
    await release(world, "1.1.0")
    assert trusted(world) == ("1.1.0", "1.0.0")
    world.rates["1.2.0"] = 0.9
    view = await world.run(world.deploy("1.2.0"))
    assert view.rollout.status == "rolled-back"
    assert trusted(world) == ("1.1.0", "1.0.0")


async def test_a_rollback_during_the_hold_makes_the_old_version_trusted_again(world: VirtualWorld) -> None:
    await release(world, "1.0.0")
    rollout = world.deploy("1.1.0")
    world.at(HOUR / 2, lambda: world.control.rollback(world.deployment(), to=None, actor="ada"))
    view = await world.run(rollout)
    assert view.rollout.promoted
    assert view.rollout.status == "rolled-back"
    assert trusted(world) == ("1.0.0", "1.1.0")


async def test_rollback_after_the_end_goes_to_the_version_before_or_the_one_named(world: VirtualWorld) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        await release(world, version)
    view = world.control.rollback(world.deployment(), to=None, actor="ada")
    assert (view.rollout.plan.version, view.rollout.plan.strategy) == ("1.1.0", "direct")
    await world.run(view.rollout.id)
    assert trusted(world) == ("1.1.0", "1.2.0")
    view = world.control.rollback(world.deployment(), to="1.0.0", actor="ada")
    await world.run(view.rollout.id)
    assert trusted(world) == ("1.0.0", "1.1.0")
    assert {i.version for i in world.machine.seen()} == {"1.0.0"}


async def test_rollbacks_that_make_no_sense_are_refused(world: VirtualWorld) -> None:
    def refused(to: str | None = None) -> str:
        with pytest.raises(BadInputError) as caught:
            world.control.rollback(world.deployment(), to=to, actor="ada")
        return caught.value.code

    assert refused() == "rollback.nothing"
    await release(world, "1.0.0")
    assert refused() == "rollback.nothing"
    assert refused("1.0.0") == "rollback.there"
    assert refused("0.9.0") == "rollback.unknown-version"
    world.deploy("1.1.0")
    assert refused("0.9.0") == "rollback.active"


async def test_a_version_that_was_taken_back_is_nothing_to_go_back_to(world: VirtualWorld) -> None:
    await release(world, "1.0.0")
    world.rates["1.1.0"] = 0.9
    await world.run(world.deploy("1.1.0"))
    with pytest.raises(BadInputError) as caught:
        world.control.rollback(world.deployment(), to="1.1.0", actor="ada")
    assert caught.value.code == "rollback.unknown-version"


async def test_a_command_is_answered_and_an_unknown_rollout_refused(world: VirtualWorld) -> None:
    rollout = world.deploy("1.0.0")
    command = world.control.command(rollout, "promote", actor="ada")
    assert world.control.answer(rollout, command.serial) is None
    await world.run(rollout)
    answer = world.control.answer(rollout, command.serial)
    assert answer is not None
    assert answer.kind == "command.refused"
    for ask in (world.control.view, lambda i: world.control.command(i, "pause", actor="ada")):
        with pytest.raises(BadInputError) as caught:
            ask("ro_none")
        assert caught.value.code == "rollout.unknown"
