"""What is missing of what a rollout has left, and what brings it back: nothing where all is well, and nothing is stopped."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_world import BROKEN, HEALTHY, World, world

from crossfade.config.strategies import BlueGreen, Canary, Direct, Rolling
from crossfade.core.durations import FULL
from crossfade.rollouts.keeping import Repair, repair
from crossfade.traffic.port import Routes

STRATEGIES = (Direct(), Rolling(), BlueGreen(), Canary())


def ended(strategy=None, *, bad: bool = False, **fields) -> World:
    """A world in which a rollout has ended, well or taken back."""
    w = world(strategy, finding=BROKEN if bad else HEALTHY, **fields)
    w.run()
    assert w.rollout.finished
    return w


def found(w: World) -> Repair:
    return repair(w.rollout, w.observe(), fence=w.fence)


def mend(w: World, *, times: int = 3) -> None:
    """What the engine does with it: an action at a time, and another look."""
    for time in range(times):
        for number, action in enumerate(found(w).actions):
            w.carry_out(replace(action, id=f"{action.id}:{time}:{number}"))


@pytest.mark.parametrize("bad", [False, True])
@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: each.kind)
def test_where_a_rollout_has_left_all_well_there_is_nothing_to_do(strategy, bad):
    w = ended(strategy, bad=bad)
    assert w.rollout.status == ("rolled-back" if bad else "done")
    assert found(w) == Repair()


def test_a_first_release_is_kept_and_one_that_was_taken_back_leaves_nothing_to_keep():
    assert found(ended(Direct(), previous=None)) == Repair()
    failed = world(Direct(), previous=None, becomes="unready")
    failed.run()
    assert failed.rollout.status == "rolled-back"
    assert found(failed) == Repair()


@settings(max_examples=60)
@given(
    strategy=st.sampled_from(STRATEGIES),
    bad=st.booleans(),
    gone=st.sets(st.sampled_from([0, 1])),
    removed=st.booleans(),
    emptied=st.booleans(),
)
def test_whatever_is_taken_away_comes_back(strategy, bad, gone, removed, emptied):
    """After a restart of the machine all is gone; a hand takes less."""
    w = ended(strategy, bad=bad)
    routes, trusted = w.routes, w.routes.stable
    there = list(w.instances[trusted])
    for index in gone:
        if removed:
            w.instances[trusted] = [i for i in w.instances[trusted] if i.index != index]
        else:
            w.set_state(trusted, index, "gone")
    if emptied:
        w.routes = None
    lacks = found(w)
    assert bool(lacks.missing) == bool(gone or emptied)
    assert lacks.told == bool(lacks.missing)
    assert {action.kind for action in lacks.actions} <= {"start", "route"}
    mend(w)
    assert w.instances[trusted] == there
    assert (w.routes.upstreams, w.routes.green, w.routes.stable) == (routes.upstreams, routes.green, trusted)
    assert found(w) == Repair()


def test_what_a_hand_has_done_to_the_weights_is_undone_under_a_newer_fence():
    w = ended()
    w.routes = replace(w.routes, green=0)
    lacks = found(w)
    (action,) = lacks.actions
    assert lacks.missing == "the router gives green 0 % instead of 100 %"
    assert action.routes.green == FULL
    assert action.fence > w.fence


def test_traffic_is_told_of_instances_only_once_there_are_some():
    w = ended()
    w.instances["green"], w.routes = [], None
    assert [action.kind for action in found(w).actions] == ["start"]


def test_an_instance_that_was_started_again_by_its_supervisor_is_everyday():
    w = ended()
    w.instances["green"][1] = replace(w.instances["green"][1], address="127.0.0.1:9099")
    lacks = found(w)
    assert [action.kind for action in lacks.actions] == ["route"]
    assert not lacks.told


def test_where_others_scale_any_number_is_right_but_none():
    w = ended()
    w.instances["green"] = w.instances["green"][:1]
    w.routes = replace(w.routes, upstreams={**w.routes.upstreams, "green": (w.instances["green"][0].address,)})
    assert repair(w.rollout, w.observe(), fence=w.fence, scaled_by_others=True) == Repair()
    assert found(w).missing == "1 of 2 instances of 1.1.0 are there"
    w.instances["green"] = []
    lacks = repair(w.rollout, w.observe(), fence=w.fence, scaled_by_others=True)
    assert [action.kind for action in lacks.actions] == ["start"]


def test_where_the_runtime_does_not_answer_nothing_is_done():
    w = ended()
    w.routes = Routes({"blue": (), "green": ()}, 0, "blue")
    lacks = repair(w.rollout, replace(w.observe(), instances=None), fence=w.fence)
    assert (lacks.missing, lacks.actions) == ("the runtime does not answer", ())
