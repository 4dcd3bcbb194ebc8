"""What the engine looks at in its benchmarks, all in memory, and rollouts that are under way in it."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from crossfade.analysis.sources.port import Reading, Source
from crossfade.analysis.values import ArmSample, Sample
from crossfade.config.model import Component, Deployment, Environment, Judge
from crossfade.config.strategies import Canary, Stage
from crossfade.core.clock import Clock
from crossfade.engine.carry_out import carry_out
from crossfade.engine.site import Site
from crossfade.rollouts.decide import decide
from crossfade.rollouts.plan import compile_plan
from crossfade.rollouts.rollout import Observed, Outcome, Rollout, Terms, begin
from crossfade.runtimes.port import Release
from crossfade.store import Store, Target, Turn, queries
from crossfade.store.encoding import rollout_values
from crossfade.testing.fake_router import FakeProxy, FakeRouter
from crossfade.testing.fake_runtime import FakeMachine, FakeRuntime
from crossfade.traffic.port import Slot

BUCKET = 10.0
DAY = 86_400.0


class SteadySource:
    """A metric source that always has the next buckets of a healthy service of 100 requests/s."""

    async def read(
        self,
        since: float,
        *,
        now: float,
        warm_from: float | None = None,  # noqa: ARG002 - a source's signature
        until: float | None = None,
    ) -> Reading:
        """All whole buckets from `since` to `now`, or to the change of weight at `until`."""
        end = now if until is None else min(now, until)
        samples, at = [], since
        while at + BUCKET <= end:
            samples.append(Sample(at, BUCKET, ArmSample(950, 0), ArmSample(50, 0)))
            at += BUCKET
        return Reading(tuple(samples), now, max(at, end) if until is not None else at)


class MemorySites:
    """A site for each component; `hold` names a file that keeps instances from starting while it is there."""

    def __init__(self, clock: Clock, hold: Path | None = None) -> None:
        self._clock = clock
        self._hold = hold
        self._sites: dict[str, Site] = {}

    def site(self, deployment: Deployment) -> Site:
        """The site, with the trusted version running in blue."""
        if deployment.component not in self._sites:
            machine = FakeMachine(self._clock)
            machine.launch("blue", Release("1.0.0", deployment.workload), 0, "api-blue-0")
            runtime = HeldRuntime(machine, self._hold) if self._hold else FakeRuntime(machine)
            self._sites[deployment.component] = Site(runtime, FakeRouter(FakeProxy(self._clock)), "127.0.0.1:0")
        return self._sites[deployment.component]

    def source(self, _deployment: Deployment, _site: Site, _rollout: Rollout) -> Source:
        """Counts without end."""
        return SteadySource()

    async def close(self) -> None:
        """Nothing is held."""


class HeldRuntime(FakeRuntime):
    """A runtime whose starts take as long as a file is there."""

    def __init__(self, machine: FakeMachine, hold: Path) -> None:
        super().__init__(machine)
        self._hold = hold

    async def start(self, slot: Slot, release: Release, count: int) -> None:
        """Say that it has begun, and wait."""
        self._hold.with_suffix(".begun").touch()
        while self._hold.exists():  # noqa: ASYNC110 - another process takes it away
            await asyncio.sleep(0.005)
        await super().start(slot, release, count)


def deployment_of(component: str, strategy: Canary) -> Deployment:
    return Deployment(
        project="shop",
        component=component,
        environment="production",
        root="/srv/shop",
        state=tempfile.gettempdir(),
        workload=Component(command=("serve",)),
        instances=1,
        settings=Environment(strategy=strategy, judge=Judge(bucket=BUCKET, warmup=0)),
    )


LONG_WATCH = Canary(steps=(Stage(weight=500, watch=100 * DAY), Stage(weight=5000)))


async def at_five_percent(sites: MemorySites, deployment: Deployment, rollout_id: str, now: float) -> Rollout:
    """A rollout that was brought to its first watch, without a store."""
    strategy = deployment.settings.strategy
    plan = compile_plan(strategy, deployment.component, "production", "1.1.0", previous="1.0.0")
    rollout = begin(rollout_id, plan, Terms.of(deployment), slot="green", fence=0, salt=7, now=now)
    site, outcomes = sites.site(deployment), dict[str, Outcome]()
    while rollout.current is None or rollout.current.kind != "watch":
        observed = Observed(await site.runtime.observe(), await site.router.observe(), outcomes=outcomes)
        decision = decide(rollout, observed, now)
        for action in decision.actions:
            outcomes[action.id] = await carry_out(action, site, deployment, lambda _: deployment.workload)
        rollout = decision.rollout
    return rollout


def trust(store: Store, deployment: Deployment) -> None:
    """Make 1.0.0 the trusted version, as a finished first rollout does."""
    plan = compile_plan(LONG_WATCH, deployment.component, "production", "1.0.0", previous=None)
    rollout_id = f"first-{deployment.component}"
    first = begin(rollout_id, plan, Terms.of(deployment), slot="blue", fence=0, salt=1, now=store.now())
    store.create(first, deployment, "benchmark")
    claims = [claim for claim in store.claim("benchmark", limit=10, lease=5) if claim.rollout.id == rollout_id]
    done = replace(first, status="done", finished_at=store.now())
    target = Target(deployment.component, "production", "1.0.0", "blue")
    store.write([Turn(done, claims[0].lease_fence, store.now(), target=target)])


def fill(store: Store, begun: list[tuple[Rollout, Deployment]]) -> None:
    """Put in many rollouts at once, which the store's own methods do one by one."""

    def work(connection: sa.Connection) -> None:
        for rollout, deployment in begun:
            queries.insert_rollout(connection, rollout_values(rollout, deployment, "benchmark"), answered=0)
            here = {"component": deployment.component, "environment": deployment.environment}
            queries.raise_fence(connection, {**here, "fence": rollout.fence})
            queries.trust(connection, {**here, "version": "1.0.0", "slot": "blue", "previous": None})

    store._database.write(work)  # noqa: SLF001 - see above
