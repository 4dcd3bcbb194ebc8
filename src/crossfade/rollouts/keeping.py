"""What is trusted stays there: what is missing of it once its rollout has ended, and what brings it back.

An instance that dies is started again by its supervisor. But a machine that was restarted has no supervisors, and no
proxy; a container may have been removed, a proxy been emptied. `repair` is pure, as `decide` is.
"""

from __future__ import annotations

from dataclasses import dataclass

from crossfade.rollouts.drift import INSTANCES, drift
from crossfade.rollouts.rollout import Action, Observed, Rollout, wanted_routes
from crossfade.traffic.port import Slot


@dataclass(frozen=True, slots=True)
class Repair:
    """`missing` says what differs from what was released, in a sentence; empty where all is well.

    `actions` are safe to be done again. `told` is whether people want to read about it: an instance that was started
    again, and so has another address, is everyday.
    """

    missing: str = ""
    actions: tuple[Action, ...] = ()
    told: bool = False


def repair(ended: Rollout, observed: Observed, *, fence: int, scaled_by_others: bool = False) -> Repair:
    """What brings back what the rollout that `ended` last has left; `fence` is the target's newest.

    Where instances are `scaled_by_others`, any number of them is right but none at all.
    Nothing is ever stopped. Traffic is told of instances once there are some; none is known where the runtime
    does not answer, and then nothing is done.
    """
    if observed.instances is None:
        return Repair("the runtime does not answer", told=True)
    slot, version, wanted = left_behind(ended)
    if version is None:
        return Repair()
    missing, actions = [], []
    there = [i for i in observed.in_slot(slot) if i.state != "gone"]
    lacks = len(there) < (min(1, wanted) if scaled_by_others else wanted)
    if lacks:
        missing.append(f"{len(there)} of {wanted} instances of {version} are there")
        actions.append(Action(_id(ended, "start"), "start", slot, version=version, count=wanted))
    routes = wanted_routes(ended, observed)
    differs = drift(observed.router, routes)
    if differs and routes.upstreams[slot]:
        newest = max(ended.fence, fence, observed.router.fence) + 1
        actions.append(Action(_id(ended, "route"), "route", slot, version=version, routes=routes, fence=newest))
    everyday = differs == INSTANCES
    if differs and not (everyday and missing):
        missing.append(differs)
    return Repair("; ".join(missing), tuple(actions), told=bool(missing) and (lacks or not everyday))


def left_behind(ended: Rollout) -> tuple[Slot, str | None, int]:
    """What a rollout that has ended leaves: the slot, the version in it (None: nothing), how many instances."""
    if ended.status == "rolled-back":
        return ended.old, ended.plan.previous, ended.old_instances
    return ended.slot, ended.plan.version, ended.new_instances


def _id(ended: Rollout, kind: str) -> str:
    return f"{ended.id}:kept:{kind}"
