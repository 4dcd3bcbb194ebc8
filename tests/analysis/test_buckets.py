"""From one-second counts to buckets: complete or absent, silence or gap."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.analysis import quantile, samples
from crossfade.analysis.quantiles import bound_at, remember
from crossfade.analysis.sources.router import RouterSource
from crossfade.analysis.values import Latency
from crossfade.core.errors import UnreachableError
from crossfade.traffic.port import ArmCounts, Counts


def second(at, slot, good, bad=0, latency=()):
    return ArmCounts(float(at), 1.0, slot, {"2xx": good, "5xx": bad}, latency)


def test_rows_become_arms_by_the_stable_slot():
    rows = tuple(
        second(at, slot, 9, 1, (4, 6))
        for at in range(100, 110)
        for slot in ("blue", "green")
        if (slot, at) != ("green", 103)
    )
    made = samples(Counts(rows, (50.0,), 110.0), stable="green", since=100, seconds=5, warm_from=105)
    assert [(s.at, s.stable.requests, s.canary.requests, s.canary.errors, s.warm) for s in made] == [
        (100.0, 40, 50, 5, False),
        (105.0, 50, 50, 5, True),
    ]
    assert made[0].stable.latency.counts == (16, 24)


def test_silence_is_zeros_and_a_gap_is_nothing():
    silent = samples(Counts((), (), 110.0), stable="blue", since=100, seconds=5)
    assert [(s.at, s.stable.requests, s.canary.requests) for s in silent] == [(100.0, 0, 0), (105.0, 0, 0)]
    rows = tuple(second(at, "blue", 9) for at in range(100, 104))
    assert samples(Counts(rows, (), 104.0), stable="blue", since=100, seconds=5) == ()
    assert samples(Counts(rows, (), None), stable="blue", since=100, seconds=5) == ()


def test_no_bucket_spans_a_change_of_weight():
    rows = tuple(second(at, "blue", 1) for at in range(100, 120))
    made = samples(Counts(rows, (), 120.0), stable="blue", since=100.4, seconds=5, until=113.7)
    assert [(s.at, s.seconds, s.stable.requests) for s in made] == [(101.0, 5.0, 5), (106.0, 5.0, 5), (111.0, 2.0, 2)]
    early = samples(Counts(rows, (), 112.0), stable="blue", since=111.0, seconds=5, until=113.7)
    assert early == ()  # the seconds before the change are not all in yet


@given(
    st.lists(
        st.tuples(st.integers(0, 59), st.sampled_from(["blue", "green"]), st.integers(0, 50), st.integers(0, 5)),
        max_size=80,
    ),
    st.integers(0, 60),
    st.floats(0.5, 12),
)
def test_every_vouched_request_is_in_exactly_one_bucket(rows, alive, seconds):
    counts = Counts(tuple(second(*row) for row in rows), (), float(alive))
    made = samples(counts, stable="blue", since=0, seconds=seconds)
    reach = made[-1].at + made[-1].seconds if made else 0
    assert reach <= alive
    assert sum(s.stable.requests + s.canary.requests for s in made) == sum(g + b for at, _, g, b in rows if at < reach)
    assert all(a.at + a.seconds == b.at for a, b in pairwise(made))


class RecordedRouter:
    """A router that answers with recorded counts, or not at all."""

    capabilities = None

    def __init__(self, counts):
        self._counts = counts

    async def counts(self, _since):
        if isinstance(self._counts, Exception):
            raise self._counts
        return self._counts


async def test_the_router_as_a_source_tells_how_far_it_reaches():
    rows = tuple(second(at, "blue", 9) for at in range(100, 107))
    reading = await RouterSource(RecordedRouter(Counts(rows, (), 107.0)), stable="blue", bucket=5).read(
        100.0, now=108.0
    )
    assert [s.stable.requests for s in reading.samples] == [45]
    assert (reading.newest_at, reading.read_to) == (107.0, 105.0)


@pytest.mark.parametrize("answer", [UnreachableError("router.down", "nobody answers"), Counts((), (), None)])
async def test_a_router_that_is_down_or_knows_nothing_is_blind(answer):
    reading = await RouterSource(RecordedRouter(answer), stable="blue", bucket=5).read(100.0, now=108.0)
    assert (reading.samples, reading.newest_at, reading.read_to) == ((), None, 100.0)
    assert reading.detail


@given(st.lists(st.integers(0, 100), min_size=4, max_size=4), st.floats(0.01, 0.99))
def test_a_quantile_lies_in_the_bin_that_holds_it(counts, q):
    latency = Latency((10.0, 20.0, 40.0), tuple(counts))
    found = quantile(latency, q)
    if sum(counts) == 0:
        assert found is None
        return
    below = sum(counts[i] for i, bound in enumerate((10.0, 20.0, 40.0)) if bound <= found + 1e-9)
    upper = next((i for i, bound in enumerate((10.0, 20.0, 40.0)) if bound >= found - 1e-9), 3)
    assert below <= q * sum(counts) + 1e-6 or counts[upper] == 0 or found in (10.0, 20.0, 40.0)
    assert sum(counts[: upper + 1]) >= q * sum(counts) - 1e-6


def test_the_watched_bound_is_a_bins_own_so_that_counts_above_it_are_exact():
    assert bound_at((10, 20, 40), (500, 300, 200, 0), 0.5) == 0
    assert bound_at((10, 20, 40), (499, 301, 200, 0), 0.5) == 1
    assert bound_at((10, 20, 40), (3, 3, 3, 0), 0.99) is None  # too few to know a p99
    assert bound_at((10, 20, 40), (0, 0, 0, 1000), 0.9) is None  # all above the last bound


def test_the_memory_of_latency_fades_and_forgets_other_bounds():
    assert remember((100.0, 0.0), Latency((10,), (0, 0)), 300) == (50.0, 0.0)
    assert remember((100.0, 0.0), Latency((10, 20), (1, 2, 3)), 5) == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(("le", "counts"), [((1.0, 2.0), (1, 2)), ((2.0, 1.0), (1, 2, 3)), ((1.0,), (1, -1))])
def test_a_histogram_must_make_sense(le, counts):
    with pytest.raises(ValueError, match=r"counts|ascend"):
        Latency(le, counts)
