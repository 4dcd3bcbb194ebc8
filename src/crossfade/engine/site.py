"""Where one rollout takes place: its adapters, built from the deployment that it was created with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from crossfade.analysis.sources.port import Source
from crossfade.config.metrics import PrometheusMetrics, RouterMetrics
from crossfade.config.model import Deployment
from crossfade.engine.adapters import ROUTERS, RUNTIMES, adapter
from crossfade.rollouts.rollout import Rollout
from crossfade.runtimes.port import Runtime
from crossfade.traffic.port import Router

if TYPE_CHECKING:
    import httpx


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
    """The adapters that `crossfade.yaml` names. Sources that ask over HTTP share one client, until `close`."""

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None

    def site(self, deployment: Deployment) -> Site:
        """Build the runtime and the router that the deployment names."""
        router: Router = adapter(ROUTERS, "crossfade.routers", deployment.settings.router).of(deployment)
        runtime: Runtime = adapter(RUNTIMES, "crossfade.runtimes", deployment.settings.runtime).of(deployment)
        return Site(runtime, router, router.address)

    def source(self, deployment: Deployment, site: Site, rollout: Rollout) -> Source:
        """Build the metric source that the environment names."""
        bucket = deployment.settings.judge.bucket
        match deployment.settings.metrics:
            case RouterMetrics():
                from crossfade.analysis.sources.router import RouterSource  # noqa: PLC0415 - only what is used is imported

                return RouterSource(site.router, stable=rollout.old, bucket=bucket)
            case PrometheusMetrics() as settings:
                from crossfade.analysis.sources.prometheus import PrometheusSource  # noqa: PLC0415 - only what is used is imported

                return PrometheusSource(
                    settings,
                    self._shared_client(),
                    versions={"stable": rollout.plan.previous or "", "canary": rollout.plan.version},
                    names={"component": deployment.component, "environment": deployment.environment},
                    bucket=bucket,
                    windows={
                        name: max(rule.over for rule in deployment.settings.rules if rule.metric == name)
                        for name in settings.named
                        if any(rule.metric == name for rule in deployment.settings.rules)
                    },
                )

    def _shared_client(self) -> httpx.AsyncClient:
        import httpx  # noqa: PLC0415 - only what is used is imported

        if self._client is None:
            self._client = httpx.AsyncClient(trust_env=False)
        return self._client

    async def close(self) -> None:
        """Close the connections of the sources."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None
