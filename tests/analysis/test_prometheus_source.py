"""Prometheus as a source, against a real one that scrapes a real exporter."""

import asyncio
import os
import socket
import subprocess
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.analysis.sources.increases import histogram, increases, within
from crossfade.analysis.sources.named import Asked, NamedSource
from crossfade.analysis.sources.prometheus import PrometheusSource
from crossfade.analysis.sources.prometheus_query import PrometheusQuery
from crossfade.analysis.sources.prometheus_server import PrometheusServer
from crossfade.analysis.sources.templates import names
from crossfade.analysis.sources.web import Client
from crossfade.config.metrics import PrometheusMetrics
from patience import PATIENCE

SCRAPE = 0.5
SELECTORS = {
    "requests": 'web_requests_total{version="{version}"}',
    "errors": 'web_errors_total{version="{version}"}',
    "latency": 'web_seconds_bucket{version="{version}"}',
}


class Exporter:
    """Counters that a test sets, served as Prometheus's text format, and any answer at /api for awkward servers."""

    def __init__(self):
        self.text = ""
        self.api = (200, b"{}", 0.0)
        self.seen = []
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                status, body, wait = (200, exporter.text.encode(), 0.0) if self.path == "/metrics" else exporter.api
                exporter.seen.append(dict(self.headers))
                time.sleep(wait)
                with suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Type", "text/plain; version=0.0.4")
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()

    def show(self, **counters):
        """`stable=(requests, errors)`; errors of None leave the counter away, as it is before the first error."""
        lines = []
        for version, (requests, errors) in counters.items():
            lines.append(f'web_requests_total{{version="{version}"}} {requests}')
            if errors is not None:
                lines.append(f'web_errors_total{{version="{version}"}} {errors}')
            fast = round(requests * 0.75)
            lines += [
                f'web_seconds_bucket{{version="{version}",le="0.1"}} {fast}',
                f'web_seconds_bucket{{version="{version}",le="+Inf"}} {requests}',
            ]
        self.text = "\n".join(lines) + "\n"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def exporter():
    exporter = Exporter()
    yield exporter
    exporter.close()


@pytest.fixture
def prometheus(require, exporter, tmp_path):
    """The address of a real Prometheus that scrapes the exporter."""
    program = require("prometheus")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: {int(SCRAPE * 1000)}ms, scrape_timeout: {int(SCRAPE * 1000)}ms}}\n"
        f"scrape_configs:\n  - job_name: web\n    static_configs:\n      - targets: ['{exporter.address}']\n"
    )
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def source(url, client, windows=None, **more):
    metrics = PrometheusMetrics(**{**SELECTORS, "url": url, "stale_after": 60.0, **more})
    server = PrometheusServer(url, metrics, Client(client, {"TOKEN": "s3cret"}), timeout=metrics.timeout)
    known = names({"stable": "stable", "canary": "canary"}, component="web", environment="test")
    counts = PrometheusSource(metrics, server, names=known, bucket=1.0)

    def asked(name, window):
        query = PrometheusQuery(metrics.named[name].query, server, names=known, every=1.0)
        return Asked(query, window, 0.1, 11.0, metrics.stale_after)

    watched = {name: asked(name, window) for name, window in (windows or {}).items()}
    return NamedSource(counts, watched, soon=30) if watched else counts


