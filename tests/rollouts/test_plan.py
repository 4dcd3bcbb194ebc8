"""What holds for every plan, whatever the strategy."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given

from crossfade.config.model import Judge
from crossfade.config.strategies import BlueGreen, Canary, Direct, Mirror, Rolling, Smoke, Stabilise, Stage
from crossfade.core.durations import FULL
from crossfade.rollouts.plan import Plan, compile_plan
from crossfade.rollouts.steps import Step, World, carry_out, reverse, undo

SECONDS = st.sampled_from([0.0, 1.0, 30.0, 300.0, 86_400.0])
SMOKES = st.sampled_from([(), (Smoke(path="/"),)])
STAGES = st.lists(st.integers(1, FULL - 1), min_size=1, max_size=8, unique=True).flatmap(
    lambda weights: st.tuples(
        *[
            st.builds(
                Stage,
                weight=st.just(w),
                watch=st.none() | SECONDS,
                pause=st.booleans(),
                instances=st.none() | st.integers(1, 12),
            )
            for w in sorted(weights)
        ]
    )
)
MIRRORS = st.none() | st.builds(Mirror, share=st.integers(1, FULL))
STABILISES = st.none() | st.builds(Stabilise, error_budget=st.none() | st.just(0.001))
CANARIES = st.builds(
    Canary,
    steps=STAGES,
    watch=SECONDS,
    final_watch=SECONDS,
    hold=SECONDS,
    smoke=SMOKES,
    adaptive=st.booleans(),
    min_watch=SECONDS,
    mirror=MIRRORS,
    stabilise=STABILISES,
)
BATCHES = st.sampled_from(["0", "1", "2", "5", "12", "10%", "25%", "100%"])
ROLLINGS = st.tuples(
    BATCHES, BATCHES.filter(lambda each: each != "0"), st.booleans(), SECONDS, SECONDS, SECONDS, SMOKES, st.booleans()
).map(
    lambda each: Rolling(
        max_surge=each[0] if each[2] else each[1],
        max_unavailable=each[1] if each[2] else each[0],
        batch_watch=each[3],
        final_watch=each[4],
        hold=each[5],
        smoke=each[6],
        pause=each[7],
    )
)
STRATEGIES = st.one_of(
    CANARIES,
    ROLLINGS,
    st.builds(
        BlueGreen,
        watch=SECONDS,
        hold=SECONDS,
        smoke=SMOKES,
        pause=st.booleans(),
        mirror=MIRRORS,
        stabilise=STABILISES,
    ),
    st.builds(Direct, hold=SECONDS, smoke=SMOKES),
)


@st.composite
def plans(draw, strategies=STRATEGIES, previous: str | None = "1.0.0"):
    instances = draw(st.integers(1, 12))
    strategy = draw(strategies)
    if isinstance(strategy, Rolling):
        assume(any(strategy.bounds(instances)))
    return compile_plan(strategy, "api", "production", "1.1.0", previous=previous, instances=instances)


def before(plan: Plan) -> World:
    return World(new=0, old=plan.instances, share=0)


def walked(steps: tuple[Step, ...], world: World) -> list[World]:
    worlds = [world]
    for step in steps:
        worlds.append(carry_out(step, worlds[-1]))
    return worlds


@given(plans())
def test_a_plan_ends_with_the_new_version_alone_and_is_sound_at_every_step(plan):
    worlds = walked(plan.steps, before(plan))
    assert all(world.is_sound() for world in worlds)
    assert worlds[-1] == World(new=plan.instances, old=0, share=FULL)


@given(plans(), st.data())
def test_the_way_back_from_any_step_ends_in_the_state_before_and_is_sound_all_along(plan, data):
    done = plan.steps[: data.draw(st.integers(0, len(plan.steps)))]
    there = walked(done, before(plan))[-1]
    back = walked(reverse(done), there)
    assert all(world.is_sound() for world in back)
    assert back[-1] == before(plan)


@given(plans())
def test_every_step_that_changes_the_world_is_undone_by_its_undo(plan):
    worlds = walked(plan.steps, before(plan))
    for (earlier, after), step in zip(itertools.pairwise(worlds), plan.steps, strict=True):
        back = undo(step)
        assert (back is None) == (earlier == after)
        if back is not None:
            assert carry_out(back, after) == earlier


@given(plans(STRATEGIES.filter(lambda each: not isinstance(each, Rolling))), st.data())
def test_traffic_returns_in_one_shift_before_anything_is_stopped(plan, data):
    back = reverse(plan.steps[: data.draw(st.integers(0, len(plan.steps)))])
    kinds = [step.kind for step in back]
    assert kinds == [k for k in ("start-old", "shift", "stop-new") if k in kinds]


@given(ROLLINGS, st.integers(1, 12), st.data())
def test_rolling_keeps_its_bounds_forward_and_back(strategy, instances, data):
    """Never fewer instances than may be missing, never more than the surge, and nobody carries more than their part."""
    surge, missing = strategy.bounds(instances)
    assume(surge or missing)
    plan = compile_plan(strategy, "api", "production", "1.1.0", previous="1.0.0", instances=instances)
    forward = walked(plan.steps, before(plan))
    done = plan.steps[: data.draw(st.integers(0, len(plan.steps)))]
    back = walked(reverse(done), walked(done, before(plan))[-1])
    for world in (*forward, *back):
        assert instances - missing <= world.new + world.old <= instances + surge
        assert world.share <= FULL * world.new / (instances - missing)


@given(ROLLINGS, st.integers(1, 12))
def test_the_first_batch_is_judged_before_more_follow(strategy, instances):
    assume(any(strategy.bounds(instances)) and strategy.batch_watch)
    plan = compile_plan(strategy, "api", "production", "1.1.0", previous="1.0.0", instances=instances)
    kinds = [step.kind for step in plan.steps]
    shifts = [i for i, kind in enumerate(kinds) if kind == "shift"]
    assert all(kinds[i + 1] == "watch" for i in shifts[:-1])
    assert "grow" not in kinds[: shifts[0]]


@given(plans())
def test_weights_grow_and_each_shift_begins_where_the_last_one_ended(plan):
    share = 0
    for step in plan.steps:
        assert step.before == (share if step.kind == "shift" else step.before)
        if step.kind == "shift":
            assert 0 <= share < step.share <= FULL
            share = step.share
    assert share == FULL


@given(plans())
def test_durations_are_ordered(plan):
    assert 0 <= plan.shortest <= sum(step.seconds for step in plan.steps) <= plan.longest


@given(plans())
def test_the_exposure_is_told_for_every_growing_shift(plan):
    exposures = plan.exposures(Judge())
    assert [e.share for e in exposures] == [s.share for s in plan.steps if s.kind == "shift"]
    assert all(0 <= e.stays <= e.share for e in exposures)
    assert exposures[-1].full_seconds == max(e.full_seconds for e in exposures)


@given(plans(previous=None))
def test_a_first_release_is_direct_and_has_no_way_back_to_promise(plan):
    assert plan.strategy == "first"
    assert [s.kind for s in plan.steps if s.kind != "smoke"] == ["start", "ready", "shift"]
    assert plan.steps[0].count == plan.instances
    assert plan.exposures(Judge()) == ()


def test_hold_counts_from_full_traffic():
    plan = compile_plan(Canary(final_watch=600, hold=1800), "api", "production", "2", previous="1")
    assert [s.seconds for s in plan.steps if s.kind == "hold"] == [1200]
    plan = compile_plan(Canary(final_watch=1800, hold=1800), "api", "production", "2", previous="1")
    assert [s for s in plan.steps if s.kind == "hold"] == []


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Step("watch", share=500, seconds=300, at_least=30, adaptive=True), "watch 5 %, 30s to 5m"),
        (Step("hold", seconds=1800), "keep the previous version warm for 30m"),
        (Step("stop-old"), "drain and stop the previous version"),
    ],
)
def test_steps_read_as_sentences(step, words):
    assert step.describe() == words
