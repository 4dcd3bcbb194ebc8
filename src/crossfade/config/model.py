"""The words of `crossfade.yaml` as frozen values.

Every section is a pydantic model that refuses unknown keys. Defaults stand here and nowhere else;
field descriptions become the JSON Schema and the reference page. Durations are seconds, shares are
basis points, ratios are plain numbers, sizes are bytes.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crossfade.config.quantities import Duration, Ratio, Share, Size
from crossfade.core.durations import FULL

Action = Literal["rollback", "pause", "notify", "scale"]
ArmName = Literal["stable", "canary"]


class Section(BaseModel):
    """A part of the file: frozen, with no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)


class Health(Section):
    """How a running instance is asked whether it works."""

    path: str = Field("/healthz", pattern=r"^/", description="HTTP path; any 2xx or 3xx answer is healthy.")
    interval: Duration = Field(1.0, gt=0, description="Time between two probes of one instance.")
    timeout: Duration = Field(2.0, gt=0, description="How long an answer may take.")
    failures: int = Field(3, ge=1, description="Consecutive failed probes that make an instance unhealthy.")


class Ready(Section):
    """When an instance may receive traffic."""

    path: str | None = Field(None, description="HTTP path; the health path when absent.")
    deadline: Duration = Field(60.0, gt=0, description="How long a new version may take to become ready.")


class Drain(Section):
    """How an instance that no longer receives traffic is brought to its end."""

    timeout: Duration = Field(30.0, ge=0, description="How long requests in flight may take to finish.")
    grace: Duration = Field(10.0, ge=0, description="Time between TERM and KILL.")


class Logs(Section):
    """How much of what instances print is kept."""

    max_size: Size = Field(10_000_000, ge=4096, description="Size at which a log file is rotated.")
    keep: int = Field(5, ge=1, le=1000, description="Rotated files kept for each instance.")


class VersionProof(Section):
    """How a running version proves which one it is, asked through the router."""

    path: str = Field("/", pattern=r"^/", description="HTTP path that is asked.")
    header: str | None = Field(None, description="Response header that holds the version.")
    field: str | None = Field(None, description="Field of the JSON body that holds the version (dots go deeper).")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.header is None) == (self.field is None):
            msg = "name exactly one of header and field"
            raise ValueError(msg)
        return self


class Component(Section):
    """Something that is versioned and released."""

    command: tuple[str, ...] = Field(
        min_length=1,
        description="Program and arguments. `{port}`, `{version}`, `{instance}` are replaced; no shell is involved.",
    )
    directory: str = Field(".", description="Working directory, relative to the file; `{version}` is replaced.")
    environment: dict[str, str] = Field(default_factory=dict, description="Environment variables; `{version}` and `{port}` are replaced.")
    instances: int = Field(1, ge=1, le=12, description="Instances of a version that carries all of the traffic.")
    health: Health = Health()
    ready: Ready = Ready()
    drain: Drain = Drain()
    logs: Logs = Logs()
    version_proof: VersionProof | None = Field(None, description="How a version proves itself; not asked when absent.")


class Sticky(Section):
    """What keeps a user on one side of a split while the weight grows."""

    cookie: str | None = Field(None, pattern=r"^[A-Za-z0-9_-]+$", description="Name of a bucket cookie that the router sets.")
    header: str | None = Field(None, pattern=r"^[A-Za-z0-9-]+$", description="Request header whose value is hashed (a user id).")
    user_cookie: str | None = Field(None, pattern=r"^[A-Za-z0-9_-]+$", description="The application's own cookie whose value is hashed.")

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if sum(key is not None for key in (self.cookie, self.header, self.user_cookie)) != 1:
            msg = "name exactly one of cookie, header and user_cookie"
            raise ValueError(msg)
        return self


class ProcessRuntime(Section):
    """Instances are processes of this machine."""

    kind: Literal["process"] = "process"


