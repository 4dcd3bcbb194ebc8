"""Every router beside the others and beside no router at all, in one run: switching, losses, throughput, latency, memory.

    python benchmarks/routers.py [--switches 50] [--rps 300] [--seconds 4] [--only caddy,haproxy] [--json]

All on loopback and on the same machine: two instances of the demo's application, the router with its counter, the visitors.

- *in force*: from the call of `apply` until no visitor is answered by the version that was switched off, seen by one who
  asks without a pause while others load the router with every kind of request; and how many of their requests were lost.
- *requests/s*: flat out with wrk on 16 connections (where it is installed); *added p99* and *median*: at a constant rate,
  against the same load on the application itself, three pairs one after the other.
- *memory*: resident, of the router's own processes and of its counter, after all that.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from crossfade.config.model import Component, Deployment, Environment
from crossfade.core.durations import FULL
from crossfade.engine.adapters import ROUTERS, adapter
from crossfade.traffic.port import Routes, Slot
from switch import Aside, flat_out, free_port, loaded, quantile, start_shop, visit

GOALS = {"caddy": (5.0, 2.0), "haproxy": (5.0, 0.5), "nginx": (5.0, 0.5), "envoy": (5.0, 2.0), "traefik": (300.0, 2.0)}
"""By design: p99 of in force and added p99, in ms; Traefik takes its file over asynchronously."""
MEGABYTE = 1_000_000


def deployment(kind: str, folder: Path) -> Deployment:
    """One target behind a router of its own."""
    environment = Environment.model_validate({"router": {"kind": kind, "listen": f"127.0.0.1:{free_port()}"}})
    return Deployment(
        project="bench",
        component="shop",
        environment="bench",
        root=str(folder),
        state=str(folder),
        workload=Component(command=("true",)),
        instances=1,
        settings=environment,
    )


def ask(ends: Any, address: str) -> list[tuple[float, str]]:
    """Ask without a pause; when each answer came, and from which version."""
    host, _, port = address.rpartition(":")
    connection, answers = http.client.HTTPConnection(host, int(port)), []
    while not ends.is_set():
        connection.request("GET", "/version")
        answer = connection.getresponse()
        answer.read()
        answers.append((time.monotonic(), answer.headers["X-App-Version"]))
    return answers


async def switching(router: Any, upstreams: dict[Any, Any], switches: int, rps: float) -> dict[str, Any]:
    """Traffic goes from one side to the other, again and again."""
    await put(router, Routes(upstreams, 0, "blue"))
    asker, visitors = Aside(ask, router.address), Aside(visit, router.address, rps)
    await asyncio.sleep(1)
    turns, confirmed = [], []
    for number in range(switches):
        green = FULL if number % 2 == 0 else 0
        began = time.monotonic()
        await put(router, Routes(upstreams, green, "blue"))
        turns.append((began, "1" if green else "2"))
        confirmed.append((time.monotonic() - began) * 1000)
        await asyncio.sleep(0.1)
    answers = await asyncio.to_thread(asker.end)
    requests, lost = await asyncio.to_thread(visitors.end)
    return {
        "requests": requests,
        "lost": sum(lost.values()),
        "causes": lost,
        "in_force": spread([until_off(answers, began, off) for began, off in turns]),
        "confirmed": spread(confirmed),
    }


def until_off(answers: list[tuple[float, str]], began: float, off: str) -> float:
    """Milliseconds from `began` until the last answer of the version that is switched off, before the next switch."""
    later = [(at, version) for at, version in answers if at >= began]
    first = next((index for index, (_, version) in enumerate(later) if version != off), 0)
    # Nothing of it may come after the first answer of the other side; a straggler would count.
    stragglers = [at for at, version in later[first : first + 50] if version == off]
    return ((stragglers[-1] if stragglers else later[first][0]) - began) * 1000


def spread(values: list[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    return {"median_ms": statistics.median(values), "p99_ms": quantile(values, 0.99)}


async def put(router: Any, routes: Routes) -> None:
    """In force and confirmed, as the engine has it."""
    await router.apply(routes, fence=1)
    for _ in range(200):
        if await router.confirm(routes):
            return
        await asyncio.sleep(0.005)
    sys.exit(f"{routes} never came into force")


def resident(folder: Path) -> dict[str, float]:
    """Megabytes of the processes that were started for `folder`: the router's, and the counter's."""
    found = {"router": 0.0, "counter": 0.0}
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
            if str(folder) not in " ".join((*command, process.cwd())):
                continue
            part = "counter" if any("crossfade.traffic" in each for each in command) else "router"
            found[part] += process.memory_info().rss / MEGABYTE
        except psutil.Error:
            continue
    return found


async def measure(kind: str, folder: Path, shops: list[str], flags: argparse.Namespace) -> dict[str, Any]:
    """One router's row."""
    target = deployment(kind, folder)
    router = adapter(ROUTERS, "crossfade.routers", target.settings.router).of(target)
    upstreams: dict[Slot, tuple[str, ...]] = {"blue": (shops[0],), "green": (shops[1],)}
    try:
        switched = await switching(router, upstreams, flags.switches, flags.rps)
        await put(router, Routes(upstreams, FULL // 2, "blue"))
        pairs = [
            (await loaded(shops[0], flags.rps, flags.seconds), await loaded(router.address, flags.rps, flags.seconds))
            for _ in range(3)
        ]
        added = {
            key: statistics.median(through[key] - direct[key] for direct, through in pairs)
            for key in ("median_ms", "p99_ms")
        }
        speed = await flat_out(router.address, flags.seconds)
        return {"router": kind, **switched, "added": added, "flat_out_rps": speed, "memory_mb": resident(folder)}
    finally:
        await router.close()


async def run(flags: argparse.Namespace) -> list[dict[str, Any]]:
    """The floor, then each router by itself."""
    started = [start_shop("1"), start_shop("2")]
    shops = [address for _, address in started]
    try:
        direct = await loaded(shops[0], flags.rps, flags.seconds)
        floor = {"router": "direct", **direct, "flat_out_rps": await flat_out(shops[0], flags.seconds)}
        rows: list[dict[str, Any]] = [floor]
        for kind in flags.only.split(","):
            with tempfile.TemporaryDirectory() as folder:
                rows.append(await measure(kind, Path(folder), shops, flags))
    finally:
        for process, _ in started:
            process.terminate()
            process.wait()
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """The table."""
    floor, *routers = rows
    print(
        f"{'':10}{'lost':>14}{'in force':>18}{'confirmed':>18}{'added':>16}{'requests/s':>12}{'of direct':>11}{'MB':>10}"
    )
    print(f"{'':10}{'':>14}{'median / p99 ms':>18}{'median / p99 ms':>18}{'med / p99 ms':>16}")
    speed = floor["flat_out_rps"]
    print(f"{'direct':10}{'':>14}{'':>18}{'':>18}{'':>16}{'–' if speed is None else format(speed, '.0f'):>12}")
    for row in routers:
        force, confirmed, added, memory = row["in_force"], row["confirmed"], row["added"], row["memory_mb"]
        rate = row["flat_out_rps"]
        print(
            f"{row['router']:10}"
            f"{row['lost']:>6} / {row['requests']:<5}"
            f"{force['median_ms']:>9.1f} / {force['p99_ms']:<6.1f}"
            f"{confirmed['median_ms']:>9.1f} / {confirmed['p99_ms']:<6.1f}"
            f"{added['median_ms']:>7.2f} / {added['p99_ms']:<6.2f}"
            f"{'–' if rate is None else format(rate, '.0f'):>12}"
            f"{'–' if rate is None or speed is None else format(rate / speed, '.2f'):>11}"
            f"{memory['router']:>6.0f}+{memory['counter']:.0f}"
        )
    for row in routers:
        in_force, added = GOALS[row["router"]]
        met = row["in_force"]["p99_ms"] <= in_force, row["added"]["p99_ms"] <= added
        words = " and ".join("met" if each else "not met" for each in met)
        print(f"{row['router']}: goals in force p99 ≤ {in_force:g} ms, added p99 ≤ {added:g} ms: {words}")


def main() -> None:
    """Read the flags and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--switches", type=int, default=50)
    parser.add_argument("--rps", type=float, default=300.0)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--only", default=",".join(GOALS))
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    tools = Path(__file__).parents[1] / ".tools" / "bin"  # what scripts/system-packages.sh has fetched
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}{os.pathsep}{tools}"
    rows = asyncio.run(run(flags))
    if flags.json:
        print(json.dumps(rows))
    else:
        show(rows)


if __name__ == "__main__":
    main()
