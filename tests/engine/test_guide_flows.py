"""The flows of three deployment guides, run from their own files with their own durations: a good release, and every bad one.

The plans are compared with the guides in `test_strategies_examples`; here they are carried out by the real engine, under a
virtual clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from guide_world import NEW, OLD, GuideWorld
from virtual_world import HOUR, MINUTE

from crossfade.engine.views import View

_MARKET = {"cpu": 0.4, "memory": 0.6, "db_connections": 15.0}
"""The guide's baselines."""
_COMPOSEY = {"user_sessions": 1500.0, "cpu_usage": 0.4}


@asynccontextmanager
async def running(world: GuideWorld) -> AsyncIterator[GuideWorld]:
    """`world` with the old version in all of its traffic."""
    await world.open()
    try:
        view = await world.run(world.deploy(OLD))
        assert view.rollout.status == "done", view.rollout.reason
        world.asked.clear()
        yield world
    finally:
        await world.shut()


@pytest.fixture
async def market(tmp_path: Path) -> AsyncIterator[GuideWorld]:
    async with running(GuideWorld(tmp_path, "nextgen-market", step=20.0, metrics=_MARKET)) as world:
        yield world


@pytest.fixture
async def composey(tmp_path: Path) -> AsyncIterator[GuideWorld]:
    async with running(GuideWorld(tmp_path, "composey", step=30.0, metrics=_COMPOSEY)) as world:
        yield world


async def released(world: GuideWorld) -> View:
    return await world.run(world.deploy(NEW))


def turned(view: View) -> float:
    """Seconds from the beginning to the decision to go back."""
    assert view.rollout.turned_at is not None, view.rollout.status
    return view.rollout.turned_at - view.rollout.created_at


def is_back(world: GuideWorld, view: View) -> None:
    """The old version has everything again, and nothing is left of the new one."""
    assert view.rollout.status == "rolled-back"
    assert view.rollout.cleared_at is not None
    assert view.rollout.cleared_at - view.rollout.turned_at <= 3 * world.step
    assert world.proxy.routes.weight(view.rollout.old) == 10_000
    assert set(world.there()) == {OLD}


def arrived(world: GuideWorld, view: View) -> None:
    """The new version is the trusted one, with everything; the old one is retired."""
    assert (view.rollout.status, view.rollout.promoted) == ("done", True), view.rollout.reason
    assert world.proxy.routes.weight(view.rollout.slot) == 10_000
    assert set(world.there()) == {NEW}


def near(times: list[float], wanted: list[float], late: float) -> bool:
    """Whether each time is the wanted one, or `late` seconds after it at most."""
    return len(times) == len(wanted) and all(0 <= at - due <= late for at, due in zip(times, wanted, strict=True))


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


# -- Composey: 5 % for 30 minutes, four metrics, and a header that proves who answers ---------------------


def proofs(world: GuideWorld) -> list[float]:
    return [each.at for each in world.asked if (each.whom, each.path) == ("router", "/")]


async def test_composey_goes_to_everything_after_30_good_minutes(composey):
    began = composey.clock.now()
    view = await released(composey)
    arrived(composey, view)
    (_, canary), (at, full) = composey.shares(view)
    assert (canary, full) == (5, 100)
    assert 30 * MINUTE <= at <= 32 * MINUTE
    assert near([each - began for each in proofs(composey)], [0, 30 * MINUTE], late=120)
    assert composey.events(view, "rule.fired") == []


@pytest.mark.parametrize(
    ("rule", "window", "happens"),
    [
        ("error_rate > 1% over 5m -> rollback", 5, lambda w: [w.conduct(each, errors=0.04) for each in (OLD, NEW)]),
        ("p99 > 500ms over 5m -> rollback", 5, lambda w: [w.conduct(each, ms=600) for each in (OLD, NEW)]),
        ("cpu_usage > 70% over 5m -> rollback", 5, lambda w: w.say("cpu_usage", 0.95)),
    ],
)
async def test_composey_goes_back_when_one_of_its_metrics_fails_and_the_header_proves_it(
    composey, rule, window, happens
):
    composey.at(12 * MINUTE, lambda: happens(composey))
    view = await released(composey)
    is_back(composey, view)
    assert view.rollout.cause == rule
    assert 12 * MINUTE <= turned(view) <= (12 + window) * MINUTE + 2 * composey.step
    assert view.rollout.turned_at <= proofs(composey)[-1] <= view.rollout.cleared_at
    assert any("0 %" in text for _, text in composey.events(view, "rollback.verified"))


