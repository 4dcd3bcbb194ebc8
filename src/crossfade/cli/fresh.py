"""A look at the world of this very moment, for what no engine looks at: a rollout that has ended or was left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from crossfade.core.errors import CrossfadeError

if TYPE_CHECKING:
    from crossfade.engine.views import View
    from crossfade.runtimes.port import Instance, Runtime
    from crossfade.traffic.port import RouterView

_PATIENCE = 3.0


def refresh(views: Sequence[View | None], *, watched: bool) -> list[View | None]:
    """The same views, those that nobody keeps up to date seen anew."""
    return asyncio.run(_refresh(views, watched=watched))


def look_now(view: View) -> View:
    """The same view, seen anew, whoever keeps it up to date."""
    return asyncio.run(_look(view))


async def _refresh(views: Sequence[View | None], *, watched: bool) -> list[View | None]:
    async def one(view: View | None) -> View | None:
        kept = view is None or (watched and not view.rollout.finished)
        return view if kept or view is None else await _look(view)

    return list(await asyncio.gather(*(one(view) for view in views)))


async def _look(view: View) -> View:
    from crossfade.engine.seen import Seen  # noqa: PLC0415 - heavy
    from crossfade.engine.site import RealSites  # noqa: PLC0415 - heavy
    from crossfade.traffic.port import RouterView  # noqa: PLC0415 - after the door

    async def router() -> RouterView:
        try:
            async with asyncio.timeout(_PATIENCE):
                return await site.router.observe()
        except (CrossfadeError, TimeoutError) as error:
            return RouterView(reachable=False, detail=str(error) or f"no answer within {_PATIENCE:g} s")

    async def instances() -> tuple[Instance, ...] | None:
        try:
            async with asyncio.timeout(_PATIENCE):
                return await site.runtime.observe()
        except (CrossfadeError, TimeoutError):
            return None

    site = RealSites().site(view.deployment)
    finding = view.seen.finding if view.seen is not None else None
    there, routed = await asyncio.gather(instances(), router())
    return replace(view, seen=Seen(there, routed, finding), seen_at=time.time())


def runtime_of(view: View) -> Runtime:
    """What runs the instances of a rollout's target."""
    from crossfade.engine.site import RealSites  # noqa: PLC0415 - heavy

    return RealSites().site(view.deployment).runtime
