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
from crossfade.config.strategies import BlueGreen, Canary, Direct, Rolling, Stage
from crossfade.core.durations import FULL
from crossfade.core.errors import BadInputError
from crossfade.rollouts.steps import Step, World, carry_out, share_to_leave

Strategies = Direct | Rolling | BlueGreen | Canary
_REDUNDANT = 2
"""Fewest instances of a canary where there are as many: one that ends by itself is no verdict on the version."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """What users risk at one shift: every request of `share` (basis points) fails for `seconds`.

    `seconds` is what the guard needs to see an outage and the router to turn it back. `stays` is the
    share that only returns once instances of the old version have been started again.
    """

    step: int
    share: int
    seconds: float
    stays: int = 0

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
    instances: int = 1
    """How many instances of each version carry all of the traffic."""
    spare: int = 0
    """How many of them may be missing."""

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
        exposures, world = [], World(new=0, old=self.instances, share=0)
        for index, step in enumerate(self.steps):
            world = carry_out(step, world)
            if step.kind == "shift" and step.share > step.before:
                stays = share_to_leave(step.share, world.old, self.instances, spare=self.spare)
                exposures.append(Exposure(index, step.share, detect, stays))
        return tuple(exposures)


def compile_plan(
    strategy: Strategies, component: str, environment: str, version: str, *, previous: str | None, instances: int = 1
) -> Plan:
    """The steps of `strategy` that bring `version` from nothing to all of the traffic, carried by `instances`.

    Without a `previous` version there is nobody to compare with and nothing to return to: the version
    starts, becomes ready and takes all of the traffic. BadInputError where instances cannot be replaced.
    """
    if previous is None:
        steps = (*_up(strategy, instances), Step("shift", share=FULL))
        return Plan("first", component, environment, version, None, steps, instances)
    spare = 0
    match strategy:
        case Direct():
            forward: Iterator[Step] = _at_once(strategy, instances)
        case BlueGreen():
            forward = _at_once(strategy, instances, watch=strategy.watch, pause=strategy.pause)
        case Canary():
            forward = _canary(strategy, instances)
        case Rolling():
            spare = strategy.bounds(instances)[1]
            forward = _rolling(strategy, instances)
    return Plan(strategy.kind, component, environment, version, previous, tuple(forward), instances, spare)


def _up(strategy: Strategies, count: int) -> tuple[Step, ...]:
    return (Step("start", count=count), Step("ready"), *((Step("smoke"),) if strategy.smoke else ()))


def _at_once(
    strategy: Direct | BlueGreen, instances: int, *, watch: float = 0.0, pause: bool = False
) -> Iterator[Step]:
    yield from _up(strategy, instances)
    yield from _mirror(strategy)
    if pause:
        yield Step("await")
    yield Step("shift", share=FULL)
    if watch:
        yield Step("watch", before=FULL, share=FULL, seconds=watch, at_most=watch + strategy.retry_limit)
    yield from _closing(strategy, instances, watched=watch)


def _canary(strategy: Canary, instances: int) -> Iterator[Step]:
    share, count = 0, 0
    for stage in strategy.steps:
        wanted = max(count, _canary_instances(stage, instances))
        yield from (*_up(strategy, wanted), *_mirror(strategy)) if not count else _grow(share, count, wanted)
        yield Step("shift", before=share, share=stage.weight)
        share, count = stage.weight, wanted
        watch = _watch(strategy, stage)
        if watch.seconds:
            yield watch
        if stage.pause:
            yield Step("await", before=share, share=share)
    yield from _grow(share, count, instances)
    yield Step("shift", before=share, share=FULL)
    yield from _final(strategy.final_watch, strategy.max_extension)
    yield from _closing(strategy, instances, watched=strategy.final_watch)


def _canary_instances(stage: Stage, instances: int) -> int:
    """As many as the share needs; a share of little traffic does not need all of them."""
    if stage.instances is not None:
        return min(stage.instances, instances)
    return min(instances, max(_REDUNDANT, -(-instances * stage.weight // FULL)))


def _grow(share: int, had: int, count: int) -> Iterator[Step]:
    if count > had:
        yield Step("grow", before=share, share=share, had=had, count=count)


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


def _rolling(strategy: Rolling, instances: int) -> Iterator[Step]:
    """Batches: new instances up to the surge, their part of the traffic, a look, and as many old ones go.

    Never fewer than `instances` less those that may be missing, never more than `instances` and the surge.
    The first batch comes before any old one goes, where the surge has room for it.
    """
    surge, missing = strategy.bounds(instances)
    if not surge and not missing:
        raise BadInputError(
            "strategy.stuck",
            f"of {instances} instance{'s' if instances > 1 else ''} none may be missing and none more may run",
            where="max_surge, max_unavailable",
            next="allow a surge: `max_surge: 1`",
        )
    new, old, share = 0, instances, 0
    while True:
        room = instances + surge - new - old
        keep = max(instances - missing - new, 1)
        if not room and keep >= old:
            break  # without a surge the last old one goes when the new ones have everything
        if not room:
            yield Step("shrink", before=share, share=share, had=old, count=keep)
            old, room = keep, old - keep
        grown = min(new + room, instances)
        yield from (*_up(strategy, grown), *_mirror(strategy)) if not new else _grow(share, new, grown)
        first, new = not new, grown
        if new == instances:
            break
        keep = max(instances - missing - new, 1) if surge else old
        before, share = share, FULL * new // (new + keep)
        yield Step("shift", before=before, share=share)
        yield from _batch_watch(strategy, share)
        if first and strategy.pause:
            yield Step("await", before=share, share=share)
        if keep < old:
            yield Step("shrink", before=share, share=share, had=old, count=keep)
            old = keep
    yield Step("shift", before=share, share=FULL)
    yield from _final(strategy.final_watch, strategy.max_extension)
    yield from _closing(strategy, old, watched=strategy.final_watch)
    yield from _grow(FULL, new, instances)


def _batch_watch(strategy: Rolling, share: int) -> Iterator[Step]:
    if strategy.batch_watch:
        limit = strategy.batch_watch + strategy.max_extension
        yield Step("watch", before=share, share=share, seconds=strategy.batch_watch, at_most=limit)


def _mirror(strategy: Strategies) -> Iterator[Step]:
    """Copies, where they are asked for; a strategy that watches nothing has none."""
    if not isinstance(strategy, Direct) and strategy.mirror is not None:
        seconds = strategy.mirror.watch
        yield Step("mirror", seconds=seconds, at_most=seconds + strategy.retry_limit, mirror=strategy.mirror.share)


def _final(watch: float, extension: float) -> Iterator[Step]:
    if watch:
        yield Step("watch", before=FULL, share=FULL, seconds=watch, at_most=watch + extension)


def _closing(strategy: Strategies, old: int, *, watched: float) -> Iterator[Step]:
    """`hold` counts from 100 %: what has been held already while watching is not held again."""
    if not isinstance(strategy, Direct) and strategy.stabilise is not None:
        stabilise = strategy.stabilise
        yield Step(
            "stabilise",
            before=FULL,
            share=FULL,
            seconds=stabilise.watch,
            at_most=stabilise.watch + strategy.retry_limit,
            every=stabilise.smoke_every if strategy.smoke else 0.0,
            budget=stabilise.error_budget or 0.0,
        )
        watched += stabilise.watch
    left = strategy.hold - watched
    if left > 0:
        yield Step("hold", before=FULL, share=FULL, seconds=left, at_most=left)
    yield Step("stop-old", before=FULL, share=FULL, had=old)
