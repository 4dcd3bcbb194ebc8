"""Where the judge's counts come from: the router itself, or a Prometheus; and named metrics beside them, for rules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from crossfade.config.named_metrics import Access, Address, BesidePrometheus, BesideRouter, MetricName
from crossfade.config.quantities import Duration
from crossfade.config.section import Query, Section, bare, kinds


class RouterMetrics(Section):
    """The router's own counts for each arm: no further system is needed."""

    kind: Literal["router"] = Field(default="router", description="The kind of metric source.")
    named: dict[MetricName, BesideRouter] = Field(
        default_factory=dict, description="Further metrics for rules, by the name that rules use."
    )


class PrometheusMetrics(Access):
    """Counts for each arm from an existing Prometheus."""

    kind: Literal["prometheus"] = Field(default="prometheus", description="The kind of metric source.")
    url: Address = Field(description="Base address of the server.")
    requests: Query = Field(
        description="Query for a counter of requests; `{arm}`, `{version}`, `{component}`, `{environment}` are replaced."
    )
    errors: Query = Field(description="Query for a counter of failed requests.")
    latency: Query | None = Field(
        default=None, description="Query for cumulative histogram buckets, by `le`, in seconds."
    )
    named: dict[MetricName, BesidePrometheus] = Field(
        default_factory=dict,
        description="Further metrics for rules, by the name that rules use; a bare text is a query of this server.",
    )
    timeout: Duration = Field(default=5.0, gt=0, description="How long a query may take.")
    stale_after: Duration = Field(
        default=60.0,
        gt=0,
        description="Age of the newest sample from which the source counts as blind, where it is more than `blind_after`; at least two scrapes.",
    )


Metrics = Annotated[
    Annotated[RouterMetrics | PrometheusMetrics, Field(discriminator="kind")],
    BeforeValidator(bare),
    kinds("router"),
]
