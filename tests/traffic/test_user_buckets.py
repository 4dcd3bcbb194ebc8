"""Buckets are spread evenly over every kind of id, differ between salts, and grow with the share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from crossfade.core.durations import FULL
from crossfade.traffic.buckets import SPACE, bucket, prefix, threshold

IDS = {
    "numbers": [str(n) for n in range(40_000)],
    "names": [f"user-{n}" for n in range(40_000)],
    "addresses": [f"jane.doe{n}@example.com" for n in range(40_000)],
    "uuids": [f"{n * 0x9E3779B1 % 2**32:08x}-1d2e-4f5a-8b7c-{n:012x}" for n in range(40_000)],
    "counted uuids": [f"018f0000-0000-7000-8000-{n:012x}" for n in range(40_000)],
}


@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("salt", [0, 1, 123_456_789])
def test_every_kind_of_id_is_spread_evenly(kind, salt):
    cells = [0] * 100
    for user in IDS[kind]:
        cells[bucket(user, salt) * 100 // SPACE] += 1
    assert chisquare(cells).pvalue > 1e-4


@pytest.mark.parametrize("kind", IDS)
def test_another_salt_sends_others_first(kind):
    """Who is among the first 10 % under one salt is no more likely to be so under the next."""
    users = IDS[kind]
    first = {user for user in users if bucket(user, 41) < threshold(1000)}
    again = sum(bucket(user, 42) < threshold(1000) for user in first)
    assert chisquare([again, len(first) - again], [len(first) * 0.1, len(first) * 0.9]).pvalue > 1e-4


@given(user=st.text(), salt=st.integers(0, 2**32 - 1), less=st.integers(0, FULL), more=st.integers(0, FULL))
def test_nobody_moves_back_while_a_share_grows(user, salt, less, more):
    less, more = sorted((less, more))
    place = bucket(user, salt)
    assert 0 <= place < SPACE
    assert not (place < threshold(less) and place >= threshold(more))


@given(points=st.integers(1, FULL - 1))
def test_a_prefix_is_the_share_within_a_tenth_of_a_basis_point(points):
    assert abs(int(prefix(points), 16) / 16**6 - points / FULL) < 0.00001
    assert prefix(points - 1) < prefix(points) < prefix(FULL)
