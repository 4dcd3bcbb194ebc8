"""A runtime in memory for tests of what stands above it; it keeps `RuntimeContract` like a real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from crossfade.core.clock import Clock
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from crossfade.runtimes.port import Instance, LogLine, Release, State
from crossfade.traffic.port import SLOTS, Slot


@dataclass(slots=True)
class FakeMachine:
    """The world that fake runtimes share: it outlives them, as a machine outlives Crossfade.

    What happens is a matter of `clock` and of what a test sets here: an instance is ready `ready_after`
    seconds after its start, unless its version is in `never_ready`; versions in `ending` end at once;
    `down` makes every call raise `UnreachableError`; `calls` records what was asked for.
    """

    clock: Clock
    ready_after: float = 0.0
    backoff: float = 1.0
    never_ready: set[str] = field(default_factory=set)
    ending: set[str] = field(default_factory=set)
    down: bool = False
    calls: list[tuple[str, ...]] = field(default_factory=list)
    lines: list[LogLine] = field(default_factory=list)
    _instances: dict[tuple[Slot, int], Instance] = field(default_factory=dict)
    _ports: int = 20_000

    def crash(self, slot: Slot, index: int, detail: str = "exited with code 7") -> None:
        """An instance's program ends by itself; it is started again after `backoff` seconds."""
        old = self._instances[slot, index]
        self._instances[slot, index] = replace(
            old, state="backing-off", since=self.clock.now(), restarts=old.restarts + 1, pid=None, detail=detail
        )

    def lose(self, slot: Slot, index: int) -> None:
        """An instance is gone with everything that would have started it again."""
        self._set(slot, index, "gone", "its supervisor ended without being told to")

    def sicken(self, slot: Slot, index: int, detail: str = "GET /healthz answered 503", failures: int = 3) -> None:
        """An instance that was ready fails its probes until `heal`."""
        self._set(slot, index, "unready", detail, failures)

    def heal(self, slot: Slot, index: int) -> None:
        """An instance's probes succeed again."""
        self._set(slot, index, "ready", "")

    def seen(self) -> tuple[Instance, ...]:
        """All instances, as they are at this time."""
        for key, each in self._instances.items():
            self._instances[key] = self._aged(each)
        return tuple(self._instances[key] for slot in SLOTS for key in sorted(self._instances) if key[0] == slot)

    def launch(self, slot: Slot, release: Release, index: int, name: str) -> None:
        """Start an instance, or start a lost one again."""
        lost = self._instances.get((slot, index))
        if lost is not None and lost.state != "gone":
            return
        self._ports += 1
        now = self.clock.now()
        address = lost.address if lost is not None else f"127.0.0.1:{self._ports}"
        restarts = lost.restarts + 1 if lost is not None else 0
        self._instances[slot, index] = Instance(
            name,
            slot,
            release.version,
            index,
            "starting",
            address,
            now,
            restarts=restarts,
            pid=self._ports,
            detail="no probe has been answered yet",
        )
        self.lines.append(LogLine(now, name, "err", f"crossfade: started as process {self._ports}"))
        self.lines.append(LogLine(now, name, "out", f"hello from {release.version}"))

    def end(self, slot: Slot, beyond: int = 0) -> None:
        """End the instances of `slot` from index `beyond` on."""
        for key in [key for key in self._instances if key[0] == slot and key[1] >= beyond]:
            del self._instances[key]

    def _set(self, slot: Slot, index: int, state: State, detail: str, failures: int = 0) -> None:
        old = self._instances[slot, index]
        self._instances[slot, index] = replace(old, state=state, detail=detail, failures=failures)

    def _aged(self, each: Instance) -> Instance:
        age = self.clock.now() - each.since
        if each.state == "backing-off" and age >= self.backoff:
            each = replace(each, state="starting", since=each.since + self.backoff, pid=self._ports)
            age -= self.backoff
        if each.state != "starting":
            return each
        if each.version in self.ending:
            said = "exited with code 3\nlast lines:\ncannot reach the database"
            return replace(each, state="backing-off", restarts=each.restarts + 1, since=self.clock.now(), detail=said)
        if each.version in self.never_ready:
            return replace(each, failures=each.failures + 1, detail="GET /healthz answered 503: warming up")
        return replace(each, state="ready", detail="") if age >= self.ready_after else each


class FakeRuntime:
    """One target on a `FakeMachine`.

    >>> from crossfade.config.model import Component
    >>> from crossfade.core.clock import VirtualClock
    >>> machine = FakeMachine(VirtualClock(at=100.0))
    >>> runtime = FakeRuntime(machine)
    >>> asyncio.run(runtime.start("blue", Release("1.0.0", Component(command=("serve",))), 2))
    >>> [(each.id, each.state) for each in asyncio.run(runtime.observe())]
    [('api-blue-0', 'ready'), ('api-blue-1', 'ready')]
    """

    def __init__(self, machine: FakeMachine, component: str = "api") -> None:
        self.machine = machine
        self._component = component

    async def observe(self) -> tuple[Instance, ...]:
        """All instances of both slots, ordered by slot and index."""
        self._reach("observe")
        return self.machine.seen()

    async def start(self, slot: Slot, release: Release, count: int) -> None:
        """Make `count` instances of `release` run in `slot`."""
        self._reach("start", slot, release.version, str(count))
        if count < 0:
            raise BadInputError("runtime.count", f"{count} instances cannot run")
        for each in self.machine.seen():
            if each.slot == slot and each.version != release.version:
                raise CrossfadeError(
                    "runtime.slot-occupied",
                    f"slot {slot} holds {each.version}, so {release.version} cannot start there",
                    where=each.id,
                    next=f"stop slot {slot} first",
                )
        self.machine.end(slot, beyond=count)
        for index in range(count):
            self.machine.launch(slot, release, index, f"{self._component}-{slot}-{index}")

    async def stop(self, slot: Slot) -> None:
        """End every instance in `slot`."""
        self._reach("stop", slot)
        self.machine.end(slot)

    async def logs(self, *, slot: Slot | None = None, lines: int = 100, follow: bool = False) -> AsyncIterator[LogLine]:
        """The newest `lines` lines of each instance, oldest first, also of instances that have ended."""
        printed = self.machine.lines
        place = len(printed)
        mine = [each for each in printed if slot is None or f"-{slot}-" in each.instance]
        kept = {
            name: [each for each in mine if each.instance == name][-lines:] for name in {each.instance for each in mine}
        }
        for line in [each for each in mine if any(each is one for one in kept[each.instance])] if lines else []:
            yield line
        while follow:
            for line in printed[place:]:
                place += 1
                if slot is None or f"-{slot}-" in line.instance:
                    yield line
            await asyncio.sleep(0.01)

    def _reach(self, *call: str) -> None:
        if self.machine.down:
            raise UnreachableError("runtime.unreachable", "the runtime did not answer", next="look whether it runs")
        self.machine.calls.append(call)
