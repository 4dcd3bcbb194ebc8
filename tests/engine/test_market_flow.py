"""The flow of nextgen-market's guide, run from its own file with its own durations: a good release, and every bad one.

The plans are compared with the guide in `test_strategies_examples`; here they are carried out by the real engine, under a
virtual clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from guide_flows import arrived, is_back, near, released, running, turned
from guide_world import NEW, OLD, GuideWorld
from virtual_world import HOUR, MINUTE

_MARKET = {"cpu": 0.4, "memory": 0.6, "db_connections": 15.0}
"""The guide's baselines."""


@pytest.fixture
async def market(tmp_path: Path) -> AsyncIterator[GuideWorld]:
    async with running(GuideWorld(tmp_path, "nextgen-market", step=20.0, metrics=_MARKET)) as world:
        yield world


# -- nextgen-market: 5 → 25 → 50 → 100, looked at every 10 seconds -----------------------------------------


async def test_a_good_version_goes_5_25_50_100_is_stabilised_and_the_old_one_retired(market):
    market.step = 10.0
    market.at(18 * MINUTE, lambda: setattr(market, "step", MINUTE))
    began = market.clock.now()
    view = await released(market)
    arrived(market, view)
    shares = market.shares(view)
    assert [share for _, share in shares] == [5, 25, 50, 100]
    assert near([at for at, _ in shares], [0, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE], late=MINUTE)
    assert market.there() == [NEW] * 4
    # Five, ten, then half an hour at 100 %, then an hour of stabilising: the old version is warm for an hour and a half.
    assert 105 * MINUTE <= view.rollout.finished_at - view.rollout.created_at <= 110 * MINUTE
    assert shares[-1][0] + 90 * MINUTE <= view.rollout.finished_at - view.rollout.created_at
    # "Every 10 seconds": counts in buckets of ten, and each number of a rule at least as often.
    lengths = [each.seconds for each in market.store.samples(view.rollout.id)]
    assert max(lengths) == 10
    assert sum(length == 10 for length in lengths) > 0.95 * len(lengths)
    for name in _MARKET:
        looked = [at for at, what in market.looks if what == name and began < at < began + 15 * MINUTE]
        assert max(b - a for a, b in pairwise(looked)) <= 10, name
    # "Full smoke test suite", every five minutes of the stabilisation, through the router.
    suite = [each for each in market.asked if each.whom == "router" and each.at > began + 46 * MINUTE]
    assert {each.path for each in suite} == {"/health", "/version", "/api/products"}
    times = [each.at for each in suite if each.path == "/health"]
    assert len(times) in (10, 11)  # one of them may fall to the very end
    assert all(5 * MINUTE <= b - a <= 6 * MINUTE for a, b in pairwise(times))


async def test_a_rule_on_the_error_rate_takes_back_what_no_comparison_would(market):
    """The old version is no better, so nothing is worse than before; 3 % are too many all the same."""
    market.conduct(OLD, errors=0.03)
    market.conduct(NEW, errors=0.03)
    view = await released(market)
    is_back(market, view)
    assert view.rollout.cause == "error_rate > 1% over 5m -> rollback"
    assert 100 <= turned(view) <= 5 * MINUTE  # the hundred requests that a rate needs, at one a second


@pytest.mark.parametrize("minute", [8, 25])
async def test_errors_take_it_back_from_every_share_by_itself(market, minute):
    market.at(15 * MINUTE, lambda: setattr(market, "step", 30.0))
    market.at(minute * MINUTE, lambda: market.conduct(NEW, errors=0.04))
    view = await released(market)
    is_back(market, view)
    assert minute * MINUTE <= turned(view) <= (minute + 5) * MINUTE + 2 * market.step
    assert view.rollout.cause in ("error_rate > 1% over 5m -> rollback", "errors", "alone", "budget")


async def test_an_outage_waits_for_no_window(market):
    market.at(2 * MINUTE, lambda: market.conduct(NEW, errors=1.0))
    view = await released(market)
    is_back(market, view)
    assert view.rollout.cause == "guard"
    assert 2 * MINUTE <= turned(view) <= 3 * MINUTE


