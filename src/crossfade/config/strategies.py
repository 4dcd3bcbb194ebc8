"""The words of `crossfade.yaml` about how a new version gets its traffic."""

from __future__ import annotations

import itertools
import math
import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from crossfade.config.quantities import DURATION, SHARE, Duration, Quantity, Ratio, Share
from crossfade.config.section import Section, Shorthand, bare, kinds
from crossfade.core.durations import FULL, format_share
from crossfade.core.limits import MOST_INSTANCES

_BATCH = re.compile(r"\s*(\d{1,3})\s*(%?)\s*")


def _batch(value: object) -> object:
    """A count or a percentage in one spelling; ValueError when it is neither."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return value
    match = _BATCH.fullmatch(str(value))
    number, percent = (int(match[1]), match[2]) if match else (-1, "")
    if not 0 <= number <= (100 if percent else MOST_INSTANCES):
        msg = (
            f"{value!r} is not a number of instances: write a count (0 to {MOST_INSTANCES}) or a percentage such as 25%"
        )
        raise ValueError(msg)
    return f"{number}{percent}"


BATCH = Quantity("count or percentage", ("1", "25%"), r"^\s*\d+\s*%?\s*$", str)
Batch = Annotated[
    str,
    BeforeValidator(_batch),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": MOST_INSTANCES},
                {"type": "string", "pattern": BATCH.pattern},
            ]
        }
    ),
    BATCH,
]
"""A number of instances, written `1` or `25%` of all of them."""


class Stage(Section):
    """One share of traffic and how long it is watched."""

    shorthand: ClassVar[Shorthand | None] = Shorthand(SHARE.examples, SHARE.pattern, lambda weight: {"weight": weight})

    weight: Share = Field(ge=1, le=FULL, description="Share of traffic for the new version.")
    watch: Duration | None = Field(
        default=None, ge=0, description="How long it is watched; the strategy's `watch` when absent."
    )
    pause: bool = Field(default=False, description="Wait for a person (`crossfade promote`) before going on.")
    instances: int | None = Field(
        default=None,
        ge=1,
        le=MOST_INSTANCES,
        description="Instances of the new version in this step; as many as the share needs, and two at least, when absent.",
    )


class Smoke(Section):
    """A request that the new version must answer before it gets traffic, and after the switch."""

    path: str = Field(default="/", pattern=r"^/", description="HTTP path that is asked.")
    status: int = Field(default=200, ge=100, le=599, description="Status that the answer must have.")
    contains: str | None = Field(default=None, description="Text that the body must contain.")
    timeout: Duration = Field(default=5.0, gt=0, description="How long the answer may take.")


class Mirror(Section):
    """Copies of requests for the new version before it has any traffic: visitors never see its answers."""

    share: Share = Field(default=1000, ge=1, le=FULL, description="Share of the requests of which copies are sent.")
    watch: Duration = Field(default=300.0, gt=0, description="How long; its answers are judged by absolute rules only.")


class Stabilise(Section):
    """A time at 100 % in which the new version must keep its error budget; then the previous one is retired."""

    shorthand: ClassVar[Shorthand | None] = Shorthand(
        DURATION.examples, DURATION.pattern, lambda watch: {"watch": watch}
    )

    watch: Duration = Field(default=3600.0, gt=0, description="How long, after the last watch.")
    smoke_every: Duration = Field(
        default=300.0, gt=0, description="How often the strategy's smoke tests are run, through the router."
    )
    error_budget: Ratio | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Share of its requests that may fail in that time; once so many have failed it is taken back.",
    )


class _Strategy(Section):
    smoke: tuple[Smoke, ...] = Field(
        default=(), description="Requests that the new version must answer before it gets traffic."
    )
    hold: Duration = Field(default=1800.0, ge=0, description="How long the previous version stays warm after 100 %.")
    retry_limit: Duration = Field(
        default=600.0, gt=0, description="How long a step may fail to take hold before the rollout is held."
    )


class _Watched(_Strategy):
    mirror: Mirror | None = Field(
        default=None, description="Copies of requests before the first traffic, where the router can."
    )
    stabilise: Stabilise | None = Field(
        default=None, description="Further time at 100 %, with smoke tests and an error budget."
    )


class Direct(_Strategy):
    """Replace; when it fails, restore."""

    kind: Literal["direct"] = Field(default="direct", description="The kind of strategy.")
    hold: Duration = Field(default=0.0, ge=0, description="How long the previous version stays warm after 100 %.")


class BlueGreen(_Watched):
    """Start the new version beside the old one, switch at once, watch, return on a spike."""

    kind: Literal["blue-green"] = Field(default="blue-green", description="The kind of strategy.")
    watch: Duration = Field(default=300.0, ge=0, description="How long the new version is watched after the switch.")
    pause: bool = Field(default=False, description="Wait for a person (`crossfade promote`) before the switch.")


class Rolling(_Watched):
    """Replace instances in batches; each batch gets its share of the traffic and is judged."""

    kind: Literal["rolling"] = Field(default="rolling", description="The kind of strategy.")
    max_surge: Batch = Field(
        default="1",
        description="Instances above the wanted number while both versions run; a percentage is rounded up.",
    )
    max_unavailable: Batch = Field(
        default="0", description="Instances that may be missing from the wanted number; a percentage is rounded down."
    )
    batch_watch: Duration = Field(default=60.0, ge=0, description="How long each batch is watched.")
    final_watch: Duration = Field(default=300.0, ge=0, description="How long 100 % is watched.")
    pause: bool = Field(default=False, description="Wait for a person (`crossfade promote`) after the first batch.")
    hold: Duration = Field(
        default=0.0, ge=0, description="How long the last old instances stay warm after 100 %: fewer than all of them."
    )
    max_extension: Duration = Field(
        default=1800.0, ge=0, description="How long a batch may wait for missing evidence before the rollout is held."
    )

    @model_validator(mode="after")
    def _can_move(self) -> Self:
        if self.max_surge in ("0", "0%") and self.max_unavailable in ("0", "0%"):
            msg = "with neither max_surge nor max_unavailable no instance can be replaced: allow one of them"
            raise ValueError(msg)
        return self

    def bounds(self, instances: int) -> tuple[int, int]:
        """How many instances more, and how many fewer, there may be of `instances`; one always stays ready.

        >>> Rolling(max_surge="25%", max_unavailable="25%").bounds(6)
        (2, 1)
        """
        surge, unavailable = (_portion(each, instances) for each in (self.max_surge, self.max_unavailable))
        return math.ceil(surge), min(math.floor(unavailable), instances - 1)


def _portion(batch: str, instances: int) -> float:
    number = float(batch.removesuffix("%"))
    return number * instances / 100 if batch.endswith("%") else number


class Canary(_Watched):
    """Shift traffic in steps; each is judged."""

    kind: Literal["canary"] = Field(default="canary", description="The kind of strategy.")
    steps: tuple[Stage, ...] = Field(
        default=(Stage(weight=500), Stage(weight=2500), Stage(weight=5000)),
        min_length=1,
        description="Growing shares; a bare percentage is a stage with the strategy's `watch`. 100 % always follows.",
    )
    watch: Duration = Field(default=300.0, ge=0, description="How long each step is watched.")
    final_watch: Duration = Field(default=1800.0, ge=0, description="How long 100 % is watched.")
    adaptive: bool = Field(default=False, description="Advance as soon as the new version is proven good.")
    min_watch: Duration = Field(default=30.0, ge=0, description="Adaptive: shortest time at a step.")
    max_extension: Duration = Field(
        default=1800.0, ge=0, description="How long a step may wait for missing evidence before the rollout is held."
    )

    @field_validator("steps")
    @classmethod
    def _grow_below_full(cls, steps: tuple[Stage, ...]) -> tuple[Stage, ...]:
        weights = [stage.weight for stage in steps]
        for earlier, later in itertools.pairwise(weights):
            if later <= earlier:
                msg = f"the weights of steps must grow, and {format_share(later)} follows {format_share(earlier)}"
                raise ValueError(msg)
        if weights[-1] < FULL:
            return steps
        if steps[-1] != Stage(weight=FULL):
            msg = "100 % always comes last: how long it is watched is `final_watch`, and it cannot wait for a person"
            raise ValueError(msg)
        if len(steps) == 1:
            msg = "a canary needs a step below 100 %; for a switch at once use the strategy blue-green"
            raise ValueError(msg)
        return steps[:-1]


Strategy = Annotated[
    Annotated[Direct | Rolling | BlueGreen | Canary, Field(discriminator="kind")],
    BeforeValidator(bare),
    kinds("direct", "rolling", "blue-green", "canary"),
]
