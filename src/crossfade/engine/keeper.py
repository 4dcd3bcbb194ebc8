"""What was released stays: every target in which no rollout is under way is looked at, and mended where it must be.

After a restart of the machine nothing runs, neither instances nor a proxy of ours: a worker that starts brings back what
is trusted. It does the same for a container that somebody removed, and for a proxy that was emptied.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from crossfade.core.clock import Clock
from crossfade.core.errors import CrossfadeError
from crossfade.engine.carry_out import carry_out
from crossfade.engine.site import Site, Sites
from crossfade.engine.workloads import workload_of
from crossfade.rollouts.keeping import Repair, repair
from crossfade.rollouts.rollout import Event, Observed
from crossfade.runtimes.port import Instance
from crossfade.store import Kept, RolloutRow, Store
from crossfade.store.keeping import EVERY

LEASE = 30.0
"""Seconds for one look and what it mends; a worker that dies in the middle is replaced after them."""
_LONGEST = 0.8 * LEASE
_ASK_EVERY = 1.0
_AT_ONCE = 32
"""Targets that are looked at side by side, and at most this many each second: they wait for rollouts, not the reverse."""
_FIRST_PAUSE = 0.5
_REMEMBERED = 1000

_log = logging.getLogger(__name__)
InThread = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class _Incident:
    """Something is missing: since when, for how many looks, and what was said of it last."""

    since: float
    looks: int = 0
    said: str = ""


class Keeper:
    """Looks after targets for one worker."""

    def __init__(self, worker: str, store: Store, sites: Sites, clock: Clock, in_thread: InThread) -> None:
        self._worker, self._store, self._sites = worker, store, sites
        self._clock, self._in_thread = clock, in_thread
        self._asked_at = -math.inf
        self._looking: set[asyncio.Task[None]] = set()
        self._incidents: dict[tuple[str, str], _Incident] = {}
        self._rows: dict[str, RolloutRow] = {}

    @property
    def busy(self) -> bool:
        """Whether something is being looked at."""
        return bool(self._looking)

    async def claim(self) -> None:
        """Begin to look at what is due; asks once a second."""
        if 0 <= self._clock.now() - self._asked_at < _ASK_EVERY:
            return
        self._asked_at = self._clock.now()
        room = _AT_ONCE - len(self._looking)
        if not room:
            return
        try:
            found = await self._in_thread(self._store.keeping.claim, self._worker, limit=room, lease=LEASE)
        except CrossfadeError as error:
            _log.warning("what is trusted was not looked after: %s", error.what)
            return
        for kept in found:
            task = asyncio.create_task(self._look(kept))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)

    async def stop(self) -> None:
        """End the looks; what was begun is safe to be done again."""
        for task in self._looking:
            task.cancel()
        await asyncio.gather(*self._looking, return_exceptions=True)

    async def _look(self, kept: Kept) -> None:
        try:
            async with asyncio.timeout(_LONGEST):
                found, events = await self._keep(kept)
        except TimeoutError:
            found = Repair(f"it took more than {_LONGEST:g} s", told=True)
            events = self._note(kept, found, error="it took too long")
        except CrossfadeError as error:
            found = Repair(error.what, told=True)
            events = self._note(kept, found, error=str(error))
        except Exception as error:  # noqa: BLE001 - one target's fault must not stop the others
            _log.exception("a look at %s failed in a way that was not foreseen", _name(kept))
            found = Repair(type(error).__name__, told=True)
            events = self._note(kept, found, error=f"{type(error).__name__}: {error}")
        try:
            await self._in_thread(self._store.keeping.done, kept, wake_in=self._pause(kept, found), events=events)
        except CrossfadeError as error:
            _log.warning("%s could not be given back yet: %s", _name(kept), error.what)  # its lease ends by itself

    async def _keep(self, kept: Kept) -> tuple[Repair, tuple[Event, ...]]:
        row = await self._row(kept.rollout)
        if row is None or not row.rollout.finished:
            return Repair(), ()
        site = self._sites.site(row.deployment)
        instances, router = await asyncio.gather(_instances(site), site.router.observe())
        found = repair(row.rollout, Observed(instances, router), fence=kept.target.fence)
        error = ""
        for action in found.actions:
            workload = await self._in_thread(workload_of, self._store, row, action.version)
            outcome = await carry_out(action, site, row.deployment, {action.version: workload}.get)
            error = error or outcome.error
        return found, self._note(kept, found, error=error)

    async def _row(self, rollout: str) -> RolloutRow | None:
        """What ended last in a target; it never changes."""
        known = self._rows.get(rollout)
        if known is not None:
            return known
        row: RolloutRow | None = await self._in_thread(self._store.rollout, rollout)
        if row is not None and row.rollout.finished:
            if len(self._rows) >= _REMEMBERED:
                self._rows.clear()
            self._rows[rollout] = row
        return row

    def _note(self, kept: Kept, found: Repair, *, error: str) -> tuple[Event, ...]:
        """What people should read: that something is missing, what cannot be mended, and that all is well again."""
        key, now = (kept.target.component, kept.target.environment), self._clock.now()
        before = self._incidents.get(key)
        if not found.missing:
            if self._incidents.pop(key, None) is None or not before or not before.said:
                return ()
            text = f"{kept.target.version} is whole again"
            return (Event("target.whole", text, data={"seconds": round(max(0.0, now - before.since), 3)}),)
        incident = before or _Incident(now)
        said = f"{found.missing}: {error}" if error else incident.said or found.missing
        is_news = (found.told or bool(error)) and said != incident.said
        self._incidents[key] = replace(incident, looks=incident.looks + 1, said=said if is_news else incident.said)
        if not is_news:
            return ()
        kind = "target.failing" if error else "target.repair"
        return (Event(kind, said, data={"version": kept.target.version}),)

    def _pause(self, kept: Kept, found: Repair) -> float:
        """Soon again while something is missing, and less often the longer it goes on."""
        incident = self._incidents.get((kept.target.component, kept.target.environment))
        if not found.missing or incident is None:
            return EVERY
        return float(min(_FIRST_PAUSE * 2 ** min(incident.looks - 1, 10), EVERY))


async def _instances(site: Site) -> tuple[Instance, ...] | None:
    try:
        return await site.runtime.observe()
    except CrossfadeError:
        return None


def _name(kept: Kept) -> str:
    return f"{kept.target.component} in {kept.target.environment}"
