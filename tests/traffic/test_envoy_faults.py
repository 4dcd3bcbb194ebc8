"""What goes wrong around Envoy, and where it ends."""

import asyncio
from collections import Counter

import pytest
from envoy_world import OwnEnvoy
from traffic_world import UNWIELDY

from crossfade.core.durations import FULL
from crossfade.core.errors import CrossfadeError
from crossfade.testing.instances import applications
from crossfade.testing.router_contract import counted, drained, put
from crossfade.testing.router_faults_contract import RouterFaultsContract
from crossfade.traffic.load import EVERYTHING, Load, Plan, causes
from crossfade.traffic.port import SLOTS, Routes

pytestmark = pytest.mark.real


def saying(version):
    return f"echo 'envoy  version: 0abc/{version}/Clean/RELEASE/BoringSSL'"


class TestEnvoyFaults(OwnEnvoy, RouterFaultsContract):
    folder = UNWIELDY
    looks_up_names = False
    unfit = (
        ("echo GNU bash", "router.no-program", "is not Envoy"),
        (saying("1.30.2"), "router.old-program", "Envoy 1.30.2"),
        (saying("1.40.1"), "router.ended", "Envoy ended while it was starting"),
    )

    def private(self, router):
        return [
            router._folder / "token", router._envoy.folder / "routes.json", router._envoy.socket, router._envoy.copies
        ]  # fmt: skip

    async def test_a_refused_file_is_told_in_envoys_words(self, router, upstreams, monkeypatch):
        await put(router, Routes(upstreams, 0, "blue"))
        monkeypatch.setattr("crossfade.traffic.routers.envoy.PATIENCE", 0.5)
        with pytest.raises(CrossfadeError) as caught:
            await router._told(
                "routes", b'{"version_info": "bad", "resources": [{"@type": "type.googleapis.com/no.Such"}]}'
            )
        assert caught.value.code == "envoy.refused"
        assert "no.Such" in caught.value.what
        await put(router, Routes(upstreams, 500, "blue"))

    async def test_two_processes_that_write_end_with_the_newest(self, router, upstreams):
        """Envoy and the disk have the same line."""
        await super().test_two_processes_that_write_end_with_the_newest(router, upstreams)
        assert (await router._envoy.admin.in_force()).line == router._file.path.read_text().strip()

    async def test_the_count_is_that_of_the_visitors(self, router):
        """Two instances go and two come, with everything that visitors do under way: request by request, by version."""
        async with applications("1", "1", "2", "2") as running:
            one, two = (tuple(shop.address for shop in pair) for pair in (running[:2], running[2:]))
            await put(router, Routes({"blue": one, "green": two}, 0, "blue"))
            load = Load(router.address, Plan(rps=60, mix=EVERYTHING, seed=4, timeout=30, slow_ms=1500))
            load.start()
            for green in (100, 5000, 9000, FULL):
                await put(router, Routes({"blue": one, "green": two}, green, "blue"))
                await asyncio.sleep(0.3)
            await drained(router, "blue")
            await put(router, Routes({"blue": (), "green": two}, FULL, "green"))
            assert [await shop.stop() for shop in running[:2]] == [0, 0]
            await asyncio.sleep(0.5)
            await load.stop()
            assert causes(load.samples) == {}
            seen = await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= len(load.samples))
            by_slot = {slot: sum(b.requests for b in seen.buckets if b.slot == slot) for slot in SLOTS}
            versions = Counter(sample.version for sample in load.samples)
            assert by_slot == {"blue": versions["1"], "green": versions["2"]}
            assert (sum(b.errors for b in seen.buckets), seen.dropped) == (0, 0)
            for slot in SLOTS:
                await drained(router, slot)
