"""The router's own counts as a source: what goes through it is what it counted."""

from __future__ import annotations

import math

from crossfade.analysis.buckets import samples
from crossfade.analysis.sources.port import Reading
from crossfade.core.errors import UnreachableError
from crossfade.traffic.port import Router, Slot


class RouterSource:
    """Counts of one target, read from its router.

    `stable` is the slot of the trusted version; `bucket` is `Judge.bucket` in seconds.
    """

    def __init__(self, router: Router, *, stable: Slot, bucket: float) -> None:
        self._router = router
        self._stable = stable
        self._bucket = bucket

    async def read(
        self, since: float, *, now: float, warm_from: float | None = None, until: float | None = None
    ) -> Reading:
        """Complete buckets that start at or after `since`; see `port.Source`."""
        try:
            counts = await self._router.counts(since)
        except UnreachableError as error:
            return Reading((), None, since, str(error))
        if counts.alive_at is None:
            return Reading((), None, since, "the router has no counts")
        made = samples(
            counts,
            stable=self._stable,
            since=since,
            seconds=self._bucket,
            warm_from=-math.inf if warm_from is None else warm_from,
            until=until,
        )
        read_to = made[-1].at + made[-1].seconds if made else since
        return Reading(made, min(counts.alive_at, now), read_to)
