"""A million requests through one router while traffic moves all the time: how many are lost.

    python benchmarks/million.py [--router caddy] [--requests 1000000] [--json]

Two wrk load the router flat out, one on connections that it keeps, one on a fresh connection for each request; beside
them visitors send every kind of request (POST, two-second answers, streams, websockets) at a constant rate. Meanwhile the
weight changes several times a second, and every dozen changes the traffic is swapped: a new instance is started, gets all
of it, and the old one is drained and ended. wrk says how many answers were no 2xx, and how many connections failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from crossfade.core.durations import FULL
from crossfade.engine.adapters import ROUTERS, adapter
from crossfade.traffic.port import Routes, Slot, other
from routers import deployment, put
from switch import Aside, start_shop, visit

CHANGES_EACH = 13
PAUSE = 0.1


class Wrk:
    """One wrk until it is told to end; what it has seen."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, address: str, connections: int, *headers: str) -> Wrk:
        """Load `address`; `headers` go with every request."""
        argv = ["wrk", "-t1", f"-c{connections}", "-d3600", "--timeout", "30s"]
        for header in headers:
            argv += ["-H", header]
        process = await asyncio.create_subprocess_exec(
            *argv, f"http://{address}/version", stdout=asyncio.subprocess.PIPE
        )
        return cls(process)

    async def end(self) -> dict[str, int]:
        """Requests, and those that went wrong, by what wrk calls them."""
        self._process.send_signal(2)
        said = (await self._process.communicate())[0].decode()
        counted = re.search(r"(\d+) requests in", said)
        found = {"requests": int(counted[1]) if counted else 0}
        refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
        found["no 2xx"] = int(refused[1]) if refused else 0
        for name, count in re.findall(r"(connect|read|write|timeout) (\d+)", said):
            found[name] = int(count)
        return found


async def moving(router: Any, enough: asyncio.Event) -> dict[str, int]:
    """Change weights and swap instances until it is enough, and to the end of a swap."""
    chance, changes, swaps = random.Random(7), 0, 0
    process, address = start_shop("v0")
    side: Slot = "blue"
    await put(router, Routes({side: (address,), other(side): ()}, 0, side))
    while not enough.is_set():
        new, swaps = other(side), swaps + 1
        fresh, to = start_shop(f"v{swaps}")
        both = {side: (address,), new: (to,)}
        for share in (0, *(chance.randrange(1, FULL) for _ in range(CHANGES_EACH - 2)), FULL):
            await put(router, Routes(both, share if new == "green" else FULL - share, side, swaps))
            changes += 1
            await asyncio.sleep(PAUSE)
        while (await router.observe()).in_flight[side]:  # noqa: ASYNC110 - the world is asked, it does not tell
            await asyncio.sleep(0.05)
        await put(router, Routes({new: (to,), side: ()}, FULL if new == "green" else 0, new, swaps))
        process.terminate()
        await asyncio.to_thread(process.wait)
        process, address, side = fresh, to, new
    return {"changes": changes, "swaps": swaps, "pid": process.pid}


async def measure(flags: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The whole run."""
    target = deployment(flags.router, folder)
    router = adapter(ROUTERS, "crossfade.routers", target.settings.router).of(target)
    enough, began = asyncio.Event(), time.monotonic()
    walking = asyncio.create_task(moving(router, enough))
    try:
        while (await router.observe()).routes is None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        kept = await Wrk.start(router.address, 24)
        fresh = await Wrk.start(router.address, 4, "Connection: close")
        visitors = Aside(visit, router.address, 50.0)
        while (await counted(router)) < flags.requests and not walking.done():  # noqa: ASYNC110 - as above
            await asyncio.sleep(2)
        enough.set()
        moved = await walking
        results = {"kept": await kept.end(), "fresh": await fresh.end()}
        requests, lost = await asyncio.to_thread(visitors.end)
        results["every kind"] = {"requests": requests, **lost}
    finally:
        await router.close()
    os.kill(moved.pop("pid"), 15)
    total = sum(each["requests"] for each in results.values())
    failed = sum(count for each in results.values() for name, count in each.items() if name != "requests")
    return {
        "router": flags.router,
        "requests": total,
        "lost": failed,
        **moved,
        "seconds": time.monotonic() - began,
        "by": results,
    }


async def counted(router: Any) -> int:
    """All requests so far, by the router's own account."""
    text = await router.metrics() or ""
    return sum(int(float(each)) for each in re.findall(r"^crossfade_requests_total\{.*\} (\S+)$", text, re.MULTILINE))


def main() -> None:
    """Read the flags, load, and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--router", default="caddy")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    flags = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not on the PATH; apt-get install wrk")
    tools = Path(__file__).parents[1] / ".tools" / "bin"  # what scripts/system-packages.sh has fetched
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}{os.pathsep}{tools}"
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(measure(flags, Path(folder)))
    if flags.json:
        print(json.dumps(result))
        return
    print(
        f"{result['router']}: {result['lost']} of {result['requests']} requests lost, during {result['changes']} changes of"
        f" weight and {result['swaps']} swaps, in {result['seconds']:.0f} s"
    )
    for name, each in result["by"].items():
        print(f"  {name:12}", ", ".join(f"{key} {count}" for key, count in each.items()))


if __name__ == "__main__":
    main()
