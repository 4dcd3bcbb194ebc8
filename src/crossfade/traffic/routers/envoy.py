"""The Envoy router: traffic moves by the replacement of one file that Envoy watches, never by a reload.

Once the line on disk is swapped, it is told to Envoy: first the addresses of slots that are going to serve, then
the routes, which hold the whole line, then the addresses of slots that have ended. Each step waits until Envoy has
taken it. `observe` tells what Envoy has, `confirm` asks all its workers.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace as replaced
from pathlib import Path

from crossfade.config.routers import EnvoyRouter as Settings
from crossfade.core.errors import CrossfadeError, UnreachableError
from crossfade.core.locks import locked
from crossfade.traffic.address import numbered, resolved
from crossfade.traffic.children import Child
from crossfade.traffic.counting import CounterProcess
from crossfade.traffic.port import SLOTS, RouterView, Routes
from crossfade.traffic.probe import expectations
from crossfade.traffic.proxy import ProxyRouter
from crossfade.traffic.routers.envoy_config import WORKER_HEADER, SetUp, clusters, endpoints, listener, version
from crossfade.traffic.routers.envoy_config import routes as told
from crossfade.traffic.routers.envoy_process import ManagedEnvoy
from crossfade.traffic.routers.route_file import Accepted, parse
from crossfade.traffic.startup import PATIENCE

COUNTER = "crossfade.traffic.routers.envoy_counter"
KNOCKS = 8
"""Questions for each worker before those that never answered are passed over."""


class EnvoyRouter(ProxyRouter[Settings]):
    """One target's traffic through an Envoy of its own."""

    section, looks_up_names = Settings, False

    def __init__(self, folder: Path, settings: Settings, *, environment: str, component: str) -> None:
        super().__init__(folder, settings, environment=environment, component=component)
        self._envoy = ManagedEnvoy(self._folder / "envoy", settings.listen, settings.binary)

    async def observe(self) -> RouterView:
        """What is in force now: what Envoy has taken, not what it was once told."""
        known = await asyncio.to_thread(self._file.read)
        fence = known.fence if known else 0
        try:
            state, now = await self._envoy.admin.state(), await self._envoy.admin.in_force()
        except UnreachableError as error:
            return RouterView(reachable=False, fence=fence, detail=error.what)
        accepted = parse(now.line)
        if accepted is None or not state.versions["listener"]:
            detail = "Envoy has nothing for this target"
            return RouterView(reachable=True, fence=fence, in_flight=state.flying, detail=detail)
        routes = replaced(accepted.routes, upstreams=now.addresses)
        fence = max(fence, accepted.fence)
        return RouterView(reachable=True, routes=routes, fence=fence, in_flight=state.flying)

    async def ensure(self) -> None:
        """A counter that counts and an Envoy that serves this target, whatever happened to them."""
        await self._counter.start()
        async with locked(self._folder / "envoy.turn"):
            accepted = await asyncio.to_thread(self._file.read)  # the newest, whoever put it there
            if accepted is None:
                return
            files = await asyncio.to_thread(self._files, accepted)
            await self._envoy.ensure(files)
            await self._tell(files, accepted)

    async def confirm(self, routes: Routes) -> bool:
        """Whether every worker answers real requests through the listener as `routes` mean."""
        try:
            workers = (await self._envoy.admin.state()).workers
        except UnreachableError:
            workers = 1  # the listener will tell
        return await asyncio.to_thread(self._all_agree, routes, workers)

    @property
    def _child(self) -> Child:
        return self._envoy.child

    async def _end(self) -> None:
        await self._envoy.stop()

    async def _tell(self, files: dict[str, bytes], accepted: Accepted) -> None:
        """Bring Envoy from what it has taken to what `files` say, in the order in which nobody is lost."""
        ended = [slot for slot in SLOTS if not accepted.routes.upstreams.get(slot)]
        serving = [slot for slot in SLOTS if slot not in ended]
        taken = (await self._envoy.admin.state()).versions
        for name in ("clusters", *serving, "routes", *ended, "listener"):
            if taken[name] != version(files[name]):
                await self._told(name, files[name])

    async def _told(self, name: str, content: bytes) -> None:
        """Replace one file, and wait until Envoy has taken it."""
        await asyncio.to_thread(self._envoy.write, name, content)
        for look in range(int(PATIENCE / 0.002)):
            if (await self._envoy.admin.state()).versions[name] == version(content):
                return
            if look % 50 == 49 and (refusal := await self._envoy.admin.refusal()):  # noqa: PLR2004 - now and then
                break
            await asyncio.sleep(0.002)
        else:
            refusal = self._envoy.complaint()
        raise CrossfadeError(
            "envoy.refused",
            f"Envoy does not take its {name}: {refusal}",
            where=str(self._envoy.folder / f"{name}.json"),
            next="repair what it names; the next attempt writes it anew",
            retry=True,
        )

    def _all_agree(self, routes: Routes, workers: int) -> bool:
        expected, seen = expectations(routes, self._settings.override_header, plain=1), set[str]()
        for knock in range(max(KNOCKS * workers, len(expected))):
            each = expected[knock % len(expected)]
            answer = self._probe.ask_once(each.headers)
            if answer is None or not each.met_by(answer):
                return False
            seen.add(answer.headers.get(WORKER_HEADER.lower(), ""))
            if knock + 1 >= len(expected) and len(seen) >= workers:
                break
        return True

    def _files(self, accepted: Accepted) -> dict[str, bytes]:
        """What Envoy shall watch, by name."""
        setup, called, folder, copies = (
            self._setup(),
            accepted.routes.whole().upstreams,
            str(self._envoy.folder),
            str(self._envoy.copies),
        )
        numbers = numbered(accepted.routes)
        return {
            "listener": listener(setup, folder, copies),
            "clusters": clusters(folder, copies),
            "routes": told(setup, accepted),
            **{slot: endpoints(slot, list(zip(called[slot], numbers[slot], strict=True))) for slot in SLOTS},
        }

    @property
    def _counter(self) -> CounterProcess:
        return CounterProcess(self._folder / "counter", str(self._envoy.socket), "", self._labels, COUNTER)

    def _setup(self) -> SetUp:
        listen = self._settings.listen
        return SetUp(
            listen=resolved(listen, f"router.listen {listen}") if listen.rpartition(":")[0] else listen,
            token=self._token(),
            override_header=self._settings.override_header,
            sticky=self._sticky,
        )
