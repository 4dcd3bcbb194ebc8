"""The judge over buckets: verdicts, causes, and what must leave it unmoved."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.analysis import ArmSample, JudgeState, Latency, Sample, begin_stage, finding, fold, start
from crossfade.analysis.judge import log_combined
from crossfade.config.model import Judge

PLAIN = Judge(latency=False)
LE = (10.0, 20.0, 50.0, 100.0, 500.0)


def bucket(at, stable, canary, *, seconds=5.0, warm=True, latency=None):
    histograms = [None, None] if latency is None else [Latency(LE, bins) for bins in latency]
    return Sample(at, seconds, ArmSample(*stable, histograms[0]), ArmSample(*canary, histograms[1]), warm)


def judged(policy, buckets, *, stages=3, weight=500):
    state = begin_stage(start(policy, stages=stages), 0.0, weight)
    for sample in buckets:
        state = fold(state, sample, policy)
    return state


def look(state, policy, now=None, newest=None):
    now = state.folded_to if now is None else now
    return finding(state, policy, now, now if newest is None else newest)


def test_a_worse_canary_fails_with_arithmetic_that_a_person_reads():
    found = look(judged(PLAIN, [bucket(5.0 * i, (950, 1), (50, 3)) for i in range(6)]), PLAIN)
    assert (found.verdict, found.cause, found.action) == ("fail", "errors", "rollback")
    assert found.reason.startswith("error ratio ")
    assert "> 1 (evidence" in found.reason
    assert found.ratio[0] > 1
    assert found.progress == 1.0
    combined = next(e for e in found.evidence if e.test == "combined")
    assert combined.value >= combined.bound == pytest.approx(100)


def test_a_verdict_to_fail_is_never_unsaid():
    worse = judged(PLAIN, [bucket(5.0 * i, (950, 1), (50, 3)) for i in range(6)])
    state = worse
    for i in range(6, 200):
        state = fold(state, bucket(5.0 * i, (950, 5), (50, 0)), PLAIN)
    assert state.failure == worse.failure
    assert look(state, PLAIN, newest=0.0).cause == "errors"  # nor hidden by a source that falls silent


def test_a_good_canary_is_proven_and_each_stage_proves_anew():
    state = judged(PLAIN, [bucket(5.0 * i, (950, 1), (50, 0)) for i in range(20)])
    found = look(state, PLAIN)
    assert (found.verdict, found.cause) == ("pass", "proven")
    again = begin_stage(state, 100.0, 2500)
    assert look(again, PLAIN).cause == "starved"
    assert again.processes == state.processes


def test_a_proof_waits_while_a_suspicion_grows():
    """Few errors prove the rate to be below 1 %; that all of them are the canary's must hold it back."""
    quiet = [bucket(5.0 * i, (5000, 0), (5000, 0)) for i in range(20)]
    noisy = [bucket(100.0 + 5 * i, (5000, 0), (5000, 2)) for i in range(12)]
    state, suspected = judged(PLAIN, quiet), False
    assert look(state, PLAIN).verdict == "pass"
    for sample in noisy:
        state = fold(state, sample, PLAIN)
        found = look(state, PLAIN)
        suspected |= found.verdict == "inconclusive"
        if found.verdict == "fail":
            break
        assert found.progress <= 0.5 or found.verdict == "inconclusive"
    assert suspected
    assert found.verdict == "fail"


