"""The evidence against independent arithmetic, and its promise by exact enumeration."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from crossfade.analysis.evidence import (
    RATIOS,
    STAKES,
    STARTS,
    STEPS,
    Process,
    bounded_exp,
    combine,
    fair_share,
    independent_steps,
    log_sum_exp,
    robust_steps,
)

BUCKETS = st.lists(
    st.tuples(st.integers(1, 60), st.integers(1, 400), st.floats(0, 1), st.floats(0, 1)).map(
        lambda b: (b[0], b[1], round(b[2] * b[0]), round(b[3] * b[1]))
    ),
    max_size=12,
)


def straightforward(units, buckets, tolerated, starts_at):
    """E by the formula of the design, everything recomputed from the buckets; starts_at[j] = buckets before start j."""
    grid = STAKES if units == "requests" else [r * tolerated for r in RATIOS]

    def running(first, k):
        factor = 1.0
        for m_c, m_s, x_c, x_s in buckets[first:]:
            n, w = x_c + x_s, m_c / (m_c + m_s)
            if n == 0:
                continue
            if units == "requests":
                w0 = w * tolerated / (1 - w + w * tolerated)
                factor *= 1 + grid[k] * (x_c / n - w0) / w0
            else:
                r = grid[k]
                factor *= (r / tolerated) ** x_c * ((1 - w + w * tolerated) / (1 - w + w * r)) ** n
        return factor

    def mean(first):
        return float(np.mean([running(first, k) for k in range(len(grid))]))

    late = [mean(first) for first in starts_at] + [1.0] * (STARTS - len(starts_at))
    return 0.5 * mean(0) + 0.5 * float(np.mean(late))


@pytest.mark.parametrize("units", ["requests", "users"])
@given(buckets=BUCKETS, tolerated=st.sampled_from([1.0, 1.25, 2.0, 5.0]), every=st.integers(1, 4))
def test_incremental_equals_recomputed(units, buckets, tolerated, every):
    process, starts_at = Process.new(units), []
    for i, (m_c, m_s, x_c, x_s) in enumerate(buckets):
        while len(starts_at) < i // every:
            starts_at.append(i)
        process = process.started_to(len(starts_at))
        if x_c + x_s:
            process = process.add(STEPS[units](x_c, x_c + x_s, m_c / (m_c + m_s), tolerated))
    expected = straightforward(units, buckets, tolerated, starts_at)
    assert process.value == pytest.approx(expected, rel=1e-9) or (process.value >= 1e299 and expected >= 1e299)


@given(
    m_c=st.integers(1, 9),
    m_s=st.integers(1, 9),
    data=st.data(),
    tolerated=st.sampled_from([1.0, 1.25, 1.5, 2.0, 7.0]),
)
def test_no_bet_gains_on_an_equal_version_by_exact_enumeration(m_c, m_s, data, tolerated):
    """Given the margins, x_c follows Fisher's noncentral hypergeometric law: no factor's expectation exceeds 1."""
    n = data.draw(st.integers(1, m_c + m_s))
    true = data.draw(st.sampled_from([tolerated, tolerated / 2, 0.2]))
    law = stats.nchypergeom_fisher(m_c + m_s, m_c, n, true)
    w = m_c / (m_c + m_s)
    values = range(max(0, n - m_s), min(n, m_c) + 1)
    for steps in (robust_steps, independent_steps):
        expectation = sum(law.pmf(x) * np.exp(steps(x, n, w, tolerated)) for x in values)
        assert (expectation <= 1 + 1e-9).all()


@pytest.mark.parametrize("units", ["requests", "users"])
@pytest.mark.parametrize("rates", [(0.3, 0.3, 0.3), (0.1, 0.9, 0.4)])
def test_the_whole_mixture_expects_no_more_than_it_had(units, rates):
    """Three buckets of changing size, share and rate, with a late start: E[E] ≤ 1 over every possible outcome."""
    shapes = ((1, 3), (3, 2), (2, 2))
    outcomes = [
        [
            (x_c, x_s, stats.binom.pmf(x_c, m_c, p) * stats.binom.pmf(x_s, m_s, p))
            for x_c in range(m_c + 1)
            for x_s in range(m_s + 1)
        ]
        for (m_c, m_s), p in zip(shapes, rates, strict=True)
    ]
    total = expectation = 0.0
    for path in itertools.product(*outcomes):
        process, chance = Process.new(units), 1.0
        for i, ((m_c, m_s), (x_c, x_s, p)) in enumerate(zip(shapes, path, strict=True)):
            process = process.started_to(i)
            if x_c + x_s:
                process = process.add(STEPS[units](x_c, x_c + x_s, m_c / (m_c + m_s), 1.0))
            chance *= p
        total += chance
        expectation += chance * process.value
    assert total == pytest.approx(1)
    assert expectation <= 1 + 1e-9
    if units == "requests":
        assert expectation == pytest.approx(1)  # R is a fair game at equal rates, not merely a losing one


@given(buckets=BUCKETS, seed=st.randoms())
def test_the_order_of_buckets_does_not_matter_between_starts(buckets, seed):
    shuffled = buckets[:]
    seed.shuffle(shuffled)
    values = []
    for order in (buckets, shuffled):
        process = Process.new("requests")
        for m_c, m_s, x_c, x_s in order:
            if x_c + x_s:
                process = process.add(robust_steps(x_c, x_c + x_s, m_c / (m_c + m_s), 1.0))
        values.append(process.log_value)
    assert values[0] == pytest.approx(values[1], abs=1e-9)


def test_a_late_start_wins_back_what_the_quiet_time_lost():
    quiet, loud = robust_steps(0, 4, 0.3, 1.0), robust_steps(4, 4, 0.3, 1.0)
    with_starts = without = Process.new("requests")
    for i in range(120):
        with_starts = with_starts.started_to(i // 6).add(quiet)
        without = without.add(quiet)
    for i in range(120, 128):
        with_starts, without = with_starts.started_to(i // 6).add(loud), without.add(loud)
    assert with_starts.value > 50 * without.value


def test_nothing_overflows_however_bad_or_long():
    process = Process.new("users")
    for i in range(2000):
        process = process.started_to(i // 6).add(independent_steps(900, 900, 0.05, 1.0))
    assert process.value == 1e300
    for _ in range(50_000):
        process = process.add(independent_steps(0, 900, 0.05, 1.0))
    assert math.isfinite(process.log_value)
    assert bounded_exp(-1e9) == 0.0
    assert log_sum_exp([]) == -math.inf


def test_alternatives_never_reward_a_canary_below_the_tolerated_ratio():
    """A latency ratio of exactly 1 under a tolerated 2 must lose for every alternative."""
    w, tolerated, n = 0.5, 2.0, 10_000
    assert all(step < 0 for step in independent_steps(n // 2, n, w, tolerated))


def test_weights_combine_to_a_mean():
    assert math.exp(combine([math.log(200), math.log(3)], [0.7, 0.3])) == pytest.approx(140.9)
    assert combine([5000.0, 0.0], [0.7, 0.3]) == pytest.approx(5000 + math.log(0.7))


@given(w=st.floats(0.001, 0.999), tolerated=st.floats(1, 100))
def test_the_fair_share_has_the_tolerated_odds(w, tolerated):
    share = fair_share(w, tolerated)
    assert share / (1 - share) == pytest.approx(tolerated * w / (1 - w))
