"""The counter seen from outside: start it, find it again, ask it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil

from crossfade.core.errors import UnreachableError
from crossfade.traffic.children import Child
from crossfade.traffic.counter import ADDRESSES, LAST_ADDRESSES
from crossfade.traffic.port import ArmCounts, Counts
from crossfade.traffic.tally import BOUNDS_MS

PATIENCE = 15.0
BLIND = Counts((), BOUNDS_MS, None)


@dataclass(frozen=True, slots=True)
class CounterProcess:
    """The counter in `folder`; `probe` is the proxy's address, `header` NAME:VALUE marks its own requests.

    `module` is what it runs: another one where the proxy sends nothing and has to be asked.
    """

    folder: Path
    probe: str
    header: str
    labels: str
    module: str = "crossfade.traffic.counter"

    @property
    def child(self) -> Child:
        """Its process."""
        return Child(self.folder, "counter")

    async def start(self) -> int:
        """Start it unless it runs; the UDP port that takes the proxy's words."""
        if self._asks_elsewhere():
            await self.stop()
        if not self.child.running():
            flags = {
                "--folder": str(self.folder),
                "--probe": self.probe,
                "--header": self.header,
                "--labels": self.labels,
            }
            argv = [
                sys.executable,
                "-m",
                self.module,
                *(f"{name}={value}" for name, value in flags.items()),
            ]
            environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
            self.child.start(argv, environment, prepare=self._forget)
        for _ in range(int(PATIENCE / 0.02)):
            if (ports := self._ports()) and self.child.running():
                return ports["udp"]
            await asyncio.sleep(0.02)
        raise UnreachableError(
            "counter.unreachable",
            "the process that counts requests does not start",
            where=str(self.child.errors),
            next="look into that file",
        )

    def _asks_elsewhere(self) -> bool:
        """Whether it runs and looks for the proxy where it no longer is: it would be blind for good."""
        with contextlib.suppress(psutil.Error, ValueError):
            flags = psutil.Process(self.child.pid()).cmdline() if self.child.pid() else []
            asked = [flag for flag in flags if flag.startswith("--probe=")]
            return bool(asked) and asked != [f"--probe={self.probe}"]
        return False

    async def counts(self, since: float) -> Counts:
        """Closed buckets from `since` on; blind when it does not answer."""
        answer = await self._get(f"/counts?since={since!r}")
        return BLIND if answer is None else _counts(answer)

    async def metrics(self) -> str | None:
        """The totals in Prometheus' text format."""
        answer = await self._get("/metrics")
        return None if answer is None else answer.decode()

    async def stop(self) -> None:
        """End it; its sums go with it."""
        await self.child.stop(grace=2)

    async def _get(self, path: str) -> bytes | None:
        if not (ports := self._ports()) or not self.child.running():
            return None
        transport = httpx.AsyncHTTPTransport(verify=False)
        try:
            async with httpx.AsyncClient(transport=transport, timeout=5, trust_env=False) as client:
                answer = await client.get(f"http://127.0.0.1:{ports['http']}{path}")
        except httpx.HTTPError:
            return None
        return answer.content if answer.is_success else None

    def _forget(self) -> None:
        """Set the ports of the last run aside, so that the file which tells them is always true."""
        with contextlib.suppress(FileNotFoundError):
            (self.folder / ADDRESSES).replace(self.folder / LAST_ADDRESSES)

    def _ports(self) -> Mapping[str, int] | None:
        try:
            ports: dict[str, int] = orjson.loads((self.folder / ADDRESSES).read_bytes())
        except (OSError, ValueError):
            return None
        return ports


def _counts(answer: bytes) -> Counts:
    data: dict[str, Any] = orjson.loads(answer)
    bounds = tuple(data["bounds_ms"])
    buckets = tuple(
        ArmCounts(at, seconds, slot, by_class, _dense(bins, len(bounds) + 1))
        for at, seconds, slot, by_class, bins in data["buckets"]
    )
    return Counts(buckets, bounds, data["alive_at"], data["dropped"])


def _dense(sparse: list[tuple[int, int]], length: int) -> tuple[int, ...]:
    bins = [0] * length
    for place, count in sparse:
        bins[place] = count
    return tuple(bins)
