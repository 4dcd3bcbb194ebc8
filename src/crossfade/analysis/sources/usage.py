"""Named metrics from the runtime itself: processor time and memory of each arm's instances."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from crossfade.analysis.sources.port import ARMS, Answer, Unknown, Value
from crossfade.analysis.values import Arm
from crossfade.core.clock import Clock
from crossfade.runtimes.port import Measured, Usage
from crossfade.traffic.port import Slot

Over = Literal["mean", "max"]


@dataclass(frozen=True, slots=True)
class _Spent:
    at: float
    seconds: float


class Instances:
    """The usage of a rollout's instances, by arm. Whoever asks while a look is under way is told the same one.

    So a runtime that hangs is waited for once, however often its metrics are given up.
    """

    def __init__(self, runtime: object, *, slots: Mapping[Arm, Slot]) -> None:
        self._runtime = runtime
        self._slots = slots
        self._look: asyncio.Task[Mapping[str, Usage]] | None = None

    async def usage(self) -> Mapping[Arm, Mapping[str, Usage]] | Unknown:
        """What each arm's instances use, by their ids; raises as `Measured.usage` does."""
        if not isinstance(self._runtime, Measured):
            return Unknown("this runtime does not tell what its instances use")
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(_measured(self._runtime))
            self._look.add_done_callback(_heard)
        found = await asyncio.shield(self._look)
        return {arm: {name: each for name, each in found.items() if each.slot == self._slots[arm]} for arm in ARMS}


async def _measured(runtime: Measured) -> Mapping[str, Usage]:
    return await runtime.usage()


def _heard(look: asyncio.Task[Mapping[str, Usage]]) -> None:
    """A fault that nobody waits for any more is no news."""
    if not look.cancelled():
        look.exception()


class _OfInstances:
    """What both have in common: several instances become one value."""

    def __init__(self, instances: Instances, over: Over) -> None:
        self._instances = instances
        self._over: Over = over

    def _told(self, values: Sequence[float], arm: Arm, what: str) -> Answer:
        if not values:
            return Unknown(f"no instance of the {arm} arm tells its {what} yet")
        return Value(max(values) if self._over == "max" else math.fsum(values) / len(values))


class CpuOfInstances(_OfInstances):
    """Processor time as a share of one core; see `port.Metric`.

    It is the time spent since the last look, so the first look tells nothing, and neither does an instance that was started again
    meanwhile. `clock` tells how far apart two looks are: they are measured when they happen.
    """

    def __init__(self, instances: Instances, *, over: Over, clock: Clock) -> None:
        super().__init__(instances, over)
        self._clock = clock
        self._spent: dict[str, _Spent] = {}

    async def ask(self, *, window: float, now: float) -> Mapping[Arm, Answer]:  # noqa: ARG002 - only the present is known
        """The share of one core that each arm's instances used since the last look."""
        usage = await self._instances.usage()
        if isinstance(usage, Unknown):
            return dict.fromkeys(ARMS, usage)
        at, before, self._spent = self._clock.now(), self._spent, {}
        answers: dict[Arm, Answer] = {}
        for arm in ARMS:
            shares = [self._share(name, each, at, before.get(name)) for name, each in usage[arm].items()]
            answers[arm] = self._told([share for share in shares if share is not None], arm, "processor time")
        return answers

    def _share(self, name: str, usage: Usage, at: float, before: _Spent | None) -> float | None:
        if usage.cpu is not None:
            return usage.cpu
        if usage.cpu_seconds is None:
            return None
        self._spent[name] = _Spent(at, usage.cpu_seconds)
        if before is None or at <= before.at or usage.cpu_seconds < before.seconds:
            return None
        return (usage.cpu_seconds - before.seconds) / (at - before.at)


class MemoryOfInstances(_OfInstances):
    """Memory in bytes; see `port.Metric`."""

    async def ask(self, *, window: float, now: float) -> Mapping[Arm, Answer]:  # noqa: ARG002 - only the present is known
        """The memory of each arm's instances."""
        usage = await self._instances.usage()
        if isinstance(usage, Unknown):
            return dict.fromkeys(ARMS, usage)
        return {arm: self._told([float(each.memory) for each in usage[arm].values()], arm, "memory") for arm in ARMS}
