"""A worker on a real SQLite store and a virtual clock, in a world of fakes: a day passes in seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from crossfade.analysis.sources.port import Source
from crossfade.analysis.sources.router import RouterSource
from crossfade.config.model import Component, Deployment, Environment, Judge
from crossfade.config.strategies import Canary, Stage
from crossfade.core.clock import VirtualClock
from crossfade.core.errors import CrossfadeError
from crossfade.engine.control import Control
from crossfade.engine.runner import CarryOut, InlineRunner
from crossfade.engine.site import Site
from crossfade.engine.views import View
from crossfade.engine.worker import Worker
from crossfade.rollouts.rollout import Rollout
from crossfade.store import Store
from crossfade.testing.fake_router import FakeProxy, FakeRouter
from crossfade.testing.fake_runtime import FakeMachine, FakeRuntime
from patience import PATIENCE

START = 1_700_000_000.0
MINUTE, HOUR = 60.0, 3600.0


class VirtualWorld:
    """One target of fakes. `rates` are the error rates of the versions; `at(…)` happens at a time."""

    def __init__(self, place: Path, *, step: float = 5.0, rps: float = 2.0) -> None:
        self.clock = VirtualClock(at=START)
        self.proxy, self.machine = FakeProxy(self.clock), FakeMachine(self.clock)
        self.place, self.step, self.rps = place, step, rps
        self.store = Store.open(f"sqlite:///{place / 'state.db'}", clock=self.clock)
        self.control = Control(self.store)
        self.rates: dict[str, float] = {}
        self.settings: dict[str, object] = {}
        self.refusals: list[CrossfadeError] = []
        """What planned events were answered with."""
        self._idle = False
        self._owed = dict.fromkeys(("blue", "green"), 0.0)
        self._planned: list[tuple[float, Callable[[], object]]] = []

    def site(self, _: Deployment) -> Site:
        return Site(FakeRuntime(self.machine, "shop"), FakeRouter(self.proxy), "127.0.0.1:9")

    def source(self, deployment: Deployment, site: Site, rollout: Rollout) -> Source:
        return RouterSource(site.router, stable=rollout.old, bucket=deployment.settings.judge.bucket)

    async def close(self) -> None:
        pass

    def deployment(self) -> Deployment:
        settings = {
            "strategy": Canary(steps=(Stage(weight=500), Stage(weight=5000)), watch=10 * MINUTE, final_watch=0, hold=0),
            "judge": Judge(bucket=60, warmup=0, latency=False, blind_after=180),
            **self.settings,
        }
        return Deployment(
            project="p",
            component="shop",
            environment="production",
            root=str(self.place),
            state=str(self.place),
            workload=Component(command=("serve",)),
            instances=2,
            settings=Environment(**settings),
        )

    def deploy(self, version: str) -> str:
        self.clock.advance(1)  # rollouts of the same millisecond have no order
        return self.control.deploy(self.deployment(), version, actor="ada").rollout.id

    def at(self, seconds: float, happens: Callable[[], object]) -> None:
        """Plan something for `seconds` after now."""
        self._planned.append((self.clock.now() + seconds, happens))
        self._planned.sort(key=lambda each: each[0])

    async def run(self, rollout: str, *, most: float = 48 * HOUR) -> View:
        """Work until the rollout has ended, or `most` seconds have passed."""
        end = self.clock.now() + most

        looked = 0.0

        def over() -> bool:
            nonlocal looked
            if self.clock.now() == looked:
                return False  # it is asked several times at each time, and reading the rollout is not cheap
            looked = self.clock.now()
            row = self.store.rollout(rollout)
            gone = row is None and self.store.waiting_release(rollout) is None
            return gone or (row is not None and row.rollout.finished) or self.clock.now() > end

        await self.work(over)
        assert self.refusals == []
        return self.control.view(rollout)

    async def work(self, over: Callable[[], bool]) -> None:
        """Have a worker work until `over()`."""

        def make(store: Store, work: CarryOut, _: str) -> InlineRunner:
            return InlineRunner(store, work)

        worker = Worker(self.place, sites=self, runner=make, clock=self.clock, wait=lambda _: self._pass(worker))
        async with asyncio.timeout(PATIENCE):
            await worker.run(until=over)

    def _pass(self, worker: Worker) -> None:
        """Time passes only while nobody is at work, and nothing is due.

        What ended its work since the worker last asked may be due again: so it asks once more, and finds nobody either.
        """
        if worker.busy:
            self._idle = False
            time.sleep(0.001)  # else asking again and again would take the processor from whoever is at work
            return
        self._idle = not self._idle
        if self._idle:
            return
        while self._planned and self._planned[0][0] <= self.clock.now():
            try:
                self._planned.pop(0)[1]()
            except CrossfadeError as error:  # the worker takes it for its database's
                self.refusals.append(error)
        self._serve()
        self.clock.advance(self.step)

    def _serve(self) -> None:
        """Visitors come, to both slots by weight."""
        routes = self.proxy.routes
        if routes is None or self.proxy.down:
            return
        for slot in ("blue", "green"):
            self._owed[slot] += self.rps * self.step * routes.weight(slot) / 10_000
            count = int(self._owed[slot])
            self._owed[slot] -= count
            version = next((i.version for i in self.machine.seen() if i.slot == slot), "")
            bad = round(count * self.rates.get(version, 0.0))
            if count:
                self.proxy.serve(slot, {200: count - bad, 500: bad})