async def until(condition):
    """Wait for something that comes by itself."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await condition()):  # noqa: ASYNC110 - another program has no event to wait for
            await asyncio.sleep(0.1)
    return found


def totals(samples):
    return {
        arm: (sum(getattr(s, arm).requests for s in samples), sum(getattr(s, arm).errors for s in samples))
        for arm in ("stable", "canary")
    }


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("form", ["{}", "sum by (le) ({})"])
async def test_a_real_prometheus_gives_what_was_counted(prometheus, exporter, form):
    """Born counters, a reset and a canary that appears later: every request is counted once."""
    queries = {key: form.replace("{}", text) for key, text in SELECTORS.items()}
    exporter.show(stable=(1000, None))
    async with httpx.AsyncClient() as client:
        metrics = source(prometheus, client, **queries)

        async def answers():
            return (await metrics.read(time.time() - 5, now=time.time())).newest_at

        await until(answers)
        since = time.time()

        async def scraped_after(moment):
            reading = await metrics.read(since, now=time.time())
            return reading if reading.read_to > moment else None

        await until(lambda: scraped_after(since + 1))
        exporter.show(stable=(1100, 4), canary=(20, 3))
        shown = time.time()
        await until(lambda: scraped_after(shown + 1))
        exporter.show(stable=(50, 1), canary=(40, 5))  # stable was restarted: its counters began again
        shown = time.time()
        reading = await until(lambda: scraped_after(shown + 1))
    assert totals(reading.samples) == {"stable": (150, 5), "canary": (40, 5)}
    assert all(sample.seconds >= 2 * SCRAPE for sample in reading.samples)
    latency = [sample.canary.latency for sample in reading.samples if sample.canary.latency]
    assert latency[0].le == (100.0,)
    assert sum(h.counts[0] for h in latency) == 30
    assert sum(h.counts[1] for h in latency) == 10
    assert reading.newest_at <= time.time()


@pytest.mark.real
async def test_unknown_series_and_a_stale_one_are_blind(prometheus, exporter):
    exporter.show(stable=(1000, 0))
    async with httpx.AsyncClient() as client:
        metrics = source(prometheus, client)

        async def answers():
            return (await metrics.read(time.time() - 5, now=time.time())).newest_at

        await until(answers)
        unknown = await source(prometheus, client, requests='nothing{version="{version}"}').read(
            time.time() - 5, now=time.time()
        )
        assert unknown.newest_at is None
        assert unknown.detail == 'no series for the stable arm: nothing{version="stable"}'
        wrong = await source(prometheus, client, requests='nothing{version="{version}"').read(
            time.time() - 5, now=time.time()
        )
        assert wrong.newest_at is None
        assert "400" in wrong.detail
        exporter.text = ""  # the target goes on answering, the counters are gone

        async def stale():
            now = time.time()
            reading = await source(prometheus, client, stale_after=2.0).read(now - 1, now=now)
            return (now, reading) if reading.detail.startswith("nothing newer") else None

        now, reading = await until(stale)
        assert now - reading.newest_at > reading.patience == 2.0
        assert reading.detail == 'nothing newer for web_requests_total{version="stable"}'


@pytest.mark.real
async def test_named_metrics_are_one_value_each_and_fail_alone(prometheus, exporter):
    """A selector, an expression, one that is shared, and every way not to be a value."""
    exporter.show(stable=(1000, 4), canary=(40, 5))
    named = {
        "plain": 'web_errors_total{version="{version}"}',
        "share": 'sum(web_errors_total{version="{arm}"}) / sum(web_requests_total{version="{arm}"})',
        "shared": "sum(web_requests_total)",
        "several": "web_requests_total",
        "nobody": 'nobody{version="{version}"}',
        "broken": "sum(",
        "undefined": "sum(web_errors_total) * 0 / 0",
        "unasked": "up",
    }
    windows = dict.fromkeys(set(named) - {"unasked"}, 5.0)
    async with httpx.AsyncClient() as client:
        metrics = source(prometheus, client, windows=windows, named=named)

        async def known():
            reading = await metrics.read(time.time() - 2, now=time.time())
            return reading if len(reading.named) == 6 and reading.newest_at else None

        reading = await until(known)
    newest = {f"{arm} {name}": points[-1][1] for (arm, name), points in reading.named.items()}
    assert newest == {
        "stable plain": 4.0,
        "canary plain": 5.0,
        "stable share": 0.004,
        "canary share": 0.125,
        "stable shared": 1040.0,
        "canary shared": 1040.0,
    }
    assert all(time.time() - 10 < at <= time.time() for points in reading.named.values() for at, _ in points)
    assert {name for _, name in reading.unknown} == {"several", "nobody", "broken", "undefined"}
    assert reading.unknown["canary", "several"].startswith("2 series are not one value")
    assert reading.unknown["canary", "nobody"] == 'Prometheus has no value for nobody{version="canary"}'
    assert "400" in reading.unknown["stable", "broken"]


async def test_named_metrics_of_a_server_that_is_away_are_unknown_with_the_reason(exporter):
    exporter.api = (503, b'{"status": "error", "error": "starting"}', 0.0)
    async with httpx.AsyncClient() as client:
        away = source(f"http://{exporter.address}", client, windows={"cpu": 60.0}, named={"cpu": "cpu"})
        reading = await away.read(100.0, now=160.0)
    assert reading.named == {}
    assert reading.unknown == {(arm, "cpu"): "Prometheus answered 503: starting" for arm in ("stable", "canary")}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((200, b"<html>", 0.0), "answered 200"),
        ((200, b'{"status": "success", "data": 5}', 0.0), "not Prometheus's"),
        ((200, b"{", 0.0), "answered 200"),
        ((401, b"no", 0.0), "answered 401"),
        ((503, b'{"status": "error", "error": "starting"}', 0.0), "starting"),
        ((200, b"{}", 2.0), "within 0.2 s"),
    ],
)
async def test_an_awkward_server_is_blind_with_a_reason_and_without_the_token(exporter, answer, says):
    exporter.api = answer
    async with httpx.AsyncClient() as client:
        timeout = 0.2 if "within" in says else 20.0  # only one of them is slow
        asked = source(f"http://{exporter.address}", client, timeout=timeout, bearer="TOKEN")
        reading = await asked.read(100.0, now=160.0)
    assert (reading.samples, reading.newest_at, reading.read_to) == ((), None, 100.0)
    assert says in reading.detail
    assert "s3cret" not in reading.detail
    assert exporter.seen[0]["Authorization"] == "Bearer s3cret"


async def test_nobody_there_and_no_token_are_blind(exporter):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    async with httpx.AsyncClient() as client:
        gone = await source(f"http://127.0.0.1:{port}", client).read(100.0, now=160.0)
        assert "cannot be asked" in gone.detail
        bare = await source(f"http://{exporter.address}", client, bearer="OTHER").read(100.0, now=160.0)
        assert "OTHER is not set" in bare.detail
    assert os.environ.get("OTHER") is None


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.sets(st.integers(1, 29)))
def test_increases_add_up_over_resets(steps, resets):
    """A counter that restarts loses nothing but what it counted unseen."""
    value, points, expected = 1000, [], 0
    for i, step in enumerate(steps):
        if i in resets and step < value:
            value, grown = step, step
        else:
            value, grown = value + step, step
        points.append((15.0 * i, float(value)))
        expected += grown if i else 0
    made = increases(points, seen=[at for at, _ in points], interval=15.0)
    assert within(made, -1, 1e9) == expected
    assert sum(within(made, 45.0 * k, 45.0 * (k + 1)) for k in range(11)) == expected


def test_a_histogram_without_its_top_or_bounds_is_none():
    assert histogram({0.1: 3.0}) is None
    assert histogram({float("inf"): 3.0}) is None
