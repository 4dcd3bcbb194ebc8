"""Instances come and go behind HAProxy at run time: all its places are used, alike, and nobody is lost."""

import asyncio
from collections import Counter

import pytest
from haproxy_world import OwnHAProxy

from crossfade.testing.instances import Application, quick
from crossfade.testing.router_contract import put
from crossfade.testing.visitors import Visitors, ask_each
from crossfade.traffic.load import Plan, causes
from crossfade.traffic.port import Routes

pytestmark = pytest.mark.real


class TestInstances(OwnHAProxy):
    async def test_up_to_twelve_instances_share_alike(self, router):
        """Each gets its turn, also after others came and went."""
        async with quick(*map(str, range(12))) as addresses:
            for count in (12, 1, 5, 2, 11, 3):
                group = tuple(addresses[-count:])
                await put(router, Routes({"blue": group, "green": ()}, 0, "blue"))
                assert (await router.observe()).routes.upstreams["blue"] == group
                answers = Counter(await ask_each(router.address, [{}] * 20 * count))
                assert set(answers) == set(map(str, range(12 - count, 12)))
                assert all(abs(each - 20) <= 2 for each in answers.values()), answers  # turns begun before the change

    @pytest.mark.slow
    @pytest.mark.alone
    async def test_instances_come_and_go_in_a_live_slot_and_the_set_up_changes(self, router):
        """Taken out first, one of two is replaced without a loss; and so is HAProxy's worker, by a reload."""
        shops = [await Application.start("1"), await Application.start("1")]
        await put(router, Routes({"blue": tuple(s.address for s in shops), "green": ()}, 0, "blue"))
        mix = {"get": 10, "get-fresh": 4, "post": 4, "post-fresh": 2, "slow": 0.2}
        visitors = Visitors(router.address, Plan(rps=300, mix=mix, seed=6, most_in_flight=300))
        try:
            for turn in range(2):
                leaving, staying = shops[turn % 2], shops[1 - turn % 2]
                await put(router, Routes({"blue": (staying.address,), "green": ()}, 0, "blue"))
                await asyncio.sleep(0.2)
                if turn % 2:
                    router = self.otherwise(router, override_header=f"X-Preview-{turn}")
                    await put(router, Routes({"blue": (staying.address,), "green": ()}, 0, "blue"))
                await asyncio.sleep(0.5)
                stopping = asyncio.create_task(leaving.stop())
                shops[turn % 2] = await Application.start("1")
                await stopping
                await put(router, Routes({"blue": tuple(s.address for s in shops), "green": ()}, 0, "blue"))
        finally:
            samples = await asyncio.to_thread(visitors.leave)
            for shop in shops:
                await shop.stop()
        assert len(samples) > 500
        assert causes(samples) == Counter()
