"""Steps: what each does to the world, and what undoes it.

The *world* is what a rollout may change: how many instances of the two versions run, and the new one's share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from crossfade.core.durations import FULL, format_duration, format_share

Barrier = Literal["traffic", "full", "retire"]
"""Where the members of a release set wait for each other: before any traffic, before all of it, before the old one goes."""
StepKind = Literal[
    "start",
    "ready",
    "smoke",
    "grow",
    "mirror",
    "shift",
    "watch",
    "await",
    "shrink",
    "stabilise",
    "hold",
    "barrier",
    "stop-old",
    "start-old",
    "grow-old",
    "shrink-new",
    "stop-new",
]
"""Forward: the new version starts and grows, the old one shrinks and stops. Back: the other way round."""


@dataclass(frozen=True, slots=True)
class World:
    """What runs and who gets it: instances of the new and the old version; `share` is the new one's, in basis points."""

    new: int
    old: int
    share: int

    def is_sound(self) -> bool:
        """Nobody is ever sent to a version that does not run.

        >>> World(new=0, old=2, share=500).is_sound()
        False
        """
        if not 0 <= self.share <= FULL or min(self.new, self.old) < 0:
            return False
        return (self.new > 0 or self.share == 0) and (self.old > 0 or self.share == FULL)


@dataclass(frozen=True, slots=True)
class Step:
    """One reversible step.

    `before` and `share` are the new version's share when the step begins and when it is done (basis
    points; equal except for a shift). `had` and `count` are the instances, at the beginning and when it
    is done, of the version that the step starts or stops. `mirror` is the share of requests (basis points)
    that are copied; `every` (seconds) and `budget` (a ratio) belong to stabilising. `seconds` is how long the step is meant to
    take, `at_least` and `at_most` bound it (adaptive promotion, waiting for evidence).
    """

    kind: StepKind
    before: int = 0
    share: int = 0
    seconds: float = 0.0
    at_least: float = 0.0
    at_most: float = 0.0
    adaptive: bool = False
    had: int = 0
    count: int = 0
    mirror: int = 0
    every: float = 0.0
    budget: float = 0.0
    barrier: Barrier | None = None

    def describe(self) -> str:
        """The step as people read it.

        >>> Step("shift", before=500, share=2500).describe()
        'shift 5 % → 25 %'
        >>> Step("stabilise", seconds=3600, every=300, budget=0.001).describe()
        'stabilise for 1h, smoke tests every 5m, at most 0.1 % of requests failed'
        >>> Step("shrink", had=4, count=3).describe()
        'drain and stop 1 of 4 instances of the previous version'
        """
        match self.kind:
            case "shift":
                return f"shift {format_share(self.before)} → {format_share(self.share)}"
            case "watch" if self.adaptive:
                return f"watch {format_share(self.share)}, {format_duration(self.at_least)} to {format_duration(self.seconds)}"
            case "watch":
                return f"watch {format_share(self.share)} for {format_duration(self.seconds)}"
            case "mirror":
                return (
                    f"send copies of {format_share(self.mirror)} to the new version for {format_duration(self.seconds)}"
                )
            case "barrier" if self.barrier is not None:
                return _UNTIL[self.barrier]
            case "stabilise":
                return ", ".join(self._conditions())
            case "hold":
                return f"keep the previous version warm for {format_duration(self.seconds)}"
            case "grow" | "grow-old":
                return f"grow the {_WHOSE[self.kind]} version from {self.had} to {self.count} instances"
            case "shrink" | "shrink-new":
                return (
                    f"drain and stop {self.had - self.count} of {self.had} instances of the {_WHOSE[self.kind]} version"
                )
            case _:
                return _WORDS[self.kind]

    def _conditions(self) -> Iterator[str]:
        yield f"stabilise for {format_duration(self.seconds)}"
        if self.every:
            yield f"smoke tests every {format_duration(self.every)}"
        if self.budget:
            yield f"at most {self.budget * 100:g} % of requests failed"


