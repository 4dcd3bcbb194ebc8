"""Named metrics from the runtime itself: processor time and memory of each arm's instances."""

from __future__ import annotations

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


class _OfInstances:
    """What both have in common: the usage of every instance, by arm."""

    def __init__(self, runtime: object, slots: Mapping[Arm, Slot], over: Over) -> None:
        self._runtime = runtime
        self._slots = slots
        self._over: Over = over

    async def _usage(self) -> Mapping[Arm, Mapping[str, Usage]] | Unknown:
        if not isinstance(self._runtime, Measured):
            return Unknown("this runtime does not tell what its instances use")
        found = await self._runtime.usage()
        return {arm: {name: each for name, each in found.items() if each.slot == self._slots[arm]} for arm in ARMS}

    def _told(self, values: Sequence[float], arm: Arm, what: str) -> Answer:
        if not values:
            return Unknown(f"no instance of the {arm} arm tells its {what} yet")
        return Value(max(values) if self._over == "max" else math.fsum(values) / len(values))


class CpuOfInstances(_OfInstances):
    """Processor time as a share of one core; see `port.Metric`.

    It is the time spent since the last look, so the first look tells nothing, and neither does an instance that was started again
    meanwhile. `clock` tells how far apart two looks are: they are measured when they happen.
    """

    def __init__(self, runtime: object, *, slots: Mapping[Arm, Slot], over: Over, clock: Clock) -> None:
        super().__init__(runtime, slots, over)
        self._clock = clock
        self._spent: dict[str, _Spent] = {}

    async def ask(self, *, window: float, now: float) -> Mapping[Arm, Answer]:  # noqa: ARG002 - only the present is known
        """The share of one core that each arm's instances used since the last look."""
        usage = await self._usage()
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

    def __init__(self, runtime: object, *, slots: Mapping[Arm, Slot], over: Over) -> None:
        super().__init__(runtime, slots, over)

    async def ask(self, *, window: float, now: float) -> Mapping[Arm, Answer]:  # noqa: ARG002 - only the present is known
        """The memory of each arm's instances."""
        usage = await self._usage()
        if isinstance(usage, Unknown):
            return dict.fromkeys(ARMS, usage)
        return {arm: self._told([float(each.memory) for each in usage[arm].values()], arm, "memory") for arm in ARMS}
