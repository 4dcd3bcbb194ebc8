"""The way back when even the database is away: the traffic first, the record as soon as it answers."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from crossfade.cli.place import Place
from crossfade.core.errors import CrossfadeError, ExitCode
from crossfade.core.ids import is_id

if TYPE_CHECKING:
    from crossfade.config.model import Deployment


def return_without_state(
    place: Place, component: str | None, environment: str | None, reason: str, error: CrossfadeError
) -> int:
    """Return the traffic of a target to its trusted version with nothing but crossfade.yaml and the router.

    Raises `error` itself for anything but a fault of the store. Exits with 5: the traffic is back, but what
    remains (the record, draining, stopping) waits for the database.
    """
    if not error.code.startswith("store."):
        raise error
    named = None if component is None or is_id(component, "ro") else component
    deployment = place.deployment(*place.choose_by_file(named, environment))
    where = f"{deployment.component} in {deployment.environment}"
    place.printer.note(f"{error.what}: going back without it")
    slot = asyncio.run(_return(place, deployment, reason))
    if place.printer.as_json:
        place.printer.document({"component": deployment.component, "environment": deployment.environment, "slot": slot})
    place.printer.line(f"↩ the trusted version of {where} ({slot}) has all of the traffic")
    place.printer.line("  still to do  draining, stopping and the record: a worker does them once the database answers")
    return ExitCode.UNREACHABLE


async def _return(place: Place, deployment: Deployment, reason: str) -> str:
    from crossfade.engine.emergency import Note, return_traffic  # noqa: PLC0415 - heavy
    from crossfade.engine.site import RealSites  # noqa: PLC0415 - heavy

    note = Note(place.actor, reason or f"abort by {place.actor}, while the database was away", time.time())
    return await return_traffic(deployment, RealSites().site(deployment), note)
