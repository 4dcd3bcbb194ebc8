"""Adding up: seconds, classes, quantiles, drops, and clocks that are set back."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.traffic.tally import BOUNDS_MS, KEPT_SECONDS, Tally, bin_of


def requests(counts):
    return {(b.at, b.slot): b.requests for b in counts.buckets}


def test_only_closed_seconds_are_told():
    tally = Tally()
    for now in (100.0, 100.9, 101.2):
        tally.add(now, "blue", 200, 1.0)
    assert requests(tally.counts(0, now=101.9)) == {(100.0, "blue"): 2}
    assert requests(tally.counts(0, now=102.0)) == {(100.0, "blue"): 2, (101.0, "blue"): 1}
    assert requests(tally.counts(100.5, now=102.0)) == {(101.0, "blue"): 1}


def test_twenty_minutes_are_kept_and_totals_for_good():
    tally = Tally()
    for second in range(2 * KEPT_SECONDS):
        tally.add(second, "green", 500, 1.0)
    kept = requests(tally.counts(0, now=1e9))
    assert len(kept) == KEPT_SECONDS + 1
    assert min(kept) == (KEPT_SECONDS - 1.0, "green")
    assert sum(tally.totals["green"].classes) == 2 * KEPT_SECONDS


def test_a_clock_that_is_set_back_voids_times_to_come():
    tally = Tally()
    for now in (100.0, 101.0, 102.0):
        tally.add(now, "blue", 200, 1.0)
    tally.add(101.5, "blue", 200, 1.0)
    assert requests(tally.counts(0, now=200)) == {(100.0, "blue"): 1, (101.0, "blue"): 2}
    tally.add(50.0, "green", 200, 1.0)
    assert requests(tally.counts(0, now=200)) == {(50.0, "green"): 1}


def test_drops_are_told_with_the_time_they_concern():
    tally = Tally()
    tally.drop(100.5, 3)
    tally.drop(160.0, 4)
    assert (tally.counts(0, 200).dropped, tally.counts(150, 200).dropped, tally.counts(161, 200).dropped) == (7, 4, 0)
    assert tally.dropped_total == 7


@given(statuses=st.lists(st.integers(-5, 700), max_size=50))
def test_every_status_has_one_class(statuses):
    tally = Tally()
    for status in statuses:
        tally.add(5.0, "blue", status, None)
    buckets = tally.counts(0, 10).buckets
    assert sum(b.requests for b in buckets) == len(statuses)
    errors = sum(not 100 <= status < 500 for status in statuses)
    assert sum(b.errors for b in buckets) == errors


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.99])
def test_a_quantile_is_known_within_ten_percent(quantile):
    values = np.random.default_rng(3).lognormal(math.log(40), 1.0, 20_000)
    bins = np.bincount([bin_of(v) for v in values], minlength=len(BOUNDS_MS) + 1)
    place = int(np.searchsorted(np.cumsum(bins), quantile * len(values)))
    middle = math.sqrt(BOUNDS_MS[place - 1] * BOUNDS_MS[place])
    assert middle == pytest.approx(float(np.quantile(values, quantile)), rel=0.10)


def test_the_bins_reach_from_a_millisecond_to_a_minute():
    assert BOUNDS_MS[0] == 1
    assert BOUNDS_MS[-1] >= 60_000
    assert list(BOUNDS_MS) == sorted(set(BOUNDS_MS))
