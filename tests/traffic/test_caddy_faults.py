"""What goes wrong around Caddy, and where it ends."""

import orjson
import pytest
from caddy_world import OwnCaddy
from traffic_world import UNWIELDY

from crossfade.core.errors import CrossfadeError
from crossfade.testing.router_contract import counted, put
from crossfade.testing.router_faults_contract import RouterFaultsContract
from crossfade.testing.visitors import visitor
from crossfade.traffic.port import Routes

pytestmark = pytest.mark.real


class TestCaddyFaults(OwnCaddy, RouterFaultsContract):
    folder = UNWIELDY
    nothing, torn, believes, resets = (0, ""), None, False, True

    async def test_a_caddy_emptied_to_the_bone_comes_back(self, router, upstreams):
        """`{}` takes away even the admin socket; the process that serves nobody is replaced."""
        routes = Routes(upstreams, 2500, "blue")
        await router.apply(routes, fence=1)
        old = self.proxy(router)
        await router._admin.update(lambda _: {"admin": {"disabled": True}})
        assert not (await router.observe()).reachable
        await router.apply(routes, fence=1)
        assert self.proxy(router) != old
        assert await router.confirm(routes)

    async def test_a_counter_that_was_killed_counts_again(self, router, upstreams):
        """On the port that Caddy knows."""
        await put(router, Routes(upstreams, 0, "blue"))
        config = await router._admin.config()
        await super().test_a_counter_that_was_killed_counts_again(router, upstreams)
        assert await router._admin.config() == config

    async def test_metrics_for_those_who_have_prometheus(self, router, upstreams):
        await router.apply(Routes(upstreams, 0, "blue"), fence=1)
        async with visitor(router.address) as client:
            for _ in range(7):
                await client.get("/")
        await counted(router, lambda counts: sum(b.requests for b in counts.buckets) >= 7)
        text = await router.metrics()
        labels = 'environment="production",component="shop",slot="blue"'
        assert f'crossfade_requests_total{{{labels},class="2xx"}} 7' in text
        assert f'crossfade_request_duration_seconds_bucket{{{labels},le="+Inf"}} 7' in text

    async def test_an_address_that_is_none_is_refused(self, router):
        for address in ("127.0.0.1", "http://x:1", "a:b", "x:1;", "x,y:1", "{env.HOME}:1", "x:1\n"):
            with pytest.raises(CrossfadeError) as caught:
                await router.apply(Routes({"blue": (address,), "green": ()}, 0, "blue"), fence=1)
            assert caught.value.code == "router.bad-address"
        assert not router._file.path.exists()

    async def test_a_torn_line_serves_nobody_wrongly(self, router, upstreams):
        """A file that is not ours to read (a disk fault) is no routes, and the next apply repairs it."""
        routes = Routes(upstreams, 5000, "blue")
        await router.apply(routes, fence=3)
        whole = router._file.path.read_text()
        for torn in ("", "g", whole[:40], whole[:-60], orjson.dumps({}).decode()):
            router._file.path.write_text(torn)
            assert (await router.observe()).routes is None
            assert not await router.confirm(routes)
            await router.apply(routes, fence=3)
            assert await router.confirm(routes)
