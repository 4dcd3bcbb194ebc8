"""Absolute rules: `error_rate > 1% over 5m -> rollback`, judged beside the comparison.

A rule is quiet while too little is known: a rate or a quantile needs `min_requests` in its window, a rule that fires *below* a
number of requests needs its whole window, and so does one about a named metric, whose mean over the window is judged: a
version that has just started is busy. One about something counted (lines of a log) fires as soon as there are too many. A rule
about an unknown metric says so instead of passing.

A rule on the *stable* arm catches a canary that breaks something both depend on, which no comparison can see. It cannot say
that going back would help, so its `rollback` becomes a hold (`pause`) with an alert.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from crossfade.analysis.quantiles import quantile
from crossfade.analysis.sentences import number
from crossfade.analysis.values import Arm, ArmSample, Finding, Latency, Sample
from crossfade.config.model import Action, Rule
from crossfade.core.durations import format_duration, format_size

Points = Mapping[tuple[Arm, str], Sequence[tuple[float, float]]]
"""Values of named metrics for each arm: (time in seconds, value), oldest first."""

Reasons = Mapping[tuple[Arm, str], str]
"""Why a named metric of an arm has no values."""

Beginnings = Mapping[tuple[Arm, str], float]
"""Since when (seconds) a named metric of an arm is known, where that is not always."""

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one rule says: `state` is `fired`, `quiet` or `unknown` (too little is known, `reason` says what)."""

    rule: Rule
    text: str
    state: Literal["fired", "quiet", "unknown"]
    action: Action
    reason: str
    value: float | None = None

    @property
    def bound(self) -> float:
        """What the value is compared with."""
        return self.rule.bound

    def finding(self, at: float) -> Finding:
        """A fired rule as a finding: verdict `fail`, the rule's text as its cause, and the action it asks for."""
        return Finding("fail", self.text, at, self.reason, action=self.action, progress=1.0)


@dataclass(frozen=True, slots=True)
class _Unknown:
    why: str


@dataclass(frozen=True, slots=True)
class _Named:
    """Named metrics, and since when they are about this rollout."""

    metrics: Points
    missing: Reasons
    since: float
    begun: Beginnings
    counted: AbstractSet[str]

    def value(self, rule: Rule, now: float) -> tuple[float, str] | _Unknown:
        """The rule's metric over its window: the mean of its values, or how many were counted."""
        key = rule.arm, rule.metric
        counted = rule.metric in self.counted
        since = max(self.since, self.begun.get(key, -math.inf))
        begin = max(now - rule.over, since) if counted else now - rule.over
        points = [value for at, value in self.metrics.get(key, ()) if begin <= at <= now]
        if key not in self.metrics or not (points or counted):
            return _Unknown(self.missing.get(key, f"the source tells no {rule.metric} of the {rule.arm} arm"))
        total, window = math.fsum(points), f"in the last {format_duration(rule.over)}"
        if now - rule.over < since:
            known = format_duration(round(max(0.0, now - since)))
            if counted and rule.above is not None and total > rule.above:
                return total, f"in {known}"  # what is still to come can only add to it
            return _Unknown(f"only {known} of {format_duration(rule.over)} are known")
        return (total, window) if counted else (total / len(points), f"mean of {len(points)} {window}")


def describe(rule: Rule) -> str:
    """The rule in one line, as it would be written.

    >>> describe(Rule(metric="error_rate", above=0.01, over=300))
    'error_rate > 1% over 5m -> rollback'
    """
    return str(rule)


def evaluate(
    rules: Sequence[Rule],
    window: Sequence[Sample],
    *,
    now: float,
    min_requests: int,
    health_failures: Mapping[Arm, int] | None = None,
    metrics: Points | None = None,
    missing: Reasons | None = None,
    since: float = -math.inf,
    begun: Beginnings | None = None,
    counted: AbstractSet[str] = frozenset(),
) -> tuple[Ruling, ...]:
    """One ruling for every rule, in their order.

    `window` holds the newest buckets (any order, at least as far back as the longest rule), `health_failures` the greatest
    number of consecutive failed probes of any instance for each arm, `metrics` what the source knows besides, `missing` why it
    does not know a metric. `since` is when the canary got its first traffic: what a named metric was before is another story.
    `begun` is since when a named metric is known at all; the values of those that are `counted` are added up.

    >>> bad = Sample(0, 60, stable=ArmSample(1900, 1), canary=ArmSample(100, 4))
    >>> rule = Rule(metric="error_rate", above=0.01, over=300)
    >>> ruling, = evaluate([rule], [bad], now=60, min_requests=100)
    >>> ruling.action, ruling.reason
    ('rollback', 'canary error_rate 4% > 1% (4 of 100 requests in the last 5m)')
    """
    failures = health_failures or {}
    named = _Named(metrics or {}, missing or {}, since, begun or {}, counted)
    return tuple(
        [_rule(rule, window, now, min_requests=min_requests, health_failures=failures, named=named) for rule in rules]
    )


