"""An example's own file under a virtual clock: visitors, numbers and logs behave as a test says, the engine is the real one.

Only the edges are ours: counts come from the fake router instead of the file's Prometheus, and every named metric is told
by the world in a server's way (a series of what was true). What is asked by HTTP is asked by HTTP: each instance and
the router have a real port of this machine, so that smoke tests and version proofs are those of the file.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from virtual_world import VirtualWorld

from crossfade.analysis.sources.named import NamedSource
from crossfade.analysis.sources.port import ARMS, Answer, Metric, Series, Source, Unknown
from crossfade.analysis.values import Arm
from crossfade.config.load import load, resolve
from crossfade.config.model import Deployment
from crossfade.config.named_metrics import LogMetric
from crossfade.engine.site import Site
from crossfade.engine.sources import Sources
from crossfade.engine.views import View
from crossfade.rollouts.rollout import Rollout
from crossfade.runtimes.port import LogLine, Release
from crossfade.testing.fake_router import FakeRouter
from crossfade.testing.fake_runtime import FakeMachine, FakeRuntime
from crossfade.traffic.port import Slot
from free_ports import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
OLD, NEW = "1.0.0", "1.1.0"
_PLACES = 6
"""Instances of one slot for which there is a port."""


@dataclass(frozen=True)
class Conduct:
    """How a version answers: the share of requests that fail, the share that is slow, and how slow that is (ms)."""

    errors: float = 0.0
    slow: float = 0.0
    slow_ms: float = 2_500.0
    ms: float = 50.0


@dataclass(frozen=True)
class Asked:
    """One request that was really made: when (virtual time), whom (`router` or an instance), and its path."""

    at: float
    whom: str
    path: str


class GuideWorld(VirtualWorld):
    """One component of an example in one of its environments. `conduct` and `say` set what happens to a version."""

    def __init__(
        self,
        place: Path,
        example: str,
        environment: str = "production",
        *,
        step: float = 5.0,
        rps: float = 20.0,
        metrics: Mapping[str, float] | None = None,
        logs: bool = False,
    ) -> None:
        super().__init__(place, step=step, rps=rps)
        loaded = load(EXAMPLES / example / "crossfade.yaml")
        (component,) = loaded.project.components
        self._deployment = resolve(loaded, component, environment, place)
        self.baseline = dict(metrics or {})
        self.logs = logs
        """Whether lines of logs are really followed; that takes a moment of real time for each look."""
        self.machine = _Machine(self)
        self.conducts: dict[str, Conduct] = {}
        self.shows: dict[str, str] = {}
        """The version that an instance of a version claims to be, where it is another one."""
        self.broken: set[tuple[str, str]] = set()
        """(version, path) that is answered 503."""
        self.asked: list[Asked] = []
        self.looks: list[tuple[float, str]] = []
        """When each named metric was asked for."""
        self._owing: Counter[tuple[str, str]] = Counter()
        self._said: list[tuple[float, str, str, float]] = []
        self._servers: list[asyncio.Server] = []
        self.ports: dict[tuple[Slot, int], int] = {}

    def deployment(self) -> Deployment:
        return self._deployment

    # -- what happens --------------------------------------------------------------------------------

    def conduct(self, version: str, **how: float) -> None:
        """From now on `version` answers like this."""
        self.conducts[version] = Conduct(**how)

    def say(self, name: str, value: float, version: str = NEW) -> None:
        """From now on the metric `name` of `version` has this value."""
        self._said.append((self.clock.now(), version, name, value))

    def prints(self, text: str, version: str = NEW) -> None:
        """An instance of `version` prints a line."""
        each = next(i for i in self.machine.seen() if i.version == version)
        self.machine.lines.append(LogLine(self.clock.now(), each.id, "err", text))

    def told(self, version: str, name: str, at: float) -> float:
        """The value of a metric at a time."""
        said = [value for when, whose, what, value in self._said if (whose, what) == (version, name) and when <= at]
        return said[-1] if said else self.baseline[name]

    # -- what became of it ---------------------------------------------------------------------------

    def events(self, view: View, *kinds: str) -> list[tuple[float, str]]:
        """Time after the rollout's beginning and text of its events of these kinds."""
        rows = self.store.events(rollout=view.rollout.id, limit=100_000)
        return [(row.at - view.rollout.created_at, row.text) for row in rows if row.kind in kinds]

    def shares(self, view: View) -> list[tuple[float, float]]:
        """(time after the rollout's beginning, percent): where the share changed."""
        found: list[tuple[float, float]] = []
        for at, share in view.rollout.stages:
            if not found or found[-1][1] != share / 100:
                found.append((at - view.rollout.created_at, share / 100))
        return found

    def there(self) -> list[str]:
        """Versions of the instances that run."""
        return [each.version for each in self.machine.seen()]

    # -- its edges -----------------------------------------------------------------------------------

    def site(self, deployment: Deployment) -> Site:
        runtime = FakeRuntime(self.machine, deployment.component)
        return Site(runtime, FakeRouter(self.proxy), f"127.0.0.1:{self.router_port}")

    def source(self, deployment: Deployment, site: Site, rollout: Rollout) -> Source:
        counts = super().source(deployment, site, rollout)
        asked = Sources()._asked(deployment, site.runtime, rollout)
        return NamedSource(
            counts,
            {
                name: replace(each, metric=self._metric(name, each.metric, rollout, each.every))
                for name, each in asked.items()
            },
        )

    def _metric(self, name: str, real: Metric, rollout: Rollout, every: float) -> Metric:
        if isinstance(self._deployment.settings.metrics.named[name], LogMetric):
            return real if self.logs else _Nothing()
        return _Told(self, name, {"stable": rollout.plan.previous or "", "canary": rollout.plan.version}, every)

    def _serve(self) -> None:
        routes = self.proxy.routes
        if routes is None:
            return
        for slot in ("blue", "green"):
            version = next((i.version for i in self.machine.seen() if i.slot == slot), "")
            how = self.conducts.get(version, Conduct())
            count = self._whole(slot, "requests", self.rps * self.step * routes.weight(slot) / 10_000)
            if not count:
                continue
            failed = min(count, self._whole(slot, "errors", count * how.errors))
            slow = min(count - failed, self._whole(slot, "slow", count * how.slow))
            self.proxy.serve(slot, {500: failed, 200: count - failed - slow}, how.ms)
            self.proxy.serve(slot, {200: slow}, how.slow_ms)

    def _whole(self, slot: str, what: str, amount: float) -> int:
        """A whole number of `amount`; the rest is owed next time."""
        self._owing[slot, what] += amount  # type: ignore[assignment]  # fractions are owed, too
        count = int(self._owing[slot, what] + 1e-9)
        self._owing[slot, what] -= count
        return count

    # -- who answers ---------------------------------------------------------------------------------

    async def open(self) -> None:
        """Listen: the router, and every place that an instance may have."""
        self.router_port = await self._listen("router", self._behind_router)
        for slot in ("blue", "green"):
            for index in range(_PLACES):
                self.ports[slot, index] = await self._listen(f"{slot}-{index}", lambda _, slot=slot: slot)

    async def shut(self) -> None:
        """Listen no more."""
        for server in self._servers:
            server.close()
        self.store.close()

    def _behind_router(self, headers: Mapping[str, str]) -> Slot:
        """The slot that the router would send a request to: the override header decides."""
        routes = self.proxy.routes
        assert routes is not None
        other: Slot = "green" if routes.stable == "blue" else "blue"
        side = headers[self._deployment.settings.router.override_header.lower()]
        return {"always": other, "never": routes.stable}[side]

    async def _listen(self, whom: str, slot_of: Callable[[Mapping[str, str]], Slot]) -> int:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._answer(reader, writer, whom, slot_of)

        port = free_port()
        self._servers.append(await asyncio.start_server(answer, "127.0.0.1", port))
        return port

    async def _answer(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        whom: str,
        slot_of: Callable[[Mapping[str, str]], Slot],
    ) -> None:
        try:
            while head := (await _until_blank(reader)):
                first, *lines = head
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                path = first.split()[1]
                self.asked.append(Asked(self.clock.now(), whom, path))
                slot = slot_of(headers)
                version = next((i.version for i in self.machine.seen() if i.slot == slot), "")
                shown = self.shows.get(version, version)
                status = "503 Not now" if (version, path) in self.broken else "200 OK"
                body = f'{{"status": "healthy", "version": "{shown}"}}'
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nX-Shell-Version: {shown}\r\n\r\n{body}".encode()
                )
                await writer.drain()
        finally:
            writer.close()


