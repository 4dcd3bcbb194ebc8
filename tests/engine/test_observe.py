"""What one look hears: the warm-up is left out of the comparison."""

from __future__ import annotations

from dataclasses import replace

from crossfade.analysis.sources.router import RouterSource
from crossfade.config.model import Environment, Judge
from crossfade.config.strategies import Canary
from crossfade.core.clock import VirtualClock
from crossfade.engine.observe import Observer
from crossfade.engine.site import Site
from crossfade.rollouts.plan import compile_plan
from crossfade.rollouts.rollout import Terms, begin
from crossfade.testing.fake_router import FakeProxy, FakeRouter
from crossfade.testing.fake_runtime import FakeMachine, FakeRuntime
from store_samples import deployment


class FakeSites:
    def __init__(self, clock):
        self.proxy = FakeProxy(clock)
        self.machine = FakeMachine(clock)

    def site(self, _):
        return Site(FakeRuntime(self.machine), FakeRouter(self.proxy), "127.0.0.1:1")

    def source(self, deployment, site, rollout):
        return RouterSource(site.router, stable=rollout.old, bucket=deployment.settings.judge.bucket)


async def observed_after(seconds, *, warmup, bad=1):
    """What is observed after `seconds` at 5 %, in which `bad` of ten requests of the canary have failed in each second."""
    clock = VirtualClock(1000.0)
    sites = FakeSites(clock)
    strategy, judge = Canary(), Judge(warmup=warmup, latency=False)
    where = deployment().model_copy(update={"settings": Environment(strategy=strategy, judge=judge)})
    plan = compile_plan(strategy, "api", "production", "1.1.0", previous="1.0.0")
    start = begin("ro_1", plan, Terms.of(where), slot="green", fence=0, salt=7, now=1000.0)
    watching = replace(start, share=500, step=3, since=1000.0, stages=((1000.0, 500),))
    observer = Observer(sites, where, watching, ())
    for _ in range(seconds):
        sites.proxy.serve("blue", {200: 190})
        sites.proxy.serve("green", {200: 10 - bad, 500: bad})
        clock.advance(1.0)
        observed, _ = await observer.look(watching, clock.now(), commands=(), outcomes={})
    return observed


async def found_after(seconds, **scene):
    return (await observed_after(seconds, **scene)).finding


async def test_nothing_is_compared_within_the_warm_up_and_the_guard_stays_on():
    found = await found_after(20, warmup=20.0)
    assert found.canary_requests == 200
    assert next(e.value for e in found.evidence if e.test == "combined") == 1.0
    outage = await found_after(15, warmup=20.0, bad=10)
    assert (outage.verdict, outage.cause) == ("fail", "guard")


async def test_what_follows_the_warm_up_is_compared():
    assert (await found_after(60, warmup=20.0)).verdict == "fail"


async def test_without_a_warm_up_the_first_bucket_counts():
    assert (await found_after(20, warmup=0.0)).verdict == "fail"


async def test_the_end_of_the_next_bucket_is_told():
    assert (await observed_after(7, warmup=0.0)).next_bucket_at == 1010.0
