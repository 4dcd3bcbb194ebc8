"""Strategies through the real store and the real loop on a virtual clock: hours pass in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from virtual_world import HOUR, MINUTE, VirtualWorld

from crossfade.config.model import Judge, Rule
from crossfade.config.strategies import BlueGreen, Canary, Mirror, Rolling, Stabilise, Stage


class Mirrored(VirtualWorld):
    """The router copies requests as well: the new version's answers to them are counted as its own."""

    copies = 0

    def _serve(self) -> None:
        super()._serve()
        routes = self.proxy.routes
        if routes is not None and routes.mirror:
            slot = "green" if routes.stable == "blue" else "blue"
            version = next((i.version for i in self.machine.seen() if i.slot == slot), "")
            bad = round(10 * self.rates.get(version, 0.0))
            self.copies += 10
            self.proxy.serve(slot, {200: 10 - bad, 500: bad})


@pytest.fixture
async def world(tmp_path: Path) -> Iterator[Mirrored]:
    world = Mirrored(tmp_path)
    view = await world.run(world.deploy("1.0.0"))
    assert view.rollout.status == "done"
    yield world
    world.store.close()


def there(world: VirtualWorld) -> list[str]:
    return [each.version for each in world.machine.seen()]


async def test_batches_in_virtual_time(world: Mirrored) -> None:
    world.machine.ready_after = 20.0
    world.settings["strategy"] = Rolling(batch_watch=10 * MINUTE, final_watch=10 * MINUTE)
    began = world.clock.now()
    view = await world.run(world.deploy("1.1.0"))
    assert view.rollout.status == "done"
    assert 20 * MINUTE <= view.rollout.finished_at - began < 25 * MINUTE
    assert there(world) == ["1.1.0", "1.1.0"]


async def test_a_bad_batch_in_virtual_time(world: Mirrored) -> None:
    world.rates["1.1.0"] = 0.5
    world.settings["strategy"] = Rolling(batch_watch=HOUR, final_watch=HOUR)
    view = await world.run(world.deploy("1.1.0"))
    assert view.rollout.status == "rolled-back"
    assert {share for _, share in view.rollout.stages} == {5000}
    assert there(world) == ["1.0.0", "1.0.0"]


async def test_a_version_that_goes_bad_at_full_traffic_goes_back_batch_by_batch(world: Mirrored) -> None:
    world.settings["strategy"] = Rolling(batch_watch=10 * MINUTE, final_watch=24 * HOUR)
    rollout = world.deploy("1.1.0")
    world.at(2 * HOUR, lambda: world.rates.update({"1.1.0": 0.9}))
    view = await world.run(rollout)
    assert view.rollout.status == "rolled-back"
    assert there(world) == ["1.0.0", "1.0.0"]
    assert world.proxy.routes.weight(view.rollout.slot) == 0


@pytest.mark.parametrize("rate", [0.0, 0.05])
async def test_the_error_budget_of_an_hour(world: Mirrored, rate: float) -> None:
    """5 % of its requests fail from the 80th minute on: no outage, and more than the budget allows."""
    world.rps = 20.0
    world.settings["judge"] = Judge(bucket=60, warmup=0, latency=False, blind_after=180, enabled=False)
    world.settings["strategy"] = BlueGreen(
        watch=HOUR, hold=0.0, stabilise=Stabilise(watch=HOUR, error_budget=0.01), retry_limit=600.0
    )
    rollout = world.deploy("1.1.0")
    world.at(80 * MINUTE, lambda: world.rates.update({"1.1.0": rate}))
    view = await world.run(rollout)
    assert (view.rollout.status, view.rollout.cause) == (("rolled-back", "budget") if rate else ("done", ""))
    assert ("the error budget is spent" in view.rollout.reason) == bool(rate)


@pytest.mark.parametrize("rate", [0.0, 0.9])
async def test_copies_are_judged_by_rules_and_cost_no_visitor_anything(world: Mirrored, rate: float) -> None:
    """Nine in ten fail: neither the guard nor the comparison is asked, a rule is."""
    world.rates["1.1.0"] = rate
    world.settings["strategy"] = Canary(
        steps=(Stage(weight=500),), watch=10 * MINUTE, final_watch=0.0, hold=0.0, mirror=Mirror(watch=10 * MINUTE)
    )
    world.settings["rules"] = (Rule(metric="error_rate", above=0.01, over=120.0, then="rollback"),)
    view = await world.run(world.deploy("1.1.0"))
    assert world.copies > 0
    if rate:
        assert (view.rollout.status, view.rollout.cause) == ("rolled-back", "error_rate > 1% over 2m -> rollback")
        assert [share for _, share in view.rollout.stages] == [0]
        assert view.rollout.canary_errors == 0
    else:
        assert view.rollout.status == "done"
        assert next(share for _, share in view.rollout.stages) == 0
