"""The Gateway API router keeps the contract, on a stand-in cluster with a gateway that obeys its routes."""

import asyncio
import collections
import sys
from pathlib import Path

import httpx
import pytest

sys.path.append(str(Path(__file__).parents[1] / "runtimes"))
from kubernetes_gateway import Gateway
from kubernetes_world import cluster, make, release

from crossfade.cluster.api import Place
from crossfade.cluster.names import Target
from crossfade.config.routers import GatewayApiRouter as Settings
from crossfade.core.errors import BadInputError, CrossfadeError
from crossfade.testing.router_contract import RouterContract
from crossfade.testing.runtime_contract import all_ready, eventually
from crossfade.traffic.port import Routes
from crossfade.traffic.routers.gateway_api import GatewayApiRouter

pytestmark = [pytest.mark.real, pytest.mark.slow]
TARGET = Target("shop", "production", "api", "shop")


async def confirmed(router, routes):
    async with asyncio.timeout(20):
        while not await router.confirm(routes):  # noqa: ASYNC110 - the data plane is asked, it does not tell
            await asyncio.sleep(0.02)
    return True


class Patient(GatewayApiRouter):
    """As the engine asks: again for a moment, since a gateway takes routes up a little later."""

    async def apply(self, routes, *, fence):
        await super().apply(routes, fence=fence)
        try:
            async with asyncio.timeout(5):
                while not await super().confirm(routes):  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pass


@pytest.fixture(scope="module")
def gateway():
    return Gateway()


@pytest.fixture(scope="module")
def server(gateway):
    with cluster(gateway) as server:
        yield server


