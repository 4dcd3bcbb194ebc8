"""The Router port: five methods, frozen values, no guesses.

Every adapter is proven by the suites of `crossfade.testing`: `RouterContract` and what builds on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from crossfade.config.routers import Capabilities
from crossfade.core.durations import FULL

Slot = Literal["blue", "green"]
SLOTS: tuple[Slot, Slot] = ("blue", "green")


def other(slot: Slot) -> Slot:
    """The slot beside `slot`.

    >>> other("blue")
    'green'
    """
    return "green" if slot == "blue" else "blue"


@dataclass(frozen=True, slots=True)
class Routes:
    """Everything a router is told about one target.

    `upstreams` are `host:port` addresses for each slot (an empty tuple: nothing runs there);
    `green` is green's share of the traffic in basis points, blue gets the rest; `stable` is the slot
    that holds the trusted version (the override header and sticky users are seen from it); `salt`
    changes with every rollout, so that it is not always the same users who go first. `mirror` is the share
    of requests (basis points) of which the slot that is not `stable` gets a copy, whose answer nobody sees;
    0 but for routers that can.
    """

    upstreams: Mapping[Slot, tuple[str, ...]]
    green: int
    stable: Slot
    salt: int = 0
    mirror: int = 0

    def __post_init__(self) -> None:
        for share in (self.green, self.mirror):
            if not 0 <= share <= FULL:
                msg = f"a weight of {share} basis points is outside 0..{FULL}"
                raise ValueError(msg)

    def weight(self, slot: Slot) -> int:
        """The share of `slot` in basis points.

        >>> Routes({"blue": (), "green": ()}, green=500, stable="blue").weight("blue")
        9500
        """
        return self.green if slot == "green" else FULL - self.green

    def whole(self) -> Routes:
        """The same with both slots named, so that equal routes are equal values.

        >>> Routes({"blue": ("127.0.0.1:80",)}, green=0, stable="blue").whole().upstreams
        {'blue': ('127.0.0.1:80',), 'green': ()}
        """
        return replace(self, upstreams={slot: tuple(self.upstreams.get(slot, ())) for slot in SLOTS})


@dataclass(frozen=True, slots=True)
class RouterView:
    """What a router truly does now.

    `reachable`: its control side answers. `routes`: what is in force, None when it has nothing for this
    target (never configured, or restarted empty). `fence`: the newest fence that it accepted.
    `in_flight`: requests (and streams and websockets) under way for each slot.
    """

    reachable: bool
    routes: Routes | None = None
    fence: int = 0
    in_flight: Mapping[Slot, int] = field(default_factory=dict)
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ArmCounts:
    """What one slot answered in one closed bucket.

    `at` is the bucket's start in epoch seconds; `by_class` maps `1xx`..`5xx` and `none` (no answer
    was sent) to requests; `latency` holds the count in each histogram bin, whose upper bounds in
    milliseconds are `Counts.bounds_ms` with one more bin above the last.
    """

    at: float
    seconds: float
    slot: Slot
    by_class: Mapping[str, int]
    latency: tuple[int, ...] = ()

    @property
    def requests(self) -> int:
        """All requests of the bucket."""
        return sum(self.by_class.values())

    @property
    def errors(self) -> int:
        """Requests answered 5xx or not at all."""
        return self.by_class.get("5xx", 0) + self.by_class.get("none", 0)


@dataclass(frozen=True, slots=True)
class Counts:
    """Closed buckets of one second, oldest first, and when the source last proved to be alive."""

    buckets: tuple[ArmCounts, ...]
    bounds_ms: tuple[float, ...]
    alive_at: float | None
    """Time up to which the counts are complete; None when the source did not answer."""
    dropped: int = 0
    """Requests since then that are known to have been lost to the count (never to the visitor)."""


class Router(Protocol):
    """One target's traffic. All methods are idempotent and raise `UnreachableError` when nobody answers."""

    @property
    def capabilities(self) -> Capabilities:
        """What this router can do: `can` of its section in `crossfade.yaml`."""
        ...

    @property
    def address(self) -> str:
        """Where users reach the target, as HOST:PORT that this machine can dial."""
        ...

    async def observe(self) -> RouterView:
        """What is in force now; never raises for an unreachable router, but says so."""
        ...

    async def apply(self, routes: Routes, *, fence: int) -> None:
        """Put `routes` in force at once and whole, repairing the router's own set-up where needed.

        Raises `StaleFenceError`, changing nothing, when the router has accepted a higher fence, and only then:
        under the very fence that is there other routes are accepted too, and the last ones are in force.
        Applying the same routes under it again only repairs what is missing.
        """
        ...

    async def confirm(self, routes: Routes) -> bool:
        """Ask the data plane, by real requests through the router, whether `routes` are in force."""
        ...

    async def counts(self, since: float) -> Counts:
        """Closed one-second buckets that start at or after `since` (epoch seconds)."""
        ...

    async def close(self) -> None:
        """End what was made for this target, in the router or beside it: visitors lose the address. `apply` makes it again."""
        ...
