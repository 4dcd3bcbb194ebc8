"""The flows of two more guides, run from their own files with their own durations: a good release, and every bad one.

As `test_market_flow`: by the real engine, under a virtual clock.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from guide_flows import arrived, is_back, near, released, running, turned
from guide_world import NEW, OLD, GuideWorld
from virtual_world import MINUTE

_COMPOSEY = {"user_sessions": 1500.0, "cpu_usage": 0.4}


@pytest.fixture
async def composey(tmp_path: Path) -> AsyncIterator[GuideWorld]:
    async with running(GuideWorld(tmp_path, "composey", step=30.0, metrics=_COMPOSEY)) as world:
        yield world


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