def _rule(
    rule: Rule,
    window: Sequence[Sample],
    now: float,
    *,
    min_requests: int,
    health_failures: Mapping[Arm, int],
    named: _Named,
) -> Ruling:
    """The ruling of one rule."""
    action: Action = "pause" if rule.arm == "stable" and rule.then == "rollback" else rule.then
    text = describe(rule)
    inside = [
        sample for sample in window if now - rule.over - 1e-6 <= sample.at and sample.at + sample.seconds <= now + 1e-6
    ]
    if rule.metric == "health_failures":
        measured: tuple[float, str] | _Unknown = (
            float(health_failures.get(rule.arm, 0)),
            "consecutive failed health checks",
        )
    elif rule.metric == "requests":
        measured = _requests(rule, inside)
    elif rule.metric == "error_rate" or rule.metric in QUANTILES:
        measured = _of_requests(rule, added([getattr(sample, rule.arm) for sample in inside]), min_requests)
    else:
        measured = named.value(rule, now)
    if isinstance(measured, _Unknown):
        return Ruling(rule, text, "unknown", action, measured.why)
    value, basis = measured
    if rule.above is not None:
        fired, sign, bound = value > rule.above, ">" if value > rule.above else "≤", rule.above
    else:
        bound = rule.below if rule.below is not None else 0.0
        fired, sign = value < bound, "<" if value < bound else "≥"
    shown, limit = _quantity(rule, value), _quantity(rule, bound)
    reason = f"{rule.arm} {rule.metric} {shown} {sign} {limit} ({basis})"
    return Ruling(rule, text, "fired" if fired else "quiet", action, reason, value)


def _requests(rule: Rule, inside: Sequence[Sample]) -> tuple[float, str] | _Unknown:
    """The arm's requests in the window; fewer than a number can be told only once the window is full."""
    arms = [getattr(sample, rule.arm) for sample in inside]
    covered = sum(sample.seconds for sample in inside)
    longest = max((sample.seconds for sample in inside), default=0.0)
    if rule.below is not None and (not inside or covered < rule.over - longest + 1e-6):
        return _Unknown(f"only {format_duration(covered)} of {format_duration(rule.over)} are known")
    return float(sum(arm.requests for arm in arms)), f"in the last {format_duration(rule.over)}"


def _of_requests(rule: Rule, arm: ArmSample, min_requests: int) -> tuple[float, str] | _Unknown:
    """A rate or a quantile (seconds) of the arm's requests."""
    if arm.requests < min_requests:
        return _Unknown(f"{arm.requests} {rule.arm} requests of the {min_requests} that a rule needs")
    window = f"in the last {format_duration(rule.over)}"
    if rule.metric == "error_rate":
        return arm.errors / arm.requests, f"{arm.errors} of {arm.requests} requests {window}"
    if arm.latency is None or (found := quantile(arm.latency, QUANTILES[rule.metric])) is None:
        return _Unknown(f"the source tells no latency of the {rule.arm} arm")
    if math.isinf(found):
        top = arm.latency.le[-1] / _MS if arm.latency.le else 0.0
        bound = rule.above if rule.above is not None else rule.below
        if bound is not None and top < bound:
            return _Unknown(f"{rule.metric} is above {number(top)} s, where the histogram ends")
        return math.inf, f"above the histogram's {number(top)} s, {arm.requests} requests {window}"
    return found / _MS, f"{arm.requests} requests {window}"


def added(arms: Sequence[ArmSample]) -> ArmSample:
    """The arm over several buckets; latency from those with the newest one's bounds."""
    histograms = [arm.latency for arm in arms if arm.latency is not None]
    latency = None
    if histograms:
        le = histograms[-1].le
        same = [histogram.counts for histogram in histograms if histogram.le == le]
        latency = Latency(le, tuple([sum(bins) for bins in zip(*same, strict=True)]))
    return ArmSample(sum(arm.requests for arm in arms), sum(arm.errors for arm in arms), latency)


def _quantity(rule: Rule, value: float) -> str:
    """A value in its metric's unit, rounded."""
    match rule.unit:
        case "percentage":
            return f"{100 * value:.3g}%"
        case "duration":
            return "∞" if math.isinf(value) else f"{value:.3g}s"
        case "size":
            return format_size(round(value))
    return f"{value:.15g}" if value == round(value) else f"{value:.4g}"
