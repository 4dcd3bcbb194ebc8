"""What the judge would have said about recorded traffic, and when.

The replay is the shipped judge, folded over the trace. What a trace cannot tell is settled like this:

- **Buckets** finer than the policy's are merged to its length; coarser ones are taken as they are.
- **Stages** begin where the policy says, or where the canary's realised share changes (see `stage_starts`).
- **Warm-up** is left out only when the policy sets `warmup`: a trace does not say when instances started.
- **Pass** ends the replay only with `pass: true` in the policy, as soon as every stage has been proven.
- **Latency** takes part when the trace has it; else errors get the whole budget of evidence.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from crossfade.analysis import traces
from crossfade.analysis.evidence import bounded_exp
from crossfade.analysis.judge import begin_stage, finding, fold, log_combined, start
from crossfade.analysis.rules import Ruling, added, evaluate
from crossfade.analysis.shares import stage_starts
from crossfade.analysis.splits import split
from crossfade.analysis.values import Finding, Sample, Verdict
from crossfade.config.checks import strange_rules
from crossfade.config.document import parse
from crossfade.config.explain import explain
from crossfade.config.faults import ConfigError
from crossfade.config.model import Judge, Rule
from crossfade.config.quantities import FROM_FILE, Duration
from crossfade.core.durations import FULL
from crossfade.core.errors import BadInputError

_TOUCH = 1e-6


class Policy(Judge):
    """A policy file: the fields of `judge:` in crossfade.yaml, and what belongs to a replay."""

    rules: tuple[Rule, ...] = Field(default=(), description="Absolute rules, judged beside the comparison.")
    stages: tuple[Duration, ...] | None = Field(
        default=None,
        description="Starts of the stages on the trace's clock; found from the realised share when absent.",
    )
    early_pass: bool = Field(
        default=False, alias="pass", description="End the replay with `pass` once every stage has been proven."
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the replay ended: `at` in seconds of the trace, `evidence` beside the `bound` it had to reach.

    `ratio` is the canary's error rate over stable's (95 %, anytime-valid; high may be infinite). `failed_requests` are
    the canary's up to `at`. `rules` are the rules that fired, with the time of their first firing.
    """

    verdict: Verdict
    cause: str
    at: float
    evidence: float
    bound: float
    ratio: tuple[float, float]
    failed_requests: int
    reason: str
    rules: tuple[tuple[float, Ruling], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """One JSON object; an infinite `high` is null."""
        low, high = self.ratio
        return {
            "verdict": self.verdict,
            "cause": self.cause,
            "at": self.at,
            "evidence": float(f"{self.evidence:.6g}"),
            "bound": float(f"{self.bound:.6g}"),
            "ratio": {"low": float(f"{low:.6g}"), "high": None if math.isinf(high) else float(f"{high:.6g}")},
            "failed_requests": self.failed_requests,
            "reason": self.reason,
            "rules": [
                {"at": at, "rule": ruling.text, "action": ruling.action, "reason": ruling.reason}
                for at, ruling in self.rules
            ],
        }


@dataclass(frozen=True, slots=True)
class Calibration:
    """How often the policy takes back a release that is the stable version itself, over `splits` A/A splits.

    `independent` splits every stable request on its own; `clumped` gives all of a bucket's failed requests to one arm, as
    if they were one user's: the worst case that a trace of counts allows.
    """

    splits: int
    seed: int
    independent: float
    clumped: float
    promised: float

    def as_json(self) -> dict[str, Any]:
        """One JSON object; shares of false rollbacks as plain ratios."""
        return {
            "splits": self.splits,
            "seed": self.seed,
            "false_rollbacks": {"independent": self.independent, "clumped": self.clumped},
            "promised": self.promised,
        }


def run(path: Path, *, policy: Path | None = None) -> Outcome:
    """Replay the trace at `path` under the policy file at `policy` (the default judge without one)."""
    return backtest(_text(path).split("\n"), read_policy(policy), name=str(path))


def run_splits(path: Path, *, policy: Path | None = None, splits: int = 200, seed: int = 0) -> Calibration:
    """Calibrate the policy on the stable arm of the trace at `path`."""
    return calibrate(_text(path).split("\n"), read_policy(policy), splits=splits, seed=seed, name=str(path))


def read_policy(path: Path | None) -> Policy:
    """The policy file (YAML or JSON) at `path`; ConfigError tells every fault with its line."""
    if path is None:
        return Policy()
    document = parse(_text(path), str(path))
    how = "a trace holds no other: leave this rule away"
    faults = [
        document.fault(each.code, each.paths[0], each.what, each.hint)
        for each in strange_rules(("rules",), document.tree.get("rules"), (), how)
    ]
    try:
        policy = Policy.model_validate(document.tree, context=FROM_FILE, strict=True)
    except ValidationError as error:
        raise ConfigError(str(path), [*faults, *(fault for _, fault in explain(error, document))]) from None
    if faults:
        raise ConfigError(str(path), faults)
    return policy


def backtest(lines: Iterable[str], policy: Policy | None = None, *, name: str = "trace") -> Outcome:
    """Replay a trace; BadInputError names every bad line as `NAME:LINE`.

    >>> row = '{"at": %d, "seconds": 5, "arm": "%s", "requests": %d, "errors": %d}'
    >>> lines = [row % (at, *arm) for at in range(0, 60, 5) for arm in (("stable", 950, 1), ("canary", 50, 3))]
    >>> outcome = backtest(lines)
    >>> outcome.verdict, outcome.cause, outcome.at, outcome.failed_requests
    ('fail', 'errors', 15.0, 9)
    """
    return replay(traces.read(lines, name=name), policy or Policy())


def calibrate(
    lines: Iterable[str], policy: Policy | None = None, *, splits: int = 200, seed: int = 0, name: str = "trace"
) -> Calibration:
    """The share of false rollbacks when the stable arm is judged against itself, split at the trace's own shares."""
    policy = (policy or Policy()).model_copy(update={"early_pass": False, "rules": ()})
    recorded = traces.read(lines, name=name)
    shares = [0.0] * 2
    for i, clumped in enumerate((False, True)):
        wrong = 0
        for j in range(splits):
            wrong += replay(split(recorded, seed=seed + j, clumped=clumped), policy).verdict == "fail"
        shares[i] = wrong / splits if splits else 0.0
    return Calibration(splits, seed, shares[0], shares[1], policy.alpha)


def replay(recorded: Sequence[Sample], policy: Policy) -> Outcome:
    """The outcome of judging `recorded` buckets, oldest first."""
    recorded = merged(recorded, policy.bucket, cuts=policy.stages or ())
    if not any(sample.canary.latency for sample in recorded):
        policy = policy.model_copy(update={"latency": False})
    begin, end = recorded[0].at, recorded[-1].at + recorded[-1].seconds
    starts = policy.stages or stage_starts(recorded)
    warm_from = begin + policy.warmup if "warmup" in policy.model_fields_set else begin
    state = start(policy, stages=len(starts), compared_for=end - begin)
    window: list[Sample] = []
    fired: dict[str, tuple[float, Ruling]] = {}
    proven: set[int] = set()
    failed, entered = 0, -1
    for sample in recorded:
        now = sample.at + sample.seconds
        stage = max(0, bisect_right(starts, sample.at) - 1)
        if stage != entered:
            entered = stage
            until = starts[stage + 1] if stage + 1 < len(starts) else end
            state = begin_stage(state, sample.at, _weight(sample), watch=until - sample.at)
        state = fold(state, replace(sample, warm=sample.at >= warm_from), policy)
        failed += sample.canary.errors
        rollback = _rule_back(policy, window, sample, fired)
        if state.failure:
            found = finding(state, policy, now, now)
            return _outcome(found, state.failure.value, state.failure.bound, failed, fired)
        if rollback:
            found = replace(rollback.finding(now), ratio=finding(state, policy, now, now).ratio)
            return _outcome(found, rollback.value or 0.0, rollback.bound, failed, fired)
        if policy.early_pass and (found := finding(state, policy, now, now)).verdict == "pass":
            proven.add(stage)
            if len(proven) == len(starts):
                return _outcome(found, found.evidence[-1].value, found.evidence[-1].bound, failed, fired)
    found = finding(state, policy, end, end)
    if found.verdict == "pass":
        found = replace(found, verdict="inconclusive", cause="undecided")
    return _outcome(found, bounded_exp(log_combined(state, policy)), 1 / policy.alpha, failed, fired)


def merged(recorded: Sequence[Sample], seconds: float, *, cuts: Sequence[float] = ()) -> tuple[Sample, ...]:
    """Adjoining buckets put together up to `seconds`, never over one of the `cuts`; longer ones stay as they are.

    >>> from crossfade.analysis.values import ArmSample
    >>> one = ArmSample(10, 1)
    >>> [(s.at, s.seconds, s.stable.requests) for s in merged([Sample(i, 1, one, one) for i in range(7)], 5)]
    [(0, 5, 50), (5, 2, 20)]
    """
    made: list[Sample] = []
    for sample in recorded:
        last = made[-1] if made else None
        adjoins = last is not None and abs(last.at + last.seconds - sample.at) < _TOUCH
        adjoins = adjoins and not any(abs(cut - sample.at) < _TOUCH for cut in cuts)
        if last is not None and adjoins and last.seconds + sample.seconds <= seconds + _TOUCH:
            stable, canary = added([last.stable, sample.stable]), added([last.canary, sample.canary])
            made[-1] = Sample(last.at, last.seconds + sample.seconds, stable, canary)
        else:
            made.append(sample)
    return tuple(made)


def _rule_back(
    policy: Policy, window: list[Sample], sample: Sample, fired: dict[str, tuple[float, Ruling]]
) -> Ruling | None:
    """Judge the rules after `sample`, note what fired first, and return a rule that asks for a rollback."""
    if not policy.rules:
        return None
    now = sample.at + sample.seconds
    window.append(sample)
    longest = max(rule.over for rule in policy.rules)
    window[:] = [old for old in window if old.at >= now - longest - _TOUCH]
    for ruling in evaluate(policy.rules, window, now=now, min_requests=policy.min_requests):
        if ruling.state == "fired":
            fired.setdefault(ruling.text, (now, ruling))
    return next((ruling for _, ruling in fired.values() if ruling.action == "rollback"), None)


def _weight(sample: Sample) -> int:
    """The realised share of a bucket in basis points."""
    both = sample.canary.requests + sample.stable.requests
    return round(FULL * sample.canary.requests / both) if both else 0


def _outcome(
    found: Finding, evidence: float, bound: float, failed: int, fired: Mapping[str, tuple[float, Ruling]]
) -> Outcome:
    return Outcome(
        verdict=found.verdict,
        cause=found.cause,
        at=found.at,
        evidence=evidence,
        bound=bound,
        ratio=found.ratio or (0.0, math.inf),
        failed_requests=failed,
        reason=found.reason,
        rules=tuple(fired.values()),
    )


def _text(path: Path) -> str:
    """A file's text; BadInputError when it cannot be read."""
    code = "backtest.unreadable"
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInputError(code, "the file is not UTF-8 text", where=f"{path}, byte {error.start}") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BadInputError(
            code, f"the file cannot be read: {reason}", where=str(path), next="name a readable file"
        ) from None
