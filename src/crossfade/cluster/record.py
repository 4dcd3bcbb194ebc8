"""Routes and their fence, kept in an annotation of the object that carries them out. Pure."""

from __future__ import annotations

import hashlib
from typing import Any

from crossfade.cluster.names import ROUTES
from crossfade.core.errors import StaleFenceError
from crossfade.traffic.port import SLOTS, Routes
from crossfade.traffic.routers.route_file import Accepted, parse, render


def accepted_of(thing: dict[str, Any]) -> Accepted | None:
    """What the object's annotation says; None where it has none that can be read."""
    return parse(str((thing["metadata"].get("annotations") or {}).get(ROUTES, "")))


def digest(accepted: Accepted) -> str:
    """A short name for these routes, under this fence or another."""
    return hashlib.sha256(render(Accepted(accepted.routes, 0)).encode()).hexdigest()[:20]


def whole(routes: Routes) -> Routes:
    """`routes` with both slots named, as a record gives them back."""
    upstreams = {slot: tuple(routes.upstreams.get(slot, ())) for slot in SLOTS}
    return Routes(upstreams, routes.green, routes.stable, routes.salt, routes.mirror)


def refuse_stale(current: Accepted | None, wanted: Accepted, where: str) -> None:
    """Raise StaleFenceError where `current` was accepted under a higher fence."""
    if current is None or current.fence <= wanted.fence:
        return
    raise StaleFenceError(
        "router.stale-fence",
        f"routes of fence {wanted.fence} came after those of fence {current.fence}",
        where=where,
        next="nothing was changed; a newer worker is in charge of this rollout",
    )
