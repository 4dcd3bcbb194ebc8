"""The promise: traffic moves, versions come and go, and no visitor notices."""

import asyncio
import random
from collections import Counter
from itertools import cycle

import pytest

from crossfade.core.durations import FULL
from crossfade.testing.instances import Application
from crossfade.testing.router_contract import counted, drained, put
from crossfade.testing.visitors import Visitors
from crossfade.traffic.load import EVERYTHING, Load, Plan, causes
from crossfade.traffic.port import SLOTS, Routes, other

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.alone]

SWAPS = 20
CHANGES_EACH = 13
RPS = 1_000


async def test_weights_change_and_versions_are_swapped_under_load(router):
    chance, changes, salt = random.Random(4), 0, 0
    homes = cycle(SLOTS)
    slot = next(homes)
    shop = await Application.start("v0")
    upstreams = {slot: (shop.address,), other(slot): ()}
    await put(router, Routes(upstreams, 0, slot))
    # On a machine that is busy with other things the schedule waits; alone it keeps its rate.
    visitors = Visitors(router.address, Plan(rps=RPS, mix=EVERYTHING, seed=4, timeout=30, most_in_flight=400))
    try:
        for swap in range(1, SWAPS + 1):
            new, salt = other(slot), salt + 1
            fresh = await Application.start(f"v{swap}")
            upstreams = {slot: (shop.address,), new: (fresh.address,)}
            shares = [0, *(chance.randrange(1, FULL) for _ in range(CHANGES_EACH - 2)), FULL]
            for share in shares:
                await put(router, Routes(upstreams, share if new == "green" else FULL - share, slot, salt))
                changes += 1
            await drained(router, slot)
            upstreams = {new: (fresh.address,), slot: ()}
            await put(router, Routes(upstreams, FULL if new == "green" else 0, new, salt))
            assert await shop.stop() == 0
            slot, shop = new, fresh
    finally:
        samples = await asyncio.to_thread(visitors.leave)
        await shop.stop()
    assert changes >= 250
    assert len(samples) >= 30_000
    assert causes(samples) == Counter()
    assert len(samples) >= 30_000
    kinds = Counter(sample.kind for sample in samples)
    assert set(kinds) == set(EVERYTHING)
    assert {sample.version for sample in samples} == {f"v{n}" for n in range(SWAPS + 1)}
    # The proxy's own account agrees with the visitors', request by request.
    seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= len(samples))
    assert sum(b.requests for b in seen.buckets) == len(samples)
    assert sum(b.errors for b in seen.buckets) == 0
    assert seen.dropped == 0


async def test_an_instance_is_replaced_inside_a_live_slot(router):
    """One of two instances ends and comes back elsewhere, while both serve, and nobody tells the router first.

    A request that stood at the door of the ending instance in that very instant was taken by nobody, and may have
    been: it is not sent a second time. So an accident may cost a request, and no more than that; what the engine
    does by itself is told to the router first, and costs none (the test above).
    """
    shops = [await Application.start("1"), await Application.start("1")]
    await put(router, Routes({"blue": tuple(s.address for s in shops), "green": ()}, 0, "blue"))
    accidents = 8
    load = Load(router.address, Plan(rps=400, seed=5))
    load.start()
    try:
        for turn in range(accidents):
            leaving = shops[turn % 2]
            await leaving.stop()  # the router learns of it only afterwards, as in an accident
            shops[turn % 2] = await Application.start("1")
            await put(router, Routes({"blue": tuple(s.address for s in shops), "green": ()}, 0, "blue"))
            await asyncio.sleep(0.2)
    finally:
        await load.stop()
        for shop in shops:
            await shop.stop()
    failed = [sample for sample in load.samples if sample.failed]
    assert {(sample.cause, sample.status) for sample in failed} <= {("status", 502)}
    assert len(failed) <= accidents
    assert len(load.samples) > 100 * accidents


async def test_an_instance_that_is_taken_out_first_is_replaced_without_a_loss(router):
    """The same, told to the router before: nobody notices, exactly."""
    shops = [await Application.start("1"), await Application.start("1")]
    await put(router, Routes({"blue": tuple(s.address for s in shops), "green": ()}, 0, "blue"))
    load = Load(router.address, Plan(rps=400, seed=6))
    load.start()
    try:
        for turn in range(8):
            leaving, staying = shops[turn % 2], shops[1 - turn % 2]
            await put(router, Routes({"blue": (staying.address,), "green": ()}, 0, "blue"))
            await asyncio.sleep(1.0)  # what was on its way to it has been answered
            await leaving.stop()
            shops[turn % 2] = await Application.start("1")
            await put(router, Routes({"blue": tuple(s.address for s in shops), "green": ()}, 0, "blue"))
    finally:
        await load.stop()
        for shop in shops:
            await shop.stop()
    assert len(load.samples) > 1_000
    assert causes(load.samples) == Counter()
