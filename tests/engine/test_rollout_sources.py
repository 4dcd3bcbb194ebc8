"""Every kind of metric that the file may name becomes a source; what is away is told, and nothing else is asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from crossfade.analysis.sources.named import NamedSource
from crossfade.analysis.sources.router import RouterSource
from crossfade.config.load import load_text, resolve
from crossfade.core.clock import VirtualClock
from crossfade.engine.sources import Sources
from crossfade.rollouts.plan import compile_plan
from crossfade.rollouts.rollout import Terms, begin
from crossfade.testing.fake_router import FakeProxy, FakeRouter
from crossfade.testing.fake_runtime import FakeMachine, FakeRuntime
from free_ports import free_port
from patience import PATIENCE

HEAD = 'project: shop\ncomponents: {web: {command: [serve, "{port}"]}}\nenvironments:\n  live:\n'
NOW = 1_700_000_000.0


async def told(text):
    """What the first look at a rollout of 1.1.0 tells, where nobody is there to be asked."""
    where = resolve(load_text(HEAD + text, Path("/srv/shop/crossfade.yaml")), "web", "live")
    plan = compile_plan(where.settings.strategy, "web", "live", "1.1.0", previous="1.0.0")
    rollout = begin("ro_1", plan, Terms.of(where), slot="green", fence=0, salt=7, now=NOW)
    clock, sources = VirtualClock(NOW), Sources()
    router, runtime = FakeRouter(FakeProxy(clock)), FakeRuntime(FakeMachine(clock))
    try:
        source = sources.source(where, router, runtime, rollout)
        async with asyncio.timeout(PATIENCE):  # only against a hang
            while True:
                reading = await source.read(NOW - 10, now=NOW)
                if not any("not answered yet" in why for why in reading.unknown.values()):
                    return source, reading
    finally:
        await sources.close()


@pytest.fixture
def nobody():
    return f"http://127.0.0.1:{free_port()}"


async def test_every_kind_is_built_and_says_why_it_knows_nothing(nobody, monkeypatch):
    for name in ("DD_API_KEY", "SHOP_DATABASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    kinds = {
        "cpu": ("{kind: cpu}", "does not tell what its instances use"),
        "memory": ("{kind: memory}", "does not tell what its instances use"),
        "panics": ("{kind: logs, pattern: panic}", "the logs are still being read"),
        "sales": (f'{{kind: http, url: "{nobody}/of/{{version}}"}}', f"{nobody}/of/1.1.0 cannot be asked"),
        "connections": ("{kind: postgresql, url: SHOP_DATABASE}", "variable SHOP_DATABASE is not set"),
        "queue": (f"{{kind: prometheus, url: '{nobody}', query: queue}}", "Prometheus cannot be asked"),
        "heap": ("{kind: datadog, query: 'avg:heap{*}'}", "variable DD_API_KEY is not set"),
        "load": (
            f"{{kind: cloudwatch, region: eu-central-1, namespace: A, metric: b, endpoint: '{nobody}'}}",
            "CloudWatch cannot be asked",
        ),
    }
    named = "".join(f"        {name}: {kind}\n" for name, (kind, _) in kinds.items())
    rules = "".join(f"      - {name} > 1 over 5m -> notify\n" for name in kinds)
    source, reading = await told(f"    metrics:\n      kind: router\n      named:\n{named}    rules:\n{rules}")
    assert isinstance(source, NamedSource)
    assert reading.named == {}
    for name, (_, why) in kinds.items():
        assert why in reading.unknown["canary", name]
    assert "s3cret" not in str(reading)
    assert reading.counted == {"panics"}


async def test_a_metric_that_no_rule_is_about_is_not_asked_for(nobody):
    source, _ = await told(
        f"    metrics:\n      kind: router\n      named:\n        m: {{kind: http, url: '{nobody}'}}\n"
    )
    assert isinstance(source, RouterSource)


async def test_a_bare_query_is_asked_of_the_server_that_counts_with_its_credentials(nobody, monkeypatch):
    monkeypatch.delenv("PROMETHEUS_TOKEN", raising=False)
    _, reading = await told(
        f"""    metrics:
      kind: prometheus
      url: {nobody}
      requests: a{{version="{{version}}"}}
      errors: b{{version="{{version}}"}}
      bearer: PROMETHEUS_TOKEN
      named: {{m: "sum(c)", other: {{kind: prometheus, url: "{nobody}", query: d}}}}
    rules: [m > 1 over 1m -> notify, other > 1 over 1m -> notify]
"""
    )
    assert "PROMETHEUS_TOKEN is not set" in reading.detail
    assert "PROMETHEUS_TOKEN is not set" in reading.unknown["canary", "m"]
    assert "Prometheus cannot be asked" in reading.unknown["canary", "other"]
