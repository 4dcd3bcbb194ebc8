"""What the metric source has told about one rollout, folded into the judge's finding.

The testimony is a pure function of the rollout's stages and its samples, both of which are stored: a stage
begins before the first sample that reaches into it, however late that sample came. So after a crash `hear`
gives the same judge as if nothing had happened.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from crossfade.analysis import begin_stage, evaluate, finding, fold, start
from crossfade.analysis.rules import Ruling
from crossfade.analysis.sources.port import Reading
from crossfade.analysis.state import JudgeState
from crossfade.analysis.values import Alert, Arm, Finding, Sample
from crossfade.config.model import Environment
from crossfade.core.durations import FULL
from crossfade.rollouts.plan import Plan

_GRAVITY = {"rollback": 0, "pause": 1, "scale": 2, "notify": 3}


@dataclass(frozen=True, slots=True)
class Testimony:
    """The judge after some samples: `stages` are those begun, `window` the newest buckets for the rules."""

    judge: JudgeState
    stages: int = 0
    window: tuple[Sample, ...] = ()
    watched: float = 0.0
    canary_requests: int = 0
    canary_errors: int = 0
    stable_requests: int = 0
    stable_errors: int = 0


def open_testimony(plan: Plan, settings: Environment) -> Testimony:
    """The testimony before the first stage."""
    compared = [step.seconds for step in plan.steps if step.kind == "watch" and step.share < FULL]
    return Testimony(start(settings.judge, plan.stages, compared_for=max(sum(compared), 60.0)))


Stages = Sequence[tuple[float, int]]
"""When each stage began (seconds), and the new version's share in it (basis points)."""


def enter_stages(testimony: Testimony, plan: Plan, stages: Stages) -> Testimony:
    """Begin the stages that have been entered since."""
    lengths = {step.share: step.seconds for step in plan.steps if step.kind == "watch"}
    for at, share in stages[testimony.stages :]:
        judge = begin_stage(testimony.judge, at, share, watch=lengths.get(share, 300.0))
        if share == 0:  # copies: the comparison begins with the first traffic
            judge = replace(judge, began=None)
        testimony = replace(testimony, judge=judge, stages=testimony.stages + 1, watched=0.0)
    return testimony


def hear(
    testimony: Testimony, samples: Iterable[Sample], settings: Environment, plan: Plan, stages: Stages
) -> Testimony:
    """Take in closed buckets, oldest first, each in the stage that it belongs to."""
    longest = max([settings.judge.guard_window, *(rule.over for rule in settings.rules)])
    for sample in samples:
        end = sample.at + sample.seconds
        testimony = enter_stages(testimony, plan, _begun_before(end, stages))
        stage = testimony.judge.stage
        inside = sample.seconds if stage is not None and sample.at >= math.floor(stage.at) else 0.0
        window = (*testimony.window, sample)
        copies = stage is not None and stage.weight == 0
        testimony = replace(
            testimony,
            judge=testimony.judge if stage is None or copies else fold(testimony.judge, sample, settings.judge),
            window=tuple(s for s in window if s.at >= end - longest),
            watched=testimony.watched + inside,
            canary_requests=testimony.canary_requests + (0 if copies else sample.canary.requests),
            canary_errors=testimony.canary_errors + (0 if copies else sample.canary.errors),
            stable_requests=testimony.stable_requests + sample.stable.requests,
            stable_errors=testimony.stable_errors + sample.stable.errors,
        )
    return testimony


def _begun_before(time: float, stages: Stages) -> Stages:
    return tuple(itertools.takewhile(lambda stage: stage[0] < time, stages))


def cuts(stages: Stages) -> tuple[float, ...]:
    """Times that no bucket should span: the second in which the weight changes is a bucket of its own.

    >>> cuts([(12.3, 500), (12.6, 500), (20.0, 2500)])
    (12.0, 13.0, 20.0)
    """
    return tuple(sorted({float(edge) for at, _ in stages for edge in (math.floor(at), math.ceil(at))}))


def conclude(
    testimony: Testimony,
    settings: Environment,
    *,
    now: float,
    counted_to: float | None,
    health_failures: Mapping[Arm, int],
    reading: Reading | None = None,
) -> Finding | None:
    """The finding now: the comparison, then the gravest rule that has fired; None before the first stage.

    `counted_to` is how far the source has ever vouched; `reading`, the last one, holds the named metrics and what the source
    says of itself.
    """
    if testimony.judge.stage is None:
        return None
    last = reading or Reading((), None, now)
    found = finding(
        testimony.judge, settings.judge, now, counted_to, patience=last.patience, detail=last.detail.replace("\n", " ")
    )
    found = replace(
        found,
        stage=testimony.judge.stage.at,
        watched=testimony.watched,
        canary_requests=testimony.canary_requests,
        canary_errors=testimony.canary_errors,
        stable_requests=testimony.stable_requests,
        stable_errors=testimony.stable_errors,
    )
    if testimony.judge.stage.weight == 0:
        found = _of_copies(found)
    if found.verdict == "fail":
        return found
    rulings = evaluate(
        settings.rules,
        testimony.window,
        now=now,
        min_requests=settings.judge.min_requests,
        health_failures=health_failures,
        metrics=last.named,
        missing=last.unknown,
        since=testimony.judge.stage.at if testimony.judge.began is None else testimony.judge.began,
        begun=last.begun,
        counted=last.counted,
    )
    found = replace(
        found,
        unknown=tuple(f"{r.text}: {r.reason}" for r in rulings if r.state == "unknown"),
        measured=tuple(r.reason for r in rulings if r.state != "unknown"),
    )
    fired = sorted((r for r in rulings if r.state == "fired"), key=_gravity)
    if not fired:
        return found
    gravest, *others = fired
    return replace(
        found,
        verdict="fail",
        cause=gravest.text,
        reason=gravest.reason,
        action=gravest.action,
        also=tuple(Alert(r.text, r.reason, r.action) for r in others),
    )


def _of_copies(found: Finding) -> Finding:
    """Copies are not compared: they may be of requests that must not be made twice. Only silence is told."""
    if found.cause == "blind":
        return found
    reason = "copies of requests are judged by rules alone"
    return replace(found, verdict="inconclusive", cause="undecided", reason=reason, missing="", evidence=(), ratio=None)


def _gravity(ruling: Ruling) -> int:
    return _GRAVITY[ruling.action]
