"""Instances of a live slot are replaced: by accident, which may cost a request, and as they should be, which costs none."""

import asyncio
from collections import Counter

import pytest

from crossfade.testing.instances import Application
from crossfade.testing.router_contract import put
from crossfade.traffic.load import Load, Plan, causes
from crossfade.traffic.port import Routes

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.alone]


async def test_an_instance_is_replaced_inside_a_live_slot(router):
    """One of two instances ends and comes back elsewhere, while both serve, and nobody tells the router first.

    A request that stood at the door of the ending instance in that very instant was taken by nobody, and may have
    been: it is not sent a second time. So an accident may cost a request, and no more than that; what the engine
    does by itself is told to the router first, and costs none (`test_no_request_is_lost`).
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