async def _until_blank(reader: asyncio.StreamReader) -> list[str]:
    lines: list[str] = []
    while line := (await reader.readline()).decode().strip():
        lines.append(line)
    return lines


class _Machine(FakeMachine):
    """Its instances have the ports of the world."""

    def __init__(self, world: GuideWorld) -> None:
        super().__init__(world.clock)
        self._world = world

    def launch(self, slot: Slot, release: Release, index: int, name: str) -> None:
        super().launch(slot, release, index, name)
        address = f"127.0.0.1:{self._world.ports[slot, index]}"
        self._instances[slot, index] = replace(self._instances[slot, index], address=address)


class _Told:
    """One named metric as a server has it: what was true at every moment of the window at which an instance ran."""

    def __init__(self, world: GuideWorld, name: str, versions: Mapping[Arm, str], every: float) -> None:
        self._world, self._name, self._versions, self._every = world, name, versions, every
        self._born: dict[str, float] = {}

    async def ask(self, *, window: float, now: float) -> Mapping[Arm, Answer]:
        self._world.looks.append((now, self._name))
        return {arm: self._series(self._versions[arm], window, now) for arm in ARMS}

    def _series(self, version: str, window: float, now: float) -> Answer:
        if version not in self._world.there():
            return Unknown("nothing of this version runs")
        born = self._born.setdefault(version, now)
        count = int((now - max(born, now - window)) / self._every)
        times = [now - self._every * back for back in range(count, -1, -1)]
        return Series([(at, self._world.told(version, self._name, at)) for at in times])


class _Nothing:
    """Logs in which no pattern is ever found."""

    async def ask(self, *, window: float, now: float) -> Mapping[Arm, Answer]:  # noqa: ARG002 - nothing, ever
        return dict.fromkeys(ARMS, Series(()))
