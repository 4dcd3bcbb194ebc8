"""In which order builds run, and what a failure stops: against brute force on small graphs."""

from __future__ import annotations

from itertools import pairwise, permutations

from hypothesis import given
from hypothesis import strategies as st

from crossfade.artifacts.building.schedule import Schedule, closure, cycle, order

NAMES = "abcdef"


@st.composite
def acyclic(draw):
    names = draw(st.permutations(NAMES))
    return {
        name: frozenset(draw(st.sets(st.sampled_from(names[:at])))) if at else frozenset()
        for at, name in enumerate(names)
    }


def any_graph():
    return st.fixed_dictionaries({name: st.frozensets(st.sampled_from("abcd"), max_size=2) for name in "abcd"})


def orders(edges):
    """Every order that respects the edges, by trying them all."""
    for tried in permutations(edges):
        at = {name: index for index, name in enumerate(tried)}
        if all(at[needed] < at[name] for name in edges for needed in edges[name]):
            yield tried


@given(acyclic())
def test_everything_comes_after_what_it_depends_on(edges):
    found = order(edges)
    assert sorted(found) == sorted(edges)
    assert all(found.index(needed) < found.index(name) for name in edges for needed in edges[name])
    assert cycle(edges) == ()


@given(any_graph())
def test_a_cycle_is_found_exactly_where_no_order_exists(edges):
    found = cycle(edges)
    assert bool(found) == (next(orders(edges), None) is None)
    if found:
        assert found[0] == found[-1]
        assert all(later in edges[earlier] for earlier, later in pairwise(found))


@given(acyclic(), st.sets(st.sampled_from(NAMES)))
def test_the_closure_is_what_can_be_reached(edges, wanted):
    reached = set(wanted)
    for _ in NAMES:
        reached |= {needed for name in reached for needed in edges[name]}
    assert closure(edges, wanted) == reached


@given(acyclic(), st.sets(st.sampled_from(NAMES)), st.randoms(use_true_random=False))
def test_a_failure_stops_what_depends_on_it_and_nothing_else(edges, bad, chance):
    schedule, running, built, failed = Schedule(edges), [], set(), set()
    while (ready := schedule.ready()) or running:
        assert all(edges[name] <= built for name in ready)
        if ready and chance.random() < 0.6:
            schedule = schedule.begin(ready[0])
            running.append(ready[0])
        elif running:
            name = running.pop(chance.randrange(len(running)))
            if name in bad:
                failed.add(name)
                schedule = schedule.fail(name)
            else:
                built.add(name)
                schedule = schedule.done(name)
    assert built == {name for name in edges if not closure(edges, [name]) & bad}
    stopped = schedule.stopped()
    assert set(stopped) == set(edges) - built - failed
    assert all(stopped[name] in failed & closure(edges, [name]) for name in stopped)


def test_what_most_others_wait_for_comes_first():
    edges = {"a": frozenset(), "z": frozenset(), "y": frozenset("z"), "x": frozenset("y")}
    assert Schedule(edges).ready() == ("z", "a")
