"""Where the judge's counts come from: the router itself, or a Prometheus, which may know named metrics besides."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from crossfade.config.quantities import Duration
from crossfade.config.rules import METRICS
from crossfade.config.section import NamedQuery, Query, Section, bare, kinds


def _not_built_in(name: str) -> str:
    if name in METRICS:
        msg = f"`{name}` is a metric already: write another name for this query"
        raise ValueError(msg)
    return name


MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$"), AfterValidator(_not_built_in)]
"""The name of a metric of the user's own, as rules write it."""


class RouterMetrics(Section):
    """The router's own counts for each arm: no further system is needed."""

    kind: Literal["router"] = Field(default="router", description="The kind of metric source.")


class PrometheusMetrics(Section):
    """Counts for each arm from an existing Prometheus."""

    kind: Literal["prometheus"] = Field(default="prometheus", description="The kind of metric source.")
    url: str = Field(pattern=r"^https?://", description="Base address of the server.")
    requests: Query = Field(
        description="Query for a counter of requests; `{arm}`, `{version}`, `{component}`, `{environment}` are replaced."
    )
    errors: Query = Field(description="Query for a counter of failed requests.")
    latency: Query | None = Field(
        default=None, description="Query for cumulative histogram buckets, by `le`, in seconds."
    )
    named: dict[MetricName, NamedQuery] = Field(
        default_factory=dict,
        description="Further metrics for rules, each a query for one value; without `{arm}` and `{version}` it is the same for both arms.",
    )
    timeout: Duration = Field(default=5.0, gt=0, description="How long a query may take.")
    stale_after: Duration = Field(
        default=60.0,
        gt=0,
        description="Age of the newest sample from which the source counts as blind, where it is more than `blind_after`; at least two scrapes.",
    )
    bearer: str | None = Field(default=None, description="Name of the environment variable that holds a bearer token.")


Metrics = Annotated[
    Annotated[RouterMetrics | PrometheusMetrics, Field(discriminator="kind")],
    BeforeValidator(bare),
    kinds("router"),
]
