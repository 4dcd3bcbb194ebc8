"""In which order builds may run, and what a failure stops. Pure: names and edges in, names out.

Edges map a component to those that it depends on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

Edges = Mapping[str, frozenset[str]]


def closure(edges: Edges, wanted: Iterable[str]) -> frozenset[str]:
    """`wanted` and everything that they depend on.

    >>> sorted(closure({"js": frozenset({"core"}), "core": frozenset(), "css": frozenset()}, ["js"]))
    ['core', 'js']
    """
    found: set[str] = set()
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += edges.get(name, frozenset())
    return frozenset(found)


def cycle(edges: Edges) -> tuple[str, ...]:
    """Components that wait for each other, the first one again at the end; empty when there are none.

    >>> cycle({"a": frozenset({"b"}), "b": frozenset({"a"})})
    ('a', 'b', 'a')
    """
    left = {name: needed & edges.keys() for name, needed in edges.items()}
    while free := [name for name, needed in left.items() if not needed & left.keys()]:
        for name in free:
            del left[name]
    if not left:
        return ()
    # All that is left leads to a cycle: walking along the edges must come back to where it has been.
    walked = [min(left)]
    while True:
        onward = min(left[walked[-1]] & left.keys())
        if onward in walked:
            return (*walked[walked.index(onward) :], onward)
        walked.append(onward)


def order(edges: Edges) -> tuple[str, ...]:
    """Every component after those that it depends on; names decide where the edges do not. There is no cycle.

    >>> order({"js": frozenset({"core"}), "core": frozenset(), "css": frozenset()})
    ('core', 'css', 'js')
    """
    schedule, ordered = Schedule(edges), list[str]()
    while ready := sorted(schedule.ready()):
        ordered += ready
        for name in ready:
            schedule = schedule.done(name)
    return tuple(ordered)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Where a run of builds stands. A failed build stops what depends on it, and nothing else."""

    edges: Edges
    begun: frozenset[str] = field(default=frozenset())
    finished: frozenset[str] = field(default=frozenset())
    failed: frozenset[str] = field(default=frozenset())

    def ready(self) -> tuple[str, ...]:
        """What may begin now; first what the longest chain of others waits for."""
        heights = _heights(self.edges)
        open_ = (name for name in self.edges if name not in self.begun)
        free = [name for name in open_ if self.edges[name] & self.edges.keys() <= self.finished]
        return tuple(sorted(free, key=lambda name: (-heights[name], name)))

    def stopped(self) -> Mapping[str, str]:
        """What cannot begin any more, each with the failed component that it needs."""
        found = {}
        for name in self.edges.keys() - self.begun:
            if blocking := closure(self.edges, [name]) & self.failed:
                found[name] = min(blocking)
        return found

    def begin(self, name: str) -> Schedule:
        """`name` has begun."""
        return replace(self, begun=self.begun | {name})

    def done(self, name: str) -> Schedule:
        """`name` is there."""
        return replace(self, begun=self.begun | {name}, finished=self.finished | {name})

    def fail(self, name: str) -> Schedule:
        """`name` has failed."""
        return replace(self, begun=self.begun | {name}, failed=self.failed | {name})


def _heights(edges: Edges) -> dict[str, int]:
    """How many builds wait for each component one after another: the length of the longest chain above it."""
    heights = dict.fromkeys(edges, 0)
    for name in _depth_first(edges):
        for needed in edges[name] & edges.keys():
            heights[needed] = max(heights[needed], heights[name] + 1)
    return heights


def _depth_first(edges: Edges) -> list[str]:
    """Every component before those that it depends on."""
    above = dict.fromkeys(edges, 0)
    for name in edges:
        for each in edges[name] & edges.keys():
            above[each] += 1
    free: list[str] = [name for name, count in above.items() if not count]
    walked: list[str] = []
    while free:
        top = free.pop()
        walked.append(top)
        for each in edges[top] & edges.keys():
            above[each] -= 1
            if not above[each]:
                free.append(each)
    return walked
