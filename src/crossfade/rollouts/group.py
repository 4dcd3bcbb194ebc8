"""A release set: rollouts that go forward together, or back together. Pure.

Each member walks its own plan, with three barriers in it: all are ready before any gets traffic; all have passed their
last watch below 100 % before any goes there; all have finished watching before any retires its old version. Whoever
turns back turns all others. A member that is finished, or not there, keeps nobody waiting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from crossfade.rollouts.plan import Plan
from crossfade.rollouts.steps import Barrier, Step

_TRAFFIC = ("mirror", "shift")
_LAST_LOOKS = ("watch", "stabilise")


@dataclass(frozen=True, slots=True)
class Group:
    """The set that a rollout belongs to: its id, and the ids of all its rollouts."""

    id: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """How far another member is: the barriers that it has come to, whether it has turned, whether it has ended."""

    id: str
    name: str
    arrived: tuple[Barrier, ...] = ()
    turned: bool = False
    finished: bool = False
    reason: str = ""


def together(plan: Plan) -> Plan:
    """The plan with its barriers.

    >>> from crossfade.config.strategies import Direct
    >>> from crossfade.rollouts.plan import compile_plan
    >>> made = together(compile_plan(Direct(), "api", "production", "1.1.0", previous="1.0.0"))
    >>> [step.barrier or step.kind for step in made.steps]
    ['start', 'ready', 'traffic', 'full', 'shift', 'retire', 'stop-old']
    """
    steps = plan.steps
    first = next(i for i, step in enumerate(steps) if step.kind in _TRAFFIC)
    full = max(i for i, step in enumerate(steps) if step.kind == "shift")
    watched = next((i for i in range(full + 1, len(steps)) if steps[i].kind not in _LAST_LOOKS), len(steps))
    barriers: tuple[tuple[int, Barrier], ...] = ((first, "traffic"), (full, "full"), (watched, "retire"))
    walked: list[Step] = []
    for index in range(len(steps) + 1):
        share = walked[-1].share if walked else 0
        for at, barrier in barriers:
            if index == at:
                walked.append(Step("barrier", before=share, share=share, barrier=barrier))
        walked += steps[index : index + 1]
    return replace(plan, steps=tuple(walked))


def waits_for(barrier: Barrier, others: Sequence[Standing]) -> tuple[Standing, ...]:
    """Who keeps a member at `barrier`; nobody who has ended."""
    return tuple(each for each in others if not each.finished and barrier not in each.arrived)


def who_turned(others: Sequence[Standing]) -> Standing | None:
    """The member that takes all others back with it."""
    return next((each for each in others if each.turned), None)
