"""The words of `crossfade.yaml` about how a new version gets its traffic."""

from __future__ import annotations

import itertools
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator

from crossfade.config.quantities import SHARE, Duration, Share
from crossfade.config.section import Section, Shorthand, bare, kinds
from crossfade.core.durations import FULL, format_share


class Stage(Section):
    """One share of traffic and how long it is watched."""

    shorthand: ClassVar[Shorthand | None] = Shorthand(SHARE.examples, SHARE.pattern, lambda weight: {"weight": weight})

    weight: Share = Field(ge=1, le=FULL, description="Share of traffic for the new version.")
    watch: Duration | None = Field(
        default=None, ge=0, description="How long it is watched; the strategy's `watch` when absent."
    )
    pause: bool = Field(default=False, description="Wait for a person (`crossfade promote`) before going on.")


class Smoke(Section):
    """A request that the new version must answer before it gets traffic, and after the switch."""

    path: str = Field(default="/", pattern=r"^/", description="HTTP path that is asked.")
    status: int = Field(default=200, ge=100, le=599, description="Status that the answer must have.")
    contains: str | None = Field(default=None, description="Text that the body must contain.")
    timeout: Duration = Field(default=5.0, gt=0, description="How long the answer may take.")


class _Strategy(Section):
    smoke: tuple[Smoke, ...] = Field(
        default=(), description="Requests that the new version must answer before it gets traffic."
    )
    hold: Duration = Field(default=1800.0, ge=0, description="How long the previous version stays warm after 100 %.")
    retry_limit: Duration = Field(
        default=600.0, gt=0, description="How long a step may fail to take hold before the rollout is held."
    )


class Direct(_Strategy):
    """Replace; when it fails, restore."""

    kind: Literal["direct"] = Field(default="direct", description="The kind of strategy.")
    hold: Duration = Field(default=0.0, ge=0, description="How long the previous version stays warm after 100 %.")


class BlueGreen(_Strategy):
    """Start the new version beside the old one, switch at once, watch, return on a spike."""

    kind: Literal["blue-green"] = Field(default="blue-green", description="The kind of strategy.")
    watch: Duration = Field(default=300.0, ge=0, description="How long the new version is watched after the switch.")


class Canary(_Strategy):
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
    Annotated[Direct | BlueGreen | Canary, Field(discriminator="kind")],
    BeforeValidator(bare),
    kinds("direct", "blue-green", "canary"),
]
