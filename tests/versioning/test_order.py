"""Dependency order: against trying every order, and with the shortest cycle told."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.core.errors import BadInputError
from crossfade.versioning.order import order
from crossfade.versioning.values import Dependency, Package

NAMES = "abcdef"
EDGES = st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=9)


def packages(edges, kind="dependencies"):
    return [
        Package(
            name,
            "1.0.0",
            name,
            f"{name}/package.json",
            dependencies=tuple(Dependency(b, "*", kind) for a, b in sorted(edges) if a == name),
        )
        for name in NAMES
    ]


def possible(edges):
    """Whether any of all orders has everything after what it needs."""
    wanted = {(a, b) for a, b in edges if a != b}
    return any(all(one.index(a) > one.index(b) for a, b in wanted) for one in itertools.permutations(NAMES))


def longest(name, edges):
    """How many steps the longest chain of needs below a package has."""
    return max((1 + longest(b, edges) for a, b in edges if a == name and b != name), default=0)


@given(edges=EDGES, embedded=EDGES)
def test_a_level_needs_only_those_before_it(edges, embedded):
    embeds = {name: tuple(b for a, b in embedded if a == name) for name in NAMES}
    every = edges | embedded
    if not possible(every):
        with pytest.raises(BadInputError, match="need each other") as caught:
            order(packages(edges), embeds=embeds)
        told = caught.value.what.split(": ")[1].split(" → ")
        assert all(pair in every for pair in itertools.pairwise(told))
        assert told[0] == told[-1]
        assert len(set(told)) == len(told) - 1 == len(caught.value.where.split(", "))
        return
    levels = order(packages(edges), embeds=embeds)
    assert sorted(itertools.chain(*levels)) == sorted(NAMES)
    for depth, level in enumerate(levels):
        assert level == tuple(sorted(name for name in NAMES if longest(name, every) == depth))


def test_the_cycle_that_is_told_is_a_shortest_one():
    edges = {("a", "b"), ("b", "c"), ("c", "a"), ("d", "e"), ("e", "d"), ("f", "a")}
    with pytest.raises(BadInputError) as caught:
        order(packages(edges))
    assert caught.value.code == "versions.cycle"
    assert "d → e → d" in caught.value.what
    assert caught.value.where == "d/package.json, e/package.json"


def test_development_dependencies_may_go_round_where_nothing_is_built():
    found = packages({("a", "b")})
    found[1] = Package("b", "1.0.0", dependencies=(Dependency("a", "*", "devDependencies"),))
    with pytest.raises(BadInputError, match="a → b → a"):
        order(found)
    assert order(found, development=False) == (("b", "c", "d", "e", "f"), ("a",))


def test_thousands_in_one_chain():
    chain = [Package(f"p{i}", "1.0.0", dependencies=(Dependency(f"p{i + 1}", "*"),)) for i in range(5000)]
    assert len(order(chain)) == 5000
