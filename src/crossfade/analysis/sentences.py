"""The arithmetic behind a finding, as a sentence that a person can check."""

from __future__ import annotations

import math

from crossfade.analysis.proof import requests_needed
from crossfade.analysis.state import JudgeState, StageState, Totals
from crossfade.config.model import Judge
from crossfade.core.durations import format_duration


def rate(bad: int, requests: int) -> str:
    """Bad events as a share with two figures.

    >>> rate(1, 950), rate(0, 0)
    ('0.11 %', '–')
    """
    return f"{number(100 * bad / requests)} %" if requests else "–"


def number(value: float) -> str:
    """A number with two or three figures, as people write it.

    >>> [number(v) for v in (0.0, 0.123, 6.14, 61.4, 1234.5, 2e6, math.inf)]
    ['0', '0.12', '6.1', '61', '1,234', '2e+06', '∞']
    """
    if math.isinf(value):
        return "∞"
    if abs(value) >= 1e6:  # noqa: PLR2004 - beyond a million the digits tell nothing
        return f"{value:.0e}"
    if abs(value) >= 10:  # noqa: PLR2004 - two figures
        return f"{value:,.0f}"
    return f"{value:.2g}"


def interval(ratio: tuple[float, float]) -> str:
    """A confidence interval of a ratio.

    >>> interval((2.31, math.inf)), interval((61.4, 1234.5))
    ('[2.3, ∞)', '[61, 1,234]')
    """
    low, high = ratio
    return f"[{number(low)}, {'∞)' if math.isinf(high) else f'{number(high)}]'}"


def error_ratio(estimate: float, ratio: tuple[float, float]) -> str:
    """The ratio of the arms' error rates with its confidence interval.

    >>> error_ratio(6.1, (2.3, math.inf))
    'error ratio 6.1 [2.3, ∞)'
    """
    return f"error ratio {number(estimate)} {interval(ratio)}"


def counts(totals: Totals) -> str:
    """Both arms' counts.

    >>> counts(Totals(500, 23, 9500, 3))
    '23 of 500 canary requests failed (4.6 %), 3 of 9500 stable (0.032 %)'
    """
    canary, stable = totals.canary_requests, totals.stable_requests
    return (
        f"{totals.canary_errors} of {canary} canary requests failed ({rate(totals.canary_errors, canary)}), "
        f"{totals.stable_errors} of {stable} stable ({rate(totals.stable_errors, stable)})"
    )


def guard(window: Totals, policy: Judge) -> str:
    """Why the guard fired."""
    share = rate(window.canary_errors, window.canary_requests)
    return f"{share} ≥ {number(100 * policy.guard_share)} % within {format_duration(policy.guard_window)}: {counts(window)}"


def failed(state: JudgeState, cause: str, evidence: float, ratio: tuple[float, float], policy: Judge) -> str:
    """Why the comparison failed the version."""
    bound = f"evidence {number(evidence)} ≥ {number(1 / policy.alpha)}"
    if cause == "errors" and ratio[0] > policy.tolerated_ratio:
        return f"{error_ratio(state.ratio.estimate, ratio)} > {number(policy.tolerated_ratio)} ({bound})"
    if cause == "errors":
        return f"{bound} that the canary fails more often, since a while ago: {error_ratio(state.ratio.estimate, ratio)} overall"
    parts = ", ".join(f"{name} {number(process.value)}" for name, process in state.processes.items())
    what = "slower than stable was" if cause == "latency" else "worse, errors and latency taken together"
    return f"{bound} that the canary is {what}: {parts}"


def alone(state: JudgeState, evidence: float, policy: Judge) -> str:
    """Why the version failed while it had all of the traffic."""
    stage = state.stage
    if stage is None:
        return ""
    totals = stage.totals
    share = rate(totals.canary_errors, totals.canary_requests)
    return (
        f"error rate {share} > {number(100 * stage.accepted)} % under all of the traffic "
        f"(evidence {number(evidence)} ≥ {number(1 / policy.alpha)}): "
        f"{totals.canary_errors} of {totals.canary_requests} requests failed"
    )


def blind(silent_for: float, newest_sample_at: float | None, limit: float, detail: str = "") -> str:
    """Why nothing can be seen; `detail` is what the source says about it.

    >>> blind(75, 1000.0, 60, "nothing newer for up")
    'blind: the newest sample is 1m15s old > 1m (nothing newer for up)'
    """
    silent, told = format_duration(round(silent_for)), f" ({detail})" if detail else ""
    if newest_sample_at is None:
        return f"blind: the metric source has not answered for {silent} > {format_duration(limit)}{told}"
    return f"blind: the newest sample is {silent} old > {format_duration(limit)}{told}"


def starved(stage: StageState, policy: Judge) -> str:
    """What is missing, and the weight or the time that would bring it."""
    totals, needed = stage.totals, policy.min_requests
    text = f"starved: {totals.canary_requests} of the {needed} canary requests that a verdict needs"
    both = totals.canary_requests + totals.stable_requests
    if both == 0 or stage.seconds <= 0:
        return f"{text}, no traffic yet" if stage.seconds <= 0 else f"{text}, no traffic at all"
    per_second = both / stage.seconds
    share = needed / (per_second * stage.watch) if stage.watch else math.inf
    if share > 1:
        wait = format_duration(math.ceil(needed / per_second))
        return f"{text}; needs {wait} even at 100 % weight ({number(per_second)} requests/s)"
    if share * 10_000 > max(stage.weight, 1):
        return f"{text}; needs ≥ {math.ceil(share * 100)} % weight"
    canary_per_second = totals.canary_requests / stage.seconds
    if canary_per_second <= 0:
        return f"{text}, of {both} in all: none went to the canary"
    return (
        f"{text}; {format_duration(math.ceil((needed - totals.canary_requests) / canary_per_second))} more at this rate"
    )


def proven(stage: StageState, evidence: float, bound: float, policy: Judge) -> str:
    """Why the stage passed."""
    return (
        f"error rate < {number(100 * policy.tolerance)} % proven (evidence {number(evidence)} ≥ {number(bound)}): "
        f"{counts(stage.totals)}"
    )


def undecided(
    state: JudgeState, ratio: tuple[float, float] | None, policy: Judge, *, evidence: float, proof: float, bound: float
) -> str:
    """How far both questions are from an answer."""
    worse = f"evidence of harm {number(evidence)} of {number(1 / policy.alpha)}"
    if state.stage is not None and state.stage.totals.canary_errors == 0:
        missing = requests_needed(policy.tolerance, bound) - state.stage.totals.canary_requests
        better = f"proof {number(proof)} of {number(bound)}" + (
            f" (about {missing} requests more)" if missing > 0 else ""
        )
    else:
        better = f"proof {number(proof)} of {number(bound)}"
    known = error_ratio(state.ratio.estimate, ratio) if ratio else "no bad request yet"
    return f"{known}; {worse}, {better}"
