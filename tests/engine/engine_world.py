"""A project on this machine, with visitors: everything real, quick, and watched for what must never happen."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
from engine_process import work

from crossfade.config.model import Component, Deployment, Drain, Environment, Health, Judge, Ready, VersionProof
from crossfade.config.routers import CaddyRouter
from crossfade.config.strategies import Canary, Smoke, Stage
from crossfade.engine.control import Control
from crossfade.engine.site import RealSites, Site
from crossfade.engine.views import View
from crossfade.runtimes.shim.folder import MARKER
from crossfade.store import Store
from crossfade.traffic.load import Load, Plan, causes
from crossfade.traffic.port import SLOTS
from crossfade.traffic.routers.route_file import RouteFile
from free_ports import free_port
from patience import PATIENCE

GOOD: tuple[str, ...] = ()
BAD = ("--error-rate", "0.8")


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Wait for what happens elsewhere; only a hang fails here."""
    give_up = time.monotonic() + PATIENCE
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < give_up, what or "it never came"
        await asyncio.sleep(0.05)


_ENDS = threading.Lock()
"""How a process ended is told once by the fork server: of two threads that ask at once (to start one is to ask about all
others) one would be told that it ended with 255."""
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "pytest",
        "crossfade.engine.worker",
        "crossfade.engine.dbos_runner",
        "crossfade.analysis.sources.router",
        "crossfade.runtimes.process",
        "crossfade.traffic.routers.caddy",
        "dbos",
    ]
)
"""Engines are forked from a process that has imported everything: a kill costs no second of imports."""


class Engine:
    """One engine as a process; what it has to say goes to `log`."""

    def __init__(self, process: BaseProcess, log: Path) -> None:
        self.process, self.log = process, log

    def start(self) -> None:
        with _ENDS:
            self.process.start()

    @property
    def alive(self) -> bool:
        return self.exitcode is None

    @property
    def exitcode(self) -> int | None:
        with _ENDS:
            return self.process.exitcode

    @property
    def killed(self) -> bool:
        return self.exitcode == -signal.SIGKILL

    async def working(self) -> None:
        """Once it holds the place of the engine (or has ended)."""
        await until(lambda: not self.alive or self.log.with_suffix(".working").exists(), "an engine never began")

    async def kill(self) -> None:
        self.process.kill()
        await until(lambda: not self.alive)

    async def stop(self) -> None:
        self.process.terminate()
        await until(lambda: not self.alive, "an engine did not end")


