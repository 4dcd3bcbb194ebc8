"""One look at the world around a rollout: its instances, its router, and what the judge says.

The observer of a rollout lives in a worker's memory; everything it knows can be had again from the
store and the world.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter

from crossfade.analysis.sources.port import Reading, Source
from crossfade.analysis.values import Arm, Finding, Sample
from crossfade.config.model import Deployment
from crossfade.core.errors import CrossfadeError
from crossfade.engine.site import Site, Sites
from crossfade.engine.testimony import Testimony, conclude, enter_stages, hear, replay
from crossfade.rollouts.rollout import Command, Observed, Outcome, Rollout
from crossfade.runtimes.port import Instance
from crossfade.traffic.port import RouterView


@dataclass(frozen=True, slots=True)
class Seen:
    """What people are shown of the world: as it was at the last look."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(ser_json_inf_nan="strings")
    """A ratio without an upper end survives JSON."""

    instances: tuple[Instance, ...] | None
    router: RouterView
    finding: Finding | None


SEEN: TypeAdapter[Seen] = TypeAdapter(Seen)
"""Reads and writes what was seen as JSON."""


class Observer:
    """Looks at one rollout's world. `known` are the samples that the store has already."""

    def __init__(self, sites: Sites, deployment: Deployment, rollout: Rollout, known: Sequence[Sample]) -> None:
        self.site: Site = sites.site(deployment)
        self._deployment = deployment
        self._source: Source = sites.source(deployment, self.site, rollout)
        self._testimony: Testimony = replay(rollout.plan, deployment.settings, rollout.stages, known)
        self._read_to = known[-1].at + known[-1].seconds if known else None
        self._reading: Reading | None = None
        self._vouched_to = self._read_to

    async def look(
        self, rollout: Rollout, now: float, *, commands: tuple[Command, ...], outcomes: Mapping[str, Outcome]
    ) -> tuple[Observed, tuple[Sample, ...]]:
        """The world at `now`, and the samples that are new."""
        instances, view, samples = await asyncio.gather(
            self._instances(), self.site.router.observe(), self._listen(rollout, now)
        )
        found = self._finding(rollout, now, instances or ())
        observed = Observed(
            instances, view, found, outcomes, commands, self._reading.newest_at if self._reading else None
        )
        return observed, samples

    async def _instances(self) -> tuple[Instance, ...] | None:
        try:
            return await self.site.runtime.observe()
        except CrossfadeError:
            return None

    async def _listen(self, rollout: Rollout, now: float) -> tuple[Sample, ...]:
        """New closed buckets; a change of weight closes the bucket before it."""
        if rollout.plan.previous is None or (rollout.share == 0 and rollout.turned_at is None):
            return ()
        begun = self._testimony.stages < len(rollout.stages)
        until = rollout.stages[self._testimony.stages][0] if begun else None
        if rollout.cleared_at is not None:
            until = now  # nothing is judged any more, only counted
        reading = await self._read(rollout, now, until)
        self._testimony = hear(self._testimony, reading.samples, self._deployment.settings)
        if begun:
            self._testimony = enter_stages(self._testimony, rollout.plan, rollout.stages)
        return reading.samples

    async def _read(self, rollout: Rollout, now: float, until: float | None) -> Reading:
        since = math.floor(rollout.since if self._read_to is None else self._read_to)
        reading = await self._source.read(since, now=now, warm_from=self._warm_from(rollout), until=until)
        self._reading = reading
        self._vouched_to = max((t for t in (self._vouched_to, reading.newest_at) if t is not None), default=None)
        self._read_to = reading.read_to
        return reading

    def _warm_from(self, rollout: Rollout) -> float:
        """When the new instances have had their first traffic for as long as the warm-up lasts."""
        return rollout.stages[0][0] + self._deployment.settings.judge.warmup if rollout.stages else math.inf

    def _finding(self, rollout: Rollout, now: float, instances: tuple[Instance, ...]) -> Finding | None:
        failures: dict[Arm, int] = {
            "canary": max((i.failures for i in instances if i.slot == rollout.slot), default=0),
            "stable": max((i.failures for i in instances if i.slot == rollout.old), default=0),
        }
        return conclude(
            self._testimony,
            self._deployment.settings,
            now=now,
            counted_to=self._vouched_to,
            health_failures=failures,
            reading=self._reading,
        )