async def test_composey_is_told_of_too_few_sessions_and_goes_on(composey):
    """Too little traffic is no fault of the version: once the whole half hour is known, it is told, once."""
    composey.say("user_sessions", 700)
    view = await released(composey)
    arrived(composey, view)
    (told,) = composey.events(view, "rule.fired")
    assert 30 * MINUTE <= told[0] <= 32 * MINUTE
    assert "user_sessions" in told[1]


async def test_composey_takes_back_a_version_that_is_not_what_it_should_be(composey):
    composey.shows[NEW] = "1.0.9"
    view = await released(composey)
    is_back(composey, view)
    assert view.rollout.cause == "proof"
    assert view.rollout.reason.startswith("through the router answers version 1.0.9, not 1.1.0")
    assert turned(view) <= MINUTE


async def test_composey_is_told_that_after_the_rollback_somebody_else_answers(composey):
    """The traffic has returned all the same; that the proof failed stands in the record."""
    composey.at(10 * MINUTE, lambda: composey.conduct(NEW, errors=1.0))
    composey.at(10 * MINUTE, lambda: composey.shows.update({OLD: "0.9.9"}))
    view = await released(composey)
    is_back(composey, view)
    told = composey.events(view, "action.done", "action.failed")
    (proof,) = [text for _, text in told if "through the router answers version" in text]
    assert "answers version 0.9.9, not 1.0.0" in proof
    assert composey.events(view, "rollback.verified") != []


@pytest.mark.parametrize("rate", [0.0, 0.02])
async def test_composey_does_not_leave_staging_with_more_than_1_percent(tmp_path, rate):
    async with running(GuideWorld(tmp_path, "composey", "staging", step=10.0)) as world:
        world.conduct(OLD, errors=rate)
        world.conduct(NEW, errors=rate)
        view = await released(world)
        if not rate:
            arrived(world, view)
            return
        is_back(world, view)
        assert turned(view) <= 5 * MINUTE + 2 * world.step


# -- the small team: blue-green, a handful of requests a minute -------------------------------------------


@pytest.fixture
async def team(tmp_path):
    async with running(GuideWorld(tmp_path, "small-team", step=30.0, rps=0.5)) as world:
        yield world


async def test_the_small_team_switches_at_once_and_blue_is_there_for_half_an_hour(team):
    team.at(29 * MINUTE, lambda: there.extend(team.there()))
    there = []
    view = await released(team)
    arrived(team, view)
    assert [share for _, share in team.shares(view)] == [100]
    assert sorted(there) == [OLD, NEW]
    assert 30 * MINUTE <= view.rollout.finished_at - view.rollout.created_at <= 32 * MINUTE


@pytest.mark.parametrize("minute", [0, 25])
async def test_errors_after_the_switch_return_the_small_team_to_blue(team, minute):
    team.at(minute * MINUTE, lambda: team.conduct(NEW, errors=0.15))
    view = await released(team)
    is_back(team, view)
    assert minute * MINUTE <= turned(view) <= (minute + 5) * MINUTE + 2 * team.step


async def test_failing_health_checks_return_the_small_team_to_blue(team):
    rollout = team.deploy(NEW)
    team.at(10 * MINUTE, lambda: team.machine.sicken(team.control.view(rollout).rollout.slot, 0))
    view = await team.run(rollout)
    is_back(team, view)
    assert view.rollout.cause == "instances"
    assert 10 * MINUTE <= turned(view) <= 11 * MINUTE