@pytest.fixture(scope="module")
def running(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gateway")

    async def start():
        runtime = make(server.kubeconfig(folder), folder / "pods")
        await runtime.start("blue", release("1.0.0"), 2)
        await runtime.start("green", release("1.1.0"), 2)
        seen = await eventually(runtime, all_ready(4))
        return {slot: tuple(each.address for each in seen if each.slot == slot) for slot in ("blue", "green")}

    return asyncio.run(start()), server.kubeconfig(folder)


@pytest.fixture
def upstreams(running):
    return running[0]


class TestGatewayApi(RouterContract):
    @pytest.fixture
    def router(self, running, server, gateway):
        self._server, self._gateway = server, gateway
        settings = Settings(listen=gateway.address, gateway="edge", hostnames=("shop.example",))
        self._make = lambda: Patient(settings, TARGET, Place(running[1]))
        router = self._make()
        yield router
        asyncio.run(self._make().close())
        server.do(gateway.load)

    def again(self, router):  # noqa: ARG002 - all see the same cluster
        return self._make()

    async def visit(self, router, requests):
        async with httpx.AsyncClient(trust_env=False) as client:
            for _ in range(requests):
                assert (await client.get(f"http://{router.address}/")).status_code == 200

    async def empty(self, router):
        await router.close()

    async def cut(self, router):  # noqa: ARG002 - there is one
        await asyncio.to_thread(self._server.down)

    async def mend(self, router):  # noqa: ARG002 - there is one
        await asyncio.to_thread(self._server.up)

    async def test_every_request_is_counted_once(self, router, upstreams):
        """It counts nothing, and says so instead of inventing zeros."""
        await router.apply(Routes(upstreams, 0, "blue"), fence=1)
        await self.visit(router, 3)
        counts = await router.counts(0)
        assert (counts.buckets, counts.alive_at) == ((), None)
        assert not router.capabilities.counts

    async def test_silence_is_not_blindness(self, router):
        """Nothing vouches for the count: the judge is blind without a source of its own."""
        assert (await router.counts(0)).alive_at is None

    async def test_nothing_is_in_flight_at_rest(self, router, upstreams):
        """It does not know, and names no slot."""
        await router.apply(Routes(upstreams, 5000, "blue"), fence=1)
        assert (await router.observe()).in_flight == {}

    async def test_the_split_and_the_override_are_the_gateways(self, router, upstreams):
        await router.apply(Routes(upstreams, 2500, "blue"), fence=1)
        self._gateway.sent.clear()
        await self.visit(router, 160)
        share = collections.Counter(self._gateway.sent)[TARGET.slot("green")] / 160
        assert 0.08 < share < 0.42  # five standard deviations
        async with httpx.AsyncClient(trust_env=False) as client:
            for word, slot in (("always", "green"), ("never", "blue")):
                self._gateway.sent.clear()
                for _ in range(10):
                    await client.get(f"http://{router.address}/", headers={"X-Canary": word})
                assert set(self._gateway.sent) == {TARGET.slot(slot)}

    async def test_a_copy_goes_to_the_new_version(self, router, upstreams):
        await router.apply(Routes(upstreams, 0, "blue", mirror=10_000), fence=1)
        self._gateway.sent.clear()
        await self.visit(router, 20)
        async with asyncio.timeout(10):
            while len(self._gateway.sent) < 40:  # noqa: ASYNC110 - copies are sent behind the visitor's back
                await asyncio.sleep(0.02)
        assert collections.Counter(self._gateway.sent) == {TARGET.slot("blue"): 20, TARGET.slot("green"): 20}

    async def test_a_gateway_that_has_not_loaded_is_not_believed(self, router, upstreams):
        await router.apply(Routes(upstreams, 0, "blue"), fence=1)
        self._gateway.deaf = True
        try:
            await GatewayApiRouter.apply(router, Routes(upstreams, 500, "blue"), fence=2)
            assert not await router.confirm(Routes(upstreams, 500, "blue"))
        finally:
            self._gateway.deaf = False
            await asyncio.to_thread(self._server.do, self._gateway.load)
        assert await confirmed(router, Routes(upstreams, 500, "blue"))

    async def test_a_gateway_that_only_says_that_it_has_is_not_believed(self, router, upstreams):
        routes = Routes(upstreams, 0, "blue")
        await router.apply(routes, fence=1)
        loaded, self._gateway.loaded = self._gateway.loaded, []
        assert not await router.confirm(routes)
        self._gateway.loaded = loaded
        assert await router.confirm(routes)

    async def test_a_gateway_that_refuses_says_why(self, router, upstreams):
        self._gateway.refuses = "no listener allows routes from namespace shop"
        try:
            await GatewayApiRouter.apply(router, Routes(upstreams, 0, "blue"), fence=1)
            async with asyncio.timeout(10):
                while not (seen := await router.observe()).detail:  # noqa: ASYNC110 - it comes with the status
                    await asyncio.sleep(0.02)
        finally:
            self._gateway.refuses = ""
        assert seen.routes is None
        assert "no listener allows routes" in seen.detail

    async def test_a_route_of_somebody_else_is_left_alone(self, running, upstreams, router):  # noqa: ARG002 - its world
        other = GatewayApiRouter(Settings(gateway="edge", route="theirs"), TARGET, Place(running[1]))
        spec = {"parentRefs": [{"name": "edge"}], "rules": [{"matches": [{}]}]}
        theirs = {"kind": "HTTPRoute", "metadata": {"name": "theirs", "namespace": "shop"}, "spec": spec}
        await asyncio.to_thread(self._server.do, self._server.store.put, theirs)
        with pytest.raises(BadInputError) as refused:
            await other.apply(Routes(upstreams, 0, "blue"), fence=1)
        assert refused.value.code == "gateway.name-taken"
        with pytest.raises(CrossfadeError):
            await other.close()
        await asyncio.to_thread(self._server.do, self._server.store.drop, theirs)

    async def test_weights_changed_by_hand_are_seen_and_repaired(self, router, upstreams):
        routes = Routes(upstreams, 0, "blue")
        await router.apply(routes, fence=1)
        change = [{"op": "replace", "path": "/spec/rules/3/backendRefs/0/weight", "value": 5}]
        await router._cluster.patch(router._path, change)
        assert (await router.observe()).routes is None
        await router.apply(routes, fence=1)
        assert (await router.observe()).routes == routes
