"""The promise, behind HAProxy: traffic moves, versions come and go, and no visitor notices."""

import asyncio
import random
from collections import Counter
from itertools import cycle

import pytest
from haproxy_world import haproxy
from traffic_world import Visitors, open_shop

from crossfade.core.durations import FULL
from crossfade.testing.router_contract import counted
from crossfade.traffic.load import EVERYTHING, Plan, causes
from crossfade.traffic.port import SLOTS, Routes, other
from free_ports import free_port

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.alone]

SWAPS = 10
CHANGES_EACH = 11
RPS = 300


async def drained(router, slot):
    async with asyncio.timeout(60):
        while (await router.observe()).in_flight[slot]:  # noqa: ASYNC110 - the world is asked, it does not tell
            await asyncio.sleep(0.02)


async def put(router, routes):
    await router.apply(routes, fence=1)
    assert await router.confirm(routes)


@pytest.fixture
def router(place, require):
    require("haproxy")
    made = haproxy(place / "routes", f"127.0.0.1:{free_port()}")
    yield made
    asyncio.run(made.close())


async def test_weights_change_and_versions_are_swapped_under_load(router):
    chance, changes, salt = random.Random(4), 0, 0
    homes = cycle(SLOTS)
    slot = next(homes)
    shops = [await open_shop("v0")]
    await put(router, Routes({slot: (shops[0].address,), other(slot): ()}, 0, slot))
    visitors = Visitors(
        router.address, Plan(rps=RPS, mix=EVERYTHING, seed=4, stream_ms=700, timeout=30, most_in_flight=300)
    )
    try:
        for swap in range(1, SWAPS + 1):
            new, salt = other(slot), salt + 1
            fresh = [await open_shop(f"v{swap}") for _ in range(1 + swap % 2)]
            upstreams = {slot: tuple(s.address for s in shops), new: tuple(s.address for s in fresh)}
            for share in [0, *(chance.randrange(1, FULL) for _ in range(CHANGES_EACH - 2)), FULL]:
                await put(router, Routes(upstreams, share if new == "green" else FULL - share, slot, salt))
                changes += 1
            await drained(router, slot)
            upstreams = {new: upstreams[new], slot: ()}
            await put(router, Routes(upstreams, FULL if new == "green" else 0, new, salt))
            for shop in shops:
                assert await shop.stop() == 0
            slot, shops = new, fresh
    finally:
        samples = await asyncio.to_thread(visitors.leave)
        for shop in shops:
            await shop.stop()
    assert changes >= 100
    assert causes(samples) == Counter()
    assert set(Counter(sample.kind for sample in samples)) == set(EVERYTHING)
    assert {sample.version for sample in samples} == {f"v{n}" for n in range(SWAPS + 1)}
    # The proxy's own account agrees with the visitors', request by request.
    seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= len(samples))
    assert sum(b.errors for b in seen.buckets) == 0, [b for b in seen.buckets if b.errors]
    assert sum(b.requests for b in seen.buckets) == len(samples)
    assert seen.dropped == 0


async def test_instances_come_and_go_in_a_live_slot_and_the_set_up_changes(router):
    """Taken out first, one of two is replaced without a loss; and so is HAProxy's worker, by a reload."""
    shops = [await open_shop("1"), await open_shop("1")]
    await put(router, Routes({"blue": tuple(s.address for s in shops), "green": ()}, 0, "blue"))
    mix = {"get": 10, "get-fresh": 4, "post": 4, "post-fresh": 2, "slow": 0.2}
    visitors = Visitors(router.address, Plan(rps=RPS, mix=mix, seed=6, most_in_flight=300))
    try:
        for turn in range(2):
            leaving, staying = shops[turn % 2], shops[1 - turn % 2]
            await put(router, Routes({"blue": (staying.address,), "green": ()}, 0, "blue"))
            await asyncio.sleep(0.2)
            if turn % 2:
                router = haproxy(router._folder, router._settings.listen, override_header=f"X-Preview-{turn}")
                await put(router, Routes({"blue": (staying.address,), "green": ()}, 0, "blue"))
            await asyncio.sleep(0.5)
            stopping = asyncio.create_task(leaving.stop())
            shops[turn % 2] = await open_shop("1")
            await stopping
            await put(router, Routes({"blue": tuple(s.address for s in shops), "green": ()}, 0, "blue"))
    finally:
        samples = await asyncio.to_thread(visitors.leave)
        for shop in shops:
            await shop.stop()
    assert len(samples) > 500
    assert causes(samples) == Counter()
