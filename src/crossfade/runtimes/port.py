"""The Runtime port: start, stop, observe, logs.

Every adapter is proven by `crossfade.testing.RuntimeContract`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from crossfade.config.model import Component
from crossfade.traffic.port import Slot

State = Literal["starting", "ready", "unready", "backing-off", "stopping", "gone"]
"""`ready`: may receive traffic. `unready`: ran, and its probes fail. `backing-off`: it ended and waits
to be started again. `gone`: it should be there and is not."""


@dataclass(frozen=True, slots=True)
class Release:
    """One version of a component, with the exact workload that it was released with."""

    version: str
    workload: Component


@dataclass(frozen=True, slots=True)
class Instance:
    """One running copy of a version, as it is now.

    `address` is `host:port`; `since` the epoch time of its current start; `restarts` how often it
    ended by itself; `detail` what a person needs when it is not ready: the last probe's status and
    body, the exit code, the last lines of its log.
    """

    id: str
    slot: Slot
    version: str
    index: int
    state: State
    address: str
    since: float
    restarts: int = 0
    failures: int = 0
    """Consecutive failed health probes."""
    pid: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that an instance printed."""

    at: float
    instance: str
    stream: Literal["out", "err"]
    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What one instance uses now: `memory` in bytes, and its processor time in whichever way the runtime knows it."""

    slot: Slot
    memory: int
    cpu_seconds: float | None = None
    """Processor time since the instance was started, in seconds; it begins again with a new start."""
    cpu: float | None = None
    """Share of one core, lately: for a runtime that is told only that."""


class Runtime(Protocol):
    """One target's instances. All methods are idempotent."""

    async def observe(self) -> tuple[Instance, ...]:
        """All instances of both slots, ordered by slot and index; cheap enough for every tick."""
        ...

    async def start(self, slot: Slot, release: Release, count: int) -> None:
        """Make `count` instances of `release` run in `slot`.

        Adopts what is there, starts what is missing, stops what is too much. Returns once they are
        launched; `observe` tells when they are ready.

        Raises `CrossfadeError` when the slot still holds another version (it must be stopped first).
        """
        ...

    async def stop(self, slot: Slot) -> None:
        """End every instance in `slot`: TERM, then KILL after the grace time; nothing is left behind."""
        ...

    def logs(self, *, slot: Slot | None = None, lines: int = 100, follow: bool = False) -> AsyncIterator[LogLine]:
        """The newest `lines` lines of each instance, oldest first, also of instances that have ended."""
        ...


@runtime_checkable
class Measured(Protocol):
    """A runtime that knows what its instances use. A runtime need not be one: then rules about that say that nothing is known."""

    async def usage(self) -> Mapping[str, Usage]:
        """What every running instance of both slots uses, by `Instance.id`; those of which nothing is known are left out.

        Raises UnreachableError where the runtime does not answer.
        """
        ...
