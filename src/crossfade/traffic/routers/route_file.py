"""One line of text that says everything about one target, replaced as a whole.

The data plane reads the line for every request and the control plane compares and swaps it under a
lock, so there is no instant at which a weight and its upstreams, or routes and their fence, disagree:
a writer that is killed leaves the old line or the new one.

    400000 t=1073741824 k=3053171 s=blue blue=1:10.0.0.1:80,,,,,,,,,,,; green=…; fence=7 salt=12 points=2500

Where requests are copied, ` mirror=1000` (basis points) ends the line.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crossfade.core.errors import BadInputError, StaleFenceError
from crossfade.core.limits import MOST_INSTANCES
from crossfade.core.locks import locked_in_thread
from crossfade.traffic.buckets import basis, prefix, threshold
from crossfade.traffic.port import SLOTS, Routes, Slot
from crossfade.traffic.whole_files import left_behind, replace

ENTRIES = MOST_INSTANCES
"""Most instances of one slot."""

_ADDRESS = re.compile(r"[A-Za-z0-9_.:\[\]-]+:\d{1,5}")
_LINE = re.compile(
    r"(?P<head>[0-9a-g]{6} t=\d+ k=\d+ s=(?P<stable>blue|green)) blue=\d+:(?P<blue>[^;]*); green=\d+:(?P<green>[^;]*);"
    r" fence=(?P<fence>\d+) salt=(?P<salt>-?\d+) points=(?P<points>\d+)"
    r"(?: mirror=(?P<mirror>[1-9]\d*))?"
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """Routes and the fence under which they were accepted."""

    routes: Routes
    fence: int


def render(accepted: Accepted) -> str:
    """The line for `accepted`, without a newline.

    >>> routes = Routes({"blue": ("127.0.0.1:81",), "green": ()}, green=0, stable="blue")
    >>> render(Accepted(routes, 3)).partition(" k=")[0]
    '000000 t=0'
    """
    routes = routes_checked(accepted.routes)
    share = f"{prefix(routes.green)} t={threshold(routes.green)} k={basis(routes.salt)} s={routes.stable}"
    slots = " ".join(f"{slot}={_entries(routes.upstreams.get(slot, ()))};" for slot in SLOTS)
    mirror = f" mirror={routes.mirror}" if routes.mirror else ""
    return f"{share} {slots} fence={accepted.fence} salt={routes.salt} points={routes.green}{mirror}"


def parse(line: str) -> Accepted | None:
    """The routes that `line` stands for; None when it is not a whole line of ours.

    >>> routes = Routes({"blue": ("127.0.0.1:81",), "green": ()}, green=0, stable="blue", salt=5)
    >>> parse(render(Accepted(routes, 3))) == Accepted(routes, 3)
    True
    """
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    upstreams: dict[Slot, tuple[str, ...]] = {slot: tuple(filter(None, match[slot].split(","))) for slot in SLOTS}
    stable: Slot = "green" if match["stable"] == "green" else "blue"
    mirror = int(match["mirror"] or 0)
    return Accepted(Routes(upstreams, int(match["points"]), stable, int(match["salt"]), mirror), int(match["fence"]))


def routes_checked(routes: Routes) -> Routes:
    """`routes`, or a `BadInputError` when no router could carry them out."""
    for slot in SLOTS:
        addresses, share = routes.upstreams.get(slot, ()), routes.weight(slot)
        if len(addresses) > ENTRIES:
            raise BadInputError(
                "router.too-many-instances",
                f"{slot} has {len(addresses)} instances, and a slot holds {ENTRIES}",
                next=f"set instances to {ENTRIES} or fewer",
            )
        for address in addresses:
            if not _ADDRESS.fullmatch(address):
                raise BadInputError(
                    "router.bad-address",
                    f"{address!r} is not an address that traffic can be sent to",
                    next="an upstream is HOST:PORT",
                )
        if share and not addresses and any(routes.upstreams.get(each) for each in SLOTS):
            raise BadInputError(
                "router.empty-slot",
                f"{slot} would get {share / 100:g} % of the traffic, and nothing runs there",
                next="start instances first, or give the traffic to the other slot",
            )
    return routes


class RouteFile:
    """The line on disk, in `folder/routes`; safe for any number of processes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "routes"
        self._lock = folder / "routes.lock"

    def read(self) -> Accepted | None:
        """What is in force; None when there is nothing, or nothing whole."""
        try:
            return parse(self.path.read_text().removesuffix("\n"))
        except (FileNotFoundError, UnicodeDecodeError):
            return None

    def swap(self, wanted: Accepted) -> bool:
        """Put `wanted` in force; whether that changed anything.

        Raises `StaleFenceError`, changing nothing, when a higher fence was accepted before.
        """
        line = render(wanted)
        with self._locked():
            current = self.read()
            if current is not None and current.fence > wanted.fence:
                raise StaleFenceError(
                    "router.stale-fence",
                    f"routes of fence {wanted.fence} came after those of fence {current.fence}",
                    where=str(self.path),
                    next="nothing was changed; a newer worker is in charge of this rollout",
                )
            if current == wanted:
                return False
            replace(self.path, line.encode() + b"\n", mode=0o644)  # an existing Caddy may be another user's
            return True

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with locked_in_thread(self._lock):
            for remnant in left_behind(self.path):  # by a writer that was killed
                remnant.unlink(missing_ok=True)
            yield


def _entries(addresses: tuple[str, ...]) -> str:
    return f"{len(addresses)}:" + ",".join(addresses + ("",) * (ENTRIES - len(addresses)))
