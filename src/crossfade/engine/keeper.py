"""What was released stays: every target in which no rollout is under way is looked at, and mended where it must be.

After a restart of the machine nothing runs, neither instances nor a proxy of ours: a worker that starts brings back what
is trusted. It does the same for a container that somebody removed, and for a proxy that was emptied.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from crossfade.core.clock import Clock
from crossfade.core.errors import CrossfadeError
from crossfade.engine.carry_out import carry_out
from crossfade.engine.site import Site, Sites
from crossfade.engine.workloads import workload_of
from crossfade.rollouts.keeping import Repair, repair
from crossfade.rollouts.rollout import Event, Observed
from crossfade.runtimes.port import Instance
from crossfade.store import Incident, Kept, RolloutRow, Store
from crossfade.store.keeping import EVERY
from crossfade.traffic.port import SLOTS

LEASE = 30.0
"""Seconds for one look and what it mends; a worker that dies in the middle is replaced after them."""
_LONGEST = 0.8 * LEASE
_ASK_EVERY = 1.0
_EACH_SECOND = 10
"""Looks that are begun in a second: one through a real proxy costs some 10 ms of the processor."""
_MENDING = 32
"""The same while something is missing, as after a restart of the machine."""
_MENDS_FOR = 5.0
_FIRST_PAUSE = 0.5
_REMEMBERED = 1000

_log = logging.getLogger(__name__)
InThread = Callable[..., Awaitable[Any]]


class Keeper:
    """Looks after targets for one worker."""

    def __init__(self, worker: str, store: Store, sites: Sites, clock: Clock, in_thread: InThread) -> None:
        self._worker, self._store, self._sites = worker, store, sites
        self._clock, self._in_thread = clock, in_thread
        self._asked_at = -math.inf
        self._looking: set[asyncio.Task[None]] = set()
        self._missed_at = -math.inf
        """When a look last found that something is missing."""
        self._rows: dict[str, RolloutRow] = {}

    @property
    def busy(self) -> bool:
        """Whether something is being looked at."""
        return bool(self._looking)

    async def claim(self, ask: InThread) -> None:
        """Begin to look at what is due. Asks the store once a second, by `ask`, since that may take long."""
        if 0 <= self._clock.now() - self._asked_at < _ASK_EVERY:
            return
        self._asked_at = self._clock.now()
        is_mending = 0 <= self._clock.now() - self._missed_at < _MENDS_FOR
        room = (_MENDING if is_mending else _EACH_SECOND) - len(self._looking)
        if room <= 0:
            return
        try:
            found = await ask(self._store.keeping.claim, self._worker, limit=room, lease=LEASE)
        except CrossfadeError as error:
            _log.warning("what is trusted was not looked after: %s", error.what)
            return
        except Exception:  # noqa: BLE001 - it must not stop the rollouts
            _log.exception("what is trusted could not be looked after, in a way that was not foreseen")
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
        error = ""
        try:
            async with asyncio.timeout(_LONGEST):
                found, error = await self._keep(kept)
        except (TimeoutError, CrossfadeError) as fault:
            found, error = Repair("nobody knows what is missing"), str(fault) or f"it took more than {_LONGEST:g} s"
        except Exception as fault:  # noqa: BLE001 - one target's fault must not stop the others
            _log.exception("a look at %s failed in a way that was not foreseen", _name(kept))
            found, error = Repair("a look failed"), f"{type(fault).__name__}: {fault}"
        incident, events = note(kept, found, error)
        if incident is not None:
            self._missed_at = self._clock.now()
        try:
            await self._in_thread(
                self._store.keeping.done, kept, wake_in=_pause(incident), incident=incident, events=events
            )
        except CrossfadeError as fault:
            _log.warning("%s could not be given back yet: %s", _name(kept), fault.what)  # its lease ends by itself

    async def _keep(self, kept: Kept) -> tuple[Repair, str]:
        """What was missing, and why it still is, where it could not be mended."""
        row = await self._row(kept.rollout)
        if row is None or not row.rollout.finished:
            return Repair("nothing is known of what was released"), ""
        site = self._sites.site(row.deployment)
        if kept.retiring:
            return await _end(site)
        (instances, error), router = await asyncio.gather(_instances(site), site.router.observe())
        found = repair(
            row.rollout,
            Observed(instances, router),
            fence=kept.target.fence,
            scaled_by_others=row.deployment.settings.runtime.scaled_by_others,
        )
        for action in found.actions:
            workload = await self._in_thread(workload_of, self._store, row, action.version)
            outcome = await carry_out(action, site, row.deployment, {action.version: workload}.get)
            error = error or outcome.error
        return found, error

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


def note(kept: Kept, found: Repair, error: str) -> tuple[Incident | None, tuple[Event, ...]]:
    """What is known from now on, and what people should read: that something is missing, or that all is well again.

    >>> from crossfade.store import Target
    >>> kept = Kept(Target("api", "production", "1.0.0"), "ro_1", at=100.0, until=130.0)
    >>> incident, events = note(kept, Repair("0 of 2 instances of 1.0.0 are there", told=True), "")
    >>> [(event.kind, event.text) for event in events]
    [('target.repair', '0 of 2 instances of 1.0.0 are there')]
    >>> note(replace(kept, at=103.0, incident=incident), Repair(), "")[1][0].data
    {'seconds': 3.0}
    """
    before = kept.incident
    if kept.retiring and not found.missing:
        text = f"nothing of {kept.target.previous} runs there any more" + (f"; {error}" if error else "")
        return None, (Event("target.down", text),)
    if not found.missing:
        if before is None or not before.said:
            return None, ()
        lasted = round(max(0.0, kept.at - before.since), 3)
        return None, (Event("target.whole", f"{kept.target.version} is whole again", data={"seconds": lasted}),)
    incident = before or Incident(kept.at)
    said = error if found.missing in error else ": ".join(filter(None, (found.missing, error)))
    is_news = said != incident.said if error else found.told and not incident.said
    incident = replace(incident, looks=incident.looks + 1, said=said if is_news else incident.said)
    if not is_news:
        return incident, ()
    kind = "target.failing" if error else "target.repair"
    return incident, (Event(kind, said, data={"version": kept.target.version}),)


def _pause(incident: Incident | None) -> float:
    """Soon again while something is missing, and less often the longer it goes on."""
    return EVERY if incident is None else min(_FIRST_PAUSE * 2.0 ** min(incident.looks - 1, 10), EVERY)


async def _end(site: Site) -> tuple[Repair, str]:
    """End all that is there, visitors' way to it first; what is left is ended at the next look.

    A router that cannot be told keeps nothing from its end: it leads to nobody then.
    """
    error = ""
    try:
        await site.router.close()
    except (CrossfadeError, OSError) as fault:
        error = f"the router could not be told: {fault}"
    for slot in SLOTS:
        await site.runtime.stop(slot)
    left = [each.id for each in await site.runtime.observe() if each.state != "gone"]
    return (Repair(f"{', '.join(left)} has still to end") if left else Repair()), error


async def _instances(site: Site) -> tuple[tuple[Instance, ...] | None, str]:
    """What there is, or why it cannot be known."""
    try:
        return await site.runtime.observe(), ""
    except CrossfadeError as error:
        return None, str(error)


def _name(kept: Kept) -> str:
    return f"{kept.target.component} in {kept.target.environment}"
