"""The confidence sequence against direct numerical integration, and its coverage."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.analysis.proof import log_proof, requests_needed
from crossfade.analysis.ratio import NODES, RatioSequence


def directly(buckets, alpha):
    """The same set by brute force: exact likelihood on a very fine grid of ln ρ."""
    theta = np.linspace(NODES[0], NODES[-1], 200_001)
    log = np.zeros_like(theta)
    for x_c, n, w in buckets:
        log += x_c * theta - n * np.log(1 - w + w * np.exp(theta))
    z = np.abs(theta) / 1.5
    prior = np.exp(-z) / (1.5 * (1 + np.exp(-z)) ** 2)
    mixture = log.max() + np.log(np.trapezoid(np.exp(log - log.max()) * prior, theta))
    inside = theta[log > mixture + math.log(alpha)]
    low = 0.0 if inside[0] == theta[0] else math.exp(inside[0])
    high = math.inf if inside[-1] == theta[-1] else math.exp(inside[-1])
    return low, high


@pytest.mark.parametrize(
    "buckets",
    [
        [(12, 20, 0.05)],
        [(0, 7, 0.05), (1, 3, 0.25), (9, 30, 0.5)],
        [(3, 3, 0.05)],
        [(0, 40, 0.5)],
        [(25, 500, 0.05)] * 20,
        [(140, 200, 0.25), (400, 700, 0.5)],
    ],
)
def test_the_interval_is_that_of_direct_integration(buckets):
    sequence = RatioSequence()
    for bucket in buckets:
        sequence = sequence.add(*bucket)
    low, high = sequence.interval(0.05)
    expected_low, expected_high = directly(buckets, 0.05)
    assert low == pytest.approx(expected_low, rel=0.03)
    assert high == pytest.approx(expected_high, rel=0.03)


def test_nothing_is_known_before_the_first_bad_event():
    assert RatioSequence().interval(0.05) == (0.0, math.inf)
    assert math.isnan(RatioSequence().estimate)
    assert RatioSequence().add(0, 0, 0.5) == RatioSequence()
    assert RatioSequence().add(3, 3, 0.05).estimate == math.inf
    assert RatioSequence().add(0, 3, 0.05).estimate == 0.0


@given(x_c=st.integers(1, 400), x_s=st.integers(1, 400), w=st.floats(0.02, 0.9))
def test_the_estimate_lies_inside_the_interval(x_c, x_s, w):
    sequence = RatioSequence().add(x_c, x_c + x_s, w)
    low, high = sequence.interval(0.05)
    assert low <= sequence.estimate <= high
    exact = (x_c / w) / (x_s / (1 - w))
    if 0.002 < exact < 5000:
        assert sequence.estimate == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("true", [0.5, 1.0, 6.0])
def test_it_covers_the_true_ratio_at_every_look(true):
    """At most 5 % of runs may *ever* exclude the truth; 400 seeded runs of 100 looks leave room for chance."""
    rng = np.random.default_rng(11)
    missed = 0
    for _ in range(400):
        sequence = RatioSequence()
        for look in range(100):
            w = (0.05, 0.25, 0.5)[look // 34]
            m_c = int(rng.binomial(1000, w))
            rate = 0.004 if look % 10 else 0.03  # drifts and jumps in both arms together
            x_c, x_s = rng.binomial(m_c, rate * true), rng.binomial(1000 - m_c, rate)
            sequence = sequence.add(int(x_c), int(x_c + x_s), m_c / 1000)
            if look % 5 == 0:
                low, high = sequence.interval(0.05)
                if not low <= true <= high:
                    missed += 1
                    break
    assert missed <= 28  # 5 % of 400 is 20; P(Binomial(400, .05) > 28) < 3 %


def test_the_proof_is_a_mixture_of_likelihood_ratios():
    tau = 0.01
    for bad, m in ((0, 100), (3, 900), (50, 2000)):
        ratios = [
            (f * tau) ** bad * (1 - f * tau) ** (m - bad) / (tau**bad * (1 - tau) ** (m - bad))
            for f in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
        ]
        assert math.exp(log_proof(bad, m, tau)) == pytest.approx(np.mean(ratios), rel=1e-6)


@pytest.mark.parametrize("rate", [0.2, 0.3, 0.6])
def test_the_proof_expects_at_most_one_at_or_above_the_tolerance(rate):
    m, tau = 12, 0.2
    chance = [math.comb(m, x) * rate**x * (1 - rate) ** (m - x) for x in range(m + 1)]
    assert sum(p * math.exp(log_proof(x, m, tau)) for x, p in enumerate(chance)) <= 1 + 1e-12


@given(tolerance=st.sampled_from([0.001, 0.01, 0.1]), bound=st.sampled_from([20.0, 60.0]))
def test_requests_needed_is_the_first_number_that_is_enough(tolerance, bound):
    enough = requests_needed(tolerance, bound)
    assert log_proof(0, enough, tolerance) >= math.log(bound) > log_proof(0, enough - 1, tolerance)
