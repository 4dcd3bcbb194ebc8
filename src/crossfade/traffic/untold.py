"""Requests that a proxy began and never told of: pure.

A proxy that is silent about some requests (HAProxy, when an instance hangs up on a visitor's second request) has
totals of its own. They come with our probe: for each slot the requests that it began, and those under way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from crossfade.traffic.port import SLOTS, Slot

Sums = Mapping[Slot, tuple[int, int]]
"""For each slot: requests begun, and of these under way."""


def sums_in(text: object) -> Sums | None:
    """The totals in a datagram: four numbers, begun and under way for blue, then for green.

    >>> sums_in("10 1 3 0")
    {'blue': (10, 1), 'green': (3, 0)}
    >>> sums_in("- - - -") is None
    True
    """
    try:
        begun_blue, blue, begun_green, green = map(int, str(text).split())
    except ValueError:
        return None
    return {"blue": (begun_blue, blue), "green": (begun_green, green)}


LEARNING = 20
"""Comparisons after which a counter that came later than the proxy knows by how much."""


@dataclass(slots=True)
class Untold:
    """Compares what was told with the totals; only what is missing twice in a row is missing.

    What is told runs ahead of the totals, which are some moments old when they come, and never behind them. A counter
    that was there first takes them as they are; else it learns how much was told before its time, and what was never
    told meanwhile is lost to it: it rather counts too little than an error that was none.

    >>> untold = Untold()
    >>> untold.compare({"blue": (0, 0), "green": (0, 0)}, trust=True)
    {'blue': 0, 'green': 0}
    >>> untold.tell("blue")
    >>> [untold.compare({"blue": (3, 1), "green": (0, 0)}, trust=True)["blue"] for _ in range(3)]
    [0, 1, 0]
    """

    _told: dict[Slot, int] = field(default_factory=lambda: dict.fromkeys(SLOTS, 0))
    _begun: dict[Slot, int] = field(default_factory=dict)
    _before: dict[Slot, int] = field(default_factory=dict)
    _missed: dict[Slot, int] = field(default_factory=lambda: dict.fromkeys(SLOTS, 0))
    _learning: int = 0

    def tell(self, slot: Slot) -> None:
        """Note that a request of `slot` was told."""
        self._told[slot] += 1

    def compare(self, sums: Sums, *, trust: bool) -> dict[Slot, int]:
        """Requests of each slot that turn out never to be told.

        Without `trust` (datagrams were lost on the way to us) nothing is concluded, and it learns anew. So it does
        when the totals fall: another process of the proxy tells by now.
        """
        ahead = {slot: begun - flying - self._told[slot] for slot, (begun, flying) in sums.items()}
        if not self._begun and max(ahead.values()) <= 0:
            self._before = dict.fromkeys(SLOTS, 0)
        elif not self._begun or not trust or any(sums[slot][0] < self._begun[slot] for slot in SLOTS):
            self._learning, self._before = LEARNING, ahead
        self._begun = {slot: begun for slot, (begun, _) in sums.items()}
        if self._learning:
            self._learning -= 1
            self._before = {slot: max(self._before[slot], ahead[slot]) for slot in SLOTS}
            return self._found(dict.fromkeys(SLOTS, 0))
        return self._found({slot: max(ahead[slot] - self._before[slot], 0) for slot in SLOTS})

    def _found(self, missing: Mapping[Slot, int]) -> dict[Slot, int]:
        lost = {slot: min(missing[slot], self._missed[slot]) for slot in SLOTS}
        for slot in SLOTS:
            self._before[slot] += lost[slot]
            self._missed[slot] = missing[slot] - lost[slot]
        return lost
