"""The judge: fold closed buckets into a state, and read a finding from it.

Fail, pass and the guard are three questions with three rules. *Fail* and the *guard* are remembered the moment they come true
and never unsaid; *pass* must be true now. Missing data is never a pass, and a silent source never a failure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from crossfade.analysis import sentences
from crossfade.analysis.alone import accepted_rate, bet, log_evidence, nothing_bet
from crossfade.analysis.evidence import START_EVERY, STARTS, STEPS, Process, bounded_exp, combine
from crossfade.analysis.proof import log_proof
from crossfade.analysis.quantiles import LEVELS, bound_at, remember
from crossfade.analysis.state import Failure, JudgeState, Recent, StageState, Totals
from crossfade.analysis.values import Evidence, Finding, Sample
from crossfade.config.model import Judge
from crossfade.core.durations import FULL

ERRORS = "errors"
LATENCIES = ("latency p50", "latency p90", "latency p99")

RATIO_ALPHA = 0.05
"""Level of the confidence sequence that is shown."""

_GUARD_TIMES_STABLE = 3
_PASS_BELOW = 0.5
"""Progress towards failing (0..1, log scale) above which a proof is held back: not while a suspicion grows."""


def start(policy: Judge, stages: int, *, compared_for: float = START_EVERY * (STARTS + 1)) -> JudgeState:
    """The state before the first stage.

    `stages` is S, the number of stages that may end early by a pass. `compared_for` is how long (seconds) the plan compares
    the arms: late starts are spread over it, at least 30 s apart. It must be known before the data are.
    """
    names = (ERRORS, *LATENCIES) if policy.latency and policy.error_weight < 1 else (ERRORS,)
    return JudgeState(
        stages=max(1, stages),
        start_every=max(START_EVERY, compared_for / (STARTS + 1)),
        processes={name: Process.new(policy.units) for name in names},
        tolerance=policy.tolerance,
    )


def begin_stage(state: JudgeState, at: float, weight: int, *, watch: float = 300.0) -> JudgeState:
    """A new stage from `at` (seconds), with the wanted canary `weight` (basis points), watched for `watch` seconds.

    Pass and counts restart; the evidence for failing goes on (each bucket carries its own realised share). At 100 % there
    is nobody to compare with: from then on the version is judged alone, against an accepted rate that is fixed now.
    """
    began = at if state.began is None else state.began
    stage = StageState(at=at, weight=weight, watch=watch)
    if weight >= FULL:
        accepted = accepted_rate(state.compared, state.tolerance)
        stage = replace(stage, alone=nothing_bet(), accepted=accepted)
    return replace(state, began=began, stage=stage)


def fold(state: JudgeState, sample: Sample, policy: Judge) -> JudgeState:
    """The state after one closed bucket. A bucket that does not begin after the newest one is ignored.

    The guard reads every bucket. The comparison leaves out the warm-up, and a bucket that a change of weight cuts in two.
    """
    stage = state.stage
    if stage is None:
        msg = "begin_stage comes before the first bucket"
        raise ValueError(msg)
    if state.folded_to is not None and sample.at < state.folded_to - 1e-6:
        return state
    end = sample.at + sample.seconds
    totals = Totals(sample.canary.requests, sample.canary.errors, sample.stable.requests, sample.stable.errors)
    recent = (*state.recent, Recent(sample.at, sample.seconds, totals))
    kept = tuple([bucket for bucket in recent if bucket.at >= end - policy.guard_window - 1e-6])
    state = replace(state, recent=kept or recent[-1:], folded_to=end)
    if policy.enabled and sample.warm and not sample.at < stage.at - 1e-6 < end - 2e-6:
        state = _compare(state, stage, sample, totals, policy)
    return state if state.failure else replace(state, failure=_failure(state, policy, end))


def finding(
    state: JudgeState,
    policy: Judge,
    now: float,
    newest_sample_at: float | None,
    *,
    patience: float = 0.0,
    detail: str = "",
) -> Finding:
    """What the judge says at `now`, given the time up to which the source's counts are complete (None: it never answered).

    `patience` is a silence (seconds) that is usual for the source, where it is longer than the policy's; `detail` is what the
    source says about its silence. The counts in the finding are those of the current stage; the ratio and the evidence for failing are the whole rollout's.
    """
    if state.stage is None:
        msg = "begin_stage comes before the first finding"
        raise ValueError(msg)
    stage, log_fail = state.stage, log_combined(state, policy)
    proof = math.log(state.stages / policy.pass_alpha)
    proven = log_proof(stage.totals.canary_errors, stage.totals.canary_requests, policy.tolerance)
    nearest = max(log_fail, log_evidence(stage.alone)) if stage.alone else log_fail
    progress = min(1.0, max(0.0, nearest / -math.log(policy.alpha)))
    silent_for = now - (stage.at if newest_sample_at is None else newest_sample_at)
    ratio = state.ratio.interval(RATIO_ALPHA) if state.ratio.events else None
    if state.failure:
        verdict, cause, reason, progress = "fail", state.failure.cause, state.failure.reason, 1.0
    elif silent_for > (limit := max(policy.blind_after, patience)):
        verdict, cause = "inconclusive", "blind"
        reason = sentences.blind(silent_for, newest_sample_at, limit, detail)
    elif not policy.enabled:
        verdict, cause, reason = "inconclusive", "undecided", "the comparison is switched off"
    elif stage.totals.canary_requests < policy.min_requests:
        verdict, cause, reason = "inconclusive", "starved", sentences.starved(stage, policy)
    elif proven >= proof and progress <= _PASS_BELOW:
        verdict, cause, reason = (
            "pass",
            "proven",
            sentences.proven(stage, bounded_exp(proven), bounded_exp(proof), policy),
        )
    else:
        verdict, cause = "inconclusive", "undecided"
        reason = sentences.undecided(
            state,
            ratio,
            policy,
            evidence=bounded_exp(log_fail),
            proof=bounded_exp(proven),
            bound=bounded_exp(proof),
        )
    return Finding(
        verdict=verdict,  # type: ignore[arg-type]  # each branch assigns one of the three literals
        cause=cause,
        at=now,
        reason=reason,
        missing=reason if cause in ("starved", "blind") else "",
        evidence=(*_evidences(state, policy, log_fail), Evidence("pass", bounded_exp(proven), bounded_exp(proof))),
        ratio=ratio,
        progress=progress,
        canary_requests=stage.totals.canary_requests,
        canary_errors=stage.totals.canary_errors,
        stable_requests=stage.totals.stable_requests,
        stable_errors=stage.totals.stable_errors,
    )


def weights(policy: Judge, names: Mapping[str, object]) -> tuple[float, ...]:
    """Shares ω of the evidence budget for the metrics `names`, in their order; they add up to 1."""
    if len(names) == 1:
        return (1.0,)
    others = (1 - policy.error_weight) / (len(names) - 1)
    return tuple([policy.error_weight if name == ERRORS else others for name in names])


def log_combined(state: JudgeState, policy: Judge) -> float:
    """Logarithm of Σ ω_i E_i over the metrics: it fails the version when it reaches ln 1/α."""
    return combine([process.log_value for process in state.processes.values()], weights(policy, state.processes))


def _compare(state: JudgeState, stage: StageState, sample: Sample, totals: Totals, policy: Judge) -> JudgeState:
    """The state with one compared bucket: evidence, ratio, and the stage's counts where the bucket is the stage's."""
    if sample.at >= stage.at - 1e-6:
        stage = replace(stage, totals=stage.totals.plus(totals), seconds=stage.seconds + sample.seconds)
        if stage.alone:
            bets = bet(stage.alone, totals.canary_errors, totals.canary_requests, stage.accepted)
            stage = replace(stage, alone=bets)
    begun = 0 if state.began is None else max(0, int((sample.at - state.began + 1e-6) // state.start_every))
    processes = {name: process.started_to(begun) for name, process in state.processes.items()}
    ratio = state.ratio
    both = totals.canary_requests + totals.stable_requests
    if totals.canary_requests and totals.stable_requests:
        w = totals.canary_requests / both
        bad = totals.canary_errors + totals.stable_errors
        ratio = ratio.add(totals.canary_errors, bad, w)
        step = STEPS[policy.units]
        for name, tolerated, x_c, n, share in _bad_events(state, sample, totals, policy):
            if n and 0 < share < 1:
                processes[name] = processes[name].add(step(x_c, n, share, tolerated))
    bounds, memory = state.bounds, state.stable_latency
    if sample.stable.latency is not None:
        if sample.stable.latency.le != bounds:
            bounds, memory = sample.stable.latency.le, ()
        memory = remember(memory, sample.stable.latency, sample.seconds)
    return replace(
        state,
        stage=stage,
        processes=processes,
        ratio=ratio,
        bounds=bounds,
        stable_latency=memory,
        compared=state.compared.plus(totals),
    )


def _bad_events(
    state: JudgeState, sample: Sample, totals: Totals, policy: Judge
) -> list[tuple[str, float, int, int, float]]:
    """(metric, tolerated ratio, x_c, n, w) of one bucket, for errors and for requests slower than stable's earlier quantiles."""
    both = totals.canary_requests + totals.stable_requests
    errors = totals.canary_errors + totals.stable_errors
    events = [(ERRORS, policy.tolerated_ratio, totals.canary_errors, errors, totals.canary_requests / both)]
    canary, stable = sample.canary.latency, sample.stable.latency
    if len(state.processes) == 1 or canary is None or stable is None:
        return events
    if not canary.le == stable.le == state.bounds:
        return events
    m_c, m_s = sum(canary.counts), sum(stable.counts)
    if m_c == 0 or m_s == 0:
        return events
    for name, level, tolerated in zip(LATENCIES, LEVELS, policy.latency_ratios, strict=True):
        index = bound_at(state.bounds, state.stable_latency, level)
        if index is not None:
            slow_c, slow_s = sum(canary.counts[index + 1 :]), sum(stable.counts[index + 1 :])
            events.append((name, max(1.0, tolerated), slow_c, slow_c + slow_s, m_c / (m_c + m_s)))
    return events


