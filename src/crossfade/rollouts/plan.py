"""A strategy compiled to steps, before anything happens.

>>> from crossfade.config.strategies import Canary
>>> plan = compile_plan(Canary(watch=300, final_watch=1800), "api", "production", "1.1.0", previous="1.0.0")
>>> [step.describe() for step in plan.steps][:5]
['start the new version', 'wait until it is ready', 'shift 0 % → 5 %', 'watch 5 % for 5m', 'shift 5 % → 25 %']
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from crossfade.config.model import Judge
from crossfade.config.strategies import BlueGreen, Canary, Direct, Stage
from crossfade.core.durations import FULL
from crossfade.rollouts.steps import Step

Strategies = Direct | BlueGreen | Canary


@dataclass(frozen=True, slots=True)
class Exposure:
    """What users risk at one shift: every request of `share` (basis points) fails for `seconds`.

    `seconds` is what the guard needs to see an outage and the router to turn it back.
    """

    step: int
    share: int
    seconds: float

    @property
    def full_seconds(self) -> float:
        """Seconds of the whole traffic that would be lost: times the request rate, requests.

        >>> Exposure(step=3, share=500, seconds=16).full_seconds
        0.8
        """
        return self.share / FULL * self.seconds


@dataclass(frozen=True, slots=True)
class Plan:
    """One rollout, compiled. `previous` is None for the first release of a component."""

    strategy: str
    component: str
    environment: str
    version: str
    previous: str | None
    steps: tuple[Step, ...]

    @property
    def shortest(self) -> float:
        """Seconds if every step ends as early as it may; starting and draining come on top."""
        return sum(step.at_least if step.adaptive else step.seconds for step in self.steps)

    @property
    def longest(self) -> float:
        """Seconds if every step takes as long as it may before the rollout is held."""
        return sum(max(step.at_most, step.seconds) for step in self.steps)

    @property
    def stages(self) -> int:
        """How many watches compare the two versions: below 100 %, where both get traffic."""
        return sum(1 for step in self.steps if step.kind == "watch" and 0 < step.share < FULL)

    def exposures(self, judge: Judge) -> tuple[Exposure, ...]:
        """The worst case at each growing shift, if every request fails from that moment on.

        The first entry is a version that is broken from its first request; the last one a version that
        breaks only under all of the traffic. The guard sees an outage at the first bucket that closes
        with its window filled: one window and one bucket at most; a tick and the switch take a second.
        Without a previous version there is nothing to turn back to, hence no bound and no entry.
        """
        if self.previous is None:
            return ()
        detect = judge.guard_window + judge.bucket + 1.0
        growing = (i for i, step in enumerate(self.steps) if step.kind == "shift" and step.share > step.before)
        return tuple(Exposure(i, self.steps[i].share, detect) for i in growing)


def compile_plan(strategy: Strategies, component: str, environment: str, version: str, *, previous: str | None) -> Plan:
    """The steps of `strategy` that bring `version` from nothing to all of the traffic.

    Without a `previous` version there is nobody to compare with and nothing to return to: the version
    starts, becomes ready and takes all of the traffic.
    """
    start = (Step("start"), Step("ready"), *((Step("smoke"),) if strategy.smoke else ()))
    if previous is None:
        return Plan("first", component, environment, version, None, (*start, Step("shift", share=FULL)))
    middle = tuple(_traffic_steps(strategy))
    end = tuple(_closing_steps(strategy, watched=middle[-1].seconds))
    return Plan(strategy.kind, component, environment, version, previous, (*start, *middle, *end))


def _traffic_steps(strategy: Strategies) -> Iterator[Step]:
    match strategy:
        case Direct():
            yield Step("shift", share=FULL)
        case BlueGreen(watch=watch):
            yield Step("shift", share=FULL)
            if watch:
                yield Step("watch", before=FULL, share=FULL, seconds=watch, at_most=watch + strategy.retry_limit)
        case Canary():
            yield from _canary_steps(strategy)


def _canary_steps(strategy: Canary) -> Iterator[Step]:
    share = 0
    for stage in (stage for stage in strategy.steps if stage.weight < FULL):
        yield Step("shift", before=share, share=stage.weight)
        share = stage.weight
        watch = _watch(strategy, stage)
        if watch.seconds:
            yield watch
        if stage.pause:
            yield Step("await", before=share, share=share)
    yield Step("shift", before=share, share=FULL)
    if strategy.final_watch:
        limit = strategy.final_watch + strategy.max_extension
        yield Step("watch", before=FULL, share=FULL, seconds=strategy.final_watch, at_most=limit)


def _watch(strategy: Canary, stage: Stage) -> Step:
    seconds = strategy.watch if stage.watch is None else stage.watch
    return Step(
        "watch",
        before=stage.weight,
        share=stage.weight,
        seconds=seconds,
        at_least=min(strategy.min_watch, seconds),
        at_most=seconds + strategy.max_extension,
        adaptive=strategy.adaptive,
    )


def _closing_steps(strategy: Strategies, *, watched: float) -> Iterator[Step]:
    """`hold` counts from 100 %: what the last watch has already held is not held again."""
    left = strategy.hold - watched
    if left > 0:
        yield Step("hold", before=FULL, share=FULL, seconds=left, at_most=left)
    yield Step("stop-old", before=FULL, share=FULL)
