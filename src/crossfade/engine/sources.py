"""Where a rollout's evidence comes from: the counts of both arms, and the named metrics that its rules are about."""

# ruff: noqa: PLC0415 - only what is used is imported

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from crossfade.analysis.sources.port import Metric, Source
from crossfade.analysis.values import Arm
from crossfade.config import named_metrics as config
from crossfade.config.metrics import PrometheusMetrics, RouterMetrics
from crossfade.config.model import Deployment
from crossfade.rollouts.rollout import Rollout
from crossfade.runtimes.port import Runtime
from crossfade.traffic.port import Router, Slot

if TYPE_CHECKING:
    from crossfade.analysis.sources.log_lines import Logs
    from crossfade.analysis.sources.named import Asked
    from crossfade.analysis.sources.templates import Names
    from crossfade.analysis.sources.usage import Instances
    from crossfade.analysis.sources.web import Client, Clients


class Sources:
    """What the sources of all rollouts share, until `close`: connections."""

    def __init__(self) -> None:
        self._clients: Clients | None = None

    def source(self, deployment: Deployment, router: Router, runtime: Runtime, rollout: Rollout) -> Source:
        """The counts that the environment names, with the named metrics that its rules are about."""
        counts = self._counts(deployment, router, rollout)
        asked = self._asked(deployment, runtime, rollout)
        if not asked:
            return counts
        from crossfade.analysis.sources.named import NamedSource

        return NamedSource(counts, asked)

    async def close(self) -> None:
        """Close the connections."""
        if self._clients is not None:
            await self._clients.close()
            self._clients = None

    def clients(self) -> Clients:
        """The HTTP clients, made when the first is wanted."""
        from crossfade.analysis.sources.web import Clients

        if self._clients is None:
            self._clients = Clients()
        return self._clients

    def _counts(self, deployment: Deployment, router: Router, rollout: Rollout) -> Source:
        bucket = deployment.settings.judge.bucket
        match deployment.settings.metrics:
            case RouterMetrics():
                from crossfade.analysis.sources.router import RouterSource

                return RouterSource(router, stable=rollout.old, bucket=bucket)
            case PrometheusMetrics() as settings:
                from crossfade.analysis.sources.prometheus import PrometheusSource
                from crossfade.analysis.sources.prometheus_server import PrometheusServer

                client = self.clients().client(settings.ca, deployment.root)
                server = PrometheusServer(settings.url, settings, client, timeout=settings.timeout)
                return PrometheusSource(settings, server, names=_names(deployment, rollout), bucket=bucket)

    def _asked(self, deployment: Deployment, runtime: Runtime, rollout: Rollout) -> Mapping[str, Asked]:
        """Every named metric that a rule is about; no other is asked for."""
        settings = deployment.settings
        windows: dict[str, list[float]] = {}
        for rule in settings.rules:
            if rule.metric in settings.metrics.named:
                windows.setdefault(rule.metric, []).append(rule.over)
        if not windows:
            return {}
        from crossfade.analysis.sources.named import Asked

        making = _Making(self, deployment, runtime, rollout, [settings.metrics.named[name] for name in windows])
        made: dict[str, Asked] = {}
        for name, over in windows.items():
            metric = settings.metrics.named[name]
            # A server that asks twice (once more as an expression) ends its own waiting; this is what ends all of it.
            limit = metric.timeout * (2 if isinstance(metric, config.PrometheusMetric) else 1) + 1
            counted = isinstance(metric, config.LogMetric)
            every = min(metric.every, min(over) / 4)  # else the shortest window would be empty at times
            made[name] = Asked(
                making.metric(metric, every), max(over), every, limit, making.stale_after(metric), counted
            )
        return made


class _Making:
    """The adapters of one rollout's named metrics."""

    def __init__(
        self,
        sources: Sources,
        deployment: Deployment,
        runtime: Runtime,
        rollout: Rollout,
        wanted: list[config.AnyMetric],
    ) -> None:
        self._sources = sources
        self._deployment = deployment
        self._runtime = runtime
        self._names = _names(deployment, rollout)
        self._slots: Mapping[Arm, Slot] = {"stable": rollout.old, "canary": rollout.slot}
        self._patterns = [each.pattern for each in wanted if isinstance(each, config.LogMetric)]
        self._logs: Logs | None = None
        self._instances: Instances | None = None

    def stale_after(self, metric: config.AnyMetric) -> float:
        """From which age a value counts no more (seconds)."""
        if metric.stale_after is not None:
            return metric.stale_after
        if isinstance(metric, config.CloudWatchMetric):
            return max(300.0, 3 * metric.period)
        counts = self._deployment.settings.metrics
        return counts.stale_after if isinstance(counts, PrometheusMetrics) else 60.0

    def metric(self, settings: config.AnyMetric, every: float) -> Metric:
        """The adapter that carries a kind out, to be asked `every` so many seconds."""
        match settings:
            case config.PrometheusMetric():
                return self._prometheus(settings, every)
            case config.DatadogMetric():
                from crossfade.analysis.sources.datadog import DatadogQuery

                return DatadogQuery(settings, self._client(None), names=self._names)
            case config.CloudWatchMetric():
                from crossfade.analysis.sources.cloudwatch import CloudWatchStatistic

                return CloudWatchStatistic(settings, self._client(None), names=self._names)
            case config.HttpMetric():
                from crossfade.analysis.sources.json_field import JsonField

                return JsonField(settings, self._client(settings.ca), names=self._names)
            case config.PostgresMetric():
                from crossfade.analysis.sources.postgresql import PostgresNumber

                return PostgresNumber(settings, names=self._names)
            case config.LogMetric():
                return self._log_lines(settings)
            case config.CpuMetric() | config.MemoryMetric():
                return self._usage(settings)

    def _client(self, ca: str | None) -> Client:
        return self._sources.clients().client(ca, self._deployment.root)

    def _prometheus(self, settings: config.PrometheusMetric, every: float) -> Metric:
        from crossfade.analysis.sources.prometheus_query import PrometheusQuery
        from crossfade.analysis.sources.prometheus_server import PrometheusServer

        counts = self._deployment.settings.metrics
        url, access, timeout = settings.url, cast("config.Access", settings), settings.timeout
        if url is None and isinstance(counts, PrometheusMetrics):
            url, access, timeout = counts.url, counts, counts.timeout
        server = PrometheusServer(url or "", access, self._client(access.ca), timeout=timeout)
        return PrometheusQuery(settings.query, server, names=self._names, every=every)

    def _log_lines(self, settings: config.LogMetric) -> Metric:
        from crossfade.analysis.sources.log_lines import LogLines, Logs

        if self._logs is None:
            self._logs = Logs(self._runtime, self._patterns, slots=self._slots)
        return LogLines(self._logs, settings.pattern)

    def _usage(self, settings: config.CpuMetric | config.MemoryMetric) -> Metric:
        from crossfade.analysis.sources.usage import CpuOfInstances, Instances, MemoryOfInstances
        from crossfade.core.clock import SystemClock

        if self._instances is None:
            self._instances = Instances(self._runtime, slots=self._slots)
        over = settings.over_instances
        if isinstance(settings, config.MemoryMetric):
            return MemoryOfInstances(self._instances, over)
        return CpuOfInstances(self._instances, over=over, clock=SystemClock())


def _names(deployment: Deployment, rollout: Rollout) -> Names:
    """What stands for the placeholders of queries."""
    from crossfade.analysis.sources.templates import names

    versions: Mapping[Arm, str] = {"stable": rollout.plan.previous or "", "canary": rollout.plan.version}
    return names(versions, component=deployment.component, environment=deployment.environment)