def _failure(state: JudgeState, policy: Judge, at: float) -> Failure | None:
    """The guard or the evidence at its bound, after the newest bucket."""
    window = Totals()
    for bucket in state.recent:
        window = window.plus(bucket.totals)
    if window.canary_requests >= policy.guard_requests:
        canary = window.canary_errors / window.canary_requests
        stable = window.stable_errors / window.stable_requests if window.stable_requests else 0.0
        if canary >= policy.guard_share and canary > _GUARD_TIMES_STABLE * stable:
            return Failure("guard", at, sentences.guard(window, policy), canary, policy.guard_share)
    alone = state.stage.alone if state.stage is not None else ()
    if policy.enabled and alone and log_evidence(alone) >= -math.log(policy.alpha):
        evidence = bounded_exp(log_evidence(alone))
        return Failure("alone", at, sentences.alone(state, evidence, policy), evidence, 1 / policy.alpha)
    log_fail = log_combined(state, policy)
    if not policy.enabled or log_fail < -math.log(policy.alpha):
        return None
    cause = _cause(state, policy)
    reason = sentences.failed(state, cause, bounded_exp(log_fail), state.ratio.interval(RATIO_ALPHA), policy)
    return Failure(cause, at, reason, bounded_exp(log_fail), 1 / policy.alpha)