class CaddyRouter(Section):
    """Traffic goes through Caddy: our own child, or one that runs already."""

    kind: Literal["caddy"] = "caddy"
    listen: str = Field("127.0.0.1:8080", pattern=r"^[^\s]*:\d+$", description="Address that users reach, HOST:PORT.")
    admin: str | None = Field(None, description="Admin API of an existing Caddy, such as http://127.0.0.1:2019; a managed Caddy is started when absent.")
    sticky: Sticky | None = Field(None, description="Absent: every request is split on its own.")
    override_header: str = Field("X-Canary", pattern=r"^[A-Za-z0-9-]+$", description="`always` sends a request to the canary, `never` to stable.")


class RouterMetrics(Section):
    """The router's own counts for each arm: no further system is needed."""

    kind: Literal["router"] = "router"


class PrometheusMetrics(Section):
    """Counts for each arm from an existing Prometheus."""

    kind: Literal["prometheus"] = "prometheus"
    url: str = Field(pattern=r"^https?://", description="Base address of the server.")
    requests: str = Field(description="Query for a counter of requests; `{arm}`, `{version}`, `{component}`, `{environment}` are replaced.")
    errors: str = Field(description="Query for a counter of failed requests.")
    latency: str | None = Field(None, description="Query for cumulative histogram buckets, by `le`, in seconds.")
    timeout: Duration = Field(5.0, gt=0, description="How long a query may take.")
    stale_after: Duration = Field(60.0, gt=0, description="Age of the newest sample from which the source counts as blind.")
    bearer: str | None = Field(None, description="Name of the environment variable that holds a bearer token.")


class Rule(Section):
    """An absolute rule, also written in one line: `error_rate > 1% over 5m -> rollback`."""

    metric: str = Field(description="error_rate, p50, p90, p95, p99, requests, health_failures, or a metric of the source.")
    arm: ArmName = Field("canary", description="The arm whose metric it is.")
    above: float | None = Field(None, description="The rule fires above this (ratios and seconds as plain numbers).")
    below: float | None = Field(None, description="The rule fires below this.")
    over: Duration = Field(60.0, gt=0, description="The window that is judged.")
    then: Action = Field("rollback", description="What is done when it fires.")

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.above is None) == (self.below is None):
            msg = "name exactly one of above and below"
            raise ValueError(msg)
        return self


class Judge(Section):
    """How the new version is compared with the old one."""

    enabled: bool = Field(True, description="Off leaves only the absolute rules and the guard.")
    units: Literal["requests", "users"] = Field("requests", description="`users` only where counted units are independent.")
    bucket: Duration = Field(5.0, gt=0, description="Length of one bucket; at least twice the length of a burst of retries.")
    alpha: float = Field(0.01, gt=0, lt=1, description="Greatest chance of a false rollback, over the whole rollout.")
    tolerated_ratio: float = Field(1.0, ge=1, description="Ratio of error rates that is still accepted.")
    error_weight: float = Field(0.7, gt=0, le=1, description="Share of the evidence budget for errors; latency gets the rest.")
    latency: bool = Field(True, description="Compare latency as well, where the source has it.")
    latency_ratios: tuple[float, float, float] = Field((1.25, 1.5, 2.0), description="Tolerated ratios above stable's p50, p90, p99.")
    tolerance: Ratio = Field(0.01, gt=0, lt=1, description="Error rate of the canary below which the pass test lets it advance early.")
    pass_alpha: float = Field(0.05, gt=0, lt=1, description="Greatest chance that a version above the tolerance passes.")
    warmup: Duration = Field(20.0, ge=0, description="First seconds of new instances that are not compared; the guard stays on.")
    guard_window: Duration = Field(10.0, gt=0, description="Window of the guard against a plain outage.")
    guard_requests: int = Field(10, ge=1, description="Fewest canary requests in the guard's window.")
    guard_share: Ratio = Field(0.5, gt=0, le=1, description="Share of failed canary requests from which the guard fires.")
    min_requests: int = Field(100, ge=1, description="Fewest canary requests in a stage; below it the stage is starved.")
    blind_after: Duration = Field(30.0, gt=0, description="Silence of the metric source from which the judge is blind.")