async def test_a_version_that_became_slow_goes_back_as_it_is_worse_than_the_old_one(market):
    market.at(2 * MINUTE, lambda: market.conduct(NEW, slow=0.3))
    view = await released(market)
    is_back(market, view)
    assert view.rollout.cause in ("latency", "combined")
    assert 2 * MINUTE <= turned(view) <= 8 * MINUTE


async def test_where_both_are_slow_a_person_investigates(market):
    """p99 > 2 s: the share stays where it is, for as long as it takes, until somebody says what is to become of it."""
    market.conduct(OLD, slow=0.05)
    market.conduct(NEW, slow=0.05)
    rollout = market.deploy(NEW)
    market.at(5 * MINUTE, lambda: setattr(market, "step", 5 * MINUTE))
    market.at(2 * HOUR, lambda: held.append(market.control.view(rollout).rollout))
    market.at(2 * HOUR, lambda: market.control.command(rollout, "abort", actor="ada"))
    held = []
    view = await market.run(rollout)
    assert (held[0].status, held[0].share) == ("held", 500)
    assert "p99" in held[0].reason
    (fired,) = market.events(view, "rule.fired")
    assert 100 <= fired[0] <= 5 * MINUTE
    is_back(market, view)
    assert view.rollout.cause == "command"


@pytest.mark.parametrize(("name", "verb"), [("cpu", "resume"), ("memory", "abort")])
async def test_a_busy_version_is_investigated_and_a_person_says_how_it_goes_on(market, name, verb):
    rollout = market.deploy(NEW)
    market.at(2 * MINUTE, lambda: market.say(name, 0.97))
    market.at(4 * MINUTE, lambda: held.append(market.control.view(rollout).rollout))
    market.at(4 * MINUTE, lambda: market.say(name, 0.5))
    market.at(6 * MINUTE, lambda: market.control.command(rollout, verb, actor="ada"))
    market.at(7 * MINUTE, lambda: setattr(market, "step", 60.0))
    held = []
    view = await market.run(rollout)
    assert (held[0].status, held[0].share) == ("held", 500)
    assert f"canary {name}" in held[0].reason
    (fired,) = market.events(view, "rule.fired")
    assert 2 * MINUTE < fired[0] <= 3 * MINUTE + 2 * 20
    if verb == "resume":
        arrived(market, view)
    else:
        is_back(market, view)


async def test_a_version_that_is_investigated_is_watched_all_the_while(market):
    market.at(2 * MINUTE, lambda: market.say("cpu", 0.97))
    market.at(12 * MINUTE, lambda: market.conduct(NEW, errors=0.6))
    view = await released(market)
    is_back(market, view)
    assert [share for _, share in market.shares(view)] == [5]
    assert 12 * MINUTE <= turned(view) <= 13 * MINUTE


async def test_another_alert_stops_it_again_while_the_first_one_lasts(market):
    """Somebody has looked at the processor time and said go on: of the memory nobody has been told yet."""
    rollout = market.deploy(NEW)
    market.at(2 * MINUTE, lambda: market.say("cpu", 0.97))
    market.at(4 * MINUTE, lambda: market.control.command(rollout, "resume", actor="ada"))
    market.at(4.5 * MINUTE, lambda: market.say("memory", 0.95))
    market.at(9 * MINUTE, lambda: held.append(market.control.view(rollout).rollout))
    market.at(9 * MINUTE, lambda: market.control.command(rollout, "abort", actor="ada"))
    held = []
    view = await market.run(rollout)
    assert held[0].status == "held"
    assert "canary memory" in held[0].reason
    assert len(market.events(view, "rule.fired")) == 2