def _cause(state: JudgeState, policy: Judge) -> str:
    """Which metrics alone reach the bound, the others counting as no evidence: `errors`, `latency` or `combined`."""
    shares = dict(zip(state.processes, weights(policy, state.processes), strict=True))
    for cause, names in ((ERRORS, (ERRORS,)), ("latency", LATENCIES)):
        logs = [process.log_value if name in names else 0.0 for name, process in state.processes.items()]
        if combine(logs, tuple(shares.values())) >= -math.log(policy.alpha):
            return cause
    return "combined"


def _evidences(state: JudgeState, policy: Judge, log_fail: float) -> list[Evidence]:
    """Each metric against the bound at which it fails the version alone, then all of them combined, and the guard."""
    bound = 1 / policy.alpha
    shares = weights(policy, state.processes)
    found = [
        Evidence(name, process.value, (bound - 1 + share) / share)
        for (name, process), share in zip(state.processes.items(), shares, strict=True)
    ]
    found.append(Evidence("combined", bounded_exp(log_fail), bound))
    if state.stage is not None and state.stage.alone:
        found.append(Evidence("alone", bounded_exp(log_evidence(state.stage.alone)), bound))
    if state.failure and state.failure.cause == "guard":
        found.append(Evidence("guard", state.failure.value, state.failure.bound))
    return found
