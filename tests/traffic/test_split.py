"""Who gets which version behind Caddy, as exactly as a promise of the split can be proven."""

from collections import Counter

import pytest
from scipy.stats import chisquare

from crossfade.core.durations import FULL
from crossfade.testing.instances import two_versions
from crossfade.testing.router_contract import put
from crossfade.testing.visitors import ask_each
from crossfade.traffic.port import Routes

pytestmark = [pytest.mark.real, pytest.mark.slow]


async def test_shares_are_exact(router):
    """Pooled over the weights, 52,000 requests lie as a fair coin of that weight lays them."""
    seen, meant = [], []
    async with two_versions() as upstreams:
        for green, requests in ((10, 10_000), (100, 10_000), (500, 10_000), (2500, 10_000), (7777, 12_000)):
            await put(router, Routes(upstreams, green, "blue"))
            answers = Counter(await ask_each(router.address, [{}] * requests))
            seen += [answers["2"], answers["1"]]
            meant += [requests * green / FULL, requests * (FULL - green) / FULL]
    weights = len(seen) // 2  # one degree of freedom each
    assert chisquare(seen, meant, ddof=len(seen) - 1 - weights).pvalue > 0.001, (seen, meant)
