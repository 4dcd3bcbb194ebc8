"""Metrics of the user's own, for rules: one value for each arm, from wherever it is known."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import SchemaError, SchemaValidator, core_schema

from crossfade.config.faults import nearest
from crossfade.config.placeholders import PlaceholderError
from crossfade.config.quantities import Duration
from crossfade.config.rules import METRICS
from crossfade.config.section import NamedQuery, Section, VariableName

PLACEHOLDERS = ("arm", "version", "component", "environment")
"""What is replaced in every text that a metric is asked for by."""

STATISTIC = (
    r"^(Average|Sum|Minimum|Maximum|SampleCount|IQM|(p|tm|wm|tc|ts)[0-9]+(\.[0-9]+)?|(TM|WM|PR|TC|TS)\([0-9.%:]+\))$"
)
"""The statistics of CloudWatch."""

_MINUTE = 60
_SHORT_PERIODS = (1, 5, 10, 20, 30)


def _not_built_in(name: str) -> str:
    if name in METRICS:
        msg = f"`{name}` is a metric already: write another name for this query"
        raise ValueError(msg)
    return name


def _linear(pattern: str) -> str:
    """Refuse what is no regular expression, or cannot be searched for in time that grows with the line alone."""
    try:
        compiled(pattern)
    except SchemaError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        why = lines[-1].removeprefix("error: ").removeprefix("SchemaError: ").rstrip(".")
        msg = f"this is no pattern that log lines can be searched for, {why[:1].lower()}{why[1:]}: write one such as `panic|FATAL`"
        raise ValueError(msg) from None
    return pattern


def compiled(pattern: str) -> SchemaValidator:
    """A pattern that `isinstance_python(line)` finds anywhere in a line, in time linear to its length.

    The expressions are those of Rust's regex crate: no look-around, no back-references, and so no pattern that hangs.
    SchemaError where it is none.

    >>> compiled("panic|(?i)fatal").isinstance_python("worker 3: Fatal: no memory")
    True
    """
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))


def _no_slip(query: str) -> str:
    """Refuse a placeholder with a slip in it; other names in braces are Datadog's own."""
    for name in re.findall(r"\{([a-z_]+)\}", query):
        meant = None if name in PLACEHOLDERS else nearest(name, PLACEHOLDERS)
        if meant:
            msg = f"{{{name}}} is not a placeholder of queries: did you mean {{{meant}}}?"
            raise PlaceholderError(msg)
    return query


def _without_password(url: str) -> str:
    if re.match(r"https?://[^/?#]*@", url):
        msg = "a password does not belong into the file: use `basic`, whose password stands in an environment variable"
        raise ValueError(msg)
    return url


Address = Annotated[str, Field(pattern=r"^https?://"), AfterValidator(_without_password)]
"""An address over HTTP, without a user and a password in it."""

HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]

Every = Annotated[Duration, Field(gt=0, description="How often it is asked for.")]
Timeout = Annotated[Duration, Field(gt=0, description="How long an answer may take.")]
StaleAfter = Annotated[Duration, Field(gt=0, description="Age from which a value counts no more.")]
OverInstances = Literal["mean", "max"]

MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$"), AfterValidator(_not_built_in)]
"""The name of a metric of the user's own, as rules write it."""


class Basic(Section):
    """A user and a password, which stands in an environment variable."""

    username: str = Field(min_length=1, description="The user.")
    password: VariableName = Field(description="Name of the environment variable that holds the password.")


class Access(Section):
    """How a server that is asked over HTTP is known, and knows us; secrets stand in environment variables."""

    bearer: VariableName | None = Field(
        default=None, description="Name of the environment variable that holds a bearer token."
    )
    basic: Basic | None = Field(
        default=None, description="A user and the variable of the password, instead of a token."
    )
    headers: dict[HeaderName, VariableName] = Field(
        default_factory=dict,
        description="Further request headers, each with the name of the environment variable that holds its value.",
    )
    ca: str | None = Field(
        default=None, min_length=1, description="File of the authority that signed the server's certificate."
    )

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        if self.bearer is not None and self.basic is not None:
            msg = "name one of bearer and basic: a request has room for one of them"
            raise ValueError(msg)
        return self


