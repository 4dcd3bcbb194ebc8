"""The version alone under all of the traffic: no control arm, a fixed accepted rate."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from crossfade.analysis import ArmSample, Sample, begin_stage, finding, fold, start
from crossfade.analysis.alone import accepted_rate, bet, log_evidence, nothing_bet
from crossfade.analysis.state import JudgeState, Totals
from crossfade.config.model import Judge
from crossfade.core.durations import FULL

POLICY = Judge(latency=False, warmup=0)


def alone(errors: list[int], requests: int = 1000, *, before: tuple[int, int] = (0, 0)) -> JudgeState:
    """The state after buckets of `errors` at 100 %; `before` are stable's errors and requests at 50 %."""
    state = begin_stage(start(POLICY, stages=3), 0.0, 5000)
    if before[1]:
        state = fold(state, Sample(0.0, 5.0, ArmSample(before[1], before[0]), ArmSample(before[1], before[0])), POLICY)
    state = begin_stage(state, 100.0, FULL)
    for i, bad in enumerate(errors):
        state = fold(state, Sample(100.0 + 5 * i, 5.0, ArmSample(0, 0), ArmSample(requests, bad)), POLICY)
    return state


def test_the_evidence_is_fair_when_the_rate_is_just_accepted():
    """Its expectation is 1, whatever was bet before: checked over every outcome of three buckets."""
    p, m, total = 0.1, 3, 0.0
    for outcome in itertools.product(range(m + 1), repeat=3):
        chance = math.prod(math.comb(m, x) * p**x * (1 - p) ** (m - x) for x in outcome)
        logs = nothing_bet()
        for x in outcome:
            logs = bet(logs, x, m, p)
        total += chance * math.exp(log_evidence(logs))
    assert total == pytest.approx(1.0)


def test_a_version_that_breaks_under_all_of_the_traffic_fails():
    found = finding(alone([50] * 6), POLICY, now=130.0, newest_sample_at=130.0)
    assert (found.verdict, found.cause) == ("fail", "alone")
    assert "error rate 5 % > 1 % under all of the traffic" in found.reason


def test_a_version_that_is_as_bad_as_the_one_before_does_not():
    found = finding(alone([50] * 60, before=(500, 10_000)), POLICY, now=400.0, newest_sample_at=400.0)
    assert found.verdict == "inconclusive"


def test_good_versions_are_hardly_ever_failed():
    rng = np.random.default_rng(5)
    failed = sum(alone(rng.binomial(1000, 0.01, 120).tolist()).failure is not None for _ in range(100))
    assert failed <= 3


def test_below_full_traffic_nothing_is_bet():
    state = begin_stage(start(POLICY, stages=3), 0.0, 5000)
    assert state.stage is not None
    assert state.stage.alone == ()


def test_a_silent_bucket_changes_nothing():
    assert bet((1.0,) * 5, 0, 0, 0.01) == (1.0,) * 5


def test_the_accepted_rate_leaves_room_for_what_stable_had():
    assert accepted_rate(Totals(), 0.01) == 0.01
    assert accepted_rate(Totals(stable_requests=100, stable_errors=5), 0.01) == pytest.approx(0.1)
    assert accepted_rate(Totals(stable_requests=100, stable_errors=99), 0.01) == 0.9


def test_the_state_travels_as_json():
    state = alone([5, 9])
    assert JudgeState.from_json(state.to_json()) == state
