"""Datadog's documented API (`GET /api/v1/query`), answered by a server on this machine as the documentation has it."""

from __future__ import annotations

import httpx
import pytest
from answering_server import Answer, Server

from crossfade.analysis.sources.datadog import DatadogQuery
from crossfade.analysis.sources.named import Asked, NamedSource
from crossfade.analysis.sources.port import Reading, Series, Unknown
from crossfade.analysis.sources.templates import names
from crossfade.analysis.sources.web import Client
from crossfade.config.named_metrics import DatadogMetric

NOW = 1_700_000_065.0
KEYS = {"DD_API_KEY": "api-s3cret", "DD_APP_KEY": "app-s3cret"}
NAMES = names({"stable": "1.0.0", "canary": "1.1.0"}, component="web", environment="live")


def series(*points, interval=20, scope="version:1.1.0"):
    """One series as the API documents it: times in milliseconds, a null where there is no value."""
    return {
        "metric": "system.cpu.user",
        "display_name": "system.cpu.user",
        "scope": scope,
        "tag_set": [],
        "expression": f"avg:system.cpu.user{{{scope}}}",
        "aggr": "avg",
        "query_index": 0,
        "unit": None,
        "interval": interval,
        "length": len(points),
        "start": 1000 * points[0][0] if points else 0,
        "end": 1000 * points[-1][0] + 1000 * interval - 1 if points else 0,
        "pointlist": [[1000.0 * at, value] for at, value in points],
    }


def answered(*found, **more):
    return Answer({"status": "ok", "res_type": "time_series", "resp_version": 1, "series": list(found), **more})


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


async def asked(
    server, *, query="avg:system.cpu.user{service:{component},version:{version}}", environ=None, window=300
):
    settings = DatadogMetric(kind="datadog", query=query, endpoint=server.url)
    async with httpx.AsyncClient() as client:
        metric = DatadogQuery(settings, Client(client, KEYS if environ is None else environ), names=NAMES)
        return await metric.ask(window=window, now=NOW)


async def test_each_arm_is_asked_for_as_documented_and_only_finished_points_count(server):
    server.answer = answered(
        series((1_700_000_000, 0.5), (1_700_000_020, None), (1_700_000_040, 0.7), (1_700_000_060, 9))
    )
    found = await asked(server)
    assert found["canary"] == Series([(1_700_000_000.0, 0.5), (1_700_000_040.0, 0.7)])
    first, second = sorted(server.requests, key=lambda each: each.query["query"])
    assert (first.method, first.path) == ("GET", "/api/v1/query")
    assert first.query == {
        "from": "1699999765",
        "to": "1700000065",
        "query": "avg:system.cpu.user{service:web,version:1.0.0}",
    }
    assert second.query["query"] == "avg:system.cpu.user{service:web,version:1.1.0}"
    assert (first.headers["dd-api-key"], first.headers["dd-application-key"]) == ("api-s3cret", "app-s3cret")


async def test_what_is_the_same_for_both_arms_is_asked_for_once(server):
    server.answer = answered(series((1_700_000_000, 3)))
    found = await asked(server, query="sum:shop.sessions{*}")
    assert found["stable"] == found["canary"] == Series([(1_700_000_000.0, 3.0)])
    assert len(server.requests) == 1


def test_the_address_follows_from_the_site():
    with httpx.Client() as client:
        settings = DatadogMetric(kind="datadog", query="avg:x{*}", site="datadoghq.eu")
        assert DatadogQuery(settings, Client(client), names=NAMES)._url == "https://api.datadoghq.eu/api/v1/query"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (answered(), "Datadog has no value for "),
        (answered(series((1_700_000_000, None))), "Datadog has no value for "),
        (answered(series((1_700_000_060, 9))), "Datadog has no value for "),
        (answered(series((1_700_000_000, 1)), series((1_700_000_000, 2))), "2 series are not one value"),
        (Answer({"status": "error", "error": "Rule 'x' did not match"}), "Rule 'x' did not match"),
        (Answer({"errors": ["Error parsing query"]}, status=400), "answered 400: Error parsing query"),
    ],
)
async def test_what_is_no_value_is_unknown_with_the_reason(server, answer, says):
    server.answer = answer
    found = (await asked(server))["canary"]
    assert isinstance(found, Unknown)
    assert not found.passing
    assert says in found.why


@pytest.mark.parametrize(
    ("answer", "says", "wait"),
    [
        (
            Answer({"errors": ["Forbidden: api-s3cret"]}, status=403),
            "answered 403: Forbidden: …; check the credentials",
            0,
        ),
        (Answer({"errors": ["Unauthorized"]}, status=401), "answered 401", 0),
        (
            Answer({"errors": ["slow down"]}, status=429, headers=(("X-RateLimit-Reset", "42"),)),
            "less often, in 42 s",
            42,
        ),
        (Answer(b"upstream", status=503), "Datadog answered 503", 0),
        (Answer({"status": "ok", "series": [{"pointlist": "x"}]}), "the answer is not Datadog's", 0),
    ],
)
async def test_a_fault_of_the_server_passes_and_tells_no_key(server, answer, says, wait):
    server.answer = answer
    found = (await asked(server))["canary"]
    assert isinstance(found, Unknown)
    assert (found.passing, found.wait) == (True, wait)
    assert says in found.why
    assert "s3cret" not in found.why


async def test_a_missing_key_is_named_and_nothing_is_sent(server):
    found = (await asked(server, environ={"DD_API_KEY": "api-s3cret"}))["stable"]
    assert found == Unknown(
        "the environment variable DD_APP_KEY is not set; set it to the application key", passing=True
    )
    assert server.requests == []


class NoCounts:
    """A source of counts that knows none."""

    async def read(self, since, **_):
        return Reading((), None, since)


async def test_who_is_asked_too_often_is_left_alone_for_as_long_as_it_wants(server):
    """The last values hold until they are stale; then the reason is told; then it is asked again."""
    server.answer = answered(series((1_700_000_000, 0.5), (1_700_000_040, 0.7)))
    settings = DatadogMetric(kind="datadog", query="avg:x{*}", endpoint=server.url)
    async with httpx.AsyncClient() as client:
        metric = DatadogQuery(settings, Client(client, KEYS), names=NAMES)
        source = NamedSource(NoCounts(), {"cpu": Asked(metric, 300, 15, 10, 180)}, soon=30)
        first = await source.read(0, now=NOW)
        assert first.named["canary", "cpu"][-1] == (1_700_000_040.0, 0.7)
        server.answer = Answer({"errors": ["slow down"]}, status=429, headers=(("X-RateLimit-Reset", "100"),))
        limited = await source.read(0, now=NOW + 15)
        assert limited.named["canary", "cpu"] == first.named["canary", "cpu"]
        assert len(server.requests) == 2
        for later in (30, 60, 114):
            await source.read(0, now=NOW + later)
        assert len(server.requests) == 2
        stale = await source.read(0, now=NOW + 175)
        assert len(server.requests) == 3
        assert ("canary", "cpu") not in stale.named
        assert "3m20s old" in stale.unknown["canary", "cpu"]
        assert "it wants to be asked less often" in stale.unknown["canary", "cpu"]