async def test_few_connections_left_bring_one_instance_more(market):
    rollout = market.deploy(NEW)
    market.at(2 * MINUTE, lambda: market.say("db_connections", 19.0))
    market.at(4.5 * MINUTE, lambda: seen.append(market.there().count(NEW)))
    market.at(
        4.5 * MINUTE, lambda: seen.append(len(market.proxy.routes.upstreams[market.control.view(rollout).rollout.slot]))
    )
    market.at(4.5 * MINUTE, lambda: market.say("db_connections", 15.0))
    market.at(15 * MINUTE, lambda: setattr(market, "step", 30.0))
    market.at(20 * MINUTE, lambda: market.say("db_connections", 19.0))
    market.at(23 * MINUTE, lambda: seen.append(market.there().count(NEW)))
    market.at(23 * MINUTE, lambda: market.control.command(rollout, "abort", actor="ada"))
    seen = []
    view = await market.run(rollout)
    assert seen == [2, 2, 5]  # one for the 5 %, and one more, which gets its part; four at 100 %, and one more
    first, second = market.events(view, "rule.fired")
    assert 2 * MINUTE < first[0] <= 3 * MINUTE + 2 * 20
    assert 20 * MINUTE < second[0] <= 22 * MINUTE
    is_back(market, view)


async def test_exhausted_connections_take_it_back_when_another_instance_did_not_help(market):
    market.at(2 * MINUTE, lambda: market.say("db_connections", 20.0))
    view = await released(market)
    is_back(market, view)
    assert view.rollout.cause == "db_connections > 19.5 over 2m -> rollback"
    assert len(market.events(view, "rule.fired")) == 1
    assert 3 * MINUTE < turned(view) <= 4 * MINUTE + 2 * 20


async def test_a_critical_line_of_a_log_takes_it_back(tmp_path):
    world = GuideWorld(tmp_path, "nextgen-market", step=20.0, metrics=_MARKET, logs=True)
    async with running(world) as market:
        market.at(2 * MINUTE, lambda: market.prints("nothing CRITICALLY wrong"))
        market.at(4 * MINUTE, lambda: market.prints("2026-01-01 FATAL ledger: sums differ"))
        view = await released(market)
        is_back(market, view)
        assert view.rollout.cause == "critical_lines > 0 over 1m -> rollback"
        assert 4 * MINUTE <= turned(view) <= 5 * MINUTE


async def test_more_than_three_failed_probes_take_it_back(market):
    """After three an instance gets no visitors any more; the fourth is the version's fault."""
    rollout = market.deploy(NEW)

    def slot():
        return market.control.view(rollout).rollout.slot

    # Well inside the second stage: while a share is to grow, an instance that is not ready stops it for that reason.
    market.at(7 * MINUTE, lambda: market.machine.sicken(slot(), 1, failures=3))
    market.at(8 * MINUTE, lambda: market.machine.heal(slot(), 1))
    market.at(9 * MINUTE, lambda: market.machine.sicken(slot(), 1, failures=4))
    view = await market.run(rollout)
    is_back(market, view)
    assert view.rollout.cause == "health_failures > 3 over 1m -> rollback"
    assert 9 * MINUTE <= turned(view) <= 9 * MINUTE + 2 * market.step


# -- nextgen-market: development and staging ---------------------------------------------------------------


@pytest.mark.parametrize("works", [True, False])
async def test_development_is_replaced_directly_or_left_as_it_was(tmp_path, works):
    async with running(GuideWorld(tmp_path, "nextgen-market", "development", step=5.0)) as world:
        if not works:
            world.broken.add((NEW, "/health"))
        view = await released(world)
        if works:
            arrived(world, view)
            return
        assert (view.rollout.status, view.rollout.cause, world.there()) == ("rolled-back", "smoke", [OLD])
        assert [share for _, share in world.shares(view)] == []


@pytest.mark.parametrize("minute", [None, 20])
async def test_staging_switches_at_once_and_returns_on_a_spike_while_blue_is_held(tmp_path, minute):
    async with running(GuideWorld(tmp_path, "nextgen-market", "staging", step=10.0)) as world:
        if minute is not None:
            world.at(minute * MINUTE, lambda: world.conduct(NEW, errors=0.03))
        world.at(3 * MINUTE, lambda: there.extend(world.there()))
        there = []
        view = await released(world)
        assert [share for _, share in world.shares(view)] == [100]
        if minute is None:
            arrived(world, view)
            assert sorted(there) == [OLD, OLD, NEW, NEW]
            assert 30 * MINUTE <= view.rollout.finished_at - view.rollout.created_at <= 32 * MINUTE
        else:
            is_back(world, view)
            assert minute * MINUTE <= turned(view) <= (minute + 1) * MINUTE + 2 * world.step