class Stage(Section):
    """One share of traffic and how long it is watched."""

    weight: Share = Field(ge=1, le=FULL, description="Share of traffic for the new version.")
    watch: Duration | None = Field(None, ge=0, description="How long it is watched; the strategy's `watch` when absent.")
    pause: bool = Field(False, description="Wait for a person (`crossfade promote`) before going on.")


class Smoke(Section):
    """A request that the new version must answer before it gets traffic, and after the switch."""

    path: str = Field("/", pattern=r"^/")
    status: int = Field(200, ge=100, le=599)
    contains: str | None = Field(None, description="Text that the body must contain.")
    timeout: Duration = Field(5.0, gt=0)


class _Strategy(Section):
    smoke: tuple[Smoke, ...] = Field((), description="Requests that the new version must answer before it gets traffic.")
    hold: Duration = Field(1800.0, ge=0, description="How long the previous version stays warm after 100 %.")
    retry_limit: Duration = Field(600.0, gt=0, description="How long a step may fail to take hold before the rollout is held.")


class Direct(_Strategy):
    """Replace; when it fails, restore."""

    kind: Literal["direct"] = "direct"
    hold: Duration = Field(0.0, ge=0, description="How long the previous version stays warm after 100 %.")


class BlueGreen(_Strategy):
    """Start the new version beside the old one, switch at once, watch, return on a spike."""

    kind: Literal["blue-green"] = "blue-green"
    watch: Duration = Field(300.0, ge=0, description="How long the new version is watched after the switch.")


class Canary(_Strategy):
    """Shift traffic in steps; each is judged."""

    kind: Literal["canary"] = "canary"
    steps: tuple[Stage, ...] = Field(
        (Stage(weight=500), Stage(weight=2500), Stage(weight=5000)),
        min_length=1,
        description="Shares below 100 %, growing; a bare percentage is a stage with the strategy's `watch`.",
    )
    watch: Duration = Field(300.0, ge=0, description="How long each step is watched.")
    final_watch: Duration = Field(1800.0, ge=0, description="How long 100 % is watched.")
    adaptive: bool = Field(False, description="Advance as soon as the new version is proven good.")
    min_watch: Duration = Field(30.0, ge=0, description="Adaptive: shortest time at a step.")
    max_extension: Duration = Field(1800.0, ge=0, description="How long a step may wait for missing evidence before the rollout is held.")

    @model_validator(mode="after")
    def _growing(self) -> Self:
        weights = [stage.weight for stage in self.steps]
        if any(later <= earlier for earlier, later in zip(weights, weights[1:], strict=False)):
            msg = "the weights of steps must grow"
            raise ValueError(msg)
        return self


Strategy = Annotated[Direct | BlueGreen | Canary, Field(discriminator="kind")]
Runtime = ProcessRuntime
Router = CaddyRouter
Metrics = Annotated[RouterMetrics | PrometheusMetrics, Field(discriminator="kind")]


class Environment(Section):
    """Where releases run."""

    runtime: Runtime = ProcessRuntime()
    router: Router = CaddyRouter()
    metrics: Metrics = RouterMetrics()
    strategy: Strategy = Canary()
    judge: Judge = Judge()
    rules: tuple[Rule, ...] = ()
    instances: int | None = Field(None, ge=1, le=12, description="Instances of each component here; the component's number when absent.")
    variables: dict[str, str] = Field(default_factory=dict, description="Environment variables added to every component here.")


class Project(Section):
    """A whole `crossfade.yaml`."""

    project: str = Field(pattern=r"^[a-z][a-z0-9-]*$", description="Name of the project.")
    components: dict[str, Component] = Field(min_length=1)
    environments: dict[str, Environment] = Field(min_length=1)


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
