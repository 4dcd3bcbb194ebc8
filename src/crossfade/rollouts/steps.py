"""Steps: what each does to the world, and what undoes it.

The *world* is what a rollout may change: which of the two versions run, and the new one's share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from crossfade.core.durations import FULL, format_duration, format_share

StepKind = Literal["start", "ready", "smoke", "shift", "watch", "await", "hold", "stop-new", "stop-old", "start-old"]


@dataclass(frozen=True, slots=True)
class World:
    """What runs and who gets it: `share` is the new version's, in basis points."""

    new_runs: bool
    old_runs: bool
    share: int

    def is_sound(self) -> bool:
        """Nobody is ever sent to a version that does not run.

        >>> World(new_runs=False, old_runs=True, share=500).is_sound()
        False
        """
        if not 0 <= self.share <= FULL:
            return False
        return (self.new_runs or self.share == 0) and (self.old_runs or self.share == FULL)


@dataclass(frozen=True, slots=True)
class Step:
    """One reversible step.

    `before` and `share` are the new version's share when the step begins and when it is done (basis
    points; equal except for a shift). `seconds` is how long the step is meant to take, `at_least` and
    `at_most` bound it (adaptive promotion, waiting for evidence).
    """

    kind: StepKind
    before: int = 0
    share: int = 0
    seconds: float = 0.0
    at_least: float = 0.0
    at_most: float = 0.0
    adaptive: bool = False

    def describe(self) -> str:
        """The step as people read it.

        >>> Step("shift", before=500, share=2500).describe()
        'shift 5 % → 25 %'
        """
        match self.kind:
            case "shift":
                return f"shift {format_share(self.before)} → {format_share(self.share)}"
            case "watch" if self.adaptive:
                return f"watch {format_share(self.share)}, {format_duration(self.at_least)} to {format_duration(self.seconds)}"
            case "watch":
                return f"watch {format_share(self.share)} for {format_duration(self.seconds)}"
            case "hold":
                return f"keep the previous version warm for {format_duration(self.seconds)}"
            case _:
                return _WORDS[self.kind]


_WORDS: dict[str, str] = {
    "start": "start the new version",
    "ready": "wait until it is ready",
    "smoke": "run the smoke tests",
    "await": "wait for a person",
    "stop-new": "drain and stop the new version",
    "stop-old": "drain and stop the previous version",
    "start-old": "start the previous version again",
}


def carry_out(step: Step, world: World) -> World:
    """The world once `step` is done.

    >>> carry_out(Step("shift", before=0, share=500), World(True, True, 0)).share
    500
    """
    match step.kind:
        case "start":
            return replace(world, new_runs=True)
        case "stop-new":
            return replace(world, new_runs=False)
        case "start-old":
            return replace(world, old_runs=True)
        case "stop-old":
            return replace(world, old_runs=False)
        case "shift":
            return replace(world, share=step.share)
        case _:
            return world


def undo(step: Step) -> Step | None:
    """What takes `step` back; None for a step that changed nothing.

    >>> undo(Step("shift", before=500, share=2500)).describe()
    'shift 25 % → 5 %'
    """
    match step.kind:
        case "start":
            return Step("stop-new", before=step.before, share=step.before)
        case "stop-old":
            return Step("start-old", before=step.share, share=step.share)
        case "shift":
            return Step("shift", before=step.share, share=step.before)
        case _:
            return None


def reverse(done: tuple[Step, ...]) -> tuple[Step, ...]:
    """The way back from `done`: traffic first, in one shift, then what was started.

    The old version must run before traffic returns to it, so starting it again comes before the shift.

    >>> [s.describe() for s in reverse((Step("start"), Step("ready"), Step("shift", share=500), Step("shift", 500, 2500)))]
    ['shift 25 % → 0 %', 'drain and stop the new version']
    """
    back = [taken for step in reversed(done) if (taken := undo(step)) is not None]
    shifts = [step for step in back if step.kind == "shift"]
    restarts = [step for step in back if step.kind == "start-old"]
    cleanup = [step for step in back if step.kind == "stop-new"]
    traffic = [Step("shift", before=shifts[0].before, share=shifts[-1].share)] if shifts else []
    return (*restarts, *traffic, *cleanup)
