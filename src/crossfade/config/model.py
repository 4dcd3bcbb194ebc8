"""The words of `crossfade.yaml` as frozen values.

Every section is a pydantic model that refuses unknown keys. Defaults stand here and nowhere else;
field descriptions become the JSON Schema and the reference page. Durations are seconds, shares are
basis points, ratios are plain numbers, sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from crossfade.config.metrics import Metrics, RouterMetrics
from crossfade.config.publishing import Build, Part, Publish, Registry, Source, Versioning
from crossfade.config.quantities import FROM_FILE, Duration, Ratio, Size
from crossfade.config.routers import CaddyRouter, Listen, Router
from crossfade.config.rules import BOUND_UNITS, METRICS, RULE_LINE, Unit, parse_rule, read_bound, with_unit, write_bound
from crossfade.config.runtimes import ProcessRuntime, Resources, Runtime
from crossfade.config.section import (
    Argument,
    Folder,
    Image,
    Name,
    Section,
    Shorthand,
    VariableName,
    VariableValue,
)
from crossfade.config.strategies import Canary, Strategy
from crossfade.core.durations import format_duration
from crossfade.core.limits import MOST_INSTANCES

Action = Literal["rollback", "pause", "notify", "scale"]
ArmName = Literal["stable", "canary"]


class Health(Section):
    """How a running instance is asked whether it works."""

    path: str = Field(default="/healthz", pattern=r"^/", description="HTTP path; any 2xx or 3xx answer is healthy.")
    interval: Duration = Field(default=1.0, gt=0, description="Time between two probes of one instance.")
    timeout: Duration = Field(default=2.0, gt=0, description="How long an answer may take.")
    failures: int = Field(default=3, ge=1, description="Consecutive failed probes that make an instance unhealthy.")


class Ready(Section):
    """When an instance may receive traffic."""

    path: str | None = Field(default=None, pattern=r"^/", description="HTTP path; the health path when absent.")
    deadline: Duration = Field(default=60.0, gt=0, description="How long a new version may take to become ready.")


class Drain(Section):
    """How an instance that no longer receives traffic is brought to its end."""

    timeout: Duration = Field(default=30.0, ge=0, description="How long requests in flight may take to finish.")
    grace: Duration = Field(default=10.0, ge=0, description="Time between TERM and KILL.")


class Logs(Section):
    """How much of what instances print is kept."""

    max_size: Size = Field(default=10_000_000, ge=4096, description="Size at which a log file is rotated.")
    keep: int = Field(default=5, ge=1, le=1000, description="Rotated files kept for each instance.")


class VersionProof(Section):
    """How a running version proves which one it is, asked through the router."""

    path: str = Field(default="/", pattern=r"^/", description="HTTP path that is asked.")
    header: str | None = Field(default=None, description="Response header that holds the version.")
    field: str | None = Field(
        default=None, description="Field of the JSON body that holds the version (dots go deeper)."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.header is None) == (self.field is None):
            msg = "name exactly one of header and field"
            raise ValueError(msg)
        return self


class Component(Section):
    """Something that is versioned and released."""

    source: Source | None = Field(
        default=None,
        description="Where it stands in the repository and how its version is told; a bare path is enough.",
    )
    build: Build | None = Field(default=None, description="How its artifact is made.")
    publish: tuple[Publish, ...] = Field(
        default=(), description="Where its artifact is published: names of registries, or sections."
    )
    command: tuple[Argument, ...] = Field(
        default=(),
        description="What runs; absent where nothing does, or where the image says it. Program and arguments: `{port}`, `{version}`, `{instance}` are replaced; no shell is involved.",
    )
    image: Image | None = Field(
        default=None,
        description="Image that runs in containers, such as `registry.example/shop/api:{version}`, or with a digest.",
    )
    port: int | None = Field(
        default=None, ge=1, le=65_535, description="Port on which a container of the image listens."
    )
    resources: Resources = Field(default=Resources(), description="What a container may use; unlimited where absent.")
    directory: Folder = Field(
        default=".", description="Working directory, relative to the file; `{version}`, `{instance}` are replaced."
    )
    environment: dict[VariableName, VariableValue] = Field(
        default_factory=dict,
        description="Environment variables; `{port}`, `{version}`, `{instance}` are replaced.",
    )
    instances: int = Field(
        default=1, ge=1, le=MOST_INSTANCES, description="Instances of a version that carries all of the traffic."
    )
    health: Health = Field(default=Health(), description="How a running instance is asked whether it works.")
    ready: Ready = Field(default=Ready(), description="When an instance may receive traffic.")
    drain: Drain = Field(default=Drain(), description="How an instance that no longer receives traffic is ended.")
    logs: Logs = Field(default=Logs(), description="How much of what instances print is kept.")
    version_proof: VersionProof | None = Field(
        default=None, description="How a version proves itself; not asked when absent."
    )


class Rule(Section):
    """An absolute rule, also written in one line: `error_rate > 1% over 5m -> rollback`."""

    shorthand: ClassVar[Shorthand | None] = RULE_LINE

    metric: str = Field(
        description="error_rate, p50, p90, p95, p99, requests, health_failures, or a name in the environment's `metrics.named`."
    )
    arm: ArmName = Field(default="canary", description="The arm whose metric it is.")
    above: float | None = Field(default=None, description=f"The rule fires above this: {BOUND_UNITS}.")
    below: float | None = Field(default=None, description=f"The rule fires below this: {BOUND_UNITS}.")
    unit: Unit = Field(
        default="count", description="How values of a named metric are shown; follows from the bound where absent."
    )
    over: Duration = Field(default=60.0, gt=0, description="The window that is judged.")
    then: Action = Field(default="rollback", description="What is done when it fires.")

    @model_validator(mode="before")
    @classmethod
    def _from_shorthand(cls, value: Any) -> Any:
        fields = parse_rule(value) if isinstance(value, str) else value
        return with_unit(fields) if isinstance(fields, Mapping) else fields

    @field_validator("above", "below", mode="before")
    @classmethod
    def _in_its_unit(cls, value: Any, info: ValidationInfo) -> Any:
        return read_bound(info.data.get("metric", ""), value, units_required=info.context == FROM_FILE)

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.above is None) == (self.below is None):
            msg = "name exactly one of above and below"
            raise ValueError(msg)
        if self.unit != METRICS.get(self.metric, self.unit):
            msg = f"{self.metric} is a {METRICS[self.metric]}: leave `unit` away"
            raise ValueError(msg)
        return self

    @property
    def bound(self) -> float:
        """What the metric is compared with."""
        return self.above if self.above is not None else self.below or 0.0

    def __str__(self) -> str:
        """Write the rule in one line, as the file may have it."""
        arm = "" if self.arm == "canary" else f"{self.arm}."
        sign = ">" if self.above is not None else "<"
        bound, over = write_bound(self.unit, self.bound), format_duration(self.over)
        return f"{arm}{self.metric} {sign} {bound} over {over} -> {self.then}"


Tolerated = Annotated[float, Field(ge=1)]


class Judge(Section):
    """How the new version is compared with the old one."""

    enabled: bool = Field(default=True, description="Off leaves only the absolute rules and the guard.")
    units: Literal["requests", "users"] = Field(
        default="requests", description="`users` only where counted units are independent."
    )
    bucket: Duration = Field(
        default=5.0, gt=0, description="Length of one bucket; at least twice the length of a burst of retries."
    )
    alpha: float = Field(
        default=0.01, gt=0, lt=1, description="Greatest chance of a false rollback, over the whole rollout."
    )
    tolerated_ratio: float = Field(default=1.0, ge=1, description="Ratio of error rates that is still accepted.")
    error_weight: float = Field(
        default=0.7, gt=0, le=1, description="Share of the evidence budget for errors; latency gets the rest."
    )
    latency: bool = Field(default=True, description="Compare latency as well, where the source has it.")
    latency_ratios: tuple[Tolerated, Tolerated, Tolerated] = Field(
        default=(1.25, 1.5, 2.0), description="Tolerated ratios above stable's p50, p90, p99."
    )
    tolerance: Ratio = Field(
        default=0.01,
        gt=0,
        lt=1,
        description="Error rate of the canary below which the pass test lets it advance early.",
    )
    pass_alpha: float = Field(
        default=0.05, gt=0, lt=1, description="Greatest chance that a version above the tolerance passes."
    )
    warmup: Duration = Field(
        default=20.0, ge=0, description="First seconds of new instances that are not compared; the guard stays on."
    )
    guard_window: Duration = Field(default=10.0, gt=0, description="Window of the guard against a plain outage.")
    guard_requests: int = Field(default=10, ge=1, description="Fewest canary requests in the guard's window.")
    guard_share: Ratio = Field(
        default=0.5, gt=0, le=1, description="Share of failed canary requests from which the guard fires."
    )
    min_requests: int = Field(
        default=100, ge=1, description="Fewest canary requests in a stage; below it the stage is starved."
    )
    blind_after: Duration = Field(
        default=30.0, gt=0, description="Silence of the metric source from which the judge is blind."
    )


class Environment(Section):
    """Where releases run."""

    runtime: Runtime = Field(default=ProcessRuntime(), description="What runs the instances.")
    router: Router = Field(default=CaddyRouter(), description="What carries the traffic.")
    listen: dict[Name, Listen] = Field(
        default_factory=dict,
        description="Addresses at which users reach single components here, HOST:PORT by component; the router's when absent.",
    )
    metrics: Metrics = Field(default=RouterMetrics(), description="Where the judge's counts come from.")
    strategy: Strategy = Field(default=Canary(), description="How a new version gets its traffic.")
    judge: Judge = Field(default=Judge(), description="How the new version is compared with the old one.")
    rules: tuple[Rule, ...] = Field(default=(), description="Absolute rules beside the comparison.")
    supersede: Literal["reject", "queue", "latest"] = Field(
        default="reject",
        description="A release that comes while another one is under way: refused, waits for its end, or takes its place.",
    )
    instances: int | None = Field(
        default=None,
        ge=1,
        le=MOST_INSTANCES,
        description="Instances of each component here; the component's number when absent.",
    )
    image_tags: tuple[Part, ...] = Field(
        default=(), description="Tags of images that are published for this environment; the registry's own when empty."
    )
    variables: dict[VariableName, VariableValue] = Field(
        default_factory=dict,
        description="Environment variables added to every component here; they win over the component's own.",
    )


class Project(Section):
    """A whole `crossfade.yaml`."""

    project: str = Field(pattern=r"^[a-z][a-z0-9-]*$", description="Name of the project.")
    components: dict[Name, Component] = Field(min_length=1, description="What is versioned and released, by name.")
    environments: dict[Name, Environment] = Field(
        default_factory=dict, description="Where releases run, by name; none where everything is only published."
    )
    registries: dict[Name, Registry] = Field(
        default_factory=dict, description="Where artifacts are published, by name."
    )
    versioning: Versioning = Field(default=Versioning(), description="How versions follow from changesets.")


class Deployment(Section):
    """All that carrying out one component in one environment needs: what a rollout stores of the config.

    Made by `load.resolve`; `root` is the absolute folder of the config file and `state` the absolute
    folder of the run state (`.crossfade`).
    """

    project: str
    component: str
    environment: str
    root: str
    state: str
    workload: Component
    instances: int
    settings: Environment
