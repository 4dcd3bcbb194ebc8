"""How fast and how safely Caddy changes the split, and what it costs to stand behind it.

    python benchmarks/switch.py [--switches 250] [--rps 500] [--seconds 4] [--json]

Three measurements on loopback, with Caddy, counter, two shops and the visitors on the same machine:

- *switch*: from the call of `apply` until the data plane answers by the new line, and until the whole
  `apply` and `confirm` are done, under a constant load; requests lost meanwhile.
- *cost*: throughput and latency through Caddy (split and counted) beside the same load on the shop itself.
- *sticky*: processor time of Caddy for one request by kind of stickiness, in the middle of a split.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import math
import multiprocessing
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from crossfade.config.routers import CaddyRouter as Settings
from crossfade.config.routers import Sticky
from crossfade.core.durations import FULL
from crossfade.traffic.headers import PROBE_HEADER
from crossfade.traffic.load import EVERYTHING, Load, Plan, causes
from crossfade.traffic.port import Routes
from crossfade.traffic.routers.caddy import CaddyRouter

GOAL_IN_FORCE_MS = 5.0
GOAL_ADDED_P99_MS = 2.0
STICKY: dict[str, Sticky | None] = {
    "none": None,
    "cookie": Sticky(cookie="cf"),
    "header, 9 characters": Sticky(header="X-User"),
    "header, 36 characters": Sticky(header="X-User"),
}
USERS = {"header, 9 characters": "user-1234", "header, 36 characters": "6f1c3b9a-1d2e-4f5a-8b7c-0123456789ab"}


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def start_shop(version: str) -> tuple[subprocess.Popen[bytes], str]:
    argv = [sys.executable, "-m", "crossfade.demo.app", "--version", version, "--latency-ms", "0"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    line = process.stdout.readline() if process.stdout else b""
    return process, line.decode().strip().rpartition("//")[2]


def quantile(values: list[float], q: float) -> float:
    return sorted(values)[min(math.ceil(q * len(values)), len(values)) - 1]


class Aside:
    """A function in a process of its own, which returns what it found once it is told to end."""

    def __init__(self, work: Callable[..., Any], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._ends, self._found = context.Event(), context.Queue()
        arguments = (work, self._ends, self._found, *arguments)
        self._process = context.Process(target=_aside, args=arguments, daemon=True)
        self._process.start()
        self._found.get(timeout=60)  # it has begun

    def end(self) -> Any:
        """Tell it to end."""
        self._ends.set()
        found = self._found.get(timeout=60)
        self._process.join()
        return found


def _aside(work: Callable[..., Any], ends: Any, found: Any, *arguments: Any) -> None:
    found.put("begun")
    found.put(work(ends, *arguments))


def watch(ends: Any, address: str, token: str) -> dict[int, float]:
    """Ask the data plane without pause, and note when each share was first seen."""
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port))
    seen: dict[int, float] = {}
    while not ends.is_set():
        connection.request("GET", "/", headers={PROBE_HEADER: token})
        line = connection.getresponse().read().decode()
        seen.setdefault(int(line.rpartition("points=")[2]), time.monotonic())
    return seen


def visit(ends: Any, address: str, rps: float) -> tuple[int, dict[str, int]]:
    """Constant load; how many requests, and what became of the lost ones."""

    async def run() -> tuple[int, dict[str, int]]:
        load = Load(address, Plan(rps=rps, mix=EVERYTHING, seed=1))
        load.start()
        await asyncio.to_thread(ends.wait)
        await load.stop()
        return len(load.samples), dict(causes(load.samples))

    return asyncio.run(run())


async def switching(router: CaddyRouter, upstreams: dict[Any, Any], switches: int, rps: float) -> dict[str, Any]:
    await router.apply(Routes(upstreams, 0, "blue"), fence=1)
    token = (router._folder / "token").read_text()  # noqa: SLF001 - the probe is ours
    watcher, visitors = Aside(watch, router.address, token), Aside(visit, router.address, rps)
    await asyncio.sleep(1)
    began, applied, confirmed = {}, [], []
    shares = [1 + (place * 7919) % (FULL - 1) for place in range(switches)]  # all different
    for share in shares:
        routes = Routes(upstreams, share, "blue")
        began[share] = time.monotonic()
        await router.apply(routes, fence=1)
        applied.append((time.monotonic() - began[share]) * 1000)
        if not await router.confirm(routes):
            sys.exit(f"{share} is not in force")
        confirmed.append((time.monotonic() - began[share]) * 1000)
        await asyncio.sleep(0.03)
    seen = await asyncio.to_thread(watcher.end)
    requests, lost = await asyncio.to_thread(visitors.end)
    rows = {
        "in_force": [(seen[share] - began[share]) * 1000 for share in shares],
        "apply": applied,
        "apply_and_confirm": confirmed,
    }
    figures = {
        name: {"median_ms": statistics.median(each), "p99_ms": quantile(each, 0.99)} for name, each in rows.items()
    }
    return {"switches": switches, "requests": requests, "lost": sum(lost.values()), "causes": lost, **figures}


async def loaded(address: str, rps: float, seconds: float) -> dict[str, float]:
    samples = await Load(address, Plan(rps=rps, mix={"get": 1}, paths=("/version",), seed=2)).run(seconds)
    times = [sample.ms for sample in samples]
    return {
        "median_ms": statistics.median(times),
        "p99_ms": quantile(times, 0.99),
        "lost": sum(s.failed for s in samples),
    }


async def flat_out(address: str, seconds: float, header: str = "X-None: 1") -> float | None:
    """Requests a second with wrk, where it is installed."""
    if (wrk := shutil.which("wrk")) is None:
        return None
    argv = [wrk, "-t1", "-c16", f"-d{seconds:g}", "-H", header, f"http://{address}/version"]
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    found = re.search(rb"Requests/sec:\s+([\d.]+)", out)
    return float(found[1]) if found else None


async def costing(
    router: CaddyRouter, direct: str, upstreams: dict[Any, Any], rps: float, seconds: float
) -> dict[str, Any]:
    await router.apply(Routes(upstreams, FULL // 2, "blue"), fence=1)
    # One after the other, three times, so that a busy neighbour disturbs both alike.
    rounds = [(await loaded(direct, rps, seconds), await loaded(router.address, rps, seconds)) for _ in range(3)]
    added = {
        key: statistics.median(through[key] - plain[key] for plain, through in rounds)
        for key in ("median_ms", "p99_ms")
    }
    speed = {"direct": await flat_out(direct, seconds), "through": await flat_out(router.address, seconds)}
    return {"rps": rps, "direct": rounds[1][0], "through": rounds[1][1], "added": added, "flat_out_rps": speed}


async def sticking(folder: Path, upstreams: dict[Any, Any], rps: float, seconds: float) -> list[dict[str, Any]]:
    rows = []
    for name, sticky in STICKY.items():
        router = CaddyRouter(
            folder / name.replace(" ", "-"),
            Settings(listen=f"127.0.0.1:{free_port()}", sticky=sticky),
            environment="bench",
            component="shop",
        )
        try:
            await router.apply(Routes(upstreams, FULL // 2, "blue"), fence=1)
            plan = Plan(rps=rps, mix={"get": 1}, paths=("/version",), headers={"X-User": USERS.get(name, "-")})
            caddy = psutil.Process(router._managed.child.pid())  # type: ignore[union-attr]  # noqa: SLF001 - a managed one
            before = sum(caddy.cpu_times()[:2])
            samples = await Load(router.address, plan).run(seconds)
            rows.append(
                {"sticky": name, "cpu_us_per_request": (sum(caddy.cpu_times()[:2]) - before) * 1e6 / len(samples)}
            )
        finally:
            await router.close()
    return rows


async def measure(switches: int, rps: float, seconds: float) -> dict[str, Any]:
    shops = [start_shop("1"), start_shop("2")]
    upstreams = {"blue": (shops[0][1],), "green": (shops[1][1],)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        router = CaddyRouter(
            folder / "plain", Settings(listen=f"127.0.0.1:{free_port()}"), environment="bench", component="shop"
        )
        try:
            result = {
                "switch": await switching(router, upstreams, switches, rps),
                "cost": await costing(router, shops[0][1], upstreams, rps, seconds),
                "sticky": await sticking(folder, upstreams, rps, seconds),
            }
        finally:
            await router.close()
            for process, _ in shops:
                process.terminate()
                process.wait()
    return result


def show(result: dict[str, Any]) -> None:
    switch, cost = result["switch"], result["cost"]
    print(
        f"{switch['switches']} switches under load: {switch['lost']} of {switch['requests']} requests lost {switch['causes'] or ''}"
    )
    print(f"\n{'':24}{'median ms':>12}{'p99 ms':>12}{'goal':>12}")
    for key, label in (("in_force", "in force"), ("apply", "apply returns"), ("apply_and_confirm", "confirmed")):
        goal = f"p99 <= {GOAL_IN_FORCE_MS:g}" if key == "in_force" else ""
        print(f"{label:24}{switch[key]['median_ms']:12.2f}{switch[key]['p99_ms']:12.2f}{goal:>12}")
    print(f"\n{'at ' + format(cost['rps'], 'g') + ' requests/s':24}{'median ms':>12}{'p99 ms':>12}")
    for key, label in (("direct", "direct"), ("through", "through Caddy"), ("added", "added (3 pairs)")):
        goal = f"p99 <= {GOAL_ADDED_P99_MS:g}" if key == "added" else ""
        print(f"{label:24}{cost[key]['median_ms']:12.2f}{cost[key]['p99_ms']:12.2f}{goal:>12}")
    speed = cost["flat_out_rps"]
    if speed["direct"]:
        ratio = speed["through"] / speed["direct"]
        print(f"\nflat out: {speed['direct']:.0f}/s direct, {speed['through']:.0f}/s through Caddy ({ratio:.2f})")
    print(f"\n{'sticky, at 50 %':24}{'Caddy µs':>12}")
    for row in result["sticky"]:
        print(f"{row['sticky']:24}{row['cpu_us_per_request']:12.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Time to switch, requests lost, cost of the proxy.")
    parser.add_argument("--switches", type=int, default=250)
    parser.add_argument("--rps", type=float, default=500.0)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    result = asyncio.run(measure(flags.switches, flags.rps, flags.seconds))
    if flags.json:
        print(json.dumps(result))
    else:
        show(result)


if __name__ == "__main__":
    main()
