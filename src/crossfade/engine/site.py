"""Where one rollout takes place: its adapters, built from the deployment that it was created with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from crossfade.analysis.sources.port import Source
from crossfade.config.model import Deployment
from crossfade.engine.adapters import ROUTERS, RUNTIMES, adapter
from crossfade.engine.sources import Sources
from crossfade.rollouts.rollout import Rollout
from crossfade.runtimes.port import Runtime
from crossfade.traffic.port import Router


@dataclass(frozen=True, slots=True)
class Site:
    """The adapters of one target."""

    runtime: Runtime
    router: Router
    address: str
    """Where users reach the target: HOST:PORT that this machine can dial."""


class Sites(Protocol):
    """How adapters come into being; tests and benchmarks bring their own."""

    def site(self, deployment: Deployment) -> Site:
        """The adapters of a deployment's target."""
        ...

    def source(self, deployment: Deployment, site: Site, rollout: Rollout) -> Source:
        """Where the counts of both arms of `rollout` come from."""
        ...

    async def close(self) -> None:
        """Let go of what the sources share; nothing is asked of them any more."""
        ...


class RealSites:
    """The adapters that `crossfade.yaml` names. Sources share their connections, until `close`."""

    def __init__(self) -> None:
        self._sources = Sources()

    def site(self, deployment: Deployment) -> Site:
        """Build the runtime and the router that the deployment names."""
        router: Router = adapter(ROUTERS, "crossfade.routers", deployment.settings.router).of(deployment)
        runtime: Runtime = adapter(RUNTIMES, "crossfade.runtimes", deployment.settings.runtime).of(deployment)
        return Site(runtime, router, router.address)

    def source(self, deployment: Deployment, site: Site, rollout: Rollout) -> Source:
        """Build the metric source that the environment names."""
        return self._sources.source(deployment, site.router, site.runtime, rollout)

    async def close(self) -> None:
        """Close the connections of the sources."""
        await self._sources.close()
