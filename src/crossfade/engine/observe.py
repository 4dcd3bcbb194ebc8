"""One look at the world around a rollout: its instances, its router, and what the judge says.

The observer of a rollout lives in a worker's memory; everything it knows can be had again from the
store and the world.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from crossfade.analysis.sources.port import Reading, Source
from crossfade.analysis.values import Arm, Finding, Sample
from crossfade.config.model import Deployment
from crossfade.core.errors import CrossfadeError
from crossfade.engine.site import Site, Sites
from crossfade.engine.testimony import Stages, conclude, cuts, enter_stages, hear, open_testimony
from crossfade.rollouts.rollout import Command, Observed, Outcome, Rollout
from crossfade.runtimes.port import Instance

_SET_BACK = 2.0
"""Seconds by which the newest bucket must lie in times to come for the clock to have been set back."""


class Observer:
    """Looks at one rollout's world. `known` are the samples that the store has already."""

    def __init__(self, sites: Sites, deployment: Deployment, rollout: Rollout, known: Sequence[Sample]) -> None:
        self.site: Site = sites.site(deployment)
        self.looking = False
        """Whether a look is under way."""
        self._deployment = deployment
        self._source: Source = sites.source(deployment, self.site, rollout)
        self._set_back: tuple[int, float] | None = None
        """After the clock was set back: how many stages there were, and the time then."""
        self._testimony = open_testimony(rollout.plan, deployment.settings)
        self._hear(rollout, known)
        self._read_to = known[-1].at + known[-1].seconds if known else None
        self._reading: Reading | None = None
        self._vouched_to = self._read_to

    async def look(
        self, rollout: Rollout, now: float, *, commands: tuple[Command, ...], outcomes: Mapping[str, Outcome]
    ) -> tuple[Observed, tuple[Sample, ...]]:
        """The world at `now`, and the samples that are new."""
        self.looking = True
        try:
            instances, view, samples = await asyncio.gather(
                self._instances(), self.site.router.observe(), self._listen(rollout, now)
            )
        finally:
            self.looking = False
        found = self._finding(rollout, now, instances or ())
        newest = self._reading.newest_at if self._reading else None
        observed = Observed(instances, view, found, outcomes, commands, newest, self._next_bucket_at())
        return observed, samples

    async def _instances(self) -> tuple[Instance, ...] | None:
        try:
            return await self.site.runtime.observe()
        except CrossfadeError:
            return None

    def _next_bucket_at(self) -> float | None:
        if self._reading is None:
            return None
        return self._reading.read_to + max(1, math.ceil(self._deployment.settings.judge.bucket))

    # -- what the source tells -----------------------------------------------------------------------

    async def _listen(self, rollout: Rollout, now: float) -> tuple[Sample, ...]:
        """New closed buckets; none spans a change of weight."""
        asked = rollout.share > 0 or rollout.mirrors > 0 or rollout.turned_at is not None
        if rollout.plan.previous is None or not asked:
            return ()
        if self._read_to is not None and self._read_to > now + _SET_BACK:
            self._begin_again(rollout, now)
        samples: list[Sample] = []
        while True:
            until = self._next_cut(rollout, now)
            reading = await self._read(rollout, now, until)
            samples += reading.samples
            if until is None or reading.newest_at is None or reading.read_to < until:
                break
        self._hear(rollout, samples)
        return tuple(samples)

    def _next_cut(self, rollout: Rollout, now: float) -> float | None:
        since = self._since(rollout)
        edges = cuts(self._stages(rollout))
        if rollout.cleared_at is not None:
            edges = (*edges, math.floor(now))  # nothing is judged any more, only counted
        return min((edge for edge in edges if since < edge <= now), default=None)

    async def _read(self, rollout: Rollout, now: float, until: float | None) -> Reading:
        since = self._since(rollout)
        reading = await self._source.read(since, now=now, warm_from=self._warm_from(rollout), until=until)
        self._reading = reading
        self._vouched_to = max((t for t in (self._vouched_to, reading.newest_at) if t is not None), default=None)
        self._read_to = reading.read_to
        return reading

    def _since(self, rollout: Rollout) -> float:
        """Where the next bucket begins."""
        if self._read_to is not None:
            return self._read_to
        return math.floor(rollout.stages[0][0] if rollout.stages else rollout.since)

    def _warm_from(self, rollout: Rollout) -> float:
        """When the new instances have had their first traffic for as long as the warm-up lasts."""
        stages = self._stages(rollout)
        return stages[0][0] + self._deployment.settings.judge.warmup if stages else math.inf

    def _hear(self, rollout: Rollout, samples: Sequence[Sample]) -> None:
        self._testimony = hear(self._testimony, samples, self._deployment.settings, rollout.plan, self._stages(rollout))

    def _begin_again(self, rollout: Rollout, now: float) -> None:
        """The clock was set back: what was heard lies in times to come, so the judge listens afresh."""
        self._set_back = len(rollout.stages), now
        self._testimony = open_testimony(rollout.plan, self._deployment.settings)
        self._read_to, self._vouched_to = float(math.floor(now)), None

    def _stages(self, rollout: Rollout) -> Stages:
        if self._set_back is None:
            return rollout.stages
        count, now = self._set_back
        return tuple(
            (min(at, now), share) if i < count else (at, share) for i, (at, share) in enumerate(rollout.stages)
        )

    def _finding(self, rollout: Rollout, now: float, instances: tuple[Instance, ...]) -> Finding | None:
        failures: dict[Arm, int] = {
            "canary": max((i.failures for i in instances if i.slot == rollout.slot), default=0),
            "stable": max((i.failures for i in instances if i.slot == rollout.old), default=0),
        }
        found = conclude(
            enter_stages(self._testimony, rollout.plan, self._stages(rollout)),
            self._deployment.settings,
            now=now,
            counted_to=self._vouched_to,
            health_failures=failures,
            reading=self._reading,
        )
        return found and replace(found, stage=rollout.stages[-1][0])