class PrometheusMetric(Access):
    """The one series that a query gives."""

    kind: Literal["prometheus"] = Field(description="The kind of metric.")
    query: NamedQuery = Field(
        description="Query for one value; without `{arm}` and `{version}` it is the same for both arms."
    )
    url: Address | None = Field(
        default=None,
        description="Base address of the server; that of `metrics`, with its access, when absent.",
    )
    every: Every = 5.0
    timeout: Timeout = 5.0
    stale_after: Duration | None = Field(
        default=None,
        gt=0,
        description="Age from which a value counts no more; `metrics.stale_after`, or 1m, when absent.",
    )


class DatadogMetric(Section):
    """The one series that a Datadog query gives."""

    kind: Literal["datadog"] = Field(description="The kind of metric.")
    query: Annotated[str, Field(min_length=1), AfterValidator(_no_slip)] = Field(
        description="Query for one series, such as `avg:system.cpu.user{service:web,version:{version}}`."
    )
    site: str = Field(
        default="datadoghq.com", pattern=r"^[a-z0-9.-]+$", description="Your Datadog site, such as datadoghq.eu."
    )
    endpoint: Address | None = Field(
        default=None, description="Address of the API, where it is not `https://api.SITE`."
    )
    api_key: VariableName = Field(
        default="DD_API_KEY", description="Name of the environment variable that holds the API key."
    )
    application_key: VariableName = Field(
        default="DD_APP_KEY", description="Name of the environment variable that holds the application key."
    )
    every: Every = Field(default=15.0, description="How often it is asked for; Datadog limits its requests.")
    timeout: Timeout = 10.0
    stale_after: StaleAfter = 180.0


class CloudWatchMetric(Section):
    """One statistic of a CloudWatch metric, with the credentials of the usual AWS environment variables."""

    kind: Literal["cloudwatch"] = Field(description="The kind of metric.")
    region: str = Field(pattern=r"^[a-z]{2,}(-[a-z]+)+-[0-9]+$", description="Region, such as eu-central-1.")
    namespace: str = Field(min_length=1, description="Namespace, such as AWS/ApplicationELB.")
    metric: str = Field(min_length=1, description="Name of the metric.")
    dimensions: dict[str, NamedQuery] = Field(default_factory=dict, description="Its dimensions, by name.")
    statistic: str = Field(
        default="Average",
        pattern=STATISTIC,
        description="Statistic of a period, such as Average, Sum or p99.",
    )
    period: Duration = Field(default=60.0, gt=0, description="Length of one value: a multiple of 1m, or 1s to 30s.")
    endpoint: Address | None = Field(
        default=None, description="Address of the API, where it is not that of the region."
    )
    every: Every = Field(default=30.0, description="How often it is asked for; CloudWatch charges for it.")
    timeout: Timeout = 10.0
    stale_after: Duration | None = Field(
        default=None,
        gt=0,
        description="Age from which a value counts no more; 3 periods, and at least 5m, when absent.",
    )

    @model_validator(mode="after")
    def _period_that_there_is(self) -> Self:
        if self.period not in _SHORT_PERIODS and self.period % _MINUTE:
            msg = "CloudWatch has no such `period`: write 1s, 5s, 10s, 20s, 30s or a multiple of 1m"
            raise ValueError(msg)
        if self.stale_after is not None and self.stale_after < 2 * self.period:
            msg = "the newest whole period is older than `stale_after`: write at least twice the `period`"
            raise ValueError(msg)
        return self