_WORDS: dict[str, str] = {
    "start": "start the new version",
    "ready": "wait until it is ready",
    "smoke": "run the smoke tests",
    "await": "wait for a person",
    "stop-new": "drain and stop the new version",
    "stop-old": "drain and stop the previous version",
    "start-old": "start the previous version again",
}
_UNTIL: dict[Barrier, str] = {
    "traffic": "wait until all of the set are ready",
    "full": "wait until all of the set may go to 100 %",
    "retire": "wait until all of the set are done watching",
}
_WHOSE = {"grow": "new", "shrink-new": "new", "shrink": "previous", "grow-old": "previous"}
_UNDONE_BY: dict[StepKind, StepKind] = {
    "start": "stop-new",
    "grow": "shrink-new",
    "shrink": "grow-old",
    "stop-old": "start-old",
}


def carry_out(step: Step, world: World) -> World:
    """The world once `step` is done.

    >>> carry_out(Step("shift", before=0, share=500), World(new=1, old=1, share=0)).share
    500
    """
    match step.kind:
        case "start" | "grow" | "shrink-new" | "stop-new":
            return replace(world, new=step.count)
        case "shrink" | "stop-old" | "start-old" | "grow-old":
            return replace(world, old=step.count)
        case "shift":
            return replace(world, share=step.share)
        case _:
            return world


def undo(step: Step) -> Step | None:
    """What takes `step` back; None for a step that changed nothing.

    >>> undo(Step("shift", before=500, share=2500)).describe()
    'shift 25 % → 5 %'
    >>> undo(Step("shrink", had=4, count=3)).describe()
    'grow the previous version from 3 to 4 instances'
    """
    if step.kind == "shift":
        return Step("shift", before=step.share, share=step.before)
    kind = _UNDONE_BY.get(step.kind)
    return None if kind is None else Step(kind, before=step.share, share=step.share, had=step.count, count=step.had)


def reverse(done: tuple[Step, ...]) -> tuple[Step, ...]:
    """The way back from `done`: traffic first, in one shift, then what was started.

    Instances of the old version must run before the traffic that they carry returns to them, so starting
    them again comes before its shift: where they left in batches, they come back in batches, and never
    are there more instances than there were on the way forward.

    >>> [s.describe() for s in reverse((Step("start"), Step("ready"), Step("shift", share=500), Step("shift", 500, 2500)))]
    ['shift 25 % → 0 %', 'drain and stop the new version']
    """
    back = [taken for step in reversed(done) if (taken := undo(step)) is not None]
    return tuple(step for batch in _batches(back) for step in _traffic_first(batch))


def _batches(back: list[Step]) -> Iterator[list[Step]]:
    """`back`, cut before each step that brings old instances: only they let more traffic return."""
    batch: list[Step] = []
    for step in back:
        if step.kind in ("start-old", "grow-old"):
            yield batch
            batch = []
        batch.append(step)
    yield batch


def _traffic_first(batch: list[Step]) -> Iterator[Step]:
    yield from (step for step in batch if step.kind in ("start-old", "grow-old"))
    shifts = [step for step in batch if step.kind == "shift"]
    if shifts:
        yield Step("shift", before=shifts[0].before, share=shifts[-1].share)
    ends = [step for step in batch if step.kind in ("shrink-new", "stop-new")]
    if ends:
        yield replace(ends[-1], had=ends[0].had)


def share_to_leave(share: int, ready: int, instances: int, *, spare: int = 0) -> int:
    """What the new version must keep of its `share` while only `ready` of the old one's `instances` are there.

    Each of them carries its part of the traffic; `spare` of them may be missing altogether. Basis points.

    >>> share_to_leave(5000, ready=4, instances=4), share_to_leave(FULL, ready=1, instances=4)
    (0, 7500)
    >>> share_to_leave(5000, ready=3, instances=4, spare=1)
    0
    """
    if ready >= max(1, instances - spare):
        return 0
    return min(share, FULL * (instances - ready) // instances)
