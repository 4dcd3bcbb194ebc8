"""A release set: together forward, together back, and nobody waits for ever."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from crossfade.config.strategies import BlueGreen, Canary, Direct, Mirror, Rolling, Stabilise, Stage, Strategy
from crossfade.core.durations import FULL
from crossfade.rollouts.group import Group, Standing, together, waits_for, who_turned
from crossfade.rollouts.plan import compile_plan
from crossfade.rollouts.rollout import Rollout, Terms, begin
from crossfade.rollouts.steps import reverse

STRATEGIES: list[Strategy] = [
    Direct(hold=0),
    Direct(hold=60),
    BlueGreen(watch=60, pause=True, mirror=Mirror(share=1000, watch=60)),
    Canary(steps=(Stage(weight=500), Stage(weight=5000)), watch=60, final_watch=60, hold=600),
    Canary(steps=(Stage(weight=FULL // 2),), watch=60, final_watch=0, hold=0, stabilise=Stabilise(watch=60)),
    Rolling(max_surge=1),
]


def member(number: int, strategy: Strategy, ids: tuple[str, ...], *, first: bool) -> Rollout:
    plan = compile_plan(strategy, f"c{number}", "production", "2.0.0", previous=None if first else "1.0.0", instances=3)
    terms = Terms(instances=3, ready_deadline=1, drain_timeout=1, retry_limit=1, tick=1, judged=False)
    group = Group("rs_1", ids)
    return begin(ids[number], together(plan), terms, slot="green", fence=0, salt=1, now=0.0, group=group)


@st.composite
def sets(draw: st.DrawFn) -> list[Rollout]:
    chosen = draw(st.lists(st.tuples(st.sampled_from(STRATEGIES), st.booleans()), min_size=2, max_size=4))
    ids = tuple(f"ro_{i}" for i in range(len(chosen)))
    return [member(i, strategy, ids, first=first) for i, (strategy, first) in enumerate(chosen)]


def others(members: list[Rollout], index: int) -> tuple[Standing, ...]:
    return tuple(each.standing for i, each in enumerate(members) if i != index)


def advance(members: list[Rollout], index: int) -> bool:
    """One step of one member, where it may; whether it moved."""
    rollout = members[index]
    if rollout.finished:
        return False
    if rollout.turned_at is None and who_turned(others(members, index)) is not None:
        members[index] = replace(rollout, turned_at=1.0, back=reverse(rollout.plan.steps[: rollout.step + 1]), step=0)
        return True
    step = rollout.current
    if step is None:
        status = "done" if rollout.turned_at is None else "rolled-back"
        members[index] = replace(rollout, status=status)
        return True
    if step.barrier is not None and waits_for(step.barrier, others(members, index)):
        return False
    share = step.share if step.kind == "shift" else rollout.share
    members[index] = replace(rollout, step=rollout.step + 1, share=share)
    return True


def position(rollout: Rollout, barrier: str) -> bool:
    """Whether a member that goes forward has come to a barrier."""
    at = next(i for i, step in enumerate(rollout.plan.steps) if step.barrier == barrier)
    return rollout.step >= at


@given(sets(), st.lists(st.integers(0, 3), max_size=200))
def test_nobody_is_ahead_of_the_others_by_more_than_a_barrier(members: list[Rollout], order: list[int]) -> None:
    for each in order:
        advance(members, each % len(members))
        for one in members:
            step = one.current
            for two in members:
                if one.share > 0 or (step is not None and step.kind == "mirror"):
                    assert position(two, "traffic"), "somebody gets traffic before all are ready"
                if one.share == FULL:
                    assert position(two, "full"), "somebody has everything before all passed their last watch"
                if one.plan.previous is not None and step is not None and step.kind == "stop-old":
                    assert position(two, "retire"), "somebody retires its old version while another one is watched"


@given(sets(), st.lists(st.integers(0, 3), max_size=60), st.integers(0, 3), st.sampled_from(["turn", "end", "none"]))
def test_nobody_waits_for_ever_and_one_that_turns_turns_all(
    members: list[Rollout], order: list[int], which: int, what: str
) -> None:
    for each in order:
        advance(members, each % len(members))
    chosen = which % len(members)
    went_on = [i for i, each in enumerate(members) if not each.finished]
    if what == "turn" and chosen in went_on:
        rollout = members[chosen]
        members[chosen] = replace(
            rollout, turned_at=1.0, back=reverse(rollout.plan.steps[: rollout.step + 1]), step=0, reason="bad"
        )
    elif what == "end" and chosen in went_on:
        members[chosen] = replace(members[chosen], status="done")  # however that came about
    while any([advance(members, i) for i in range(len(members))]):  # noqa: C419 - each is to move
        pass
    assert all(each.finished for each in members)
    turned = what == "turn" and chosen in went_on
    assert all((members[i].status == "rolled-back") == turned for i in went_on if not (what == "end" and i == chosen))


@given(sets())
def test_a_member_that_is_not_there_keeps_nobody_waiting(members: list[Rollout]) -> None:
    alone = [members[0]]
    while advance(alone, 0):
        pass
    assert alone[0].status == "done"


def test_barriers_change_nothing_of_the_way_back() -> None:
    for strategy in STRATEGIES:
        plan = compile_plan(strategy, "api", "production", "2.0.0", previous="1.0.0", instances=3)
        made = together(plan)
        assert tuple(step for step in made.steps if step.kind != "barrier") == plan.steps
        assert [step.barrier for step in made.steps if step.barrier] == ["traffic", "full", "retire"]
        assert reverse(made.steps) == reverse(plan.steps)
