"""Back to the trusted version when even the database is away.

The router remembers by itself which slot is trusted. So traffic can be returned with nothing but the
config file: the router is told first, under a fence of its own, and a note is left beside the state,
which the next worker turns into the command that could not be stored.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from crossfade.config.model import Deployment
from crossfade.core.durations import FULL
from crossfade.core.errors import CrossfadeError
from crossfade.engine.site import Site
from crossfade.traffic.port import Slot


@dataclass(frozen=True, slots=True)
class Note:
    """A person's word that is not in the record yet."""

    actor: str
    reason: str
    at: float


async def return_traffic(deployment: Deployment, site: Site, note: Note) -> Slot:
    """Send everything to the trusted slot, at once; returns that slot.

    Raises CrossfadeError, changing nothing, when the router has nothing for the target, or no instance of
    the trusted version is ready.
    """
    view = await site.router.observe()
    where = f"{deployment.component} in {deployment.environment}"
    if view.routes is None:
        raise CrossfadeError(
            "emergency.no-routes",
            f"the router cannot be asked what it does: {view.detail or 'it has nothing for this target'}",
            where=where,
            next="look at the router first",
        )
    trusted = view.routes.stable
    if not any(i.state == "ready" for i in await site.runtime.observe() if i.slot == trusted):
        raise CrossfadeError(
            "emergency.nobody-there",
            "no instance of the trusted version is ready: sending it traffic would help nobody",
            where=where,
            next="look at its instances: crossfade logs",
        )
    _leave(deployment, note)
    back = replace(view.routes, green=FULL if trusted == "green" else 0)
    await site.router.apply(back, fence=view.fence + 1)
    return trusted


def pending(deployment: Deployment) -> Note | None:
    """The note that waits to be recorded."""
    try:
        return Note(**orjson.loads(_file(deployment).read_bytes()))
    except FileNotFoundError:
        return None


def recorded(deployment: Deployment) -> None:
    """The note is in the record now."""
    _file(deployment).unlink(missing_ok=True)


def _leave(deployment: Deployment, note: Note) -> None:
    file = _file(deployment)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".tmp")
    with draft.open("wb") as handle:
        handle.write(orjson.dumps({"actor": note.actor, "reason": note.reason, "at": note.at}))
        handle.flush()
        os.fsync(handle.fileno())
    draft.replace(file)


def _file(deployment: Deployment) -> Path:
    return Path(deployment.state) / "emergency" / deployment.environment / f"{deployment.component}.json"