@given(
    st.lists(st.tuples(st.integers(0, 900), st.integers(0, 300), st.floats(0, 1), st.floats(0, 1)), max_size=25),
    st.sampled_from(["requests", "users"]),
)
def test_the_state_travels_as_json_and_folding_twice_changes_nothing(rows, units):
    policy = Judge(units=units)
    state = begin_stage(start(policy, stages=3), 0.0, 500)
    for i, (m_s, m_c, s, c) in enumerate(rows):
        x_s, x_c = round(m_s * s), round(m_c * c)
        bins = [(m - 2 * (m // 3), m // 3, m // 3, 0, 0, 0) for m in (m_s, m_c)]
        sample = bucket(30.0 * i, (m_s, x_s), (m_c, x_c), latency=bins)
        folded = fold(state, sample, policy)
        assert fold(folded, sample, policy) == folded
        state = JudgeState.from_json(json.loads(json.dumps(folded.to_json(), allow_nan=False)))
        assert state == folded
        found = look(state, policy)
        assert found.verdict == "inconclusive" or rows
        assert all(math.isfinite(e.value) for e in found.evidence)


def test_another_format_of_state_is_refused():
    with pytest.raises(ValueError, match="version 2"):
        JudgeState.from_json({"version": 2})


def test_a_common_shock_and_a_change_of_weight_leave_it_unmoved():
    """Each bucket's errors are shared in proportion to requests: rates jump 100-fold, the share 10-fold, evidence stays ≤ 1."""
    state = begin_stage(start(PLAIN, stages=3), 0.0, 500)
    for i in range(180):
        w = (0.05, 0.25, 0.5)[i // 60]
        rate = 0.4 if 80 <= i < 110 else 0.004
        if i % 60 == 0:
            state = begin_stage(state, 5.0 * i, int(w * 10_000))
        m_c = int(10_000 * w)
        state = fold(
            state, bucket(5.0 * i, (10_000 - m_c, round((10_000 - m_c) * rate)), (m_c, round(m_c * rate))), PLAIN
        )
        assert log_combined(state, PLAIN) <= 1e-9
    low, high = look(state, PLAIN).ratio
    assert low < 1 < high


@pytest.mark.parametrize(
    ("stable", "canary", "fires"),
    [
        ((950, 0), (10, 5), True),  # exactly 10 requests, exactly half
        ((950, 0), (9, 9), False),  # too few
        ((950, 0), (100, 49), False),  # less than half
        ((1000, 200), (100, 60), False),  # exactly 3 × stable is not more than
        ((1000, 200), (100, 61), True),
        ((1000, 900), (100, 100), False),  # an outage of both
        ((0, 0), (10, 10), True),  # all of the traffic
    ],
)
def test_the_guard_at_its_edges(stable, canary, fires):
    policy = Judge(latency=False, enabled=False)
    found = look(judged(policy, [bucket(0.0, stable, canary)]), policy)
    assert (found.verdict == "fail") is fires
    if fires:
        assert found.cause == "guard"
        assert "within 10s" in found.reason


def test_the_guard_reads_the_warm_up_and_forgets_what_is_older_than_its_window():
    cold = judged(PLAIN, [bucket(0.0, (950, 0), (50, 30), warm=False)])
    assert cold.failure.cause == "guard"
    old = judged(PLAIN, [bucket(0.0, (950, 0), (9, 9), warm=False), bucket(10.0, (950, 0), (9, 9), warm=False)])
    assert old.failure is None
    near = judged(PLAIN, [bucket(0.0, (950, 0), (9, 9), warm=False), bucket(5.0, (950, 0), (9, 9), warm=False)])
    assert near.failure.cause == "guard"


def test_the_warm_up_is_not_compared():
    cold = judged(PLAIN, [bucket(5.0 * i, (950, 1), (50, 10), warm=False) for i in range(20)])
    assert cold.failure is None
    assert look(cold, PLAIN).canary_requests == 0


def test_a_bucket_that_a_change_of_weight_cuts_is_left_out():
    state = begin_stage(judged(PLAIN, []), 7.0, 2500)
    cut = fold(state, bucket(5.0, (950, 0), (50, 20)), PLAIN)
    assert cut.processes == state.processes
    assert cut.stage.totals.canary_requests == 0
    whole = fold(cut, bucket(10.0, (950, 0), (50, 20)), PLAIN)
    assert whole.stage.totals.canary_requests == 50


def test_silence_of_the_source_is_blind_and_never_a_pass_or_a_failure():
    state = judged(PLAIN, [bucket(5.0 * i, (950, 1), (50, 0)) for i in range(20)])
    assert look(state, PLAIN, now=130.0, newest=100.0).verdict == "pass"
    blind = look(state, PLAIN, now=131.0, newest=100.0)
    assert (blind.verdict, blind.cause) == ("inconclusive", "blind")
    assert "31s old > 30s" in blind.reason
    never = finding(state, PLAIN, 131.0, None)
    assert never.cause == "blind"
    assert "has not answered" in never.reason


def test_too_little_traffic_is_starved_and_says_what_would_help():
    # 2 requests/s in all, 1 % of them the canary's: 100 of them in 300 s need a sixth of the traffic.
    few = judged(PLAIN, [bucket(5.0 * i, (10, 0), (1 if i % 10 == 0 else 0, 0)) for i in range(30)], weight=100)
    found = look(few, PLAIN)
    assert (found.verdict, found.cause) == ("inconclusive", "starved")
    assert "needs ≥ 17 % weight" in found.reason
    tiny = judged(PLAIN, [bucket(60.0 * i, (3, 0), (1, 0), seconds=60) for i in range(4)])
    assert "even at 100 % weight" in look(tiny, PLAIN).reason
    assert "no traffic" in look(judged(PLAIN, [bucket(0.0, (0, 0), (0, 0))]), PLAIN).reason


def test_switched_off_only_the_guard_is_left():
    policy = Judge(enabled=False)
    state = judged(policy, [bucket(5.0 * i, (950, 1), (50, 10)) for i in range(40)])
    assert look(state, policy).cause == "undecided"


@pytest.mark.parametrize("units", ["requests", "users"])
def test_slower_requests_fail_by_latency_and_equal_ones_do_not(units):
    policy = Judge(units=units)
    fast, slow = (304, 494, 95, 38, 19, 0), (16, 26, 5, 2, 1, 0)
    slower = (5, 10, 15, 12, 7, 1)
    equal = judged(policy, [bucket(5.0 * i, (950, 0), (50, 0), latency=(fast, slow)) for i in range(60)])
    assert equal.failure is None
    worse = judged(policy, [bucket(5.0 * i, (950, 0), (50, 0), latency=(fast, slower)) for i in range(60)])
    assert worse.failure.cause == "latency"
    assert "slower than stable was" in worse.failure.reason


def test_errors_and_latency_together_may_reach_what_neither_does_alone():
    policy = Judge(error_weight=0.4)
    fast = (300, 500, 100, 40, 9, 1)
    causes = set()
    for slow in range(5, 40):
        state = begin_stage(start(policy, stages=1), 0.0, 500)
        for i in range(80):
            sample = bucket(5.0 * i, (950, 1), (50, 1), latency=(fast, (20, 20, 50 - slow, slow, 0, 0)))
            state = fold(state, sample, policy)
        if state.failure:
            causes.add(state.failure.cause)
            total = math.exp(min(700.0, log_combined(state, policy)))
            assert total > 0
    assert causes <= {"errors", "latency", "combined"}
    assert causes


def test_a_histogram_with_other_bounds_starts_over_instead_of_comparing_nonsense():
    policy = Judge()
    state = judged(
        policy,
        [bucket(5.0 * i, (950, 0), (50, 0), latency=((950, 0, 0, 0, 0, 0), (50, 0, 0, 0, 0, 0))) for i in range(9)],
    )
    other = Sample(45.0, 5.0, ArmSample(950, 0, Latency((1.0,), (0, 950))), ArmSample(50, 0, Latency((2.0,), (0, 50))))
    state = fold(state, other, policy)
    assert state.bounds == (1.0,)
    assert state.failure is None


def test_a_stage_comes_first():
    with pytest.raises(ValueError, match="begin_stage"):
        fold(start(PLAIN, 1), bucket(0.0, (1, 0), (1, 0)), PLAIN)
    with pytest.raises(ValueError, match="begin_stage"):
        finding(start(PLAIN, 1), PLAIN, 0.0, 0.0)


def test_the_state_does_not_grow():
    policy = Judge()
    bins = ((300, 500, 100, 40, 9, 1), (15, 25, 6, 2, 1, 1))
    sizes = []
    state = begin_stage(start(policy, 3), 0.0, 500)
    for i in range(2000):
        state = fold(state, bucket(5.0 * i, (950, 2), (50, 0), latency=bins), policy)
        if i in (300, 1999):
            sizes.append(len(state.processes["errors"].starts) + len(state.recent) + len(state.stable_latency))
    assert sizes[0] == sizes[1]


def test_false_rollbacks_stay_below_the_promise():
    """500 seeded A/A rollouts at 10 % level and low and high rates: the promise is 10 %, chance may add a little."""
    policy = Judge(latency=False, alpha=0.1)
    rng = np.random.default_rng(3)
    wrong = 0
    for run in range(500):
        rate, rps = ((0.0005, 200), (0.005, 200), (0.02, 20), (0.005, 5), (0.2, 5))[run % 5]
        state = start(policy, stages=3)
        for i in range(120):
            w = (0.05, 0.25, 0.5)[i // 40]
            if i % 40 == 0:
                state = begin_stage(state, 5.0 * i, int(w * 10_000))
            m = int(rng.poisson(rps * 5))
            m_c = int(rng.binomial(m, w))
            x_c, x_s = int(rng.binomial(m_c, rate)), int(rng.binomial(m - m_c, rate))
            state = fold(state, bucket(5.0 * i, (m - m_c, x_s), (m_c, x_c)), policy)
            if state.failure:
                wrong += 1
                break
    assert wrong <= 66  # P(Binomial(500, .1) > 66) < 1 %


@given(st.integers(1, 50), st.integers(0, 50))
def test_no_arm_can_have_more_errors_than_requests(requests, more):
    with pytest.raises(ValueError, match="cannot be"):
        ArmSample(requests, requests + more + 1)


def test_samples_out_of_order_are_ignored():
    state = judged(PLAIN, [bucket(50.0, (950, 1), (50, 1))])
    assert fold(state, bucket(10.0, (950, 1), (50, 50)), PLAIN) == state
    assert replace(state, folded_to=None) != state