class HttpMetric(Access):
    """A number in the JSON that an address answers."""

    kind: Literal["http"] = Field(description="The kind of metric.")
    url: Annotated[NamedQuery, Field(pattern=r"^https?://"), AfterValidator(_without_password)] = Field(
        description="The address that is asked by GET."
    )
    field: str | None = Field(
        default=None,
        min_length=1,
        description="Where the number stands, such as data.value or items.0.count; the whole body when absent.",
    )
    every: Every = 5.0
    timeout: Timeout = 5.0
    stale_after: StaleAfter = 60.0


class PostgresMetric(Section):
    """The number that a query of a PostgreSQL database gives; its connections where there is no query."""

    kind: Literal["postgresql"] = Field(description="The kind of metric.")
    url: VariableName = Field(description="Name of the environment variable that holds the database's address.")
    query: NamedQuery = Field(
        default="select count(*) from pg_stat_activity where datname = current_database()"
        " and backend_type = 'client backend' and pid <> pg_backend_pid()",
        description="Query for one row with one number; it runs in a transaction that only reads.",
    )
    every: Every = 5.0
    timeout: Timeout = 5.0
    stale_after: StaleAfter = 60.0


class CpuMetric(Section):
    """Processor time of an arm's instances, as a share of one core: 90% is nearly all of one."""

    kind: Literal["cpu"] = Field(description="The kind of metric.")
    over_instances: OverInstances = Field(
        default="mean", description="What is told of several instances: their mean, or the busiest."
    )
    every: Every = Field(default=5.0, description="How often it is measured.")
    timeout: Timeout = Field(default=5.0, description="How long measuring may take.")
    stale_after: StaleAfter = 60.0


class MemoryMetric(Section):
    """Memory of an arm's instances, in bytes."""

    kind: Literal["memory"] = Field(description="The kind of metric.")
    over_instances: OverInstances = Field(
        default="max", description="What is told of several instances: their mean, or the largest."
    )
    every: Every = Field(default=5.0, description="How often it is measured.")
    timeout: Timeout = Field(default=5.0, description="How long measuring may take.")
    stale_after: StaleAfter = 60.0


class LogMetric(Section):
    """How many lines that an arm's instances print match a pattern: the lines of a rule's window are added up."""

    kind: Literal["logs"] = Field(description="The kind of metric.")
    pattern: Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_linear)] = Field(
        description="Regular expression, such as `panic|FATAL` or `(?i)out of memory`; no look-around, no back-references."
    )
    every: Every = Field(default=1.0, description="How often new lines are counted.")
    timeout: Timeout = Field(default=5.0, description="How long that may take.")
    stale_after: StaleAfter = Field(default=60.0, description="Age from which a count counts no more.")


AnyMetric = (
    PrometheusMetric
    | DatadogMetric
    | CloudWatchMetric
    | HttpMetric
    | PostgresMetric
    | CpuMetric
    | MemoryMetric
    | LogMetric
)
_Metric = Annotated[AnyMetric, Field(discriminator="kind")]


def _query(value: Any) -> Any:
    """Let a bare query stand for one of the Prometheus that counts the requests."""
    return {"kind": "prometheus", "query": value} if isinstance(value, str) else value


def _no_bare_query(value: Any) -> Any:
    if isinstance(value, str):
        msg = "a bare query needs a Prometheus that counts the requests: write what it is, such as `{kind: cpu}`"
        raise ValueError(msg)  # noqa: TRY004 - pydantic wants it so
    return value


def _has_a_server(metric: AnyMetric) -> AnyMetric:
    if isinstance(metric, PrometheusMetric) and metric.url is None:
        msg = "the router counts here, so no Prometheus is known: write its address, `url: http://127.0.0.1:9090`"
        raise ValueError(msg)
    return metric


BesidePrometheus = Annotated[_Metric, BeforeValidator(_query, json_schema_input_type=str | _Metric)]
"""A metric where a Prometheus counts the requests: a bare query is one of that server."""

BesideRouter = Annotated[_Metric, BeforeValidator(_no_bare_query), AfterValidator(_has_a_server)]
"""A metric where the router counts."""
