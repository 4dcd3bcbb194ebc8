"""What holds for every plan, whatever the strategy."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from crossfade.config.model import Judge
from crossfade.config.strategies import BlueGreen, Canary, Direct, Smoke, Stage
from crossfade.core.durations import FULL
from crossfade.rollouts.plan import Plan, compile_plan
from crossfade.rollouts.steps import Step, World, carry_out, reverse, undo

SECONDS = st.sampled_from([0.0, 1.0, 30.0, 300.0, 86_400.0])
SMOKES = st.sampled_from([(), (Smoke(path="/"),)])
STAGES = st.lists(st.integers(1, FULL - 1), min_size=1, max_size=8, unique=True).flatmap(
    lambda weights: st.tuples(
        *[st.builds(Stage, weight=st.just(w), watch=st.none() | SECONDS, pause=st.booleans()) for w in sorted(weights)]
    )
)
CANARIES = st.builds(
    Canary,
    steps=STAGES,
    watch=SECONDS,
    final_watch=SECONDS,
    hold=SECONDS,
    smoke=SMOKES,
    adaptive=st.booleans(),
    min_watch=SECONDS,
)
STRATEGIES = st.one_of(
    CANARIES,
    st.builds(BlueGreen, watch=SECONDS, hold=SECONDS, smoke=SMOKES),
    st.builds(Direct, hold=SECONDS, smoke=SMOKES),
)
BEFORE = World(new_runs=False, old_runs=True, share=0)


def plans(previous: str | None = "1.0.0") -> st.SearchStrategy[Plan]:
    return STRATEGIES.map(lambda strategy: compile_plan(strategy, "api", "production", "1.1.0", previous=previous))


def walked(steps: tuple[Step, ...], world: World) -> list[World]:
    worlds = [world]
    for step in steps:
        worlds.append(carry_out(step, worlds[-1]))
    return worlds


@given(plans())
def test_a_plan_ends_with_the_new_version_alone_and_is_sound_at_every_step(plan):
    worlds = walked(plan.steps, BEFORE)
    assert all(world.is_sound() for world in worlds)
    assert worlds[-1] == World(new_runs=True, old_runs=False, share=FULL)


@given(plans(), st.data())
def test_the_way_back_from_any_step_ends_in_the_state_before_and_is_sound_all_along(plan, data):
    done = plan.steps[: data.draw(st.integers(0, len(plan.steps)))]
    there = walked(done, BEFORE)[-1]
    back = walked(reverse(done), there)
    assert all(world.is_sound() for world in back)
    assert back[-1] == BEFORE


@given(plans())
def test_every_step_that_changes_the_world_is_undone_by_its_undo(plan):
    for before, step, after in zip(
        walked(plan.steps, BEFORE), plan.steps, walked(plan.steps, BEFORE)[1:], strict=False
    ):
        back = undo(step)
        assert (back is None) == (before == after)
        if back is not None:
            assert carry_out(back, after) == before


@given(plans(), st.data())
def test_traffic_returns_in_one_shift_before_anything_is_stopped(plan, data):
    back = reverse(plan.steps[: data.draw(st.integers(0, len(plan.steps)))])
    kinds = [step.kind for step in back]
    assert kinds == [k for k in ("start-old", "shift", "stop-new") if k in kinds]


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
    assert exposures[-1].full_seconds == max(e.full_seconds for e in exposures)


@given(plans(previous=None))
def test_a_first_release_is_direct_and_has_no_way_back_to_promise(plan):
    assert plan.strategy == "first"
    assert [s.kind for s in plan.steps if s.kind != "smoke"] == ["start", "ready", "shift"]
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