class World:
    """One component in one environment, its store, its engines and its visitors."""

    def __init__(self, place: Path, url: str | None = None, *, admin: str | None = None) -> None:
        self.place = place
        self.state = place / ".crossfade"
        self.state.mkdir(exist_ok=True)
        self.url = url or f"sqlite:///{self.state / 'state.db'}"
        self.listen = f"127.0.0.1:{free_port()}"
        self.admin = admin
        self.store = Store.open(self.url)
        self.control = Control(self.store)
        self.engines: list[Engine] = []
        self._begun = 0
        self.crashes = place / "crashes"
        self.crashes.mkdir(exist_ok=True)
        self.load: Load | None = None
        self.seen = Sightings(self)
        self.settings: dict[str, object] = {}
        """Changes to the environment's settings."""

    # -- what is released ----------------------------------------------------------------------------

    def deployment(self, flags: tuple[str, ...] = GOOD, **workload: object) -> Deployment:
        settings = {
            "router": CaddyRouter(listen=self.listen, admin=self.admin),
            "strategy": Canary(
                steps=(Stage(weight=2500), Stage(weight=5000)),
                watch=2,
                final_watch=1,
                hold=0,
                max_extension=60,
                smoke=(Smoke(path="/version", contains="version"),),
            ),
            "judge": Judge(
                bucket=1, warmup=0, guard_window=2, guard_requests=5, min_requests=10, blind_after=4, latency=False
            ),
            **self.settings,
        }
        command = (sys.executable, "-m", "crossfade.demo.app", "--port", "{port}", "--version", "{version}")
        component = {
            "command": (*command, "--latency-ms", "1", *flags),
            "instances": 2,
            "health": Health(interval=0.2),
            "ready": Ready(deadline=20),
            "drain": Drain(timeout=5, grace=2),
            "version_proof": VersionProof(path="/version", field="version"),
            **workload,
        }
        return Deployment(
            project="p",
            component="shop",
            environment="production",
            root=str(self.place),
            state=str(self.state),
            workload=Component(**component),
            instances=2,
            settings=Environment(**settings),
        )

    def deploy(self, version: str, flags: tuple[str, ...] = GOOD, **workload: object) -> str:
        """The id of a rollout that has just been asked for."""
        return self.control.deploy(self.deployment(flags, **workload), version, actor="ada").rollout.id

    async def first_release(self, **workload: object) -> None:
        """1.0.0 has all of the traffic, and the visitors come."""
        first = self.deploy("1.0.0", **workload)
        await self.ended(first, "done")
        self.visitors()

    # -- engines and visitors ------------------------------------------------------------------------

    async def engine(self, *patterns: str, wait: bool = True) -> Engine:
        """Another engine; it kills itself at boundaries that match `patterns`."""
        log = self.place / f"engine-{self._begun}.log"
        self._begun += 1
        process = _FORKS.Process(target=work, args=(self.state, self.url, log, self.crashes, patterns), daemon=True)
        engine = Engine(process, log)
        await asyncio.to_thread(engine.start)
        self.engines.append(engine)
        if wait:
            await engine.working()
        return engine

    async def carried(self, over: Callable[[], bool], *patterns: str, engines: int = 1) -> int:
        """Keep as many engines as that, however often they die at boundaries like these, until `over`; how many were killed.

        Of two, one may wait for its place.
        """
        while not over():
            for _ in range(engines - sum(each.alive for each in self.engines)):
                await self.engine(*patterns, wait=False)
            await asyncio.sleep(0.1)
        killed = sum(each.killed for each in self.engines)
        for each in self.engines:
            if each.alive:
                await each.stop()
        return killed

    def visitors(self, rps: float = 100.0, **more: Any) -> Load:
        self.load = Load(self.site.router.address, Plan(rps=rps, timeout=30, **more))  # type: ignore[attr-defined]  # Caddy's
        self.load.start()
        return self.load

    @property
    def site(self) -> Site:
        return RealSites().site(self.deployment())

    # -- what became of it ---------------------------------------------------------------------------

    def view(self, rollout: str) -> View:
        return self.control.view(rollout)

    def kinds(self, rollout: str) -> list[str]:
        return [row.kind for row in self.store.events(rollout=rollout, limit=100_000)]

    async def ended(self, rollout: str, status: str) -> View:
        try:
            await until(lambda: self.view(rollout).rollout.finished, f"{rollout} never ended")
        finally:
            view = self.view(rollout)
            assert view.rollout.status == status, self.story(view)
        return view

    def story(self, view: View) -> str:
        """What a person needs to find out why a test failed."""
        rows = self.store.events(rollout=view.rollout.id, limit=100_000)
        events = [f"{row.at:.3f} {row.kind}: {row.text}" for row in rows]
        logs = [f"{each.log.name} {each.exitcode}: {each.log.read_text()[-2000:]}" for each in self.engines]
        return "\n".join([repr(view.rollout), repr(view.seen), repr(self.seen.routes), *events, *logs])

    async def happened(self, rollout: str, kind: str) -> None:
        await until(lambda: kind in self.kinds(rollout), f"{kind} never happened")

    async def share(self, rollout: str, share: int) -> None:
        """Once the data plane has confirmed that the new version has `share`, and it is watched."""

        def watched() -> bool:
            now = self.view(rollout).rollout
            step = now.current
            assert not now.finished, (now.status, now.reason)
            return now.share == share and step is not None and step.kind == "watch"

        await until(watched, f"the share never became {share}")

    async def leave(self) -> None:
        """Let the visitors go; what became of their requests is complete then."""
        if self.load is not None:
            await self.load.stop()

    def requests_lost(self) -> list[str]:
        """Requests that nobody of ours answered."""
        assert self.load is not None
        assert len(self.load.samples) > 100
        return [f"{s.cause} {s.status} {s.detail}" for s in self.load.samples if s.dropped]

    def answered_by(self, version: str, *, after: float = 0.0) -> int:
        assert self.load is not None
        return sum(1 for s in self.load.samples if s.version == version and s.at > after)

    def failures(self) -> Counter[str]:
        assert self.load is not None
        return causes(self.load.samples)

    def check_record(self, rollout: str) -> None:
        """The chain is whole; each action was wanted once and ended once at most, and all have ended."""
        assert self.store.verify_audit().sound
        rows = self.store.events(rollout=rollout, limit=100_000)
        for kind, most in (("action.wanted", 1), ("action.done", 1), ("command.done", 1)):
            ids = Counter(str(row.data.get("id", row.data.get("serial"))) for row in rows if row.kind == kind)
            assert [i for i, count in ids.items() if count > most] == [], kind
        assert self.store.wanted_actions() == []

    async def check_instances(self, version: str) -> None:
        """Two instances of `version` run, nobody else, and exactly one process each."""
        there = await self.site.runtime.observe()
        assert [(i.version, i.state) for i in there] == [(version, "ready")] * 2
        supervisors, processes = processes_of(self.place)
        assert len(supervisors) == 2
        assert sorted(processes.values()) == [1, 1], processes

    async def close(self) -> None:
        """End everything; whatever is left is a leak."""
        await self.leave()
        for engine in self.engines:
            await engine.kill()
        await self.seen.stop()
        for slot in SLOTS:
            await self.site.runtime.stop(slot)
        await self.site.router.close()  # type: ignore[attr-defined]  # Caddy's
        self.store.close()


