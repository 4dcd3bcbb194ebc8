"""A router that is a proxy on this machine: everything about it that no product changes.

A target has a folder of its own, `{state}/routes/{environment}/{component}`:

    routes      the line: what is in force, and under which fence
    listen      where users were last to reach it
    token       what marks our own requests
    counter/    the process that counts
    {kind}/     the proxy, where it is ours

`apply` swaps the line (atomic, fenced), then sees to it that a proxy carries it out and that a counter listens.
`confirm` asks through the listener which line is in force. A product adds how its proxy is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from crossfade.config.model import Deployment
from crossfade.config.routers import Capabilities, Router, StickyKind
from crossfade.core.errors import BadInputError, CrossfadeError
from crossfade.traffic.address import dialled, numbered, refuse_taken, settings_of
from crossfade.traffic.children import Child
from crossfade.traffic.counting import CounterProcess
from crossfade.traffic.headers import PROBE_HEADER
from crossfade.traffic.port import Counts, RouterView, Routes
from crossfade.traffic.probe import Answer, Probe, expectations
from crossfade.traffic.routers.route_file import Accepted, RouteFile, routes_checked
from crossfade.traffic.whole_files import replace

S = TypeVar("S", bound=Router)


class ProxyRouter(ABC, Generic[S]):
    """One target's traffic through a proxy on this machine, whose section in `crossfade.yaml` is an `S`.

    `folder` is the target's own; `settings` are the router section of its environment.
    """

    section: ClassVar[type[Any]]
    """The class of `S`."""
    looks_up_names: ClassVar[bool] = True
    """Whether the proxy resolves the names of instances itself; for others we do."""

    def __init__(self, folder: Path, settings: S, *, environment: str, component: str) -> None:
        self._folder, self._settings = folder.absolute(), settings
        self._target = {"environment": environment, "component": component}
        self._file = RouteFile(self._folder)

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        """The router of one component in one environment."""
        environment, component = deployment.environment, deployment.component
        folder = Path(deployment.state) / "routes" / environment / component
        return cls(folder, settings_of(deployment, cls.section), environment=environment, component=component)

    @property
    def capabilities(self) -> Capabilities:
        """What the product can do."""
        return self._settings.can

    @property
    def address(self) -> str:
        """Where users reach the target, as HOST:PORT that this machine can dial."""
        return dialled(self._settings.listen)

    @abstractmethod
    async def observe(self) -> RouterView:
        """What is in force now: what the proxy does, not what it was once told."""

    async def apply(self, routes: Routes, *, fence: int) -> None:
        """Put `routes` in force: the line on disk first, then in the proxy."""
        if routes.mirror and not self.capabilities.mirror:
            raise BadInputError(
                "router.no-copies",
                f"{self.address} is served by a router that cannot send copies of requests",
                next="leave `mirror` out of the strategy, or choose a router that can: nginx, envoy or traefik",
            )
        wanted = Accepted(routes_checked(routes), fence)
        if not self.looks_up_names:
            await asyncio.to_thread(numbered, routes)  # a name that leads nowhere is told before anything changes
        await asyncio.to_thread(self._note_address)
        await asyncio.to_thread(self._file.swap, wanted)
        await self.ensure()

    @abstractmethod
    async def ensure(self) -> None:
        """A counter that counts and a proxy that serves this target, whatever happened to them."""

    async def confirm(self, routes: Routes) -> bool:
        """Whether real requests through the listener are answered by the slots that `routes` mean."""
        expected = expectations(routes, self._settings.override_header)
        answers = await self._ask(*(each.headers for each in expected))
        return all(each.met_by(answer) for each, answer in zip(expected, answers, strict=False))

    async def counts(self, since: float) -> Counts:
        """Closed one-second buckets from `since` on; a counter that died is started again."""
        if not self._counter.child.running() and self._file.path.exists():
            with contextlib.suppress(CrossfadeError):
                await self._counter.start()
                await self._rouse()
        return await self._counter.counts(since)

    async def metrics(self) -> str | None:
        """The counter's totals in Prometheus' text format; None when it does not answer."""
        return await self._counter.metrics()

    async def close(self) -> None:
        """End what was started for this target: the proxy, where it is ours, and the counter. Users lose the address."""
        await self._counter.stop()  # first: while its connection is open, a proxy that lets nobody down waits for it
        await self._end()

    def _note_address(self) -> None:
        """Note where users are to reach it.

        Raise where the proxy serves another address and somebody else has this one, before it gives anything up. At the
        same port it may be the proxy itself that has it, as on its way from one host to all of them.
        """
        noted, listen = self._folder / "listen", self._settings.listen
        before = noted.read_text() if noted.exists() else listen
        moves = before.rpartition(":")[2] != listen.rpartition(":")[2]
        if moves and self._child is not None and self._child.running():
            refuse_taken(listen)
        if before != listen or not noted.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            replace(noted, listen.encode())

    @property
    @abstractmethod
    def _child(self) -> Child | None:
        """The proxy's process; None where the proxy is not ours."""

    @abstractmethod
    async def _end(self) -> None:
        """End the proxy; take our part out of one that is not ours."""

    async def _rouse(self) -> None:
        """Let the proxy find a counter that was away; most do so by themselves."""

    async def _ask(self, *requests: Mapping[str, str]) -> list[Answer | None]:
        """Ask the data plane with these headers."""
        return await self._probe.ask(*requests)

    @property
    def _probe(self) -> Probe:
        return Probe(self.address, self._token())

    @property
    def _counter(self) -> CounterProcess:
        header = f"{PROBE_HEADER}:{self._token()}"
        return CounterProcess(self._folder / "counter", f"http://{self.address}", header, self._labels)

    @property
    def _labels(self) -> str:
        return ",".join(f'{name}="{value}"' for name, value in self._target.items())

    @property
    def _name(self) -> str:
        """A name that may stand in any product's configuration; different targets have different ones."""
        return slug(**self._target)

    @property
    def _sticky(self) -> tuple[StickyKind, str] | None:
        return None if self._settings.sticky is None else self._settings.sticky.key

    def _token(self) -> str:
        """What marks our own requests: drawn once, known to this folder and to the proxy."""
        path = self._folder / "token"
        with contextlib.suppress(FileNotFoundError):
            return path.read_text()
        self._folder.mkdir(parents=True, exist_ok=True)
        fresh = self._folder / f".token-{secrets.token_hex(4)}"
        replace(fresh, secrets.token_hex(16).encode())
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)  # of two that draw at once, one wins
        fresh.unlink()
        return path.read_text()


def slug(environment: str, component: str) -> str:
    """Letters, digits and underscores for a target; different targets get different ones.

    >>> slug("production", "shop"), slug("production", "my-shop")
    ('production__shop', 'production__my_shop_4a05e6d3')
    """
    name = f"{environment}.{component}"
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name.replace(".", "__"))
    if re.fullmatch(r"[a-z0-9]+\.[a-z0-9]+", name):
        return plain
    return f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
