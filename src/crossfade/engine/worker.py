"""The loop: claim what is due, look, decide, write, carry out.

Looks run side by side; what they lead to is written in batches by one writer, and only what was really
written is carried out. A rollback's shift is tried before anything is written: traffic first. While the
database is away, rollouts that this worker knows are still watched, and taken back if they must be.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import orjson

from crossfade.analysis.values import Sample
from crossfade.config.model import Component
from crossfade.core.clock import Clock, SystemClock
from crossfade.core.errors import CrossfadeError, UnreachableError
from crossfade.core.ids import make_id, random_entropy
from crossfade.engine import emergency
from crossfade.engine.address import database_address
from crossfade.engine.alone import Shift, may_need_return, urgent_shift, way_back
from crossfade.engine.carry_out import carry_out
from crossfade.engine.keeper import Keeper
from crossfade.engine.observe import Observer
from crossfade.engine.runner import ActionRunner, CarryOut
from crossfade.engine.seen import SEEN, Seen
from crossfade.engine.site import RealSites, Sites
from crossfade.engine.unwritten import Unwritten
from crossfade.engine.waiting import settle
from crossfade.engine.workloads import workload_of
from crossfade.rollouts.decide import decide
from crossfade.rollouts.rollout import Action, Decision, Event, Observed, Outcome
from crossfade.store import Claim, Store, Target, Turn

LEASE = 5.0
"""Seconds for one look; a worker that dies in the middle is replaced after them."""
_AT_ONCE = 256
"""Looks under way side by side."""
_BATCH = 64
"""Rollouts that are claimed, or written, in one transaction: a command that comes meanwhile waits for its end."""
_PATIENCE = 2.0
_FAULT_PAUSE = 5.0
_SETTLE_EVERY = 1.0
_SLOW = 1.0
"""Seconds from which a database that does not answer counts as away: it may still, and is waited for."""

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
MakeRunner = Callable[[Store, CarryOut, str], ActionRunner]
Wait = Callable[[Store], None]
"""Blocks while nothing is due, for a moment at most; called in a thread."""


def wait_for_work(store: Store) -> None:
    """Block until a rollout is woken or due."""
    store.wait_for_work(0.25)


def durable(store: Store, work: CarryOut, worker: str) -> ActionRunner:
    """Actions on DBOS."""
    from crossfade.engine.dbos_runner import DbosRunner  # noqa: PLC0415 - slow to import, and only engines need it

    return DbosRunner(store, work, worker=worker)


class Worker:
    """One engine. `sites`, `runner`, `clock` and `wait` are for tests and benchmarks.

    `clock` is also the clock of a SQLite store; a virtual one moves when `wait` lets it.
    """

    def __init__(
        self,
        state: Path,
        database_url: str | None = None,
        *,
        name: str | None = None,
        sites: Sites | None = None,
        runner: MakeRunner = durable,
        clock: Clock | None = None,
        wait: Wait = wait_for_work,
    ) -> None:
        self._clock = clock or SystemClock()
        self._wait = wait
        self._url = database_address(state, database_url)
        boot = make_id("w", self._clock.now(), random_entropy())
        self.name = f"{name or socket.gethostname()}-{os.getpid()}-{boot}"
        self._sites = sites or RealSites()
        self._make_runner = runner
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="crossfade-store")
        self._stop = asyncio.Event()
        self._observers: dict[str, Observer] = {}
        self._known: dict[str, Claim] = {}
        """Rollouts of ours as they are written: what is watched while the database is away."""
        self._unsaved: dict[str, list[Sample]] = {}
        self._looking: set[asyncio.Task[None]] = set()
        self._unwritten = Unwritten()
        self._keeper: Keeper | None = None
        self._settled_at = -math.inf

    def stop(self) -> None:
        """Finish the looks under way, then end."""
        self._stop.set()

    @property
    def busy(self) -> bool:
        """Whether looks are under way, or wait to be written."""
        return bool(self._looking or self._unwritten or (self._keeper is not None and self._keeper.busy))

    async def run(self, until: Callable[[], bool] | None = None) -> None:
        """Work until `stop`, SIGTERM, cancellation, or until `until()` is true (asked after every batch)."""
        done = until or (lambda: False)
        self._store = await self._in_thread(Store.open, self._url, clock=self._clock)
        try:
            if not await self._wait_for_place(done):
                return
            self._runner = self._make_runner(self._store, self._carry_out, self.name)
            with _on_sigterm(self.stop):
                await self._work(done)
        finally:
            await asyncio.shield(self._close())

    async def _work(self, done: Callable[[], bool]) -> None:
        await self._runner.start()
        await self._runner.recover()
        writer = asyncio.create_task(self._write_forever())
        keeper = self._keeper = Keeper(self.name, self._store, self._sites, self._clock, self._in_thread)
        try:
            while not self._stop.is_set() and not done():
                await self._settle()
                await keeper.claim(self._watching)
                await self._claim()
            await asyncio.gather(*self._looking, return_exceptions=True)
            await asyncio.wait_for(self._unwritten.join(), LEASE)
        except TimeoutError:
            _log.warning("ended with looks that could not be written; they are taken again by the next worker")
        finally:
            await keeper.stop()
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            await self._runner.stop()

    async def _wait_for_place(self, done: Callable[[], bool]) -> bool:
        while not await self._in_thread(self._store.take_place):
            if self._stop.is_set() or done():
                return False
            await self._clock.sleep(0.1)
        return True

    async def _close(self) -> None:
        with contextlib.suppress(CrossfadeError):
            await self._in_thread(self._store.leave, self.name)
        await self._sites.close()
        self._store.close()
        self._threads.shutdown(wait=False)

    async def _settle(self) -> None:
        """Start what waits: at first, when a rollout has ended, and once a second; hardly ever is there anything."""
        if 0 <= self._clock.now() - self._settled_at < _SETTLE_EVERY:
            return
        self._settled_at = self._clock.now()
        try:
            await self._watching(settle, self._store)
        except CrossfadeError as error:
            _log.warning("what waits was not looked at: %s", error.what)
        except Exception:  # noqa: BLE001 - one release's fault must not stop the others
            _log.exception("what waits could not be started, in a way that was not foreseen")

    # -- looking -------------------------------------------------------------------------------------

    async def _claim(self) -> None:
        room = min(_BATCH, _AT_ONCE - len(self._looking))
        try:
            claims = await self._watching(self._store.claim, self.name, limit=room, lease=LEASE) if room else []
        except CrossfadeError as error:
            _log.warning("the database is away: %s", error.what)
            await self._watch_alone()
            return
        for claim in claims:
            task = asyncio.create_task(self._look(claim))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)
        if not claims:
            with contextlib.suppress(CrossfadeError):
                await self._watching(self._wait, self._store)
        elif len(self._looking) >= _AT_ONCE:
            await asyncio.wait(self._looking, return_when=asyncio.FIRST_COMPLETED)

    async def _watching(self, work: Callable[..., _T], *arguments: Any, **named: Any) -> _T:
        """Work with the store; while it keeps us waiting, as a locked file does, we watch what we know."""
        working = asyncio.ensure_future(self._in_thread(work, *arguments, **named))
        while not (await asyncio.wait([working], timeout=_SLOW))[0]:
            await self._watch_alone()
        return working.result()

    async def _look(self, claim: Claim) -> None:
        self._known[claim.rollout.id] = claim
        try:
            turn = await self._turn(claim)
        except UnreachableError as error:
            _log.warning("%s: %s", claim.rollout.id, error.what)  # the lease ends by itself
            return
        except Exception as error:  # noqa: BLE001 - one rollout's fault must not stop the others
            _log.exception("a look at %s failed in a way that was not foreseen", claim.rollout.id)
            self._observers.pop(claim.rollout.id, None)
            fault = Event("engine.fault", f"a look failed: {type(error).__name__}: {error}")
            turn = Turn(claim.rollout, claim.lease_fence, claim.at + _FAULT_PAUSE, events=(fault,))
        self._unwritten.put(turn)

    async def _turn(self, claim: Claim) -> Turn:
        """One look, and what follows from it."""
        rollout = claim.rollout
        if await self._record_emergency(claim):
            return Turn(rollout, claim.lease_fence, claim.at)
        observer = self._observers.get(rollout.id) or await self._new_observer(claim)
        observed, samples = await observer.look(rollout, claim.at, commands=claim.commands, outcomes=claim.outcomes)
        observed = replace(observed, others=claim.others)
        decision = decide(rollout, observed, claim.at)
        await self._traffic_first(urgent_shift(decision), observer)
        unsaved = (*self._unsaved.pop(rollout.id, ()), *samples)
        return _turn_of(claim, decision, observed, unsaved)

    async def _new_observer(self, claim: Claim) -> Observer:
        known = await self._in_thread(self._store.samples, claim.rollout.id)
        observer = Observer(self._sites, claim.deployment, claim.rollout, known)
        self._observers[claim.rollout.id] = observer
        return observer

    def _remember(self, turn: Turn) -> None:
        """What is written is what we go on from."""
        rollout = turn.rollout
        if rollout.finished:
            self._forget(rollout.id)
            self._settled_at = -math.inf
        elif rollout.id in self._known:
            self._known[rollout.id] = replace(self._known[rollout.id], rollout=rollout)

    def _forget(self, rollout: str) -> None:
        self._observers.pop(rollout, None)
        self._known.pop(rollout, None)
        self._unsaved.pop(rollout, None)

    async def _traffic_first(self, shift: Shift | None, observer: Observer) -> None:
        """Try an urgent shift before anything is written; the durable action does it again and confirms."""
        if shift is None:
            return
        try:
            await asyncio.wait_for(observer.site.router.apply(shift.routes, fence=shift.fence), timeout=_PATIENCE)
        except (CrossfadeError, OSError, TimeoutError) as error:
            _log.warning("the router did not take an urgent shift yet: %s", str(error) or type(error).__name__)

    async def _record_emergency(self, claim: Claim) -> bool:
        """Whether traffic was returned without the database: then the command comes into the record first."""
        note = emergency.pending(claim.deployment)
        if note is None:
            return False
        if note.at >= claim.rollout.created_at:
            await self._in_thread(self._store.command, claim.rollout.id, "abort", note.actor, note.reason)
        emergency.recorded(claim.deployment)
        return True

    # -- writing -------------------------------------------------------------------------------------

    async def _write_forever(self) -> None:
        while True:
            batch = await self._unwritten.take(_BATCH)
            try:
                await self._write(batch)
            finally:
                self._unwritten.done(batch)

    async def _write(self, turns: list[Turn]) -> None:
        """Write; what could not be written is forgotten, and looked at again once its lease has ended."""
        try:
            written = await self._in_thread(self._store.write, turns)
        except CrossfadeError as error:
            _log.warning("a decision could not be written yet: %s", error.what)
            for turn in turns:
                self._unsaved.setdefault(turn.rollout.id, []).extend(turn.samples)
            return
        except Exception:  # noqa: BLE001 - one rollout's fault must not stop the others, nor end the writer
            if len(turns) > 1:
                for turn in turns:
                    await self._write([turn])
                return
            _log.exception("what a look at %s led to cannot be written", turns[0].rollout.id)
            self._forget(turns[0].rollout.id)
            return
        for turn in turns:
            if turn.rollout.id in written:
                self._remember(turn)
            else:  # another worker has it: what we remember of it is old
                self._forget(turn.rollout.id)
        await self._runner.submit([a for turn in turns if turn.rollout.id in written for a in turn.actions])

    # -- carrying out --------------------------------------------------------------------------------

    async def _carry_out(self, action: Action) -> Outcome:
        row = await self._in_thread(self._store.rollout, action.id.partition(":")[0])
        if row is None:
            return Outcome(ok=False, error="the rollout is not known", retry=False)
        workloads: dict[str, Component | None] = {}
        version = action.version if action.kind == "start" else action.proves
        if version:
            workloads[version] = await self._in_thread(workload_of, self._store, row, version)
        site = self._sites.site(row.deployment)
        return await carry_out(action, site, row.deployment, workloads.get)

    # -- without the database ------------------------------------------------------------------------

    async def _watch_alone(self) -> None:
        """Look at what we know; take back what must be taken back, and nothing else."""
        looks = [self._look_alone(claim) for claim in list(self._known.values())]
        for fault in await asyncio.gather(*looks, return_exceptions=True):
            if isinstance(fault, Exception):  # one rollout's fault must not stop the others
                _log.error("a look without the database failed in a way that was not foreseen", exc_info=fault)
        await self._clock.sleep(0.5)

    async def _look_alone(self, claim: Claim) -> None:
        observer, rollout = self._observers.get(claim.rollout.id), claim.rollout
        if observer is None or observer.looking or not may_need_return(rollout):
            return
        try:
            now = self._clock.now()
            observed, samples = await observer.look(rollout, now, commands=claim.commands, outcomes={})
        except (CrossfadeError, OSError) as error:
            _log.warning("%s: %s", rollout.id, error)
            return
        self._unsaved.setdefault(rollout.id, []).extend(samples)
        shift = way_back(rollout, replace(observed, others=claim.others), now)
        if shift is not None:
            _log.error("%s is taken back while the database is away: %s", rollout.id, shift.reason)
        await self._traffic_first(shift, observer)

    async def _in_thread(self, work: Callable[..., _T], *arguments: Any, **named: Any) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: work(*arguments, **named))


def _turn_of(claim: Claim, decision: Decision, observed: Observed, samples: tuple[Sample, ...]) -> Turn:
    seen = Seen(observed.instances, observed.router, observed.finding)
    return Turn(
        decision.rollout,
        claim.lease_fence,
        decision.wake_at,
        decision.actions,
        decision.events,
        seen=orjson.loads(SEEN.dump_json(seen)),
        samples=samples,
        target=_target(claim, decision),
    )


def _target(claim: Claim, decision: Decision) -> Target | None:
    """The target as it becomes, where the trusted version changes."""
    before, after = claim.rollout, decision.rollout
    plan = after.plan
    names = {"component": plan.component, "environment": plan.environment}
    trusts_new = after.turned_at is None and (after.promoted or after.status == "done")
    trusted_new = before.turned_at is None and (before.promoted or before.status == "done")
    if trusts_new and not trusted_new:
        return Target(**names, version=plan.version, slot=after.slot, previous=plan.previous, fence=after.fence)
    if trusted_new and not trusts_new:
        return Target(**names, version=plan.previous, slot=after.old, previous=plan.version, fence=after.fence)
    return None


@contextlib.contextmanager
def _on_sigterm(stop: Callable[[], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