class Sightings:
    """Looks at the world ten times a second, and keeps what must never be seen."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._task: asyncio.Task[None] | None = None
        self.wrong: list[str] = []
        self.looks = 0
        self.routes: list[tuple[int, int]] = []
        """Fence and green's share, as they changed."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._look_forever())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            assert self._task.cancelled(), self._task.exception()

    async def _look_forever(self) -> None:
        while True:
            await asyncio.to_thread(self._look)
            await asyncio.sleep(0.1)

    def _look(self) -> None:
        self.looks += 1
        _, processes = processes_of(self._world.place)
        self.wrong += [f"{folder} has {count} processes" for folder, count in processes.items() if count > 1]
        for slot in SLOTS:
            count = sum(1 for folder in processes if Path(folder).parent.name == slot)
            if count > 2:
                self.wrong.append(f"{count} instances in {slot}")
        accepted = RouteFile(self._world.state / "routes" / "production" / "shop").read()
        if accepted is not None and (not self.routes or self.routes[-1] != (accepted.fence, accepted.routes.green)):
            if self.routes and accepted.fence <= self.routes[-1][0]:
                self.wrong.append(f"fence {accepted.fence} after {self.routes[-1][0]}, with other routes")
            self.routes.append((accepted.fence, accepted.routes.green))


def processes_of(place: Path) -> tuple[list[psutil.Process], Counter[str]]:
    """Supervisors under `place`, and how many processes each instance folder has."""
    supervisors: list[psutil.Process] = []
    processes: Counter[str] = Counter()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            command = process.cmdline()
            if len(command) > 1 and command[-2].endswith("__main__.py") and command[-1].startswith(f"{place}/"):
                supervisors.append(process)
            elif process.status() != psutil.STATUS_ZOMBIE:
                folder = process.environ().get(MARKER, "")
                processes.update([folder] if folder.startswith(f"{place}/") else [])
    return supervisors, processes


def leftovers(place: Path) -> list[psutil.Process]:
    """Every living process that has to do with `place`."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            marked = process.environ().get(MARKER, "").startswith(f"{place}/")
            if marked or any(str(place) in part for part in process.cmdline()):
                found.append(process)
    return found
