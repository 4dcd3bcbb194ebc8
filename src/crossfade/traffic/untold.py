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


@dataclass(slots=True)
class Untold:
    """Compares what was told with the totals; only what is missing twice in a row is missing.

    >>> untold = Untold()
    >>> untold.compare({"blue": (5, 0), "green": (0, 0)}, trust=True)
    {'blue': 0, 'green': 0}
    >>> untold.tell("blue")
    >>> [untold.compare({"blue": (8, 1), "green": (0, 0)}, trust=True)["blue"] for _ in range(3)]
    [0, 1, 0]
    """

    _ended: dict[Slot, int] = field(default_factory=dict)
    _missed: dict[Slot, int] = field(default_factory=lambda: dict.fromkeys(SLOTS, 0))

    def tell(self, slot: Slot) -> None:
        """Note that a request of `slot` was told."""
        if slot in self._ended:
            self._ended[slot] += 1

    def compare(self, sums: Sums, *, trust: bool) -> dict[Slot, int]:
        """Requests of each slot that turn out never to be told.

        Without `trust` (datagrams were lost on the way to us) nothing is concluded, and it begins anew. So it
        does when more was told than the proxy began: another process of it tells by now.
        """
        lost: dict[Slot, int] = {}
        for slot, (begun, flying) in sums.items():
            ended = begun - flying
            missing = ended - self._ended.get(slot, ended)
            if missing < 0 or not trust or slot not in self._ended:
                self._ended[slot], missing = ended, 0
            lost[slot] = min(missing, self._missed[slot])
            self._ended[slot] += lost[slot]
            self._missed[slot] = missing - lost[slot]
        return lost
